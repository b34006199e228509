"""What is known of the files of one record: the names they take, and what an earlier run left."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from hashlib import blake2b
from itertools import count
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import anyio

from koodrive_async.resources.arguments import MAX_FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from koodrive_async.models import BackupFile

ROOT = "root"

_MARKED = r"_(?:\d{8}_\d{6}|[0-9a-f]{8})"
"""What makes a name different: a time stamp of the service, or a mark of ours."""


class RecordFiles:
    """The files of one record, as far as one session knows them.

    :param record_id: The record.
    :param listed: The files that an earlier run had completed; None when this run began the record.
    :param noted: The names that it gave to files according to the journal; None when there is none.
    :ivar resumed: Whether an earlier run may have left more than is listed.
    :ivar container_id: The space that files go to which name none, once it is known.
    :ivar learning: Held by who is finding that out.
    :ivar has_asked: Whether somebody has tried to.
    """

    def __init__(
        self,
        record_id: str,
        listed: Iterable[BackupFile] | None = None,
        noted: Iterable[str] | None = None,
    ) -> None:
        self.record_id = record_id
        self.resumed = listed is not None
        self.container_id: str | None = None
        self.learning = anyio.Lock()
        self.has_asked = False
        # hashes of names: a record may have a million files
        self._names: set[int] = set()
        self._contents: dict[str, object] = {}
        self._listed: defaultdict[object, deque[BackupFile]] = defaultdict(deque)
        for file in listed or ():
            content = _content(file.sha256, file.size, file.description)
            self._contents[file.file_id] = content
            self._listed[content].append(file)
            self._names.add(_name(ROOT, file.file_name or ""))
        self._names.update(_name(ROOT, name) for name in noted or ())
        self._guessing = self.resumed and noted is None

    def names_for(self, name: str, parent: str | None, mark: str) -> tuple[str, ...]:
        """Take a name that no file of this record has, so that it is certain whose it is.

        The service would make a taken name different as well (page ``createBackupFile``,
        ``autoRename`` 2), but tell how only in its answer, which may get lost. A name that is made
        here is the same in every run.

        :param parent: The folder that it is to be in.
        :param mark: What tells the file from others of its name.
        :returns: The name; behind those that an earlier run may have given it, if nobody knows.
        """
        names: list[str] = []
        for candidate in _candidates(name, mark):
            names.append(candidate)
            if _name(parent or ROOT, candidate) not in self._names:
                break
        self.take_name(names[-1], parent)
        return tuple(names) if self._guessing else (names[-1],)

    def may_be_foreign(self, name: str) -> bool:
        """Return whether an earlier run may have given this name to any file, and nobody knows."""
        return self._guessing and re.fullmatch(f".*{_MARKED}(\\.[^.]*)?", name, re.DOTALL) is None

    def was_listed(self, file_id: str) -> bool:
        """Return whether an earlier run had completed this file."""
        return file_id in self._contents

    def take_name(self, name: str, parent: str | None) -> None:
        """Note that a file has this name."""
        self._names.add(_name(parent or ROOT, name))

    def claim(
        self, name: str, *, sha256: str, size: int, description: str | None
    ) -> BackupFile | None:
        """Take a file that an earlier run had completed under this name, or one made different.

        :returns: The file, which nobody gets a second time; None when there is none.
        """
        candidates = self._listed.get(_content(sha256, size, description), ())
        for file in candidates:
            if _is_name_of(file.file_name or "", name):
                return self.claim_id(file.file_id)
        return None

    def claim_id(self, file_id: str | None) -> BackupFile | None:
        """Take a file that an earlier run had completed, by its id; as :meth:`claim`."""
        if file_id not in self._contents:
            return None
        files = self._listed[self._contents[file_id]]
        for file in files:
            if file.file_id == file_id:
                files.remove(file)
                return file
        return None


def _name(parent: str, name: str) -> int:
    return hash((parent, name))


def _content(sha256: str | None, size: int | None, description: str | None) -> object:
    return (sha256, size, description or "")


def _candidates(name: str, mark: str) -> Iterator[str]:
    yield name
    stem, extension = PurePosixPath(name).stem, PurePosixPath(name).suffix
    for turn in count():
        digest = blake2b(f"{mark}\n{turn}".encode(errors="replace"), digest_size=4).hexdigest()
        suffix = f"_{digest}{extension}"
        yield stem[: MAX_FILE_NAME - len(suffix)] + suffix


def _is_name_of(stored: str, wanted: str) -> bool:
    if stored == wanted:
        return True
    stem, extension = PurePosixPath(wanted).stem, PurePosixPath(wanted).suffix
    found = re.fullmatch(f"(.*){_MARKED}{re.escape(extension)}", stored, re.DOTALL)
    return found is not None and stem.startswith(found[1]) and bool(found[1])
