"""The way of one file: fingerprint, create, send the parts, complete."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import MalformedResponse
from koodrive_async.hashing import MIDSTATE_GRID, proof_code
from koodrive_async.models import MultiPartInfo, NewBackupFile
from koodrive_async.threads import call_in_loop
from koodrive_async.upload.parts import PartsUpload
from koodrive_async.upload.progress import Phase, Progress
from koodrive_async.upload.receipt import Outcome, Seconds, UploadReceipt
from koodrive_async.upload.urls import PartUrls

if TYPE_CHECKING:
    from koodrive_async.hashing import Fingerprint
    from koodrive_async.models import CreatedBackupFile
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.plan import Plan
    from koodrive_async.upload.progress import OnProgress
    from koodrive_async.upload.source import Content

MANY_PARTS = 100
"""With more parts than this, lists of them are made in a worker thread."""

_REPORT_EVERY = 0.1
"""Seconds between two reports of progress on the same file."""


@attrs.frozen(kw_only=True)
class Destination:
    """Where an upload goes: a record, and the lock that allows writing to it."""

    record_id: str
    lock_id: str


@attrs.define(kw_only=True, eq=False)
class FileUpload:
    """One file on its way.

    :param began: When work on it began, by :func:`time.perf_counter`.
    """

    means: Means
    item: UploadItem
    destination: Destination
    name: str
    content: Content
    plan: Plan
    on_progress: OnProgress | None
    began: float
    _reported: float = 0.0
    _acknowledged: int = 0
    _retries: int = 0

    async def run(self) -> UploadReceipt:
        """See it through; raises as :meth:`Uploader.upload`."""
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
            await self.means.files.complete(_file_id(created), fingerprint.sha256)
            completed = time.perf_counter()
        self._report(Phase.UPLOAD, self.plan.size, last=True)
        return UploadReceipt(
            outcome=outcome,
            file_id=_file_id(created),
            name=created.file_name or self.name,
            sha256=fingerprint.sha256,
            size=self.plan.size,
            parts=len(self.plan) if outcome == "uploaded" else 0,
            retries=self._retries,
            seconds=completed - self.began,
            phases=Seconds(
                hash=hashed - self.began,
                create=made - hashed,
                send=sent - made,
                complete=completed - sent,
            ),
            container_id=created.container_id or self.item.container_id,
            description=self.item.description,
        )

    # --- hashing -------------------------------------------------------------------------------

    async def _fingerprint(self) -> Fingerprint:
        size = self.plan.part_size
        # midstates are needed at the part boundaries: the usual grid when they all lie on it
        grid = MIDSTATE_GRID if size % MIDSTATE_GRID == 0 else size
        report = partial(self._on_hashed, asyncio.get_running_loop())
        found = await self.means.hashing.fingerprint(self.content, grid, report)
        self._report(Phase.HASH, self.plan.size, last=True)
        return found

    def _on_hashed(self, loop: asyncio.AbstractEventLoop, done: int) -> None:
        if self.on_progress and time.monotonic() - self._reported >= _REPORT_EVERY:
            call_in_loop(loop, self._report, Phase.HASH, done)

    # --- creating ------------------------------------------------------------------------------

    async def _create(
        self, fingerprint: Fingerprint
    ) -> tuple[CreatedBackupFile, tuple[MultiPartInfo, ...]]:
        if len(self.plan) > MANY_PARTS:
            parts = await self.means.short_work.run(_announcement, self.plan, fingerprint)
        else:
            parts = _announcement(self.plan, fingerprint)
        item = self.item
        file = NewBackupFile(
            file_name=self.name,
            sha256=fingerprint.sha256,
            length=self.plan.size,
            multi_parts=parts,
            proof_code=self._proof_code,
            description=item.description,
            mime_type=item.mime_type,
            parent_folder=None if item.parent_folder is None else (item.parent_folder,),
            auto_rename=item.auto_rename,
            container_id=item.container_id,
        )
        created = await self.means.files.create(
            self.destination.record_id, file, lock_id=self.destination.lock_id
        )
        return created, parts

    async def _proof_code(self, origin: str) -> str | None:
        prove = partial(proof_code, origin, self.plan.size, self._read)
        if self.content.descriptor is None:
            return prove()
        return await self.means.short_work.run(prove)

    def _read(self, offset: int, length: int) -> bytes:
        return bytes(self.content.read(offset, length))

    # --- sending -------------------------------------------------------------------------------

    async def _send(
        self, file_id: str, parts: tuple[MultiPartInfo, ...], answered: tuple[MultiPartInfo, ...]
    ) -> None:
        sending = PartsUpload(
            self.means,
            self.content,
            self.plan,
            PartUrls(self.means.files, file_id, parts, answered),
            name=self.name,
            on_acknowledged=self._on_acknowledged,
        )
        await sending.run()
        self._retries = sending.retries

    def _on_acknowledged(self, size: int) -> None:
        self._acknowledged += size
        if self._acknowledged < self.plan.size:  # the end is reported once, by run()
            self._report(Phase.UPLOAD, self._acknowledged)

    # --- progress ------------------------------------------------------------------------------

    def _report(self, phase: Phase, done: int, *, last: bool = False) -> None:
        now = time.monotonic()
        if self.on_progress is None or (now - self._reported < _REPORT_EVERY and not last):
            return
        self._reported = now
        self.on_progress(
            Progress(
                name=self.name,
                phase=phase,
                done=done,
                total=self.plan.size,
                description=self.item.description,
                source=self.item.source,
            )
        )


def _announcement(plan: Plan, fingerprint: Fingerprint) -> tuple[MultiPartInfo, ...]:
    return tuple(
        MultiPartInfo(
            part_number=part.number,
            part_size=part.size,
            part_offset=part.offset,
            hash_ctx=fingerprint.midstate(part.offset) if part.offset else (),
        )
        for part in plan.parts
    )


def _file_id(created: CreatedBackupFile) -> str:
    if created.file_id is None:
        raise MalformedResponse(
            "the answer has no fileId", method="POST", path="backup file", status=200
        )
    return created.file_id
