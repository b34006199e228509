"""The weather over the service: storms of faults and calms, by the seed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from koodrive_async.emulator import Fault, Faults
from koodrive_async.emulator.fault import Kind, Moment
from koodrive_async.emulator.faults import Strike

INTERFACE: Final = ("*", "files.*", "files.create", "files.complete", "files.part_urls")
SETTING: Final = ("records.*", "locks.*", "tokens.*", "files.list", "locks.renew", "records.create")
ROUTES: Final = (*INTERFACE, *SETTING, "part.put", "part.put", "part.put")

STORM: Final = (0.5, 2.5)
CALM: Final = (0.3, 1.2)
STORMS_AT_A_TIME: Final = 3

OUTAGES: Final[tuple[Kind, ...]] = ("reset", "error")
MOMENTS: Final[tuple[Moment, ...]] = ("before", "middle", "after")

Trap = Callable[[], None]


class Weather(Faults):
    """Faults that change with time, and that count what they struck.

    :param seed: The same seed brings the same weather.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.struck: Counter[str] = Counter()
        self.struck_routes: Counter[str] = Counter()
        self._chance = random.Random(f"weather of {seed}")  # noqa: S311 - to be had again
        self._storms = 0
        self._until = 0.0
        self._traps: dict[str, Trap] = {}
        self._counting = threading.Lock()

    def blow(self) -> str | None:
        """Change when it is time, and then tell what it is like now."""
        if time.monotonic() < self._until:
            return None
        if self._storms == STORMS_AT_A_TIME or self._chance.random() < 0.4:  # noqa: PLR2004 - as often as not
            self.calm(self._chance.uniform(*CALM))
            return "calm"
        self._storms += 1
        self._until = time.monotonic() + self._chance.uniform(*STORM)
        rules = [self._rule() for _ in range(self._chance.randint(1, 4))]
        self.clear()
        self.add(*rules)
        return "; ".join(map(_told, rules))

    def calm(self, seconds: float) -> None:
        """Let nothing go wrong for a while."""
        self.clear()
        self._storms = 0
        self._until = time.monotonic() + seconds

    def trap(self, route: str, spring: Trap) -> None:
        """Call something at the next request of a route, in the service's thread."""
        self._traps[route] = spring

    def disarm(self) -> None:
        """Take away the traps that nobody stepped on."""
        self._traps.clear()

    def strike(self, route: str) -> Strike:
        """Decide what goes wrong with one request, and count it."""
        if (spring := self._traps.pop(route, None)) is not None:
            spring()
        strike = super().strike(route)
        with self._counting:
            for rule in strike.rules:
                self.struck[rule.kind] += 1
                self.struck_routes[route] += 1
        return strike

    def _rule(self) -> Fault:
        return self._chance.choice(_KINDS)(self._chance)


def _told(rule: Fault) -> str:
    details = f"{rule.moment} " if rule.kind in {"reset", "silence"} else ""
    return f"{rule.kind} {details}{rule.route} {rule.rate:.2f}"


def _often(kind: Kind, most: float = 0.3) -> Callable[[random.Random], Fault]:
    def rule(chance: random.Random) -> Fault:
        return Fault(kind, chance.choice(ROUTES), rate=chance.uniform(0.02, most))

    return rule


def _slowly(kind: Kind) -> Callable[[random.Random], Fault]:
    """Return a kind that costs whoever meets it a whole timeout."""

    def rule(chance: random.Random) -> Fault:
        route = chance.choice(ROUTES)
        rate, times = chance.uniform(0.01, 0.1), chance.randint(1, 4)
        seconds = 0.02 if kind == "trickle" else 0.0
        return Fault(kind, route, rate=rate, times=times, seconds=seconds)

    return rule


def _error(chance: random.Random) -> Fault:
    status = chance.choice((408, 429, 500, 502, 503, 504))
    return Fault("error", chance.choice(ROUTES), rate=chance.uniform(0.02, 0.4), status=status)


def _busy(chance: random.Random) -> Fault:
    code = chance.choice(("13000201", "13000403"))
    return Fault("error", "files.complete", rate=chance.uniform(0.1, 0.5), status=400, code=code)


def _throttle(chance: random.Random) -> Fault:
    return Fault("throttle", chance.choice(ROUTES), rate=chance.uniform(0.01, 0.1), retry_after=1)


def _reset(chance: random.Random) -> Fault:
    moment = chance.choice(MOMENTS)
    return Fault("reset", chance.choice(ROUTES), rate=chance.uniform(0.02, 0.3), moment=moment)


def _silence(chance: random.Random) -> Fault:
    moment = chance.choice(MOMENTS)
    rate, times = chance.uniform(0.01, 0.1), chance.randint(1, 4)
    return Fault("silence", chance.choice(ROUTES), rate=rate, times=times, moment=moment)


def _outage(chance: random.Random) -> Fault:
    kind: Kind = chance.choice(OUTAGES)
    return Fault(kind, "*", rate=chance.uniform(0.7, 1.0))


def _latency(chance: random.Random) -> Fault:
    rate, seconds = chance.uniform(0.1, 0.5), chance.uniform(0.01, 0.4)
    return Fault("latency", chance.choice(ROUTES), rate=rate, seconds=seconds)


def _bandwidth(chance: random.Random) -> Fault:
    speed = 10 ** chance.uniform(5.3, 6.5)
    return Fault("bandwidth", "part.put", rate=chance.uniform(0.1, 0.5), bytes_per_second=speed)


def _corrupt(chance: random.Random) -> Fault:
    return Fault("corrupt", "part.put", rate=chance.uniform(0.01, 0.1))


def _lost_upload(chance: random.Random) -> Fault:
    route = chance.choice(("part.put", "files.complete", "files.part_urls"))
    return Fault("lost-upload", route, rate=chance.uniform(0.01, 0.1), times=3)


def _expired_url(chance: random.Random) -> Fault:
    return Fault("expired-url", "part.put", rate=chance.uniform(0.02, 0.3))


def _expired_lock(chance: random.Random) -> Fault:
    route = chance.choice(("files.create", "locks.renew", "records.create", "records.complete"))
    return Fault("expired-lock", route, rate=chance.uniform(0.05, 1.0), times=1)


def _expired_token(chance: random.Random) -> Fault:
    route = chance.choice(("files.*", "records.*", "locks.*"))
    return Fault("expired-token", route, rate=chance.uniform(0.02, 0.5), times=2)


_KINDS: Final = (
    _error,
    _busy,
    _throttle,
    _reset,
    _reset,
    _silence,
    _outage,
    _latency,
    _bandwidth,
    _corrupt,
    _corrupt,
    _lost_upload,
    _expired_url,
    _expired_lock,
    _expired_token,
    _often("lost-answer"),
    _often("lost-answer"),
    _often("half-answer"),
    _often("garbage"),
    _often("early-answer"),
    _often("close", 1.0),
    _slowly("headers-only"),
    _slowly("trickle"),
)
