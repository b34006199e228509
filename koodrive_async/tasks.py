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
    own: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            try:
                yield group
            except BaseException as error:
                own = error
                raise
    except BaseExceptionGroup as failures:
        if own is not None and any(own is failure for failure in failures.exceptions):
            # what the block itself raised is not ours to change, even if it is a group
            raise_first(failures, own)
        raise_first(failures)


def raise_first(
    failures: BaseExceptionGroup[BaseException], own: BaseException | None = None
) -> None:
    """Raise what a group of failures boils down to.

    :param own: The failure that goes first, as it is.
    :raises BaseException: The first error; an interruption (``KeyboardInterrupt``) comes before.
    """
    errors = [own, *_others(failures, own)] if own else list(_leaves(failures))
    first = own or next((error for error in errors if not isinstance(error, Exception)), errors[0])
    for other in errors:
        if other is not first:
            first.add_note(f"at the same time: {type(other).__name__}: {other}")
    context = first.__context__
    try:
        raise first
    finally:
        # where it came from is part of it; the group it was found in is not
        first.__context__ = context


def _others(failures: BaseExceptionGroup[BaseException], own: BaseException) -> list[BaseException]:
    return [
        leaf for failure in failures.exceptions if failure is not own for leaf in _leaves(failure)
    ]


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in _leaves(inner)]
    return [failure]
