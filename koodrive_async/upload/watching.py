"""Watching uploads: who hears of what, and how often."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import weakref
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from koodrive_async.callbacks import FailingAlone, check_nothing_to_await
from koodrive_async.upload.events import (
    FileCancelled,
    FileFailed,
    FileFinished,
    FileStarted,
    PartRetried,
    Phase,
    Progress,
    Totals,
)
from koodrive_async.upload.receipt import UploadFailure
from koodrive_async.upload.source import name_of
from koodrive_async.upload.trace import FileTrace, HashSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from koodrive_async.upload.events import Event, OnProgress
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.receipt import UploadReceipt
    from koodrive_async.upload.trace import PartSpan

logger: logging.Logger = logging.getLogger(__name__)

_BYTES = (bytes, bytearray, memoryview)

REPORT_EVERY = 0.1
"""Seconds between two reports of progress on the same file."""

EVENTS_KEPT = 10_000
"""Events that wait for one who watches, at the most; the oldest ones go first."""

PARTS_KEPT = 20_000
"""Parts of which a session knows what happened to them."""


class SessionWatch:
    """What is known of all files of a session, and who wants to hear of it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._watching: weakref.WeakSet[Events] = weakref.WeakSet()
        self._traces: deque[FileTrace] = deque()
        self._parts = 0
        self._ended = False

    @property
    def totals(self) -> Totals:
        """How far all files have come."""
        return Totals(**self._counts)

    @property
    def traces(self) -> tuple[FileTrace, ...]:
        """What happened to the newest files."""
        return tuple(self._traces)

    @property
    def is_watched(self) -> bool:
        """Whether anybody would hear of an event."""
        return bool(self._watching)

    def events(self) -> Events:
        """Begin to watch."""
        events = Events(self._watching.discard)
        if self._ended:
            events.end()
        else:
            self._watching.add(events)
        return events

    def end(self) -> None:
        """Tell all who watch that there will be no more."""
        self._ended = True
        for events in tuple(self._watching):
            events.end()

    def file(self, item: UploadItem, on_progress: OnProgress | None) -> FileWatch:
        """Begin with a file."""
        self._counts["files"] += 1
        return FileWatch(self, self._counts["files"], item, on_progress)

    def failed_before(self, failure: UploadFailure) -> None:
        """Hear of a file that could not even be begun."""
        self.count(files=1, failed=1)
        number, totals = self._counts["files"], self.totals
        self.tell(
            FileFailed(
                number=number,
                name=failure.name or "",
                description=failure.description,
                totals=totals,
                failure=failure,
            )
        )

    def count(self, **more: int) -> None:
        """Count something of :class:`Totals`."""
        for name, number in more.items():
            self._counts[name] += number

    def tell(self, event: Event) -> None:
        """Tell all who watch."""
        for events in tuple(self._watching):
            events.put(event)

    def keep(self, trace: FileTrace) -> None:
        """Remember what happened to a file, at the cost of what was long ago."""
        self._traces.append(trace)
        self._parts += 1 + len(trace.parts)
        while self._parts > PARTS_KEPT and len(self._traces) > 1:
            self._parts -= 1 + len(self._traces.popleft().parts)


class FileWatch:
    """What is known of one file.

    :param session: Of the session that it is in.
    :param number: Counts the files of that.
    :param on_progress: A callback for this file alone.
    :ivar name: In the record, as far as it is known.
    :ivar description: In a tree, its relative path.
    """

    def __init__(
        self, session: SessionWatch, number: int, item: UploadItem, on_progress: OnProgress | None
    ) -> None:
        self._session = session
        self._item = item
        self._on_progress = on_progress
        self.name: str = item.name or name_of(item.source) or ""
        self.description: str | None = item.description
        self._identity: dict[str, Any] = {
            "number": number,
            "name": self.name,
            "description": self.description,
        }
        self._size = 0
        self._done = dict.fromkeys(Phase, 0)
        # the first report comes at once; where nobody hears it, no thread waits for it
        self._reported = -math.inf if self._is_heard else time.monotonic()
        self._began = time.perf_counter()
        self._hash_queued: float | None = None
        self._hash_began: float | None = None
        self._hashing: HashSpan | None = None
        self._parts: list[PartSpan] = []
        self._is_finished = False
        # an event may wait for long, and is not to keep the bytes meanwhile
        self._source = None if isinstance(item.source, _BYTES) else item.source
        if session.is_watched:
            session.tell(FileStarted(**self._identity, totals=session.totals, source=self._source))

    def opened(self, size: int) -> None:
        """Note its size, which is known now."""
        self._size = size
        self._session.count(size=size)

    # --- hashing -------------------------------------------------------------------------------

    @property
    def wants_progress(self) -> bool:
        """Whether it is time for a report, if only for the totals; may be asked in any thread."""
        return time.monotonic() - self._reported >= REPORT_EVERY

    @property
    def _is_heard(self) -> bool:
        return self._on_progress is not None or self._session.is_watched

    def hash_queued(self) -> None:
        """Note that it waits for its turn to be hashed."""
        self._hash_queued = time.perf_counter()

    def hash_began(self) -> None:
        """Note that it is its turn; it may have several."""
        if self._hash_began is None:
            self._hash_began = time.perf_counter()

    def hashing(self, done: int) -> None:
        """Tell that so much of it has been hashed."""
        self._move(Phase.HASH, done)

    def hashed(self) -> None:
        """Tell that its digest is known."""
        self._hashing = self._hashing_until_now()
        self._move(Phase.HASH, self._size, last=True)

    def _hashing_until_now(self) -> HashSpan | None:
        if self._hash_began is None:
            return None
        queued = self._hash_began if self._hash_queued is None else self._hash_queued
        return HashSpan(queued=queued, began=self._hash_began, ended=time.perf_counter())

    def hashed_when_opened(self) -> None:
        """Tell that it was small enough to be hashed as it was opened."""
        self._hash_queued = self._hash_began = self._began
        self.hashed()

    # --- sending -------------------------------------------------------------------------------

    def sent(self, span: PartSpan) -> None:
        """Note an attempt to send a part that has ended."""
        self._parts.append(span)
        if span.error is None:
            self._session.count(sent=span.size)

    def retried(self, part: int, attempt: int, error: Exception) -> None:
        """Tell that a part is going to be sent again."""
        self.again(1)
        if self._session.is_watched:
            self._session.tell(
                PartRetried(
                    **self._identity,
                    totals=self._session.totals,
                    part=part,
                    attempt=attempt,
                    error=error,
                )
            )

    def again(self, parts: int) -> None:
        """Count parts that are going to be sent again."""
        self._session.count(retries=parts)

    def arrived(self, size: int) -> None:
        """Tell that so many more bytes have been acknowledged."""
        self._move(Phase.UPLOAD, self._done[Phase.UPLOAD] + size)

    # --- the end -------------------------------------------------------------------------------

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell of what the block ends with, unless it has called :meth:`finished`."""
        try:
            yield
        except Exception as error:
            self._failed(error)
            raise
        except BaseException:
            self._cancelled()
            raise
        if not self._is_finished:  # its cancel scope has swallowed the cancellation
            self._cancelled()

    def trace(self, *, cancelled: bool = False) -> FileTrace:
        """Return what happened to it, as of now."""
        return FileTrace(
            name=self.name,
            description=self.description,
            began=self._began,
            ended=time.perf_counter(),
            cancelled=cancelled,
            hashing=self._hashing or self._hashing_until_now(),
            parts=tuple(self._parts),
        )

    def completed(self) -> None:
        """Tell that all of it is in the record."""
        self._move(Phase.UPLOAD, self._size, last=True)

    def finished(self, receipt: UploadReceipt) -> None:
        """Tell that it is in the record, which nobody can take back."""
        session = self._session
        self._is_finished = True
        session.count(done=1)
        logger.debug(
            "%s: %s, %d bytes in %.3f s, file %s",
            self.description or self.name,
            receipt.outcome,
            receipt.size,
            receipt.seconds,
            receipt.file_id,
        )
        if receipt.trace is not None:
            session.keep(receipt.trace)
        if session.is_watched:
            session.tell(FileFinished(**self._identity, totals=session.totals, receipt=receipt))

    def _failed(self, error: Exception) -> None:
        session, item = self._session, self._item
        session.count(failed=1)
        session.keep(self.trace())
        logger.debug("%s: failed: %s", self.description or self.name, error)
        if session.is_watched:
            failure = UploadFailure(
                source=item.source,
                name=item.name or name_of(item.source),
                error=error,
                description=item.description,
            )
            session.tell(FileFailed(**self._identity, totals=session.totals, failure=failure))

    def _cancelled(self) -> None:
        session = self._session
        session.count(cancelled=1)
        session.keep(self.trace(cancelled=True))
        if session.is_watched:
            session.tell(FileCancelled(**self._identity, totals=session.totals))

    def _move(self, phase: Phase, done: int, *, last: bool = False) -> None:
        """Go forward, never back, and tell of it if it is time to.

        :param last: Whether the phase is over, which is told once: not when all bytes are there.
        """
        session = self._session
        more = done - self._done[phase]
        if more > 0:
            self._done[phase] = done
            session.count(**{"hashed" if phase is Phase.HASH else "uploaded": more})
        if not last and (done >= self._size or not self.wants_progress):
            return
        self._reported = time.monotonic()
        if not self._is_heard:
            return
        progress = Progress(
            **self._identity,
            phase=phase,
            done=self._done[phase],
            total=self._size,
            source=self._source,
            totals=session.totals,
        )
        session.tell(progress)
        if self._on_progress is not None:
            # a type that says None is no proof
            with FailingAlone("on_progress"):
                result: object = self._on_progress(progress)
            if result is not None:
                check_nothing_to_await("on_progress", result)


class Events:
    """What happens in a session, from the moment when it was asked for to the session's end.

    An async iterator of :data:`Event`. Whoever is slow slows nothing: progress of a file that was
    not taken yet is replaced by what is newer, and of 10,000 events that wait the oldest are
    dropped, which :attr:`missed` counts; :class:`Totals` are right all the same.

    :ivar missed: Events that were dropped.
    """

    def __init__(self, forget: Callable[[Events], None] | None = None) -> None:
        self._forget = forget
        self.missed: int = 0
        self._waiting: dict[object, Event] = {}
        self._retries = 0
        self._ended = False
        self._wakeup: asyncio.Future[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            if self._wakeup is None or self._wakeup.done():
                self._wakeup = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._wakeup)
        return self._waiting.pop(next(iter(self._waiting)))

    async def aclose(self) -> None:
        """Hear no more."""
        self._waiting.clear()
        if self._forget is not None:
            self._forget(self)
        self.end()

    def put(self, event: Event) -> None:
        """Hear of something."""
        if self._ended:
            return
        key = self._key(event)
        # what is newer goes to the end, so that totals never go back
        if self._waiting.pop(key, None) is None and len(self._waiting) >= EVENTS_KEPT:
            del self._waiting[next(iter(self._waiting))]
            self.missed += 1
        self._waiting[key] = event
        self._wake()

    def end(self) -> None:
        """Hear no more when what waits has been taken."""
        self._ended = True
        self._wake()

    def _key(self, event: Event) -> object:
        match event:
            case Progress():
                return event.number, event.phase
            case PartRetried():
                self._retries += 1
                return event.number, self._retries
        return event.number, type(event)

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
