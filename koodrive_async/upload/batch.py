"""Uploading many files at a time, with the outcomes as they come."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple, Self

import anyio

from koodrive_async.callbacks import failing_alone
from koodrive_async.errors import (
    AuthenticationError,
    ClientClosed,
    ForkedClient,
    InsufficientSpace,
    InvalidArgument,
    LockLost,
    OutOfThreads,
    TokenRefreshFailed,
    TransportError,
    WrongEventLoop,
)
from koodrive_async.tasks import task_group
from koodrive_async.threads import AbandonableThread
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.receipt import UploadFailure, UploadReceipt
from koodrive_async.upload.source import name_of
from koodrive_async.upload.streams import closing_each

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
    OutOfThreads,
    TokenRefreshFailed,
    WrongEventLoop,
)
"""Errors that every further file would meet as well."""


def _nothing(_: UploadFailure) -> None:
    """Nobody wants to know."""


class UploadBatch:
    """Outcomes of many uploads, each as its file finishes.

    Sources are taken only as fast as the uploads go, and uploads go on only as fast as outcomes are
    taken. Leaving the loop early, or the session, cancels the uploads that still run; a session of
    which a batch was left early does not complete its record (:exc:`BackupIncomplete`).

    Any number of tasks may iterate over one batch. Each outcome goes to exactly one of them; the
    error that ends a batch is raised in one of them, and the loops of the others end. A task that
    is cancelled while it waits takes no outcome with it.

    :param sources: Sources, :class:`UploadItem`, or failures met while listing them.
    :param upload: Uploads one.
    :param at_a_time: Files to work on at a time, with those whose outcome waits to be taken.
    :param group: Where the work runs.
    :param batches: The batches of the session, which this one becomes one of.
    :param on_failed_before: Told of failures that came instead of a source.
    """

    def __init__(
        self,
        sources: AsyncIterable[object] | Iterable[object],
        upload: UploadOne,
        *,
        at_a_time: int,
        group: TaskGroup,
        batches: Batches,
        on_failed_before: Callable[[UploadFailure], None] = _nothing,
    ) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._was_closed = False
        self._group = group
        self._work = _Work(sources, upload, at_a_time, on_failed_before)
        batches.add(self._work)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        work = self._work
        if self._loop is None:
            if self._group.cancel_scope.cancel_called:
                self._was_closed = True
                raise ClientClosed("the backup session of these uploads has ended")
            self._loop = asyncio.get_running_loop()
            work.has_begun = True
            self._group.start_soon(work.run)
        while not work.outcomes and not work.ended.is_set():
            work.news = work.news or anyio.Event()
            await work.news.wait()
        if work.outcomes:
            return work.take()
        error, work.error = work.error, None
        if error is not None:
            raise error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the uploads that still run, and wait until they have ended.

        Loops of other tasks over this batch end then. A batch that is closed before its end counts
        as left early.
        """
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


class Left(NamedTuple):
    """Batches that were not gone through to their end.

    :ivar batches: How many.
    :ivar unknown: Those of them whose outcomes were all taken, while it was not known in time
        whether another source follows.
    """

    batches: int
    unknown: int


class Batches:
    """The batches of one session, and whether each was gone through to its end.

    :param patience: Seconds that sources have to end when the session is left after the last
        outcome was taken.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._left = 0
        self._works: list[_Work] = []

    def add(self, work: _Work) -> None:
        """Begin to watch a batch."""
        self._forget_what_is_settled()
        self._works.append(work)

    async def left_early(self) -> Left:
        """Return how many were left before their end.

        A batch whose last outcome was taken may not have seen yet that no source follows: the next
        page of a listing takes its time.
        """
        with anyio.move_on_after(self._patience):
            for work in self._works:
                work.look_for_more()
            for work in self._works:
                await work.until_looked()
        self._forget_what_is_settled()
        unknown = sum(work.is_looking for work in self._works)
        return Left(self._left + len(self._works), unknown)

    @property
    def seem_left(self) -> bool:
        """Whether some seem to have been left early, by what is known at this moment."""
        return bool(self._left) or any(work.seems_left for work in self._works)

    def _forget_what_is_settled(self) -> None:
        # a session may have any number of batches: each is kept for as long as it matters
        self._left += sum(work.was_left for work in self._works)
        self._works = [work for work in self._works if not (work.was_left or work.was_gone_through)]


class _Work:
    """Runs the uploads of a batch; does not know the batch, so that dropping that can end this.

    A place is taken before a source is, and given back when its outcome has been handed out.

    :ivar has_begun: Whether anything has asked for an outcome.
    :ivar news: Is set when there is something to take; None while no task waits.
    """

    def __init__(
        self,
        sources: AsyncIterable[object] | Iterable[object],
        upload: UploadOne,
        at_a_time: int,
        on_failed_before: Callable[[UploadFailure], None],
    ) -> None:
        self._sources: AsyncIterable[object] | Iterable[object] = sources
        self._upload = upload
        self._on_failed_before = on_failed_before
        self._scope = anyio.CancelScope()
        self._given_up = self._has_uploaded_all = self._only_looks = False
        self._fatal: Exception | None = None
        self._running = self._taken = 0
        self._size: int | None = None
        self.has_begun: bool = False
        self.places: anyio.Semaphore = anyio.Semaphore(at_a_time)
        self.outcomes: deque[Outcome] = deque()
        self.error: Exception | None = None
        self.news: anyio.Event | None = None
        self.ended: anyio.Event = anyio.Event()

    @property
    def was_gone_through(self) -> bool:
        """Whether an outcome of each file has been taken."""
        if self.outcomes or self._fatal is not None:
            return False
        return self._has_uploaded_all or self._taken == (self._size or _size_of(self._sources))

    @property
    def was_left(self) -> bool:
        """Whether it is certain that some file has no outcome, or one that was not taken."""
        return self.ended.is_set() and not self.outcomes and not self.was_gone_through

    @property
    def seems_left(self) -> bool:
        """Whether the batch has stopped although some file has no outcome, or an outcome not taken.

        Where all outcomes were taken, the batch may not have seen yet that no source follows.
        """
        if self.was_gone_through:
            return False
        return bool(not self.has_begun or self._given_up or self._running or self.outcomes)

    def take(self) -> Outcome:
        """Hand out an outcome; the caller has checked that there is one."""
        self.places.release()
        self._taken += 1
        return self.outcomes.popleft()

    def give_up(self) -> None:
        """Cancel everything and forget the outcomes that were not taken."""
        if self.outcomes:
            self._has_uploaded_all = False
        self._given_up = True
        self._scope.cancel()
        self.outcomes.clear()

    def look_for_more(self) -> None:
        """Upload no other source, if all outcomes were taken: only find out whether one follows."""
        is_idle = not self._running and not self.outcomes and not self._given_up
        self._only_looks = self.has_begun and is_idle

    @property
    def is_looking(self) -> bool:
        """Whether it is not known yet whether another source follows."""
        return self._only_looks and not self.ended.is_set()

    async def until_looked(self) -> None:
        """Wait until it is known whether another source follows."""
        if self._only_looks:
            await self.ended.wait()

    async def run(self) -> None:
        """Upload everything; afterwards ``error`` says why it ended early, if it did."""
        self.error = ClientClosed("the backup session ended before these uploads did")
        try:
            with self._scope:
                async with task_group() as group:
                    sources_ended = await self._start_all(group)
                self.error = self._fatal
                self._has_uploaded_all = sources_ended and not (self._fatal or self._given_up)
        except Exception as error:  # noqa: BLE001 - raised again where the outcomes are taken
            self.error = error
        finally:
            if self._given_up:
                self.error = None
            # what was left early may be remembered for long
            self._size, self._sources = _size_of(self._sources), iter(())
            self.ended.set()
            self._tell()

    async def _start_all(self, group: TaskGroup) -> bool:
        """Return whether the sources have ended."""
        await self.places.acquire()
        async with aclosing(failing_alone("sources", each(self._sources))) as sources:
            async for source in sources:
                if self._only_looks:
                    return False
                self._running += 1
                group.start_soon(self._one, source)
                await self.places.acquire()
                if self._fatal is not None:  # those that have begun may finish
                    return False
        return True

    async def _one(self, source: object) -> None:
        try:
            outcome = await self._outcome(source)
        finally:
            self._running -= 1
        if not self._given_up:  # one that just made it may come in while all is being cancelled
            self.outcomes.append(outcome)
        self._tell()

    def _tell(self) -> None:
        # all who wait share one event; the first who waits after this makes another one
        news, self.news = self.news, None
        if news is not None:
            news.set()

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


def _size_of(sources: object) -> int | None:
    # not of any Sized: len() of a query may ask a database
    return len(sources) if isinstance(sources, list | tuple | set | frozenset) else None


def check_sources(sources: object) -> None:
    """Refuse what is not many sources.

    :raises InvalidArgument: ``sources`` is itself a source, or cannot be iterated over.
    """
    if isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike):
        kind = type(sources).__name__
        raise InvalidArgument(
            f"sources: a list of sources, not one {kind}: put it into a list, or give it to "
            "upload()"
        )
    if callable(getattr(sources, "read", None)):  # would be taken for a list of its lines
        kind = type(sources).__name__
        raise InvalidArgument(f"sources: a list of sources, not one {kind}: put it into a list")
    if not isinstance(sources, Iterable | AsyncIterable):
        kind = type(sources).__name__
        raise InvalidArgument(f"sources: an iterable of sources, which a {kind} is not")


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
