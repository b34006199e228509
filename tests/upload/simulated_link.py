"""A link and a store in simulated time: so many parts at once, so much goodput.

Deterministic: equal links, parts, limits and seeds give equal seconds. Parts move as a fluid: all
that are on their way share what the link carries, each at its own luck.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koodrive_async.upload.adaptive import ConnectionLimit

BACK_OFF = (0.5, 2.0)
"""Seconds until a refused part is sent again."""


@attrs.frozen(kw_only=True)
class Link:
    """What lies between the client and the store.

    :param each: Bytes per second of one connection at the most.
    :param total: Bytes per second of all connections together.
    :param latency: Seconds of each request in which nothing of its part moves.
    :param crowd: Connections above this number cost the others ``loss`` each.
    :param loss: Share of the total that one connection too many costs.
    :param places: The store refuses a part while it receives so many.
    :param failing: Chance that a part is refused, however many there are.
    :param noise: A part is faster or slower than the others by up to this share.
    :param later: From this second on, the link is this other one.
    """

    each: float = math.inf
    total: float = math.inf
    latency: float = 0.0
    crowd: float = math.inf
    loss: float = 0.0
    places: float = math.inf
    failing: float = 0.0
    noise: float = 0.0
    later: tuple[float, Link] | None = None

    def speed(self, moving: int, connections: int) -> float:
        """Return the bytes per second of each of the parts that are moving."""
        too_many = max(0.0, connections - self.crowd)
        total = self.total * max(0.1, 1 - self.loss * too_many)
        return min(self.each, total / moving)


@attrs.frozen
class Run:
    """How it went.

    :param seconds: Time in which there was work.
    :param goodput: Bytes per second over that time.
    :param limits: The limit at each acknowledgement.
    :param refused: How many times a part was refused.
    """

    seconds: float
    goodput: float
    limits: list[int]
    refused: int


def send(
    link: Link,
    bursts: Sequence[Sequence[int]],
    limit: ConnectionLimit,
    *,
    seed: int = 0,
    pause: float = 30.0,
) -> Run:
    """Send parts of these sizes over the link.

    :param bursts: Each is sent after a pause behind the one before.
    :param pause: Seconds between two bursts.
    """
    sending = _Sending(link, limit, random.Random(seed))
    for burst in bursts:
        sending.send(burst)
        sending.now += pause
    seconds = sending.now - pause * len(bursts)
    return Run(seconds, sum(map(sum, bursts)) / seconds, sending.limits, sending.refused)


class _Sending:
    """Parts wait, hold a slot for the latency and while they move, and are acknowledged or refused.

    Each part that moves gets the same speed but has a length of its own, its size divided by its
    luck. So it ends when ``self._moved``, what a part of luck 1 would have moved so far, has grown
    by that length.
    """

    def __init__(self, link: Link, limit: ConnectionLimit, chance: random.Random) -> None:
        self.now = 0.0
        self.limits: list[int] = []
        self.refused = 0
        self._link = link
        self._limit = limit
        self._chance = chance
        self._waiting: deque[int] = deque()
        self._requests: list[tuple[float, int, int, float]] = []  # end, order, size, began
        self._moving: list[tuple[float, int, int, float]] = []  # end in moved bytes, the same
        self._backing_off: list[tuple[float, int, int]] = []
        self._moved = 0.0
        self._order = 0

    def send(self, burst: Sequence[int]) -> None:
        self._waiting.extend(burst)
        while self._waiting or self._requests or self._moving or self._backing_off:
            while self._waiting and self._connections < self._limit.limit:
                self._begin(self._waiting.popleft())
            self._step()

    @property
    def _connections(self) -> int:
        return len(self._requests) + len(self._moving)

    def _begin(self, size: int) -> None:
        self._order += 1
        end = self.now + self._link.latency
        heapq.heappush(self._requests, (end, self._order, size, self.now))

    def _step(self) -> None:
        speed = 0.0
        landing = math.inf
        if self._moving:
            speed = self._link.speed(len(self._moving), self._connections)
            landing = self.now + max(0.0, self._moving[0][0] - self._moved) / speed
        request = self._requests[0][0] if self._requests else math.inf
        again = self._backing_off[0][0] if self._backing_off else math.inf
        change = self._link.later[0] if self._link.later else math.inf
        then = max(self.now, min(landing, request, again, change))
        self._moved += speed * (then - self.now)
        self.now = then
        if then == landing:
            self._acknowledge()
        elif then == request:
            self._arrive()
        elif then == again:
            self._waiting.append(heapq.heappop(self._backing_off)[2])
        elif self._link.later:
            self._link = self._link.later[1]

    def _acknowledge(self) -> None:
        _, _, size, began = heapq.heappop(self._moving)
        self._limit.arrived(size, began, self.now, contended=bool(self._waiting))
        self.limits.append(self._limit.limit)

    def _arrive(self) -> None:
        """The request has reached the store, which takes it or refuses it."""
        _, order, size, began = heapq.heappop(self._requests)
        full = len(self._moving) >= self._link.places
        if full or (self._link.failing and self._chance.random() < self._link.failing):
            self.refused += 1
            end = self.now + self._chance.uniform(*BACK_OFF)
            heapq.heappush(self._backing_off, (end, order, size))
            self._limit.overloaded(began, self.now)
            return
        luck = self._chance.uniform(1 - self._link.noise, 1 + self._link.noise)
        heapq.heappush(self._moving, (self._moved + size / luck, order, size, began))
