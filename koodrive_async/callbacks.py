"""Functions that a user gives to be called: what they may be, and what their errors become.

Where a plain function belongs, the coroutine of an async one would never be awaited. A function
that raises ``CancelledError`` although its task was not cancelled, such as one that awaits a
cancelled future, has failed: passed on, that error would look like a cancellation of the caller.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from koodrive_async.errors import InvalidArgument

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")


def check_plain(name: str, function: object) -> None:
    """Refuse anything but a plain function: the caller could not await an async one.

    :param name: The parameter, or what it is for.
    :raises InvalidArgument: It is an async function, method or object, also inside of
        ``functools.partial``, or cannot be called at all.
    """
    if not callable(function):
        raise InvalidArgument(f"{name}: a function, not {type(function).__name__}")
    if is_async(function):
        raise InvalidArgument(
            f"{name}: a plain function, not an async one, which nothing would await: let it put "
            "what it gets into a queue, or make a task of the rest"
        )


def is_async(function: object) -> bool:
    """Whether a function declares that calling it gives a coroutine or an async generator."""
    while isinstance(function, partial):
        function = function.func
    call = inspect.getattr_static(type(function), "__call__", None)
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, call)
    )


def check_nothing_to_await(name: str, result: object) -> None:
    """Refuse the coroutine of an async function that did not look like one.

    A task or a future is allowed: it runs by itself.

    :raises InvalidArgument: It is a coroutine, which is closed, or an async generator.
    """
    if not isinstance(result, Coroutine | AsyncGenerator):
        return
    if isinstance(result, Coroutine):
        result.close()  # or the interpreter says once more that it was never awaited
    raise InvalidArgument(
        f"{name}: a plain function, not one that returns a coroutine, which nothing awaits"
    )


class OwnFailure:
    """Distinguishes a ``CancelledError`` that a user's code raised from a cancellation of its task.

    Made before that code runs. The number of requests to cancel is compared with the one of that
    moment: an ``asyncio.TaskGroup`` of Python 3.11 and 3.12 leaves one behind when a child fails,
    so a number above 0 proves nothing.
    """

    __slots__ = ("_requests", "_task")

    def __init__(self) -> None:
        try:
            self._task = asyncio.current_task()
        except RuntimeError:  # a worker thread, which nothing cancels
            self._task = None
        self._requests = 0
        if self._task is not None:
            # one that the next await raises is still to come
            pending = bool(getattr(self._task, "_must_cancel", False))
            self._requests = self._task.cancelling() - pending

    def is_one(self) -> bool:
        """Return whether no request to cancel the task has come since."""
        return self._task is None or self._task.cancelling() <= self._requests


class FailingAlone:
    """A ``with`` block around a call of a user's code.

    :param what: The function, for the message.
    :raises InvalidArgument: The code has raised ``CancelledError`` by itself.
    """

    __slots__ = ("_failure", "_what")

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._failure = OwnFailure()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and self._failure.is_one():
            raise raised_alone(self._what) from error


def raised_alone(what: str) -> InvalidArgument:
    """Return what the ``CancelledError`` becomes that a user's code has raised by itself."""
    return InvalidArgument(f"{what} raised CancelledError, and nothing had cancelled its task")


async def failing_alone(what: str, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Go over what a user's code makes, and close it.

    :param what: The code, for the message.
    :raises InvalidArgument: The code has raised ``CancelledError`` by itself.
    """
    try:
        while True:
            own = OwnFailure()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError as error:
                if own.is_one():
                    raise raised_alone(what) from error
                raise
            yield item
    finally:
        with FailingAlone(what):
            await items.aclose()
