"""The body of a request: of limited size, from a browser that must not be too slow."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

PACE = 64 * 1024
"""Bytes that must come within the patience of the service."""


class TooLarge(Exception):  # noqa: N818 - named for what happened
    """There is more of it than is allowed."""


class TooSlow(Exception):  # noqa: N818 - named for what happened
    """Next to nothing came for a while."""


class Body:
    """An async iterable of bytes, to be given to an upload as its source.

    The next piece is asked for when the last one has been written to disk, so that a browser is
    taken from only as fast as the disk is.

    :param pieces: Such as ``request.stream()``; closed at the end.
    :param most: Bytes it may have.
    :param patience: Seconds of waiting in which 64 KiB must come. A browser that sends next to
        nothing would keep the backup record open, and with it the lock.
    :param on_received: Hears how many bytes there are so far.
    :ivar is_read: Set when all of it is here.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        most: int,
        patience: float,
        on_received: Callable[[int], None],
    ) -> None:
        self._pieces = pieces
        self._most = most
        self._patience = patience
        self._on_received = on_received
        self.is_read = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        received = fresh = 0
        waited = 0.0
        async with aclosing(self._pieces) as pieces:
            while True:
                began = clock()
                try:
                    async with asyncio.timeout(self._patience - waited):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    raise TooSlow from None
                if piece is None:
                    self.is_read.set()
                    return
                received += len(piece)
                if received > self._most:
                    raise TooLarge
                # only waiting for the browser counts, not the time that the disk takes
                fresh, waited = fresh + len(piece), waited + clock() - began
                if fresh >= PACE:
                    fresh, waited = 0, 0.0
                self._on_received(received)
                yield piece
