""":class:`SessionRecord`: the record of a backup session, from its first call to its last."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from koodrive_async.errors import (
    ApiError,
    ClientClosed,
    IntegrityCheckFailed,
    InvalidArgument,
    KooDriveError,
    MalformedResponse,
    TransportError,
)
from koodrive_async.models import RecordStatus
from koodrive_async.resources.lease import quoting
from koodrive_async.transport.refusals import may_be_of_the_lock
from koodrive_async.unfinished import (
    ROOT_DIGEST,
    RecordGoneError,
    has_ended,
    look_at,
    root_digest,
)
from koodrive_async.upload import RecordFiles, SavedRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Files, Lease, Records
    from koodrive_async.upload import Journal


logger: logging.Logger = logging.getLogger(__name__)

_CONTAINERS = "containerIds"
_NOT_JSON = object()
_UNFINISHED_FILES = (
    "the service completes no record while a file in it is unfinished: one that failed (resume the "
    "record and upload it again), or one whose creation was not answered, which stays as it is: "
    "begin a new record then"
)


@attrs.frozen(kw_only=True)
class Order:
    """What is to be backed up.

    :ivar properties: JSON text that is kept with the record.
    :ivar resume: Id of an unfinished record to go on with.
    :ivar root: The folder that is backed up, as an absolute path.
    :ivar account: Whose it is, for the journal.
    """

    device_id: str
    module: Module
    properties: str | None
    resume: str | None
    root: str | None
    account: str


class SessionRecord:
    """Creates the record of a session, or takes over the one that another run has left.

    :param begun_before: Ids of the records that this client has created.
    :param boot: What this start of the machine is known by; empty when it is not.
    """

    def __init__(
        self,
        order: Order,
        *,
        begun_before: set[str],
        records: Records,
        files: Files,
        journal: Journal,
        boot: str,
    ) -> None:
        self._order = order
        self._begun_before = begun_before
        self._records = records
        self._files = files
        self._journal = journal
        self._boot = boot
        self._lease: Lease | None = None
        self._record: BackupRecord | None = None
        self._content: RecordFiles | None = None
        self._containers: set[str] = set()
        self._noted: str | None = None
        self._knows_names = False
        self._completing = self._is_of_no_more_use = False
        # the journal knew nothing of the record that is resumed, and it has not been seen yet
        self._is_unproven = self._was_refused = False
        self.is_completed: bool = False

    @property
    def record(self) -> BackupRecord:
        """The record as it was when it was opened.

        :raises ClientClosed: It has not been.
        """
        if self._record is None:
            raise ClientClosed("this backup session is not open: use it inside 'async with'")
        return self._record

    @property
    def record_id(self) -> str | None:
        """Its id; None before there is one."""
        return None if self._record is None else self._record.record_id

    @property
    def content(self) -> RecordFiles:
        """What is known to be in it.

        :raises ClientClosed: It has not been opened.
        """
        if self._content is None:
            raise ClientClosed("this backup session is not open: use it inside 'async with'")
        return self._content

    async def take_over(self) -> str | None:
        """Claim the record that is to be gone on with; return a lock that a run has left, if any.

        :raises RecordInUse: A process of this machine is at it.
        """
        record_id = self._order.resume
        if record_id is None:
            return None
        saved = await self._journal.record(self._order.account, record_id)
        is_new = await self._journal.begin(saved or self._saved(record_id, None, boot=""))
        self._noted, self._is_unproven = record_id, is_new
        self._knows_names = bool(saved and self._boot and saved.notes == self._boot)
        if saved is None or saved.lock_id is None:
            return None
        left = await self._journal.claim_lock(
            self._order.account, self._order.module.value, record_id=record_id
        )
        return None if left is None else left.lock_id

    async def open(self, lease: Lease) -> None:
        """Create it, or look at the one that was taken over.

        :raises InvalidArgument: It takes no more files, or is of another device or module.
        :raises NotFound: It is gone.
        """
        self._lease = lease
        with quoting(lease):
            if self._order.resume is None:
                await self._create(lease)
            else:
                await self._resume(self._order.resume, lease)

    async def check(self) -> None:
        """Look whether going on under another lock is right: nobody else has ended the record.

        :raises InvalidArgument: Somebody has.
        """
        if self._record is None or self._lease is None:
            return
        # before anything else: a run that is killed now leaves this lock, and not the one before
        self._note_lock(self._record.record_id, self._lease)
        try:
            with quoting(self._lease):
                record = await self._look_at(self._record.record_id)
        except RecordGoneError as gone:
            raise gone.refusal from None
        if not (self._completing and record.status is RecordStatus.COMPLETED):
            _check_open(record)

    def add_container(self, container_id: str) -> None:
        """Note a space that one of its files is in."""
        self._containers.add(container_id)

    async def complete(self, lock_id: str) -> None:
        """Complete it."""
        self._completing = True
        record_id, kept = self.record.record_id, self._properties()
        wanted = self._with_ours(kept)
        try:
            await self._records.complete(record_id, lock_id=lock_id, properties=wanted)
        except ApiError as refusal:
            if isinstance(refusal, IntegrityCheckFailed):
                refusal.advice = _UNFINISHED_FILES
            if wanted == kept or not may_be_of_the_lock(refusal):
                raise
            # no page says how long properties may be
            try:
                await self._records.complete(record_id, lock_id=lock_id, properties=kept)
            except ApiError:
                raise refusal from None
            logger.warning(
                "record %s does not say which spaces its files are in, as downloads need: %s",
                record_id,
                refusal,
            )
        self.is_completed = True
        logger.info("record %s was completed", self.record.record_id)

    async def leave(self) -> None:
        """Let other runs have it, or forget it when there is nothing left to do."""
        if self._noted is None:
            return
        # a lock that was taken may be left, where no usable answer came to its release: by the
        # entry it is found again
        is_unknown = self._is_unproven and (self._lease is None or self._was_refused)
        if self.is_completed or self._is_of_no_more_use or is_unknown:
            await self._journal.completed_record(self._order.account, self._noted)
        else:
            logger.info("record %s is left unfinished", self._noted)
            # the lock stays noted: whoever resumes tries it, for giving it back may have failed
            await self._journal.leave(self._order.account, self._noted)

    # --- a new one -----------------------------------------------------------------------------

    async def _create(self, lease: Lease) -> None:
        order = self._order
        creation = self._records.creation(
            order.device_id,
            order.module,
            properties=order.properties or self._own_properties(),
            known=await self._known_records(),
        )
        record = await lease.run(lambda: creation.run(lease.lock_id))
        self._begun_before.add(record.record_id)
        self._record = record
        self._content = RecordFiles(record.record_id, create_time=record.create_time)
        saved = self._saved(record.record_id, lease.lock_id, boot=self._boot)
        await self._journal.begin(saved)
        self._noted = record.record_id
        logger.info("record %s was created", record.record_id)

    async def _known_records(self) -> set[str]:
        """Return records that the one that is going to be created certainly is not."""
        order = self._order
        left = await self._journal.unfinished(order.account, order.device_id, order.module.value)
        return self._begun_before | {saved.record_id for saved in left}

    # --- one that was left ---------------------------------------------------------------------

    async def _resume(self, record_id: str, lease: Lease) -> None:
        try:
            await self._go_on_with(record_id, lease)
        except KooDriveError as error:
            unanswered = isinstance(error, TransportError) and not isinstance(
                error, MalformedResponse
            )
            self._was_refused = not unanswered
            raise

    async def _go_on_with(self, record_id: str, lease: Lease) -> None:
        self._note_lock(record_id, lease)
        record = self._record = await self._left(record_id)
        order, device = self._order, record.device_info
        if record.module not in {None, order.module}:
            raise InvalidArgument(
                f"record {record_id} is of module {record.module}, not {order.module}"
            )
        if device is not None and device.device_id != order.device_id:
            raise InvalidArgument(
                f"record {record_id} is of device {device.device_id}, not {order.device_id}"
            )
        self._is_unproven = False
        listed = [file async for file in self._files.list(record_id)]
        noted = await self._journal.stored_names(order.account, record_id)
        self._content = RecordFiles(
            record_id,
            listed,
            noted if self._knows_names else None,
            create_time=record.create_time,
        )
        logger.info("going on with record %s, which has %d files", record_id, len(listed))

    async def _left(self, record_id: str) -> BackupRecord:
        try:
            record = await self._look_at(record_id)
        except RecordGoneError as gone:
            self._is_of_no_more_use = True
            raise gone.refusal from None
        self._is_of_no_more_use = has_ended(record)
        _check_open(record)
        return record

    async def _look_at(self, record_id: str) -> BackupRecord:
        order = self._order
        return await look_at(self._records, record_id, order.module, order.device_id)

    # --- what is noted of it -------------------------------------------------------------------

    def _note_lock(self, record_id: str, lease: Lease) -> None:
        self._journal.note_lock(self._order.account, record_id, lease.lock_id)

    def _saved(self, record_id: str, lock_id: str | None, *, boot: str) -> SavedRecord:
        order = self._order
        return SavedRecord(
            account=order.account,
            record_id=record_id,
            device_id=order.device_id,
            module=order.module.value,
            root=order.root,
            lock_id=lock_id,
            begun=time.time(),
            notes=boot,
        )

    # --- its properties ------------------------------------------------------------------------

    def _properties(self) -> str | Mapping[str, Any] | None:
        """Return the properties of the record without what this session adds.

        They are sent again when it is completed: no page says that those left out are kept.
        """
        wanted = self._order.properties
        if self._order.resume is None:
            return wanted or self._own_properties()
        there, given = _decoded(self.record.properties), _decoded(wanted)
        if isinstance(there, dict) and isinstance(given, dict):
            return {**there, **given}
        if wanted is not None and there is None:
            return wanted
        if wanted is not None:
            logger.warning(
                "record %s keeps its properties: those that were given do not fit into them",
                self.record_id,
            )
        # what is not JSON is not ours, and is left as it is
        return None if there is None or there is _NOT_JSON else self.record.properties

    def _with_ours(
        self, properties: str | Mapping[str, Any] | None
    ) -> str | Mapping[str, Any] | None:
        """Add what a later run needs: listings do not say which space a file is in."""
        if self._order.resume is None and self._order.properties is not None:
            return properties
        if self._content is not None and self._content.container_id is not None:
            self._containers.add(self._content.container_id)
        there = _decoded(properties) if isinstance(properties, str | None) else properties
        if self.record.properties and _decoded(self.record.properties) is _NOT_JSON:
            return properties
        if not self._containers or not isinstance(there, dict | None):
            return properties
        known = (there or {}).get(_CONTAINERS)
        listed = known if isinstance(known, list | tuple) else ()
        before = {each for each in listed if isinstance(each, str)}
        return {
            **(self._own_properties() or {}),
            **(there or {}),
            _CONTAINERS: sorted(before | self._containers),
        }

    def _own_properties(self) -> dict[str, Any] | None:
        # by which the record of a folder is found where there is no journal
        root = self._order.root
        return None if root is None else {ROOT_DIGEST: root_digest(os.fspath(root))}


def _decoded(properties: str | None) -> Any:
    """Return the value of properties; None for empty ones.

    :data:`_NOT_JSON` stands for text that cannot be sent as JSON.
    """
    try:
        decoded = json.loads(properties or "null", parse_constant=_refuse)
        # half of a surrogate pair could not be sent again
        json.dumps(decoded, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return _NOT_JSON
    return decoded


def _refuse(constant: str) -> NoReturn:
    # such as NaN, which would be refused when it is sent again
    raise ValueError(f"{constant} is not JSON")


def _check_open(record: BackupRecord) -> None:
    if record.status is RecordStatus.NEW:
        return
    status = record.status
    name = status.name if isinstance(status, RecordStatus) else str(status)
    raise InvalidArgument(f"record {record.record_id} takes no more files: its status is {name}")
