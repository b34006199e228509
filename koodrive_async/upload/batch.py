"""Uploading many files at a time, with the outcomes as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Self

import anyio
from anyio import to_thread

from koodrive_async.errors import AuthenticationError, ClientClosed, InsufficientSpace, LockLost
from koodrive_async.tasks import task_group
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.receipt import UploadFailure, UploadReceipt
from koodrive_async.upload.source import name_of

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

logger = logging.getLogger(__name__)

Outcome = UploadReceipt | UploadFailure
UploadOne = Callable[[UploadItem], Awaitable[UploadReceipt]]

_FATAL = (AuthenticationError, ClientClosed, InsufficientSpace, LockLost)
"""Errors that every further file would meet as well."""


class UploadBatch:
    """Outcomes of many uploads, each as its file finishes.

    Sources are taken only as fast as the uploads go, and uploads go on only as fast as outcomes are
    taken. Leaving the loop early, or the session, cancels what is still on its way.

    :param sources: Sources, :class:`UploadItem`, or failures met while listing them.
    :param upload: Uploads one.
    :param at_a_time: Files to work on at a time.
    :param group: Where the work runs.
    """

    def __init__(
        self,
        sources: AsyncIterable[object] | Iterable[object],
        upload: UploadOne,
        *,
        at_a_time: int,
        group: TaskGroup,
    ) -> None:
        self._group = group
        self._send, self._outcomes = anyio.create_memory_object_stream[Outcome]()
        self._work = _Work(sources, upload, at_a_time)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._group.start_soon(self._work.run, self._send)
        try:
            return await self._outcomes.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._outcomes.close()
            fatal, self._work.fatal = self._work.fatal, None
            if fatal is not None:
                raise fatal from None
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Cancel what is still on its way."""
        self._stop()

    def _stop(self) -> None:
        self._work.scope.cancel()
        self._outcomes.close()
        if self._loop is None:
            self._send.close()

    def __del__(self) -> None:
        # A loop that is left early just drops its iterator, which has no other way to hear of that,
        # and may be collected in any thread.
        if self._loop is None:
            self._stop()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_end, self._work.scope, self._outcomes)


def _end(scope: anyio.CancelScope, outcomes: MemoryObjectReceiveStream[Outcome]) -> None:
    scope.cancel()
    outcomes.close()


class _Work:
    """Runs the uploads of a batch; does not know the batch, so that dropping that can end this."""

    def __init__(
        self,
        sources: AsyncIterable[object] | Iterable[object],
        upload: UploadOne,
        at_a_time: int,
    ) -> None:
        self._sources = sources
        self._upload = upload
        self._places = anyio.Semaphore(at_a_time)
        self.scope = anyio.CancelScope()
        self.fatal: Exception | None = None

    async def run(self, outcomes: MemoryObjectSendStream[Outcome]) -> None:
        with self.scope:
            async with outcomes:
                try:
                    async with task_group() as group:
                        await self._start_all(group, outcomes)
                except Exception as error:  # noqa: BLE001 - raised again where the outcomes are read
                    self.fatal = error

    async def _start_all(self, group: TaskGroup, outcomes: MemoryObjectSendStream[Outcome]) -> None:
        await self._places.acquire()
        async for source in each(self._sources):
            group.start_soon(self._one, source, outcomes)
            await self._places.acquire()

    async def _one(self, source: object, outcomes: MemoryObjectSendStream[Outcome]) -> None:
        try:
            await outcomes.send(await self._outcome(source))
        except anyio.BrokenResourceError:
            logger.debug("nobody takes the outcomes any more")
            self.scope.cancel()
        finally:
            self._places.release()

    async def _outcome(self, source: object) -> Outcome:
        if isinstance(source, UploadFailure):
            return source
        item = source if isinstance(source, UploadItem) else UploadItem(source=source)  # type: ignore[arg-type]  # open_source refuses what is none
        try:
            return await self._upload(item)
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001 - one file's failure must not stop the others
            return UploadFailure(
                source=item.source,
                name=item.name or name_of(item.source),
                error=error,
                description=item.description,
            )


async def each(items: AsyncIterable[object] | Iterable[object]) -> AsyncIterator[object]:
    """Go over any iterable; one that may block, such as a generator, is advanced in a thread."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    elif isinstance(items, list | tuple | set | frozenset):
        for item in items:
            yield item
    else:
        iterator, end = iter(items), object()
        while (item := await to_thread.run_sync(next, iterator, end)) is not end:
            yield item
