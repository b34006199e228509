"""Creating a file in a record exactly once, though answers may be lost on their way.

::

    not asked ──── autoRename as wished, the name as wished ────► created, or complete at once
        │                                                         (rapidUpload, exist)
        │ no answer came; it was cancelled; an earlier run may have asked
        ▼
    in doubt ───── the record lists a file with these bytes and
        │          this description that no other upload has ───► found: it is of this record
        │
        ├───────── autoRename 3, the same name ─────────────────► created: nothing was there
        │
        │ the name is taken, by a file of another record, or by one that is
        │ unfinished and for that not listed: existFileId is file X
        ▼
    X is looked at, if autoRename is 2 and an unanswered call for this upload asked for the name
        │
        │ its details have the name, the size and the digest; it was created after the record;
        │ no upload here has noted it, none of another record the name with these bytes
        ├───────── and its bytes are stored:
        │          the listing has it now ──────────────────────► found: it is of this record
        ├───────── and its bytes are not stored ────────────────► found, to be listed: it counts
        │                                                         if the record lists it once it
        │                                                         is complete; otherwise the upload
        │                                                         begins again, and adopts nothing
        │ any of this is not so, or is not known (no existFileId, no details, a time without
        │ a zone); a call that fails for the moment is raised
        ▼
    in doubt ───── autoRename 3, a name that identifies ────────► created, or, if that is taken,
                   the record and the file                        found: no other can have the name

A file that is *found* is proven to belong to this record, and nothing else: whether it is complete
has to be found out. A file that has a wanted name and is not proven to belong to this record is
left alone: it may belong to another backup. A file that is *to be listed* was plausibly begun by
this upload, and by no other backup: one that had begun it would have finished it with these bytes.
"""

from __future__ import annotations

import logging
import re
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import ApiError, DuplicateFileName, MalformedResponse, TransportError
from koodrive_async.models import AutoRename, CreatedBackupFile
from koodrive_async.transport.retry import may_have_acted
from koodrive_async.upload.record_files import is_same_description, own_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from koodrive_async.models import BackupFile, NewBackupFile
    from koodrive_async.upload.completeness import Completeness
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.record_files import RecordFiles

logger: logging.Logger = logging.getLogger(__name__)

_MOST_NAMES = 5
"""Names that identify the record and the file, and are tried until one is free."""

_TURNS = 10
"""Names of one file that are recognised as its own."""

_ADDED = re.compile(r"[-_ .(\[]{1,2}[-_ .:0-9T]*[0-9][)\]]?Z?", re.ASCII)
"""What a service adds to a name to make it different: a time, or a number."""


class Creation:
    """One file on its way into a record.

    :param file: With the name that it is to have.
    :param name: What it was to be called.
    :param mark: What tells it from others of that name.
    :param in_doubt: Whether the file may exist already.
    :param has_asked: Whether an earlier run was about to create it under the name of ``file``.
    :param adopts: Whether an unfinished file that has the name may be proven to be this one.
    :param completeness: Finds out whether files are complete, and what they belong to.
    :param on_name: Awaited with each other name, before that is asked for.
    :ivar file: The file that is asked for; may be replaced after a refusal.
    :ivar has_found: Whether the file was there already, in an unknown state.
    :ivar is_to_be_listed: Whether the record has to list the file when it is complete: that it is
        of this record is plausible, and not proven yet.
    :ivar has_it: Whether no other upload has the file that was created.
    :ivar refusal: How the service refused the latest call to create it, if it did.
    """

    def __init__(
        self,
        means: Means,
        record: RecordFiles,
        file: NewBackupFile,
        *,
        name: str,
        mark: str,
        in_doubt: bool,
        has_asked: bool,
        adopts: bool,
        completeness: Completeness,
        on_name: Callable[[str], Awaitable[None]],
    ) -> None:
        self.file: NewBackupFile = file
        self.has_found: bool = False
        self.has_it: bool = False
        self.is_to_be_listed: bool = False
        self.refusal: ApiError | None = None
        self._has_asked = has_asked
        self._adopts = adopts
        self._completeness = completeness
        self._on_name = on_name
        self._means = means
        self._record = record
        self._mark = mark
        self._in_doubt = in_doubt
        self._name = name
        # those that were asked for stay: an answer may have been lost for any of them
        self._asked: list[tuple[str, bool]] = []
        self._unanswered: tuple[str, ...] = ()
        self._created: CreatedBackupFile | None = None

    async def run(self, lock_id: str) -> CreatedBackupFile:
        """Create it, or find it.

        :param lock_id: A lock that is alive.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived, however often it was asked.

        After a cancellation it can be run again, and finds out what became of it; what it has
        returned it returns again.
        """
        if self._created is not None:
            return self._created
        means = self._means
        attempts = means.attempts()
        while True:
            try:
                created = await (self._settle(lock_id) if self._in_doubt else self._ask(lock_id))
            except _LostError as lost:
                logger.warning("%s may have been created: looking", self.file.file_name)
                await attempts.after(lost.error)
            else:
                attempts.succeeded()
                self._in_doubt = False
                self._created = created
                if self._unanswered:
                    self._settled()
                return created

    def _settled(self) -> None:
        """Take back that calls were not answered: what there is of this file is known now."""
        calls, self._unanswered = len(self._unanswered), ()
        self._record.answered(self.file.sha256, self.file.length, calls)

    def rename(self) -> None:
        """Ask for another name from now on, where the wanted one is taken."""
        self._adopts = self._has_asked = False
        self.file = attrs.evolve(self.file, auto_rename=AutoRename.RENAME)
        self._asked.clear()
        self._created = None

    async def _settle(self, lock_id: str) -> CreatedBackupFile:
        self._note_asked()
        # looked for first: where names are not unique, asking again is never refused
        if (found := await self._listed()) is not None:
            return found
        refusal: DuplicateFileName | None = None
        for name, identifies in self._names():
            file = attrs.evolve(self.file, file_name=name, auto_rename=AutoRename.REJECT)
            try:
                return await self._ask(lock_id, file)
            except DuplicateFileName as taken:
                refusal = taken
                found = await self._holder(taken.existing_file_id, name, identifies=identifies)
                if found is not None:
                    return found
        assert refusal is not None  # noqa: S101 - there is one name at least
        self._in_doubt = False
        refusal.advice = f"{_MAY_BE_OURS}; {DuplicateFileName.advice}"
        raise refusal

    async def _holder(
        self, file_id: str | None, name: str, *, identifies: bool
    ) -> CreatedBackupFile | None:
        """Return the file that has a name, if it is this one.

        :param file_id: Its id, as the refusal gave it; None where that gave none.
        :param identifies: Whether no other upload can have asked for the name.
        """
        if file_id is None:
            return await self._listed(name) if identifies else None
        if identifies:
            return self._taken(file_id, name)
        if not self._may_have_created(name):
            return None
        if not await self._completeness.is_plausible(file_id, name):
            logger.info("%s is the name of file %s, which may be another backup's", name, file_id)
            return None
        if await self._completeness.is_stored(file_id):  # nothing is to be done with it
            return await self._listed()
        found = self._taken(file_id, name)
        self.is_to_be_listed = found is not None
        return found

    def _may_have_created(self, name: str) -> bool:
        """Return whether a call for this file under a name that no other one here has was lost."""
        if not self._adopts or self.file.auto_rename is not AutoRename.RENAME:
            return False
        return name in self._unanswered or (self._has_asked and name == self.file.file_name)

    def _names(self) -> Iterator[tuple[str, bool]]:
        """Give the names to ask for, and whether each identifies the record and the file."""
        yield from tuple(self._asked)
        if self.file.auto_rename is AutoRename.REJECT:
            return  # the caller wants this name only
        parent = self.file.parent_folder[0] if self.file.parent_folder else None
        own_names_left = self._record.own_names(self._name, parent, self._mark)
        for name in islice(own_names_left, _MOST_NAMES):
            self._asked.append((name, True))
            yield name, True

    def _note_asked(self) -> None:
        if not self._asked:
            first = self.file.file_name
            own = islice(own_names(self._record_id, self._name, self._mark), _TURNS)
            self._asked.append((first, first in own))

    async def _ask(self, lock_id: str, file: NewBackupFile | None = None) -> CreatedBackupFile:
        file = file or self.file
        created = await self._call(lock_id, file)
        if await self._is_elsewhere(created) and self.file.auto_rename is not AutoRename.REJECT:
            # a file of another record has the name and the bytes: this record has no such file yet
            renamed = attrs.evolve(file, auto_rename=AutoRename.RENAME)
            created = await self._call(lock_id, renamed)
        file_id = _id_of(created)
        if await self._is_elsewhere(created):
            raise _malformed(f"file {file_id}, which the service offers, is not of this record")
        self.has_it = self._record.own(file_id)
        if not (self.has_it or created.exist):
            raise _malformed(f"the service gave the id {file_id} to another file before")
        if created.container_id is not None and file.container_id is None:
            self._record.container_id = created.container_id
        return created

    async def _call(self, lock_id: str, file: NewBackupFile) -> CreatedBackupFile:
        if file.file_name != self.file.file_name:
            await self._on_name(file.file_name)
        record = self._record
        before, self._in_doubt = self._in_doubt, True
        record.asks(file.sha256, file.length)
        try:
            created = await self._means.files.create(record.record_id, file, lock_id=lock_id)
            _id_of(created)
        except (ApiError, TransportError) as error:
            if may_have_acted(error):
                self._unanswered += (file.file_name,)
                raise _LostError(error) from error
            record.answered(file.sha256, file.length)
            self._in_doubt = before
            if isinstance(error, ApiError):
                self.refusal = error
            raise
        except BaseException:  # such as a cancellation
            self._unanswered += (file.file_name,)
            raise
        record.answered(file.sha256, file.length)
        self._in_doubt = before
        if created.file_id == created.exist_file_id:
            return attrs.evolve(created, exist=True)
        return created

    async def _is_elsewhere(self, created: CreatedBackupFile) -> bool:
        """Return whether the answer is about a file that exists, and not in this record."""
        if not created.exist:
            return False
        file = self.file
        return not await self._record.contains(
            self._means.files, _id_of(created), file.sha256, file.length
        )

    @property
    def _record_id(self) -> str:
        return self._record.record_id

    async def _listed(self, name: str | None = None) -> CreatedBackupFile | None:
        """Return the file if the record lists it, and no other upload has it.

        :param name: One that only this file can have; by default any that the service may have
            made of the wanted one.
        """
        file = self.file
        entries = await self._record.look(self._means.files, file.sha256, file.length)
        for entry in entries:
            is_this = entry.file_name == name if name else self._may_be(entry)
            if is_this and (found := self._taken(entry.file_id, entry.file_name)):
                return found
        if file.auto_rename is not AutoRename.SKIP:
            return None
        for entry in entries:
            if await self._is_there(entry, file):
                return CreatedBackupFile(
                    file_id=entry.file_id, file_name=entry.file_name, exist=True
                )
        return None

    async def _is_there(self, entry: BackupFile, file: NewBackupFile) -> bool:
        """Return whether the record has a complete file of this name and these bytes."""
        if entry.file_name != file.file_name or not self._record.is_of_one_folder(file.file_name):
            return False
        return await self._completeness.is_proven(entry.file_id)

    def _taken(self, file_id: str, name: str | None) -> CreatedBackupFile | None:
        if not self._record.own(file_id):
            return None
        self.has_found = True
        return CreatedBackupFile(file_id=file_id, file_name=name)

    def _may_be(self, entry: BackupFile) -> bool:
        """Return whether a listed file may be this one, and no other upload's."""
        # the service may not list descriptions
        name, record = entry.file_name or "", self._record
        if not is_same_description(entry.description, self.file.description):
            return False
        if any(name == asked for asked, _ in self._asked):
            return record.is_of_one_folder(name)
        if record.knows_name(name):
            return False
        wanted = self.file.file_name
        return record.is_of_one_folder(wanted) and is_made_of(wanted, name)


def is_made_of(wanted: str, name: str) -> bool:
    """Return whether a service may have made a name of the wanted one, which was taken."""
    path = PurePosixPath(wanted)
    for stem, extension in ((path.stem, path.suffix), (path.name, "")):
        if name.startswith(stem) and name.endswith(extension):
            added = name[len(stem) : len(name) - len(extension)]
            if _ADDED.fullmatch(added):
                return True
    return False


def _id_of(created: CreatedBackupFile) -> str:
    if created.file_id is None:
        # half an answer, as one that was cut off: whether the file is there is looked up
        raise _malformed("the answer has no fileId", unreadable=True)
    return created.file_id


def _malformed(text: str, *, unreadable: bool = False) -> MalformedResponse:
    return MalformedResponse(
        text, method="POST", path="backup file", status=200, unreadable=unreadable
    )


class _LostError(Exception):
    """Whether the file was created is not known."""

    def __init__(self, error: ApiError | TransportError) -> None:
        super().__init__(str(error))
        self.error = error


_MAY_BE_OURS = (
    "an earlier call was not answered: the file that has the name may be this one, unfinished"
)
