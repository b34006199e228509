"""Bringing a hashed file into a record: create it, send its parts, complete it."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    DuplicateFileName,
    IntegrityCheckFailed,
    InvalidArgument,
    MalformedResponse,
    PartRejected,
    SourceChanged,
    TransportError,
    UploadTaskGone,
)
from koodrive_async.hashing import TruncatedReadError, proof_code
from koodrive_async.models import AutoRename, CreatedBackupFile, MultiPartInfo, NewBackupFile
from koodrive_async.transport.refusals import may_be_of_the_lock, passes
from koodrive_async.transport.retry import may_have_acted
from koodrive_async.upload.chain import suspects, wrong_parts
from koodrive_async.upload.completeness import Completeness
from koodrive_async.upload.creation import Creation
from koodrive_async.upload.parts import PartsUpload
from koodrive_async.upload.record_files import is_same_description
from koodrive_async.upload.space import space_of
from koodrive_async.upload.terms import Terms, as_a_whole
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

_NO_SUCH_UPLOAD = "NoSuchUpload"

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
    :param listed: Files that the record lists, and an earlier run may have made of this source.
    :param watch: Hears of each part that is there, once, and of those that are sent again.
    :ivar description: As it is stored.
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
    listed: tuple[BackupFile, ...] = ()
    description: str | None = None
    retries: int = 0
    resumed: int = 0
    created: CreatedBackupFile | None = None
    made: float = 0.0
    sent: float = 0.0
    _announced: tuple[MultiPartInfo, ...] = ()
    _terms: Terms | None = None
    _creation: Creation | None = None
    _urls: PartUrls | None = None
    _stored_as: str | None = None
    _number: int | None = None
    # what the object store said of the parts that have arrived
    _etags: dict[int, str | None] = attrs.field(factory=dict)
    _reported: set[int] = attrs.field(factory=set)
    _uncertain: bool = False
    # an earlier run or an unanswered call created the file: it may be complete
    _is_taken_up: bool = False
    # it has the wanted name, and is of this record if that lists it once it is complete
    _is_to_be_listed: bool = False
    _adopts: bool = True
    # an unanswered call, or one that still runs, may create the file
    _asked_to_complete: bool = False
    _has_sent: bool = False
    _container_id: str | None = None
    _mended: int = 0
    _completeness: Completeness = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.description = self.item.description
        self._container_id = self.item.container_id
        self._completeness = Completeness(
            means=self.means,
            record=self.destination.record,
            fingerprint=self.fingerprint,
            account=self.destination.account,
            space_of=self._space_of,
        )

    async def run(self) -> Outcome:
        """See it through; raises as :meth:`Uploader.upload`."""
        lease, is_new = self.destination.lease, self.saved is None
        self._terms = Terms(self.destination.record, self.item, self.plan, apply=is_new)
        await self._agree_to_terms()
        self._take_up()
        try:
            outcome = await self._create_under(lease)
            self.made = self.sent = time.perf_counter()
            if outcome == "uploaded":
                outcome = await self._deliver(lease)
        except BaseException:  # such as a cancellation
            self._note_unfinished()
            raise
        self.means.edition.stored(self.fingerprint)
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
            outcome = await self._create_as_asked(lease)
            if outcome == "rapid" and (failure := await self._after_flash(lease)) is not None:
                logger.warning("%s: its upload begins again: %s", self.name, failure)
                # the same file may take its parts, which avoids a second file
                if await lease.run(self._begin_parts_again):
                    self._is_taken_up = True
                    outcome = "uploaded"
                else:
                    self._forget()
                    outcome = await self._create_as_asked(lease)
                    if outcome == "rapid" and (failure := await self._after_flash(lease)):
                        raise failure
            span.add(outcome=outcome, file=self.file_id)
        return outcome

    async def _create_as_asked(self, lease: Lease) -> Outcome:
        """Create the file; change the request after a refusal that may be about it."""
        while True:
            try:
                outcome = await lease.run(self._create)
            except ApiError as refusal:
                if not await self._asks_otherwise(refusal):
                    raise
            else:
                break
        if self._terms is not None and self._has_created:
            self._terms.keep()
        return outcome

    @property
    def _has_created(self) -> bool:
        """Whether a call has created the file: one that was taken up proves no terms."""
        if self._creation is None or self._creation.has_found or self.created is None:
            return False
        return not self.created.exist

    async def _after_flash(self, lease: Lease) -> ApiError | None:
        """Return the refusal to complete a flash upload of which no byte is seen to be stored."""
        try:
            await lease.run(lambda: self._completeness.after_flash(self.file_id))
        except ApiError as refusal:
            if passes(refusal) or isinstance(refusal, AuthenticationError):
                raise
            return refusal
        return None

    async def _deliver(self, lease: Lease) -> Outcome:
        """Send the parts and complete the file; begin again when it is in an unknown state."""
        if (failure := await self._attempt(lease)) is None:
            return self._outcome
        logger.warning("%s: its upload begins again: %s", self.name, failure)
        # the same file may take its parts once more, which avoids a second file
        if (
            not isinstance(failure, MalformedResponse)
            and await lease.run(self._begin_parts_again)
            and await self._attempt(lease) is None
        ):
            return self._outcome
        self._forget()
        if (outcome := await self._create_under(lease)) != "uploaded":
            return outcome
        if (failure := await self._attempt(lease)) is not None:
            raise failure
        return self._outcome

    async def _attempt(self, lease: Lease) -> ApiError | PartRejected | MalformedResponse | None:
        """Send the parts and complete the file.

        :returns: What left it in an unknown state, that could not be proven to be complete, or how
            it is seen to be of another upload; None when it is complete.
        """
        try:
            await lease.run(self._send, progress=lambda: len(self._etags))
            self.sent = time.perf_counter()
            with self.means.instruments.span("complete", file=self.file_id):
                await lease.run(self._complete)
        except (ApiError, PartRejected) as failure:
            if not self._leaves_a_question(failure):
                raise
            if not self._may_be_complete or not await lease.run(self._is_complete):
                return failure
        if self._is_to_be_listed:
            return await lease.run(self._absence)
        return None

    async def _absence(self) -> MalformedResponse | None:
        """Look for a complete file in its record; return what is wrong where it is not there."""
        record, fingerprint = self.destination.record, self.fingerprint
        for entry in await record.look(self.means.files, fingerprint.sha256, fingerprint.size):
            if entry.file_id != self.file_id:
                continue
            if is_same_description(entry.description, self.item.description):
                self.description = entry.description or self.description
                self._is_to_be_listed = False
                return None
            record.disown(self.file_id)  # it is of another upload, which will find it
        return MalformedResponse(
            f"file {self.file_id}, which has the name and the bytes, is not of this upload",
            method="POST",
            path="backup file",
            status=200,
        )

    @property
    def _outcome(self) -> Outcome:
        """Return the outcome of a file that is complete now."""
        if self._has_sent:
            return "uploaded"
        record = self.destination.record
        if record.listed(self.file_id) is not None:
            return "exists"
        if self.resumed:
            return "uploaded"
        return "exists" if record.resumed else "rapid"

    def _leaves_a_question(self, failure: ApiError | PartRejected) -> bool:
        """Return whether the state of the file is unknown after a failure.

        The service, or the object store, no longer knows its upload; or it refuses a file that may
        be complete, which no page says how it does.
        """
        if isinstance(failure, PartRejected):
            return failure.code == _NO_SUCH_UPLOAD
        if isinstance(failure, UploadTaskGone):
            return True
        is_of_the_upload = isinstance(failure, IntegrityCheckFailed) or may_be_of_the_lock(failure)
        return self._may_be_complete and is_of_the_upload

    @property
    def _may_be_complete(self) -> bool:
        # an empty file has no bytes that could be missing
        return self._is_taken_up or self._asked_to_complete or not self.plan.size

    async def _begin_parts_again(self) -> bool:
        """Begin with the first part of the same file again, if the service has URLs for it."""
        try:
            parts = await self.means.files.part_urls(self.file_id, self._announced[:1])
        except ApiError as refusal:
            if passes(refusal):
                raise
            return await self._begin_as_a_whole()
        except InvalidArgument:  # it has no parts
            return False
        self._begin_with(parts)
        return True

    async def _begin_as_a_whole(self) -> bool:
        """Begin again with the same file in one part, if the service has a URL for that."""
        whole = as_a_whole(self.plan)
        if len(whole) == len(self.plan):
            return False
        announced = _announcement(whole, self.fingerprint)
        try:
            parts = await self.means.files.part_urls(self.file_id, announced)
        except ApiError as refusal:
            if passes(refusal):
                raise
            return False
        self.means.edition.parts_are_one(self.name)
        self.plan, self._announced = whole, announced
        self._begin_with(parts)
        return True

    def _begin_with(self, parts: tuple[MultiPartInfo, ...]) -> None:
        assert self.created is not None  # noqa: S101 - tells the type checker
        self._forget_parts()
        self._created_as(attrs.evolve(self.created, multi_parts=parts), self.means.clock.time())

    async def _is_complete(self) -> bool:
        return await self._completeness.is_proven(self.file_id)

    @property
    def file_id(self) -> str:
        """Id of the file, once it has been created."""
        assert self.created is not None  # noqa: S101 - tells the type checker
        return self._id_of(self.created)

    @staticmethod
    def _id_of(created: CreatedBackupFile) -> str:
        assert created.file_id is not None  # noqa: S101 - tells the type checker
        return created.file_id

    @property
    def _is_worth_noting(self) -> bool:
        """Whether to note how it goes on: a small file is sent again sooner than that is noted.

        That it was begun and completed is noted of each.
        """
        if self._is_to_be_listed:  # or a run after this one would take the file for its own
            return False
        return self.content.identity is not None and self.content.fingerprint is None

    # --- creating ------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Begin where an earlier run had got to."""
        saved, record = self.saved, self.destination.record
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
                # the earlier run saw it complete, and the record has it
                exist=saved.outcome is not None and record.listed(saved.file_id) is not None,
            ),
            self.means.clock.time(),
        )
        self._is_taken_up = True
        listed = record.listed(saved.file_id)
        if listed is not None:
            self.description = listed.description or self.description
        record.own(saved.file_id)
        self._etags.update(saved.parts)
        self.resumed = len(saved.parts)
        if saved.parts:
            self._reported.update(saved.parts)
            self.watch.arrived(sum(p.size for p in self.plan.parts if p.number in saved.parts))

    async def _create(self) -> Outcome:
        if self.created is None:
            await self._take_listed()
        if self.created is None:
            if self._creation is None:
                self._creation = await self._begin()
            asked_at = self.means.clock.time()
            try:
                created = await self._creation.run(self.destination.lease.lock_id)
            except DuplicateFileName:
                self._forget_number()  # the name that it notes is another file's
                raise
            if created.exist and not await self._completeness.is_proven(self._id_of(created)):
                created = await self._instead_of(created)
            self._is_taken_up = self._creation.has_found
            if not self._is_taken_up:
                self.means.edition.created(self.name, self.fingerprint, created)
            self._is_to_be_listed = self._creation.is_to_be_listed
            if _is_one_part_of(created, self.plan):
                self.means.edition.parts_are_one(self.name)
                self.plan = as_a_whole(self.plan)
                self._announced = await self._announcement()
            self._created_as(created, asked_at)
            if self._is_worth_noting:
                self._note_created()
        assert self.created is not None  # noqa: S101 - tells the type checker
        if self.created.exist:
            return "exists"
        return "rapid" if self.created.rapid_upload else "uploaded"

    async def _instead_of(self, there: CreatedBackupFile) -> CreatedBackupFile:
        """Return the way to proceed with a file that exists and is not complete.

        The upload continues a file that no other upload has; otherwise it takes another name.
        """
        assert self._creation is not None  # noqa: S101 - tells the type checker
        if self._creation.has_it:
            self._creation.has_found = True
            return attrs.evolve(there, exist=False)
        self._creation.rename()
        return await self._creation.run(self.destination.lease.lock_id)

    async def _take_listed(self) -> None:
        """Continue with a file that the record lists, if an earlier run made it of this source.

        No page says that only complete files are listed, so a proven complete file goes first.
        """
        record = self.destination.record
        incomplete = []
        for listed in self.listed:
            if not record.own(listed.file_id):
                continue
            try:
                is_complete = await self._completeness.is_proven(listed.file_id)
            except BaseException:
                record.disown(listed.file_id)
                raise
            if is_complete:
                self._take(listed, exist=True)
                return
            record.disown(listed.file_id)
            incomplete.append(listed)
        for listed in incomplete:
            if record.own(listed.file_id):
                self._take(listed, exist=False)
                return

    def _take(self, listed: BackupFile, *, exist: bool) -> None:
        self._is_taken_up = True
        self.description = listed.description or self.description
        self._created_as(
            CreatedBackupFile(file_id=listed.file_id, file_name=listed.file_name, exist=exist),
            self.means.clock.time(),
        )

    async def _asks_otherwise(self, refusal: ApiError) -> bool:
        """Change the request after a refusal that may be about it; return whether it changed."""
        if self.created is not None or self._terms is None or self._creation is None:
            return False
        if self._creation.refusal is not refusal:  # another call was refused, such as a listing
            return False
        if not await self._terms.change(refusal, lambda: self._space_of(None)):
            return False
        await self._agree_to_terms()
        return True

    async def _agree_to_terms(self) -> None:
        assert self._terms is not None  # noqa: S101 - tells the type checker
        self.plan, self.description = self._terms.plan, self._terms.description
        self._container_id = self._terms.container_id
        self._announced = await self._announcement()
        if self._creation is not None:
            self._creation.file = attrs.evolve(
                self._creation.file,
                description=self.description,
                container_id=self._container_id,
                multi_parts=self._announced,
            )

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
        # a complete journal knows every file that was begun
        in_doubt = self._uncertain or self.saved is not None or not record.knows_names
        if self._stored_as is None:
            self._stored_as = self._take_name()
        if self._number is None:
            self._number = await self._note(self._stored_as)
        return Creation(
            self.means,
            record,
            self._new_file(self._stored_as),
            name=self.name,
            mark=self.mark,
            in_doubt=in_doubt,
            has_asked=self.saved is not None,
            adopts=self._adopts,
            completeness=self._completeness,
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

    def _note_created(self) -> None:
        if self._number is not None and self.created is not None:
            self.means.journal.created(
                self._number,
                file_id=self.file_id,
                stored_name=self.created.file_name or self.name,
                container_id=self.created.container_id,
            )

    def _note_unfinished(self) -> None:
        """Note which file an interrupted upload has left, where that was not worth a note before.

        The run that resumes the record finishes it then, and needs no second file.
        """
        if not (self._is_to_be_listed or self._is_worth_noting):
            self._note_created()

    @property
    def _renames(self) -> bool:
        return self.item.auto_rename is AutoRename.RENAME

    def _take_name(self) -> str:
        record, item = self.destination.record, self.item
        if self._renames:
            return record.free_name(self.name, item.parent_folder, self.mark)
        record.take_name(self.name, item.parent_folder)
        return self.name

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
            description=self.description,
            mime_type=item.mime_type,
            parent_folder=None if item.parent_folder is None else (item.parent_folder,),
            auto_rename=item.auto_rename,
            container_id=self._container_id,
        )

    async def _announcement(self) -> tuple[MultiPartInfo, ...]:
        if len(self.plan) > MANY_PARTS:
            return await self.means.short_work.run(_announcement, self.plan, self.fingerprint)
        return _announcement(self.plan, self.fingerprint)

    async def _proof_code(self, origin: str) -> str | None:
        prove = partial(proof_code, origin, self.plan.size, self._read)
        try:
            if self.content.descriptor is None:
                return prove()
            return await self.means.short_work.run(prove)
        except TruncatedReadError as error:
            raise SourceChanged(self.name, str(error)) from None

    def _read(self, offset: int, length: int) -> bytes:
        return bytes(self.content.read(offset, length))

    def _forget(self) -> None:
        """Begin again with a file of its own; whether its old name is free has to be found out."""
        self._forget_number()
        self._forget_parts()
        self.created = self._urls = self._creation = None
        self._adopts = self._adopts and not self._is_to_be_listed
        self._is_taken_up = self._asked_to_complete = self._is_to_be_listed = False
        self.listed = ()
        self._uncertain = True

    def _forget_parts(self) -> None:
        self._count_again(len(self._etags))
        if self._number is not None:
            self.means.journal.forget_parts(self._number, tuple(self._etags))
        self._etags.clear()
        self.resumed = 0

    def _forget_number(self) -> None:
        if self._number is not None:
            self.means.journal.forget_upload(self._number)
            self._number = None

    # --- sending -------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            await self._send_parts()
        except ApiError as refusal:
            # an edition without multipart may show that by the first URL that it refuses
            if self._etags or passes(refusal) or not may_be_of_the_lock(refusal):
                raise
            if not await self._begin_as_a_whole():
                raise
            await self._send_parts()

    async def _send_parts(self) -> None:
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
        self._has_sent = True
        self._arrived(part)

    def _arrived(self, part: PlannedPart) -> None:
        if part.number not in self._reported:  # it may be sent again: progress only goes forward
            self._reported.add(part.number)
            self.watch.arrived(part.size)

    # --- completing ----------------------------------------------------------------------------

    async def _complete(self) -> None:
        before, self._asked_to_complete = self._asked_to_complete, True
        try:
            await self.means.files.complete(self.file_id, self.fingerprint.sha256)
        except (ApiError, TransportError) as error:
            # an unanswered call may have completed the file, and the next call be refused for that
            self._asked_to_complete = before or error.attempts > 1 or may_have_acted(error)
            if self._may_be_complete and await self._completeness.is_stored(self.file_id):
                return
            if not isinstance(error, IntegrityCheckFailed) or self._mended == MENDINGS:
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

    # --- which space it is in ------------------------------------------------------------------

    async def container_of(self) -> str | None:
        """Find out which space a complete file is in; None when no answer says it."""
        return await self._space_of(self.file_id, is_complete=True)

    async def _space_of(self, file_id: str | None, *, is_complete: bool = False) -> str | None:
        record = self.destination.record
        said = (self.created and self.created.container_id) or (
            self.saved and self.saved.container_id
        )
        if known := said or self._container_id:
            return known
        async with record.learning:
            if record.container_id is None and record.may_ask:
                # neither when it is settled nor after a failure is it asked for every file
                record.container_id, is_settled = await space_of(
                    self.means, file_id, is_complete=is_complete
                )
                if is_settled is not None:
                    record.has_asked_for_space(is_settled=is_settled)
        return record.container_id


def _is_one_part_of(created: CreatedBackupFile, plan: Plan) -> bool:
    """Return whether the service wants a file in one piece that was announced in several parts."""
    if len(plan) == 1 or len(created.multi_parts) != 1:
        return False
    return created.multi_parts[0].part_size == plan.size


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


def _named(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"part{'s' if len(numbers) > 1 else ''} {shown}{', ...' if len(numbers) > 10 else ''}"  # noqa: PLR2004 - as many as are shown
