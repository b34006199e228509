"""From a command, which is not async, to the event loop and back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run an async function to its end.

    :returns: What it returns.
    :raises KeyboardInterrupt: Ctrl-C, or SIGTERM; the work was cancelled, and has cleaned up.
    """

    async def to_its_end() -> T:
        with _sigterm_cancels():
            return await work()

    try:
        return anyio.run(to_its_end)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextmanager
def _sigterm_cancels() -> Iterator[None]:
    """Let SIGTERM cancel this task, so that a service manager's stop gives the lock back as well.

    For Ctrl-C asyncio does that. It does nothing for SIGTERM, and a shell has its background jobs
    ignore SIGINT, so that raising the one for the other would not do.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - coroutines run in tasks
    cancel = task.cancel
    previous = signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
