""":class:`SessionRecord`: the record of a backup session, from its first call to its last."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import attrs

from koodrive_async.errors import ClientClosed, InvalidArgument, NotFound
from koodrive_async.models import RecordStatus
from koodrive_async.unfinished import ROOT_DIGEST, root_digest
from koodrive_async.upload import RecordFiles, SavedRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Files, Lease, Records
    from koodrive_async.upload import Journal


logger: logging.Logger = logging.getLogger(__name__)


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
            # a run that was killed has left its lock, which would be in the way for ten minutes
            return await self._journal.take_lock(self._order.account, self._order.module.value)
        saved = await self._journal.record(self._order.account, record_id)
        await self._journal.begin(saved or self._saved(record_id, None, boot=""))
        self._noted = record_id
        self._knows_names = bool(saved and self._boot and saved.notes == self._boot)
        return None if saved is None else saved.lock_id

    async def open(self, lease: Lease) -> None:
        """Create it, or look at the one that was taken over.

        :raises InvalidArgument: It takes no more files, or is of another device or module.
        :raises NotFound: It is gone.
        """
        self._lease = lease
        if self._order.resume is None:
            await self._create(lease)
        else:
            await self._go_on_with(self._order.resume, lease)

    async def check(self) -> None:
        """Look whether going on under another lock is right: nobody else has ended the record.

        :raises InvalidArgument: Somebody has.
        """
        if self._record is None or self._lease is None:
            return
        record = await self._records.get(self._record.record_id)
        if not (self._completing and record.status is RecordStatus.COMPLETED):
            _check_open(record)
        self._note_lock(record.record_id, self._lease)

    def add_container(self, container_id: str) -> None:
        """Note a space that one of its files is in."""
        self._containers.add(container_id)

    async def complete(self, lock_id: str) -> None:
        """Complete it."""
        self._completing = True
        await self._records.complete(
            self.record.record_id, lock_id=lock_id, properties=self._final_properties()
        )
        self.is_completed = True
        logger.info("record %s was completed", self.record.record_id)

    async def leave(self) -> None:
        """Let other runs have it, or forget it when there is nothing left to do."""
        if self._noted is None:
            return
        if self.is_completed or self._is_of_no_more_use:
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
        self._record, self._content = record, RecordFiles(record.record_id)
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
        listed = [file async for file in self._files.list(record_id)]
        noted = await self._journal.stored_names(order.account, record_id)
        self._content = RecordFiles(record_id, listed, noted if self._knows_names else None)
        logger.info("going on with record %s, which has %d files", record_id, len(listed))

    async def _left(self, record_id: str) -> BackupRecord:
        try:
            record = await self._records.get(record_id)
            _check_open(record)
        except (NotFound, InvalidArgument):
            self._is_of_no_more_use = True
            raise
        return record

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

    def _final_properties(self) -> Mapping[str, Any] | None:
        # Listings do not say which space a file is in, and downloads ask for it.
        if self._content is not None and self._content.container_id is not None:
            self._containers.add(self._content.container_id)
        if self._order.properties is not None or not self._containers:
            return None
        return {**(self._own_properties() or {}), "containerIds": sorted(self._containers)}

    def _own_properties(self) -> dict[str, Any] | None:
        # by which the record of a folder is found where there is no journal
        root = self._order.root
        return None if root is None else {ROOT_DIGEST: root_digest(os.fspath(root))}


def _check_open(record: BackupRecord) -> None:
    if record.status is RecordStatus.NEW:
        return
    status = record.status
    name = status.name if isinstance(status, RecordStatus) else str(status)
    raise InvalidArgument(f"record {record.record_id} takes no more files: its status is {name}")
