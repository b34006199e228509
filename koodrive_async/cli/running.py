"""From a command, which is not async, to the event loop and back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from koodrive_async.cli.interruption import Interrupted, end_if_ctrl_c, hear_signals, restore
from koodrive_async.descriptors import raise_limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from koodrive_async.cli.interruption import LastWords

T = TypeVar("T")


def run(work: Callable[[], Awaitable[T]], last_words: LastWords | None = None) -> T:
    """Run an async function to its end.

    :param last_words: Of a command that has to end soon when it is interrupted.
    :returns: What it returns.
    :raises Interrupted: Ctrl-C, SIGTERM or SIGHUP; the work was cancelled, and has cleaned up.
    """
    raise_limit()
    return _Run(work, last_words).to_its_end()


class _Run(Generic[T]):
    """One run, which the first signal cancels.

    asyncio does so for Ctrl-C only, and a shell has its background jobs ignore that.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], last_words: LastWords | None) -> None:
        self._work = work
        self._last_words = last_words
        self._number: int | None = None
        self._cancel: Callable[[], object] | None = None
        self._results: list[T] = []

    def to_its_end(self) -> T:
        before = hear_signals(self._hear)
        try:
            anyio.run(self._in_loop)
        except BaseException as error:
            if self._number is None:
                raise
            # one that came too late has interrupted nothing, whatever asyncio makes of it
            if not self._results:
                raise Interrupted(self._number) from error
        finally:
            if self._number is None:
                restore(before)
            if self._last_words is not None and (self._number is None or self._results):
                self._last_words.call_off()
        return self._results[0]

    async def _in_loop(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        cancel = task.cancel
        self._cancel = lambda: loop.call_soon_threadsafe(cancel)
        self._results.append(await self._work())

    def _hear(self, number: int) -> None:
        if self._number is not None:
            again = self._last_words.end_if_ctrl_c if self._last_words else end_if_ctrl_c
            again(number)
            return
        self._number = number
        if self._cancel is None:
            raise Interrupted(number)
        if self._last_words is not None:
            self._last_words.interrupted(number)
        with suppress(RuntimeError):  # the loop has just been closed
            self._cancel()
