"""Uploading many files at a time, with the outcomes as they come."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

import anyio

from koodrive_async.errors import (
    AuthenticationError,
    ClientClosed,
    ForkedClient,
    InsufficientSpace,
    InvalidArgument,
    LockLost,
    TokenRefreshFailed,
    TransportError,
    WrongEventLoop,
)
from koodrive_async.tasks import task_group
from koodrive_async.threads import AbandonableThread
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.receipt import UploadFailure, UploadReceipt
from koodrive_async.upload.source import closing_each, name_of

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

Outcome = UploadReceipt | UploadFailure
UploadOne = Callable[[UploadItem], Awaitable[UploadReceipt]]

_FATAL = (
    AuthenticationError,
    ClientClosed,
    ForkedClient,
    InsufficientSpace,
    LockLost,
    TokenRefreshFailed,
    WrongEventLoop,
)
"""Errors that every further file would meet as well."""


def _nothing(_: UploadFailure) -> None:
    """Nobody wants to know."""


class UploadBatch:
    """Outcomes of many uploads, each as its file finishes.

    Sources are taken only as fast as the uploads go, and uploads go on only as fast as outcomes are
    taken. Leaving the loop early, or the session, cancels what is still on its way.

    :param sources: Sources, :class:`UploadItem`, or failures met while listing them.
    :param upload: Uploads one.
    :param at_a_time: Files to work on at a time, with those whose outcome waits to be taken.
    :param group: Where the work runs.
    :param on_failed_before: Told of failures that came instead of a source.
    :raises InvalidArgument: ``sources`` is itself a source.
    """

    def __init__(
        self,
        sources: AsyncIterable[object] | Iterable[object],
        upload: UploadOne,
        *,
        at_a_time: int,
        group: TaskGroup,
        on_failed_before: Callable[[UploadFailure], None] = _nothing,
    ) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._was_closed = True
        if isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike):
            raise InvalidArgument("many sources are wanted, not one: put it into a list")
        self._group = group
        self._work = _Work(sources, upload, at_a_time, on_failed_before)
        self._was_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        work = self._work
        if self._loop is None:
            if self._group.cancel_scope.cancel_called:
                self._was_closed = True
                raise ClientClosed("the backup session of these uploads has ended")
            self._loop = asyncio.get_running_loop()
            self._group.start_soon(work.run)
        while not work.outcomes and not work.ended.is_set():
            work.news = anyio.Event()
            await work.news.wait()
        if work.outcomes:
            work.places.release()
            return work.outcomes.popleft()
        error, work.error = work.error, None
        if error is not None:
            raise error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel what is still on its way, and wait until it has ended."""
        self._was_closed = True
        self._work.give_up()
        if self._loop is not None:
            await self._work.ended.wait()

    def __repr__(self) -> str:
        return f"<UploadBatch, {'begun' if self._loop else 'not begun'}: iterate with 'async for'>"

    def __del__(self) -> None:
        # A loop that is left early just drops its iterator, which has no other way to hear of that,
        # and may be collected in any thread.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._work.give_up)
        elif self._loop is None and not self._was_closed:
            warnings.warn(
                "these uploads were never begun: iterate over them with 'async for'",
                RuntimeWarning,
                stacklevel=2,
            )


class _Work:
    """Runs the uploads of a batch; does not know the batch, so that dropping that can end this.

    A place is taken before a source is, and given back when its outcome has been handed out.
    """

    def __init__(
        self,
        sources: AsyncIterable[object] | Iterable[object],
        upload: UploadOne,
        at_a_time: int,
        on_failed_before: Callable[[UploadFailure], None],
    ) -> None:
        self._sources = sources
        self._upload = upload
        self._on_failed_before = on_failed_before
        self._scope = anyio.CancelScope()
        self._given_up = False
        self._fatal: Exception | None = None
        self.places = anyio.Semaphore(at_a_time)
        self.outcomes: deque[Outcome] = deque()
        self.error: Exception | None = None
        self.news = anyio.Event()
        self.ended = anyio.Event()

    def give_up(self) -> None:
        """Cancel everything and forget what nobody will take."""
        self._given_up = True
        self._scope.cancel()
        self.outcomes.clear()

    async def run(self) -> None:
        """Upload everything; afterwards ``error`` says why it ended early, if it did."""
        self.error = ClientClosed("the backup session ended before these uploads did")
        try:
            with self._scope:
                async with task_group() as group:
                    await self._start_all(group)
                self.error = self._fatal
        except Exception as error:  # noqa: BLE001 - raised again where the outcomes are taken
            self.error = error
        finally:
            if self._given_up:
                self.error = None
            self.ended.set()
            self.news.set()

    async def _start_all(self, group: TaskGroup) -> None:
        await self.places.acquire()
        async with aclosing(each(self._sources)) as sources:
            async for source in sources:
                group.start_soon(self._one, source)
                await self.places.acquire()
                if self._fatal is not None:  # those on their way may finish
                    return

    async def _one(self, source: object) -> None:
        outcome = await self._outcome(source)
        if not self._given_up:  # one that just made it may come in while all is being cancelled
            self.outcomes.append(outcome)
        self.news.set()

    async def _outcome(self, source: object) -> Outcome:
        if isinstance(source, UploadFailure):
            self._on_failed_before(source)
            return source
        item = source if isinstance(source, UploadItem) else UploadItem(source=source)  # type: ignore[arg-type]  # open_source refuses what is none
        try:
            return await self._upload(item)
        except Exception as error:  # noqa: BLE001 - one file's failure must not stop the others
            if isinstance(error, _FATAL) or _is_out_of_reach(error):
                self._fatal = self._fatal or error
            return UploadFailure(
                source=item.source,
                name=item.name or name_of(item.source),
                error=error,
                description=item.description,
            )


def _is_out_of_reach(error: Exception) -> bool:
    """Return whether not even a connection came about, however often it was tried."""
    return isinstance(error, TransportError) and not error.sent


async def each(
    items: AsyncIterable[object] | Iterable[object],
) -> AsyncGenerator[object, None]:
    """Go over any iterable; one that may block, such as a generator, is advanced in a thread."""
    if isinstance(items, AsyncIterable):
        async with aclosing(closing_each(items)) as each_item:
            async for item in each_item:
                yield item
    elif isinstance(items, list | tuple | set | frozenset):
        for item in items:
            yield item
    else:
        iterator, end = iter(items), object()
        with AbandonableThread(getattr(iterator, "close", None)) as thread:
            while (item := await thread.run(next, iterator, end)) is not end:
                yield item
