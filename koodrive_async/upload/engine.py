"""The way of one file: fingerprint, plan, create, send the parts, complete."""

from __future__ import annotations

import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import attrs
from anyio import CapacityLimiter, from_thread

from koodrive_async.errors import (
    ClientClosed,
    MalformedResponse,
    PartRejected,
    SourceChanged,
    TransportError,
)
from koodrive_async.hashing import MIDSTATE_GRID, proof_code
from koodrive_async.models import MultiPartInfo, NewBackupFile
from koodrive_async.tasks import task_group
from koodrive_async.threads import in_thread
from koodrive_async.transport.retry import Failure, delay_before_retry
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.part import MEMORY_FOR_A_PART, AiohttpPartSender, PartSender
from koodrive_async.upload.plan import plan_parts
from koodrive_async.upload.progress import OnProgress, Phase, Progress
from koodrive_async.upload.receipt import Outcome, Seconds, UploadReceipt
from koodrive_async.upload.source import Content, open_source
from koodrive_async.upload.urls import PartUrls

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from koodrive_async.config import Limits, RetryPolicy, Timeouts
    from koodrive_async.hashing import Fingerprint
    from koodrive_async.models import CreatedBackupFile
    from koodrive_async.resources import Files
    from koodrive_async.transport.clock import Clock
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.plan import Plan, PlannedPart

logger = logging.getLogger(__name__)

_REPORT_EVERY = 0.1
"""Seconds between two reports of progress on the same file."""

_FORBIDDEN = 403


@attrs.frozen(kw_only=True)
class Destination:
    """Where an upload goes: a record, and the lock that allows writing to it."""

    record_id: str
    lock_id: str


@attrs.frozen(kw_only=True)
class _Means:
    """What everything that one client uploads at a time shares."""

    sender: PartSender
    connections: CapacityLimiter
    hashing: CapacityLimiter
    io: CapacityLimiter
    memory: MemoryBudget


class Uploader:
    """Uploads files within one client's limits.

    Memory for file content is at most ``Limits.memory``: each part on its way reserves 3 MiB (a
    slice read ahead, one being sent, one in the transport) before it reads anything, however large
    it is. Each file that is being hashed has a buffer of 1 MiB beside that.
    """

    def __init__(
        self, files: Files, *, limits: Limits, timeouts: Timeouts, retry: RetryPolicy, clock: Clock
    ) -> None:
        self.files = files
        self.limits = limits
        self.retry = retry
        self.clock = clock
        self._timeouts = timeouts
        self._means: _Means | None = None

    def open(self, session: aiohttp.ClientSession) -> None:
        """Send parts through this session from now on."""
        limits = self.limits
        # worker threads of our own count: the default limiter is the application's to use
        io = CapacityLimiter(limits.connections + limits.hash_workers)
        self._means = _Means(
            sender=AiohttpPartSender(session, io, self._timeouts),
            connections=CapacityLimiter(limits.connections),
            hashing=CapacityLimiter(limits.hash_workers),
            io=io,
            memory=MemoryBudget(limits.memory),
        )

    def close(self) -> None:
        """Send nothing any more."""
        self._means = None

    @property
    def means(self) -> _Means:
        """What uploads share.

        :raises ClientClosed: The client is not open.
        """
        if self._means is None:
            raise ClientClosed("this client is not open: use it inside 'async with KooDrive(...)'")
        return self._means

    async def upload(
        self, item: UploadItem, destination: Destination, on_progress: OnProgress | None = None
    ) -> UploadReceipt:
        """Upload one file.

        :raises InvalidArgument: A name, part size or source breaks a rule.
        :raises OSError: The source cannot be read.
        :raises SourceChanged: It changed meanwhile; nothing was completed.
        :raises PartRejected: The object store refused a part for good.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.

        Cancellation stops hashing and sending at once and completes nothing.
        """
        means = self.means
        name = item.file_name()
        plan_parts(0, item.part_size)  # refuses a bad part size before anything is read
        began = time.perf_counter()
        async with open_source(item.source, means.io) as content:
            plan = plan_parts(content.size, item.part_size)
            return await _FileUpload(
                uploader=self,
                means=means,
                item=item,
                destination=destination,
                name=name,
                content=content,
                plan=plan,
                on_progress=on_progress,
                began=began,
            ).run()


@attrs.define
class _Sending:
    """A part that is not there yet."""

    part: PlannedPart
    attempt: int = 1
    refused_url: str | None = None


@attrs.define
class _Checkpoint:
    """What hashing passes after every slice: where it is told to end, and tells how far it is."""

    report: Callable[[int], None]
    stopped: bool = False

    def __call__(self, done: int) -> None:
        if self.stopped:
            raise InterruptedError("hashing was cancelled")
        self.report(done)

    def stop(self) -> None:
        self.stopped = True


@attrs.define(kw_only=True)
class _FileUpload:
    """One file on its way."""

    _uploader: Uploader
    _means: _Means
    _item: UploadItem
    _destination: Destination
    _name: str
    _content: Content
    _plan: Plan
    _on_progress: OnProgress | None
    _began: float
    _reported: float = 0.0
    _acknowledged: int = 0
    _retries: int = 0

    async def run(self) -> UploadReceipt:
        fingerprint = await self._fingerprint()
        hashed = time.perf_counter()
        created, parts = await self._create(fingerprint)
        made = sent = completed = time.perf_counter()
        outcome: Outcome = "uploaded"
        if created.exist:
            outcome = "exists"
        elif created.rapid_upload:
            outcome = "rapid"
        else:
            await self._send(_file_id(created), parts, created.multi_parts)
            sent = time.perf_counter()
            await self._uploader.files.complete(_file_id(created), fingerprint.sha256)
            completed = time.perf_counter()
        self._report(Phase.UPLOAD, self._plan.size, last=True)
        return UploadReceipt(
            outcome=outcome,
            file_id=_file_id(created),
            name=created.file_name or self._name,
            sha256=fingerprint.sha256,
            size=self._plan.size,
            parts=len(self._plan) if outcome == "uploaded" else 0,
            retries=self._retries,
            seconds=completed - self._began,
            phases=Seconds(
                hash=hashed - self._began,
                create=made - hashed,
                send=sent - made,
                complete=completed - sent,
            ),
            container_id=created.container_id or self._item.container_id,
            description=self._item.description,
        )

    # --- hashing -------------------------------------------------------------------------------

    async def _fingerprint(self) -> Fingerprint:
        size = self._plan.part_size
        # midstates are needed at the part boundaries: the usual grid when they all lie on it
        grid = MIDSTATE_GRID if size % MIDSTATE_GRID == 0 else size
        found = await self._content.fingerprint(
            grid, self._means.hashing, _Checkpoint(self._on_hashed)
        )
        await self._check_unchanged()
        self._report(Phase.HASH, self._plan.size, last=True)
        return found

    def _on_hashed(self, done: int) -> None:
        if self._on_progress and time.monotonic() - self._reported >= _REPORT_EVERY:
            from_thread.run_sync(self._report, Phase.HASH, done)

    async def _check_unchanged(self) -> None:
        await in_thread(self._content.check_unchanged, limiter=self._means.io)

    # --- creating ------------------------------------------------------------------------------

    async def _create(
        self, fingerprint: Fingerprint
    ) -> tuple[CreatedBackupFile, tuple[MultiPartInfo, ...]]:
        parts = tuple(
            MultiPartInfo(
                part_number=part.number,
                part_size=part.size,
                part_offset=part.offset,
                hash_ctx=fingerprint.midstate(part.offset) if part.offset else (),
            )
            for part in self._plan.parts
        )
        file = NewBackupFile(
            file_name=self._name,
            sha256=fingerprint.sha256,
            length=self._plan.size,
            multi_parts=parts,
            proof_code=self._proof_code,
            description=self._item.description,
            mime_type=self._item.mime_type,
            parent_folder=None if self._item.parent_folder is None else (self._item.parent_folder,),
            auto_rename=self._item.auto_rename,
            container_id=self._item.container_id,
        )
        created = await self._uploader.files.create(
            self._destination.record_id, file, lock_id=self._destination.lock_id
        )
        return created, parts

    async def _proof_code(self, origin: str) -> str | None:
        prove = partial(proof_code, origin, self._plan.size, self._read)
        return await in_thread(prove, limiter=self._means.io)

    def _read(self, offset: int, length: int) -> bytes:
        data = bytes(self._content.read(offset, length))
        if len(data) < length:
            self._content.check_unchanged()
            raise SourceChanged(self._name, f"{len(data)} bytes at offset {offset}, not {length}")
        return data

    # --- sending -------------------------------------------------------------------------------

    async def _send(
        self, file_id: str, parts: tuple[MultiPartInfo, ...], answered: tuple[MultiPartInfo, ...]
    ) -> None:
        urls = PartUrls(self._uploader.files, file_id, parts, answered)
        waiting = deque(_Sending(part) for part in self._plan.parts)
        async with task_group() as group:
            for _ in range(min(len(waiting), self._uploader.limits.connections)):
                group.start_soon(self._send_from, waiting, urls)
        await self._check_unchanged()

    async def _send_from(self, waiting: deque[_Sending], urls: PartUrls) -> None:
        memory = min(MEMORY_FOR_A_PART, self._plan.part_size, self._plan.size)
        while waiting:
            sending = waiting.popleft()
            # before the budgets: waiting for the interface keeps nothing from others
            url = await urls.get(sending.part.number, refused=sending.refused_url)
            async with self._means.connections, self._means.memory.reserve(memory):
                delay = await self._try(sending, url, urls)
            if delay is not None:
                # waiting keeps no connection and no memory from others
                await self._uploader.clock.sleep(delay)
                waiting.appendleft(sending)

    async def _try(self, sending: _Sending, url: str, urls: PartUrls) -> float | None:
        """Send a part once; return None if it got there, or the seconds until the next attempt."""
        part = sending.part
        await self._check_unchanged()
        try:
            await self._uploader.means.sender.send(part, self._content, url)
        except (PartRejected, TransportError) as error:
            delay = self._delay(sending, error, url)
            if delay is None:
                raise
            sending.attempt += 1
            self._retries += 1
            return delay
        urls.done(part.number)
        self._acknowledged += part.size
        if self._acknowledged < self._plan.size:  # the end is reported once, by run()
            self._report(Phase.UPLOAD, self._acknowledged)
        return None

    def _delay(
        self, sending: _Sending, error: PartRejected | TransportError, url: str
    ) -> float | None:
        error.attempts = sending.attempt
        if isinstance(error, PartRejected) and error.status == _FORBIDDEN:
            # most likely the URL has expired: one fresh one is worth a try, at once
            first = sending.refused_url is None
            sending.refused_url = url
            return 0.0 if first else None
        delay = delay_before_retry(
            Failure(error, sending.attempt, repeatable=True, policy=self._uploader.retry)
        )
        if delay is not None:
            logger.warning(
                "%s: attempt %d failed, next in %.1f s: %s",
                self._name,
                sending.attempt,
                delay,
                error,
            )
        return delay

    # --- progress ------------------------------------------------------------------------------

    def _report(self, phase: Phase, done: int, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._on_progress is None or (now - self._reported < _REPORT_EVERY and not last):
            return
        self._reported = now
        self._on_progress(
            Progress(
                name=self._name,
                phase=phase,
                done=done,
                total=self._plan.size,
                description=self._item.description,
                source=self._item.source,
            )
        )


def _file_id(created: CreatedBackupFile) -> str:
    if created.file_id is None:
        raise MalformedResponse(
            "the answer has no fileId", method="POST", path="backup file", status=200
        )
    return created.file_id
