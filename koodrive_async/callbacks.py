"""Functions that a user gives to be called: plain ones, whose coroutine would never be awaited."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Coroutine
from functools import partial

from koodrive_async.errors import InvalidArgument


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
