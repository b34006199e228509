"""Slots that many files share fairly: connections, and places in the hash pool."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class FairSlots:
    """A number of slots; one that becomes free goes to the owner who holds the fewest.

    Owners that hold equally many take turns. So one owner alone gets all slots, and one that has
    just come waits for a single slot to become free, however many the others are waiting for.

    :param capacity: Returns how many slots there are; the number may change.
    :param express: Slots beside these, for what is done in a moment and must not wait until
        something long is; an owner has one of them at the most, and only while it has no other.
    """

    def __init__(self, capacity: Callable[[], int], *, express: int = 0) -> None:
        self._capacity = capacity
        self._express = express
        self._held: Counter[object] = Counter()
        self._taken = 0
        # owners in the order of their turns
        self._waiting: dict[object, deque[_Turn]] = {}

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._taken

    @property
    def contended(self) -> bool:
        """Whether all slots are taken, so that their number is what holds us."""
        return bool(self._waiting) or self._taken >= self._capacity()

    @asynccontextmanager
    async def slot(self, owner: object, *, short: bool = False) -> AsyncIterator[None]:
        """Hold a slot inside the block.

        :param short: It will be held for a moment only.

        Cancellation while waiting gives up the place in the queue.
        """
        if not self._waiting and self._taken < self._capacity():
            self._grant(owner)
        else:
            await self._wait(owner, _Turn(short))
        try:
            yield
        finally:
            self._release(owner)

    async def _wait(self, owner: object, turn: _Turn) -> None:
        self._waiting.setdefault(owner, deque()).append(turn)
        self._serve()
        try:
            await turn.come.wait()
        except BaseException:
            if turn.come.is_set():
                self._release(owner)
            else:
                self._leave(owner, turn)
            raise

    def _grant(self, owner: object) -> None:
        self._held[owner] += 1
        self._taken += 1

    def _release(self, owner: object) -> None:
        self._taken -= 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._serve()

    def _serve(self) -> None:
        while self._waiting and (owner := self._next()) is not None:
            turns = self._waiting.pop(owner)
            turns.popleft().come.set()
            if turns:
                self._waiting[owner] = turns  # behind the others
            self._grant(owner)

    def _next(self) -> object | None:
        if self._taken < self._capacity():
            return min(self._waiting, key=self._held.__getitem__)
        if self._taken >= self._capacity() + self._express:
            return None
        in_a_hurry = (
            owner
            for owner, turns in self._waiting.items()
            if turns[0].short and not self._held[owner]
        )
        return next(in_a_hurry, None)

    def _leave(self, owner: object, turn: _Turn) -> None:
        turns = self._waiting[owner]
        turns.remove(turn)
        if not turns:
            del self._waiting[owner]


@attrs.define(eq=False)
class _Turn:
    short: bool
    come: anyio.Event = attrs.field(factory=anyio.Event)
