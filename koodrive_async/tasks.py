"""Task groups that raise the one exception that matters instead of a group of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup


@asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """Open a task group whose failure is the first real error in it, not an ``ExceptionGroup``.

    Further errors of the group are noted on the one that is raised. Cancellation of the host
    cancels the group's tasks and waits for them.
    """
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise_first(failures)


def raise_first(failures: BaseExceptionGroup[BaseException]) -> None:
    """Raise what a group of failures boils down to.

    :raises BaseException: The first error; an interruption (``KeyboardInterrupt``) comes before.
    """
    errors = list(_leaves(failures))
    first = next((error for error in errors if not isinstance(error, Exception)), errors[0])
    for other in errors:
        if other is not first:
            first.add_note(f"at the same time: {type(other).__name__}: {other}")
    context = first.__context__
    try:
        raise first
    finally:
        # where it came from is part of it; the group it was found in is not
        first.__context__ = context


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in _leaves(inner)]
    return [failure]
