"""What is known of the files of one record: names, ids, what an earlier run left."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from hashlib import blake2b
from itertools import chain, count
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import anyio

from koodrive_async.resources.arguments import MAX_FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from koodrive_async.models import BackupFile
    from koodrive_async.resources import Files

ROOT = "root"

SPACE_PAUSE = 60.0
"""Seconds after which the space is asked for again, where a call failed: not for every file."""

_ANYWHERE = ""
_LONGEST_EXTENSION = 100
_SHORT, _LONG = 8, 16
"""Digits of a mark that distinguishes files of one record, and of one that identifies a record."""

MAX_DESCRIPTION = 512
"""Characters of a description that page ``createFile`` allows; that of backup files names none."""


class RecordFiles:
    """The files of one record, as far as one session knows them.

    :param record_id: The record.
    :param listed: The files that an earlier run had completed; None when this run began the record.
    :param noted: The names that it gave to files according to the journal; None when that may not
        know them all.
    :param create_time: When the record was created, by the clock of the service.
    :ivar resumed: Whether an earlier run may have left more than is listed.
    :ivar knows_names: Whether what has not taken a name here has none.
    :ivar container_id: The space that files go to which name none, once it is known.
    :ivar learning: Held by the upload that is finding that out.
    :ivar terms: On which terms the service takes files, as far as it was asked otherwise.
    :ivar takes_unnamed: Whether a call created a file without naming its space.
    :ivar codes_of_else: Codes of refusals that naming the space has not changed since then.
    :ivar trusts_flash: Whether a file is complete when the service has its bytes; None while that
        is not known.
    :ivar learning_flash: Held by the upload that is finding that out.
    """

    def __init__(
        self,
        record_id: str,
        listed: Iterable[BackupFile] | None = None,
        noted: Iterable[str] | None = None,
        *,
        create_time: datetime | None = None,
    ) -> None:
        self.record_id = record_id
        self.create_time: datetime | None = create_time
        self.resumed: bool = listed is not None
        self.knows_names: bool = not self.resumed or noted is not None
        self.container_id: str | None = None
        self.learning: anyio.Lock = anyio.Lock()
        self._may_ask_at: float = 0.0
        self.terms: frozenset[str] = frozenset()
        self.takes_unnamed: bool = False
        self.codes_of_else: set[str] = set()
        self.trusts_flash: bool | None = None
        self.learning_flash: anyio.Lock = anyio.Lock()
        self._looking: anyio.Lock = anyio.Lock()
        self._wanted: dict[object, list[list[BackupFile]]] = {}
        # hashes of names and ids: a record may have a million files
        self._names: dict[int, str] = {}
        self._in_more_folders: set[int] = set()
        self._of_more_folders: set[int] = set()
        self._unanswered: Counter[int] = Counter()
        self._owned: set[int] = set()
        self._listed: dict[str, BackupFile] = {}
        self._by_content: defaultdict[object, list[str]] = defaultdict(list)
        for file in listed or ():
            self._listed[file.file_id] = file
            self._by_content[_content(file.sha256, file.size)].append(file.file_id)
            self._names[hash(file.file_name)] = _ANYWHERE
        self._names.update((hash(name), _ANYWHERE) for name in noted or ())

    # --- the space ------------------------------------------------------------------------------

    @property
    def may_ask(self) -> bool:
        """Whether to ask for the space that files go to: not again soon after a failure."""
        return time.monotonic() >= self._may_ask_at

    def has_asked_for_space(self, *, is_settled: bool) -> None:
        """Note that the space was asked for.

        :param is_settled: The answers are final; otherwise a call failed for the moment.
        """
        self._may_ask_at = math.inf if is_settled else time.monotonic() + SPACE_PAUSE

    # --- names ---------------------------------------------------------------------------------

    def take_name(self, name: str, parent: str | None) -> bool:
        """Take a name; return whether it was free."""
        is_free, folder = self._is_free(name, parent), parent or ROOT
        if self._names.setdefault(hash(name), folder) not in {folder, _ANYWHERE}:
            self._in_more_folders.add(hash((folder, name)))
            self._of_more_folders.add(hash(name))
        return is_free

    def knows_name(self, name: str) -> bool:
        """Return whether an upload of this record has taken a name, in any folder."""
        return hash(name) in self._names

    def is_of_one_folder(self, name: str) -> bool:
        """Return whether uploads to one folder only have taken a name: listings give no folder."""
        return hash(name) not in self._of_more_folders

    def free_name(self, name: str, parent: str | None, mark: str) -> str:
        """Take a name that no file of this record has, as far as known.

        The service would make a taken name different as well (page ``createBackupFile``,
        ``autoRename`` 2), but say how only in its answer, which may get lost. A name that is made
        here is the same in every run.

        :param parent: The folder that it is to be in.
        :param mark: What tells the file from others of its name.
        """
        names = chain((name,), marked_names(name, mark))
        return next(each for each in names if self.take_name(each, parent))

    def own_names(self, name: str, parent: str | None, mark: str) -> Iterator[str]:
        """Take names, one after the other, that no other record's file can have, nor another here.

        Whether names are unique in a record, a folder or a space is not documented: a file that
        has one of these is this record's, wherever they are unique.
        """
        for each in own_names(self.record_id, name, mark):
            if not self.knows_name(each):
                self.take_name(each, parent)
                yield each

    def _is_free(self, name: str, parent: str | None) -> bool:
        folder = parent or ROOT
        # the folder of listed files is not known
        if self._names.get(hash(name)) in {_ANYWHERE, folder}:
            return False
        return hash((folder, name)) not in self._in_more_folders

    # --- ids -----------------------------------------------------------------------------------

    def own(self, file_id: str) -> bool:
        """Note that an upload of this session has this file; False when another one has it."""
        if hash(file_id) in self._owned:
            return False
        self._owned.add(hash(file_id))
        return True

    def disown(self, file_id: str) -> None:
        """Give a file up again."""
        self._owned.discard(hash(file_id))

    def has(self, file_id: str) -> bool:
        """Return whether a file is known to be of this record."""
        return hash(file_id) in self._owned or file_id in self._listed

    # --- calls that may create files -----------------------------------------------------------

    def asks(self, sha256: str, size: int) -> None:
        """Note that a file of these bytes is about to be created."""
        self._unanswered[hash(_content(sha256, size))] += 1

    def answered(self, sha256: str, size: int, calls: int = 1) -> None:
        """Note that it is known what became of so many calls."""
        key = hash(_content(sha256, size))
        self._unanswered[key] -= calls
        if not self._unanswered[key]:
            del self._unanswered[key]

    async def contains(self, files: Files, file_id: str, sha256: str, size: int) -> bool:
        """Return whether a file of these bytes is of this record; lists that only in doubt.

        What the record had when it was gone on with is known, and what was created since, but for
        the calls that are not answered.

        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        """
        if self.has(file_id):
            return True
        if hash(_content(sha256, size)) not in self._unanswered:
            return False
        return any(file.file_id == file_id for file in await self.look(files, sha256, size))

    async def lists(self, files: Files, file_id: str) -> bool:
        """List the record until a file is found; return whether it is.

        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        """
        async for entry in files.list(self.record_id):
            if entry.file_id == file_id:
                return True
        return False

    def listed(self, file_id: str | None) -> BackupFile | None:
        """Return a file that was listed when the record was gone on with, by its id."""
        return None if file_id is None else self._listed.get(file_id)

    async def look(self, files: Files, sha256: str, size: int) -> list[BackupFile]:
        """List the record now, and return its files of these bytes, complete or not.

        A listing is long in a large record: uploads that want one meanwhile share the next.

        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        """
        found: list[BackupFile] = []
        key = _content(sha256, size)
        self._wanted.setdefault(key, []).append(found)
        async with self._looking:
            if not any(found is each for each in self._wanted.get(key, ())):
                return found  # the call before has listed for this one as well
            wanted, self._wanted = self._wanted, {}
            try:
                async for entry in files.list(self.record_id):
                    for each in wanted.get(_content(entry.sha256, entry.size), ()):
                        each.append(entry)
            except BaseException:
                for same, those in wanted.items():  # the next one lists for the others
                    rest = [each for each in those if each is not found]
                    for each in rest:
                        each.clear()
                    self._wanted.setdefault(same, []).extend(rest)
                raise
        return found

    def candidates(
        self, names: Iterable[str], *, sha256: str, size: int, description: str | None
    ) -> Iterator[BackupFile]:
        """Give the files listed that an earlier run may have made of the same source.

        With a description that is all the same; where there is none, or listings leave it out, the
        name decides.

        :param names: The names that it may have, the most specific first.
        """
        same = [
            file
            for file_id in self._by_content.get(_content(sha256, size), ())
            if hash(file_id) not in self._owned
            and is_same_description((file := self._listed[file_id]).description, description)
        ]
        wanted = {name: rank for rank, name in enumerate(names)}
        same = [file for file in same if file.description or file.file_name in wanted]
        yield from sorted(same, key=lambda file: wanted.get(file.file_name or "", len(wanted)))


def marked_names(name: str, mark: str) -> Iterator[str]:
    """Give names that tell a file from others of the same name, the same ones in every run."""
    return _with_digests(name, mark, digits=_SHORT)


def own_names(record_id: str, name: str, mark: str) -> Iterator[str]:
    """Give names that identify the record as well, and are long enough to be no accident."""
    return _with_digests(name, f"{record_id}\n{mark}", digits=_LONG)


def _with_digests(name: str, mark: str, *, digits: int) -> Iterator[str]:
    stem, extension = PurePosixPath(name).stem, PurePosixPath(name).suffix[-_LONGEST_EXTENSION:]
    for turn in count():
        text = f"{mark}\n{turn}".encode(errors="replace")
        digest = blake2b(text, digest_size=digits // 2).hexdigest()
        suffix = f"_{digest}{extension}"
        yield stem[: MAX_FILE_NAME - len(suffix)] + suffix


def is_same_description(listed: str | None, wanted: str | None) -> bool:
    """Return whether a listed description is the wanted one, as it is or made shorter to fit."""
    if listed is None or listed == (wanted or ""):
        return True  # a listing may leave descriptions out
    wanted = wanted or ""
    return len(wanted) > MAX_DESCRIPTION and (
        listed == shortened(wanted) or listed == wanted[:MAX_DESCRIPTION]
    )


def shortened(description: str) -> str:
    """Return a description that fits: its beginning, and a digest of the whole.

    Always the same for the same text; neither its characters nor its bytes in UTF-8 are too many.
    """
    digest = blake2b(description.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    end = f"\u2026{digest}"
    room = MAX_DESCRIPTION - len(end.encode())
    head = description.encode(errors="surrogatepass")[:room].decode(errors="ignore")
    return head + end


def _content(sha256: str | None, size: int | None) -> object:
    return (sha256, size)
