"""What one client may use at a time: bytes of file content in memory."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class MemoryBudget:
    """Bytes that may be held at the same time; those who wait are served in their order.

    :param limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = 0
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    @property
    def held(self) -> int:
        """Bytes reserved at the moment; never more than the limit."""
        return self._held

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes of the budget inside the block.

        :param size: Bytes; more than the limit counts as all of it.

        Cancellation while waiting gives the place in the queue to the next one.
        """
        size = min(size, self.limit)
        await self._take(size)
        try:
            yield
        finally:
            self._held -= size
            self._serve()

    async def _take(self, size: int) -> None:
        if not self._waiting and self._held + size <= self.limit:
            self._held += size
            return
        turn = (size, anyio.Event())
        self._waiting.append(turn)
        try:
            await turn[1].wait()
        except BaseException:
            if turn[1].is_set():
                self._held -= size
            else:
                self._waiting.remove(turn)
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting and self._held + self._waiting[0][0] <= self.limit:
            size, turn = self._waiting.popleft()
            self._held += size
            turn.set()
