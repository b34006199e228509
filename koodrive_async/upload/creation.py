"""Creating a file in a record exactly once, though answers may be lost on their way."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import (
    ApiError,
    DuplicateFileName,
    InvalidRequest,
    MalformedResponse,
    NotFound,
    TransportError,
    UploadTaskGone,
)
from koodrive_async.models import AutoRename, CreatedBackupFile
from koodrive_async.transport.retry import Attempts, may_have_acted
from koodrive_async.upload.urls import BATCH

if TYPE_CHECKING:
    from koodrive_async.models import BackupFile, NewBackupFile
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.record_files import RecordFiles

logger = logging.getLogger(__name__)


class Creation:
    """One file on its way into a record.

    When it may be there already, because an answer was lost or an earlier run was killed, the name
    is asked for with ``autoRename`` 3: that creates the file if there is none, and otherwise tells
    whose the name is: no other file of the record has it. If the service gives out URLs for just
    these parts of that file, it is this one; if it is complete, the listing tells by name, size and
    digest.

    :param file: With the name that it is to have.
    :param names: Names that it may have been given by an earlier run, and that one.
    :param uncertain: It may be there already.
    """

    def __init__(
        self,
        means: Means,
        record: RecordFiles,
        file: NewBackupFile,
        *,
        names: tuple[str, ...],
        uncertain: bool,
    ) -> None:
        self._means = means
        self._record = record
        self._file = file
        self._names = names
        self._uncertain = uncertain

    async def run(self, lock_id: str) -> CreatedBackupFile:
        """Create it, or find it.

        :param lock_id: A lock that is alive.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived, however often it was asked.

        After a cancellation it can be run again, and finds out what became of it.
        """
        means = self._means
        attempts = Attempts(means.retry, means.clock, means.budget, repeatable=True)
        while True:
            try:
                created = await self._once(lock_id)
            except (ApiError, TransportError) as error:
                if not self._uncertain:
                    raise
                logger.warning(
                    "%s may have been created: looking (%s)", self._file.file_name, error
                )
                await attempts.after(error)
            else:
                attempts.succeeded()
                self._uncertain = False
                return created

    async def _once(self, lock_id: str) -> CreatedBackupFile:
        if not self._uncertain:
            return await self._ask(self._file, lock_id)
        for name in self._names:
            named = attrs.evolve(self._file, file_name=name, auto_rename=AutoRename.REJECT)
            try:
                return await self._ask(named, lock_id)
            except DuplicateFileName as taken:
                if (found := await self._find(named, taken.existing_file_id)) is not None:
                    return found
                if self._file.auto_rename is AutoRename.REJECT:
                    self._uncertain = False
                    raise
        return await self._ask(self._file, lock_id)

    async def _ask(self, file: NewBackupFile, lock_id: str) -> CreatedBackupFile:
        before, self._uncertain = self._uncertain, True
        try:
            created = await self._means.files.create(self._record.record_id, file, lock_id=lock_id)
            if created.file_id is None:
                raise MalformedResponse(
                    "the answer has no fileId", method="POST", path="backup file", status=200
                )
        except (ApiError, TransportError) as error:
            self._uncertain = before or may_have_acted(error)
            raise
        if created.container_id is not None and file.container_id is None:
            self._record.container_id = created.container_id
        return created

    async def _find(self, file: NewBackupFile, holder: str | None) -> CreatedBackupFile | None:
        """Find out whether the file that has the name is this one.

        :param holder: Its id, if the service told it.
        """
        foreign = self._record.may_be_foreign(file.file_name)
        # a single part is announced without a midstate: it says no more than how long the file is
        tells = not foreign or len(file.multi_parts) > 1
        if holder is not None and tells:
            try:
                parts = await self._means.files.part_urls(holder, file.multi_parts[:BATCH])
            except (UploadTaskGone, InvalidRequest, NotFound):
                pass  # it is complete, or has other parts
            else:
                return CreatedBackupFile(
                    file_id=holder, file_name=file.file_name, multi_parts=parts
                )
        async for entry in self._means.files.list(self._record.record_id):
            if foreign and self._record.was_listed(entry.file_id):
                continue  # it would have been claimed
            if holder in {None, entry.file_id} and _is(entry, file):
                asked_to_skip = self._file.auto_rename is AutoRename.SKIP
                return CreatedBackupFile(
                    file_id=entry.file_id,
                    file_name=entry.file_name,
                    exist=asked_to_skip,
                    rapid_upload=not asked_to_skip,
                )
        return None


def _is(entry: BackupFile, file: NewBackupFile) -> bool:
    return (entry.file_name, entry.sha256, entry.size, entry.description or "") == (
        file.file_name,
        file.sha256,
        file.length,
        file.description or "",
    )
