"""Slots that many files share fairly: connections, and places in the hash pool."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class FairSlots:
    """A number of slots; one that becomes free goes to the owner who holds the fewest.

    Owners that hold equally many take turns. So one owner alone gets all slots, and one that has
    just come waits for a single slot to become free, however many the others are waiting for.

    :param capacity: Returns how many slots there are; the number may change.
    """

    def __init__(self, capacity: Callable[[], int]) -> None:
        self._capacity = capacity
        self._held: Counter[object] = Counter()
        self._taken = 0
        # owners in the order of their turns
        self._waiting: dict[object, deque[anyio.Event]] = {}

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._taken

    @property
    def contended(self) -> bool:
        """Whether all slots are taken, so that their number is what holds us."""
        return bool(self._waiting) or self._taken >= self._capacity()

    @asynccontextmanager
    async def slot(self, owner: object) -> AsyncIterator[None]:
        """Hold a slot inside the block.

        Cancellation while waiting gives up the place in the queue.
        """
        if not self._waiting and self._taken < self._capacity():
            self._grant(owner)
        else:
            await self._wait(owner)
        try:
            yield
        finally:
            self._release(owner)

    async def _wait(self, owner: object) -> None:
        turn = anyio.Event()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._serve()
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
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
        while self._waiting and self._taken < self._capacity():
            owner = min(self._waiting, key=self._held.__getitem__)
            turns = self._waiting.pop(owner)
            turns.popleft().set()
            if turns:
                self._waiting[owner] = turns  # behind the others
            self._grant(owner)

    def _leave(self, owner: object, turn: anyio.Event) -> None:
        turns = self._waiting[owner]
        turns.remove(turn)
        if not turns:
            del self._waiting[owner]
