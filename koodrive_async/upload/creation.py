"""Creating a file in a record exactly once, though answers may be lost on their way."""

from __future__ import annotations

import logging
from itertools import islice
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
from koodrive_async.transport.retry import may_have_acted
from koodrive_async.upload.urls import BATCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from koodrive_async.models import BackupFile, NewBackupFile
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.record_files import RecordFiles

logger: logging.Logger = logging.getLogger(__name__)

_MOST_NAMES = 1000
"""Names that are tried until one is free."""


class Creation:
    """One file on its way into a record.

    When it may be there already, because an answer was lost or an earlier run was killed, its name
    is asked for with ``autoRename`` 3: that creates the file if there is none, and otherwise tells
    whose the name is. A name that no other file of the record can have is this one's; so if the
    service gives out URLs for just these parts, it is begun, and if the listing has it with its
    size, digest and description, it is complete. A file that another upload of this session has is
    never taken for this one. Otherwise the next name is asked for in the same way: it is never
    created blindly.

    :param file: With the name that it is to have.
    :param certain: No other file of the record can have that name.
    :param name: What it was to be called.
    :param mark: What tells it from others of that name.
    :param uncertain: It may be there already.
    :param on_name: Awaited with each other name, before that is asked for.
    """

    def __init__(
        self,
        means: Means,
        record: RecordFiles,
        file: NewBackupFile,
        *,
        certain: bool,
        name: str,
        mark: str,
        uncertain: bool,
        on_name: Callable[[str], Awaitable[None]],
    ) -> None:
        self._on_name = on_name
        self._means = means
        self._record = record
        self._file = file
        self._certain = certain
        self._name = name
        self._mark = mark
        self._uncertain = uncertain

    async def run(self, lock_id: str) -> CreatedBackupFile:
        """Create it, or find it.

        :param lock_id: A lock that is alive.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived, however often it was asked.

        After a cancellation it can be run again, and finds out what became of it.
        """
        means = self._means
        attempts = means.attempts()
        while True:
            try:
                created = await (self._settle(lock_id) if self._uncertain else self._ask(lock_id))
            except _LostError as lost:
                logger.warning("%s may have been created: looking", self._file.file_name)
                await attempts.after(lost.error)
            else:
                attempts.succeeded()
                self._uncertain = False
                return created

    async def _settle(self, lock_id: str) -> CreatedBackupFile:
        refusal: DuplicateFileName | None = None
        for name, certain in islice(self._names(), _MOST_NAMES):
            file = attrs.evolve(self._file, file_name=name, auto_rename=AutoRename.REJECT)
            if name != self._file.file_name:
                await self._on_name(name)
            try:
                return await self._ask(lock_id, file)
            except DuplicateFileName as taken:
                refusal = taken
                found = await self._find(file, taken.existing_file_id, certain=certain)
                if found is not None:
                    return found
        assert refusal is not None  # noqa: S101 - there is one name at least
        self._uncertain = False
        raise refusal

    def _names(self) -> Iterator[tuple[str, bool]]:
        """Give the names to ask for, and whether they are certain to be this file's."""
        yield self._file.file_name, self._certain
        parent = self._file.parent_folder[0] if self._file.parent_folder else None
        while self._file.auto_rename is not AutoRename.REJECT:
            yield self._record.free_name(self._name, parent, self._mark), True

    async def _ask(self, lock_id: str, file: NewBackupFile | None = None) -> CreatedBackupFile:
        file = file or self._file
        before, self._uncertain = self._uncertain, True
        try:
            created = await self._means.files.create(self._record.record_id, file, lock_id=lock_id)
            if created.file_id is None:
                raise MalformedResponse(
                    "the answer has no fileId", method="POST", path="backup file", status=200
                )
        except (ApiError, TransportError) as error:
            if may_have_acted(error):
                raise _LostError(error) from error
            self._uncertain = before
            raise
        self._record.own(created.file_id)
        if created.container_id is not None and file.container_id is None:
            self._record.container_id = created.container_id
        return created

    async def _find(
        self, file: NewBackupFile, holder: str | None, *, certain: bool
    ) -> CreatedBackupFile | None:
        """Find out whether the file that has the name is this one, and take it.

        :param holder: Its id, if the service told it.
        """
        if holder is not None and certain and (begun := await self._begun(file, holder)):
            return begun
        async for entry in self._means.files.list(self._record.record_id):
            if holder not in {None, entry.file_id} or not _has_bytes_of(entry, file):
                continue
            if self._file.auto_rename is AutoRename.SKIP:
                return CreatedBackupFile(
                    file_id=entry.file_id, file_name=entry.file_name, exist=True
                )
            is_this = (entry.description or "") == (file.description or "")
            if is_this and self._record.own(entry.file_id):
                return CreatedBackupFile(
                    file_id=entry.file_id, file_name=entry.file_name, rapid_upload=True
                )
        return None

    async def _begun(self, file: NewBackupFile, holder: str) -> CreatedBackupFile | None:
        try:
            parts = await self._means.files.part_urls(holder, file.multi_parts[:BATCH])
        except (UploadTaskGone, InvalidRequest, NotFound):
            return None  # it is complete, or has other parts
        if not self._record.own(holder):
            return None
        return CreatedBackupFile(file_id=holder, file_name=file.file_name, multi_parts=parts)


class _LostError(Exception):
    """Nobody knows whether the file was created."""

    def __init__(self, error: ApiError | TransportError) -> None:
        super().__init__(str(error))
        self.error = error


def _has_bytes_of(entry: BackupFile, file: NewBackupFile) -> bool:
    return (entry.file_name, entry.sha256, entry.size) == (
        file.file_name,
        file.sha256,
        file.length,
    )
