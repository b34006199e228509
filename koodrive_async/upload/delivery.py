"""Bringing a hashed file into a record: create it, send its parts, complete it."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import (
    DuplicateFileName,
    IntegrityCheckFailed,
    PartRejected,
    SourceChanged,
    UploadTaskGone,
)
from koodrive_async.hashing import proof_code
from koodrive_async.models import AutoRename, CreatedBackupFile, MultiPartInfo, NewBackupFile
from koodrive_async.upload.chain import suspects, wrong_parts
from koodrive_async.upload.creation import Creation
from koodrive_async.upload.parts import PartsUpload
from koodrive_async.upload.space import space_of
from koodrive_async.upload.urls import PartUrls

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.models import BackupFile
    from koodrive_async.resources import Lease
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.journal import SavedUpload, UploadKey
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.plan import Plan, PlannedPart
    from koodrive_async.upload.receipt import Outcome
    from koodrive_async.upload.record_files import RecordFiles
    from koodrive_async.upload.source import Content
    from koodrive_async.upload.watching import FileWatch

logger: logging.Logger = logging.getLogger(__name__)

MENDINGS = 3
"""How often the parts of a file are sent again because the service finds them wrong."""

MANY_PARTS = 100
"""With more parts than this, lists of them are made in a worker thread."""


@attrs.frozen(kw_only=True)
class Destination:
    """Where uploads go.

    :param record: The record, and what is known to be in it.
    :param lease: The lock that allows writing to it.
    :param account: Whose it is, for the journal.
    """

    record: RecordFiles
    lease: Lease
    account: str


@attrs.define(kw_only=True, eq=False)
class Delivery:
    """One hashed file on its way into a record.

    What has been done is kept: when the lock is lost, what is being written is cancelled, and goes
    on under the next lock from where it was.

    :param key: What the journal knows this upload by.
    :param saved: Where an earlier run had got to.
    :param watch: Hears of each part that is there, once, and of those that are sent again.
    :ivar retries: Parts that were sent again.
    :ivar resumed: Parts that an earlier run had sent.
    :ivar created: What the service said of the file.
    :ivar made: When it had been created, by :func:`time.perf_counter`.
    :ivar sent: When its parts had arrived.
    """

    means: Means
    destination: Destination
    item: UploadItem
    name: str
    content: Content
    plan: Plan
    fingerprint: Fingerprint
    key: UploadKey
    saved: SavedUpload | None
    watch: FileWatch
    retries: int = 0
    resumed: int = 0
    created: CreatedBackupFile | None = None
    made: float = 0.0
    sent: float = 0.0
    _announced: tuple[MultiPartInfo, ...] = ()
    _creation: Creation | None = None
    _urls: PartUrls | None = None
    _stored_as: str | None = None
    _number: int | None = None
    # what the object store said of the parts that have arrived
    _etags: dict[int, str | None] = attrs.field(factory=dict)
    _reported: set[int] = attrs.field(factory=set)
    _uncertain: bool = False
    _mended: int = 0

    async def run(self) -> Outcome:
        """See it through; raises as :meth:`Uploader.upload`."""
        lease = self.destination.lease
        self._announced = await self._announcement()
        self._take_up()
        outcome = await self._create_under(lease)
        self.made = self.sent = time.perf_counter()
        if outcome == "uploaded":
            await self._deliver(lease)
        if self._number is not None:
            self.means.journal.completed(
                self._number,
                outcome,
                file_id=self.file_id,
                container_id=None if self.created is None else self.created.container_id,
            )
        return outcome

    async def _create_under(self, lease: Lease) -> Outcome:
        with self.means.instruments.span("create", parts=len(self.plan)) as span:
            outcome = await lease.run(self._create)
            span.add(outcome=outcome, file=self.file_id)
        return outcome

    async def _deliver(self, lease: Lease) -> None:
        try:
            await self._send_and_complete(lease)
        except (UploadTaskGone, PartRejected) as error:
            if not _is_forgotten(error):
                raise
            if await self._is_listed():
                return  # it had been completed, and the answer to that was lost
            logger.warning("%s: the service has forgotten its upload, which begins anew", self.name)
            self._forget()
            if await self._create_under(lease) == "uploaded":
                await self._send_and_complete(lease)

    async def _send_and_complete(self, lease: Lease) -> None:
        await lease.run(self._send)
        self.sent = time.perf_counter()
        with self.means.instruments.span("complete", file=self.file_id):
            await lease.run(self._complete)

    @property
    def file_id(self) -> str:
        """Id of the file, once it has been created."""
        assert self.created is not None  # noqa: S101 - tells the type checker
        assert self.created.file_id is not None  # noqa: S101 - the same
        return self.created.file_id

    @property
    def _is_worth_noting(self) -> bool:
        """Whether to note how it goes on: a small file is sent again sooner than that is noted.

        That it was begun and completed is noted of each.
        """
        return self.content.identity is not None and self.content.fingerprint is None

    # --- creating ------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Begin where an earlier run had got to."""
        saved = self.saved
        if saved is None:
            return
        self._number, self._stored_as = saved.number, saved.stored_name
        if saved.file_id is None:
            return
        self._created_as(
            CreatedBackupFile(
                file_id=saved.file_id,
                file_name=saved.stored_name,
                container_id=saved.container_id,
            ),
            self.means.clock.time(),
        )
        self.destination.record.own(saved.file_id)
        self._etags.update(saved.parts)
        self.resumed = len(saved.parts)
        if saved.parts:
            self._reported.update(saved.parts)
            self.watch.arrived(sum(p.size for p in self.plan.parts if p.number in saved.parts))

    async def _create(self) -> Outcome:
        if self.created is None:
            if self._creation is None:
                self._creation = await self._begin()
            asked_at = self.means.clock.time()
            try:
                created = await self._creation.run(self.destination.lease.lock_id)
            except DuplicateFileName:
                self._forget_number()  # the name that it notes is another file's
                raise
            self._created_as(created, asked_at)
            if self._number is not None and self._is_worth_noting:
                self.means.journal.created(
                    self._number,
                    file_id=self.file_id,
                    stored_name=created.file_name or self.name,
                    container_id=created.container_id,
                )
        assert self.created is not None  # noqa: S101 - tells the type checker
        if self.created.exist:
            return "exists"
        return "rapid" if self.created.rapid_upload else "uploaded"

    def _created_as(self, created: CreatedBackupFile, asked_at: float) -> None:
        self.created = created
        self._urls = PartUrls(
            self.means.files,
            self.file_id,
            self._announced,
            created.multi_parts,
            service_time=self.means.service_time,
            clock=self.means.clock,
            asked_at=asked_at,
            instruments=self.means.instruments,
        )

    async def _begin(self) -> Creation:
        record = self.destination.record
        is_noted = self._stored_as is not None
        is_free = True
        if self._stored_as is None:
            self._stored_as, is_free = self._take_name()
        if self._number is None:
            self._number = await self._note(self._stored_as)
        if self._number is None and self.means.journal.path is not None and self._renames:
            # a name that nobody will know of later must be nobody else's
            self._stored_as = record.marked_name(self.name, self.item.parent_folder, self.mark)
        return Creation(
            self.means,
            record,
            self._new_file(self._stored_as),
            # what an earlier run may have left under a name that was not noted can be anybody's
            certain=is_noted or (is_free and (record.knows_names or self._stored_as != self.name)),
            name=self.name,
            mark=self.mark,
            uncertain=self._uncertain or record.resumed,
            on_name=self._note_name,
        )

    async def _note_name(self, name: str) -> None:
        self._stored_as = name
        if self._number is not None:
            await self.means.journal.renamed(self._number, name)

    async def _note(self, name: str) -> int | None:
        """Note that the file is about to be created; return its number, if there is a journal."""
        number = await self.means.journal.creating(
            self.destination.account,
            self.destination.record.record_id,
            self.key,
            stored_name=name,
            sha256=self.fingerprint.sha256,
        )
        return number or None

    @property
    def _renames(self) -> bool:
        return self.item.auto_rename is AutoRename.RENAME

    def _take_name(self) -> tuple[str, bool]:
        record, item = self.destination.record, self.item
        if self._renames:
            return record.free_name(self.name, item.parent_folder, self.mark), True
        return self.name, record.take_name(self.name, item.parent_folder)

    @property
    def mark(self) -> str:
        """What tells this file from others of its name."""
        return f"{self.item.description or ''}\n{self.fingerprint.sha256}"

    def _new_file(self, name: str) -> NewBackupFile:
        item = self.item
        return NewBackupFile(
            file_name=name,
            sha256=self.fingerprint.sha256,
            length=self.plan.size,
            multi_parts=self._announced,
            proof_code=self._proof_code,
            description=item.description,
            mime_type=item.mime_type,
            parent_folder=None if item.parent_folder is None else (item.parent_folder,),
            auto_rename=item.auto_rename,
            container_id=item.container_id,
        )

    async def _announcement(self) -> tuple[MultiPartInfo, ...]:
        if len(self.plan) > MANY_PARTS:
            return await self.means.short_work.run(_announcement, self.plan, self.fingerprint)
        return _announcement(self.plan, self.fingerprint)

    async def _proof_code(self, origin: str) -> str | None:
        prove = partial(proof_code, origin, self.plan.size, self._read)
        if self.content.descriptor is None:
            return prove()
        return await self.means.short_work.run(prove)

    def _read(self, offset: int, length: int) -> bytes:
        return bytes(self.content.read(offset, length))

    def _forget(self) -> None:
        """Begin anew, under the same name: whose that is now will have to be found out."""
        self._forget_number()
        self.created = self._urls = self._creation = None
        self._count_again(len(self._etags))
        self._etags.clear()
        self.resumed = 0
        self._uncertain = True

    def _forget_number(self) -> None:
        if self._number is not None:
            self.means.journal.forget_upload(self._number)
            self._number = None

    async def is_complete(self, listed: BackupFile) -> bool:
        """Find out whether a file that is listed is complete: no page says that only such are."""
        try:
            await self.means.files.complete(listed.file_id, self.fingerprint.sha256)
        except UploadTaskGone:
            return True  # nobody waits for its parts any more
        except IntegrityCheckFailed:
            return False
        return True

    async def _is_listed(self) -> bool:
        async for entry in self.means.files.list(self.destination.record.record_id):
            if entry.file_id == self.file_id:
                return True
        return False

    # --- sending -------------------------------------------------------------------------------

    async def _send(self) -> None:
        assert self._urls is not None  # noqa: S101 - tells the type checker
        sending = PartsUpload(
            self.means,
            self.content,
            self.plan,
            self._urls,
            name=self.name,
            watch=self.watch,
            on_acknowledged=self._on_acknowledged,
            arrived=self._etags,
            fingerprint=self.fingerprint,
        )
        try:
            await sending.run()
        except SourceChanged:
            self._forget_hash()
            raise
        finally:
            self.retries += sending.retries

    async def _on_acknowledged(self, part: PlannedPart, etag: str | None) -> None:
        if self._number is not None and self._is_worth_noting:
            await self.means.journal.part_arrived(self._number, part.number, etag)
        self._etags[part.number] = etag
        self._arrived(part)

    def _arrived(self, part: PlannedPart) -> None:
        if part.number not in self._reported:  # it may be sent again: progress only goes forward
            self._reported.add(part.number)
            self.watch.arrived(part.size)

    # --- completing ----------------------------------------------------------------------------

    async def _complete(self) -> None:
        try:
            await self.means.files.complete(self.file_id, self.fingerprint.sha256)
        except IntegrityCheckFailed as error:
            if self._mended == MENDINGS:
                raise
            self._mended += 1
            await self._mend(error)
            await self._complete()

    async def _mend(self, refusal: IntegrityCheckFailed) -> None:
        """Find out which parts are wrong and send these again; all when nothing tells.

        :raises SourceChanged: The file is not what was hashed.
        """
        changed = await self._look(wrong_parts, self.fingerprint)
        if changed:
            self._forget_hash()
            raise SourceChanged(
                self.name, f"the bytes of {_named(changed)} are not those that were hashed"
            ) from refusal
        again = await self._look(suspects, self._etags) or tuple(self._etags)
        logger.warning("%s: %s again: %s", self.name, _named(again), refusal)
        self._count_again(len(again))
        for number in again:
            del self._etags[number]
        if self._number is not None:
            self.means.journal.forget_parts(self._number, again)
        await self._send()

    def _count_again(self, parts: int) -> None:
        """Count parts that are sent again though they had arrived."""
        self.retries += parts
        self.watch.again(parts)
        self.means.instruments.retried(parts)

    def _forget_hash(self) -> None:
        if self.content.identity is not None:
            self.means.journal.forget_hash(self.content.identity)

    async def _look(
        self, look: Callable[..., tuple[int, ...]], reference: object
    ) -> tuple[int, ...]:
        stopped = threading.Event()

        def checkpoint(_: int) -> None:
            if stopped.is_set():
                raise InterruptedError("looking at the parts was cancelled")

        return await self.means.threads.run(
            look, self.content, self.plan, reference, checkpoint, on_cancel=stopped.set
        )

    # --- what is there already -----------------------------------------------------------------

    async def container_of(self, file_name: str | None) -> str | None:
        """Find out which space a file is in that is complete; None when nobody tells.

        :param file_name: Its name in the record.
        """
        record = self.destination.record
        told = (self.created and self.created.container_id) or (
            self.saved and self.saved.container_id
        )
        if known := told or self.item.container_id:
            return known
        async with record.learning:
            if record.container_id is None and not record.has_asked:
                record.has_asked = True  # whatever comes of it: not for every file
                same = await self._asked_for(file_name or self.name)
                record.container_id = await space_of(self.means, self.destination, same)
        return record.container_id

    async def _asked_for(self, file_name: str) -> NewBackupFile:
        self._announced = self._announced or await self._announcement()
        return self._new_file(file_name)


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


def _is_forgotten(error: UploadTaskGone | PartRejected) -> bool:
    """Return whether the service, or the object store, no longer knows of an upload."""
    return isinstance(error, UploadTaskGone) or error.code == "NoSuchUpload"


def _named(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"part{'s' if len(numbers) > 1 else ''} {shown}{', ...' if len(numbers) > 10 else ''}"  # noqa: PLR2004 - as many as are shown
