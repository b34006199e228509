"""One run of a coroutine function in the thread of a portal."""

from __future__ import annotations

import asyncio
import sys
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from koodrive_async.errors import ClientClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_LEFT = "the client was left while this was running"

_LOOKS_EVERY = 0.1 if sys.platform == "win32" else None
"""Seconds between two looks for Ctrl-C, on the system where it does not end a wait by itself."""


class Call(Generic[T]):
    """One run of a coroutine function, begun by a portal.

    :param work: Makes the awaitable.
    :ivar inbox: Gets None at the end; before that, whatever should be called where it is waited
        for.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self.inbox: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._work = work
        self._scope: anyio.CancelScope | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        self._ended = False

    def wait(self) -> None:
        """Wait for its end, and drop what should have been called meanwhile."""
        while next_of(self.inbox) is not None:
            pass

    def outcome(self) -> T:
        """Return what it returned, or raise what it raised, with the frames of the work alone."""
        error, self._error = self._error, None
        if error is None:
            return self._result  # type: ignore[return-value]  # T may be None
        ours = error.__traceback__
        try:
            raise error.with_traceback(ours.tb_next if ours else None)
        finally:
            del error, ours  # they hold this frame

    # --- in the thread of the portal -----------------------------------------------------------

    async def run(self) -> None:
        """Run it; what it raises is kept."""
        self._scope = anyio.CancelScope()
        try:
            with self._scope:
                self._result = await self._work()
            if self._scope.cancelled_caught:
                self._error = ClientClosed(_LEFT)
        except asyncio.CancelledError:
            self._error = ClientClosed(_LEFT)
            raise
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        finally:
            self._ended = True
            self.inbox.put(None)

    def give_up(self) -> None:
        """Cancel it."""
        if self._scope is None or self._ended:
            self.inbox.put(None)  # it has never got here, or whoever waits has lost count
        else:
            self._scope.cancel()


def next_of(queue: SimpleQueue[T]) -> T:
    """Return the next item; a signal that comes meanwhile is handled."""
    while True:
        try:
            return queue.get(timeout=_LOOKS_EVERY)
        except Empty:
            continue
