"""Blocking work in threads, seen through or given up when its caller is cancelled.

Cancellation reaches an asyncio program in two ways: by anyio's scopes, and by ``Task.cancel``,
which is what ``asyncio.timeout`` uses. anyio's own ``to_thread`` waits for its thread in the first
case only; in the second the thread would go on with files that its caller has closed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(
    function: Callable[..., T],
    *arguments: Any,
    limiter: CapacityLimiter,
    on_cancel: Callable[[], None] | None = None,
) -> T:
    """Run a blocking function that ends by itself, in a worker thread.

    :param limiter: Limits how many run at a time.
    :param on_cancel: Called when the caller is cancelled, to tell the function to hurry.

    Cancellation takes effect when the function has returned, whichever way it came.
    """
    work = asyncio.ensure_future(to_thread.run_sync(function, *arguments, limiter=limiter))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        with anyio.CancelScope(shield=True):
            while not work.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # taken note of
        raise


async def in_abandonable_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function that may block for ever, such as a user's ``read``, in a thread of its own.

    Cancellation takes effect at once and leaves the thread behind; it does not keep the process
    from ending, and what it returns is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # T may be None
        else:
            future.set_exception(error)

    def work() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function(*arguments)
        except StopIteration as stop:  # a future cannot carry it
            error = RuntimeError(f"the source raised {stop!r}")
        except BaseException as raised:  # noqa: BLE001 - raised again in the caller
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop may be gone by now
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="koodrive source", daemon=True).start()
    return await future
