"""What is known of the files of one record: names, ids, what an earlier run left."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from itertools import chain, count
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import anyio

from koodrive_async.resources.arguments import MAX_FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from koodrive_async.models import BackupFile

ROOT = "root"
_ANYWHERE = ""
_LONGEST_EXTENSION = 100


class RecordFiles:
    """The files of one record, as far as one session knows them.

    :param record_id: The record.
    :param listed: The files that an earlier run had completed; None when this run began the record.
    :param noted: The names that it gave to files according to the journal; None when that may not
        know them all.
    :ivar resumed: Whether an earlier run may have left more than is listed.
    :ivar knows_names: Whether what has not taken a name here has none.
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
        self.resumed: bool = listed is not None
        self.knows_names: bool = not self.resumed or noted is not None
        self.container_id: str | None = None
        self.learning: anyio.Lock = anyio.Lock()
        self.has_asked: bool = False
        # hashes of names and ids: a record may have a million files
        self._names: set[int] = set()
        self._owned: set[int] = set()
        self._listed: dict[str, BackupFile] = {}
        self._by_content: defaultdict[object, list[str]] = defaultdict(list)
        for file in listed or ():
            self._listed[file.file_id] = file
            self._by_content[_content(file.sha256, file.size)].append(file.file_id)
            self._names.add(hash((_ANYWHERE, file.file_name)))
        self._names.update(hash((_ANYWHERE, name)) for name in noted or ())

    # --- names ---------------------------------------------------------------------------------

    def take_name(self, name: str, parent: str | None) -> bool:
        """Take a name; return whether it was free."""
        is_free = self._is_free(name, parent)
        self._names.add(hash((parent or ROOT, name)))
        return is_free

    def free_name(self, name: str, parent: str | None, mark: str) -> str:
        """Take a name that no file of this record has, as far as known.

        The service would make a taken name different as well (page ``createBackupFile``,
        ``autoRename`` 2), but tell how only in its answer, which may get lost. A name that is made
        here is the same in every run.

        :param parent: The folder that it is to be in.
        :param mark: What tells the file from others of its name.
        """
        names = chain((name,), marked_names(name, mark))
        return next(each for each in names if self.take_name(each, parent))

    def marked_name(self, name: str, parent: str | None, mark: str) -> str:
        """Take a name that no other file can have, whatever is known."""
        return next(each for each in marked_names(name, mark) if self.take_name(each, parent))

    def _is_free(self, name: str, parent: str | None) -> bool:
        # of those that are listed nobody knows the folder
        return (
            hash((parent or ROOT, name)) not in self._names
            and hash((_ANYWHERE, name)) not in self._names
        )

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

    def listed(self, file_id: str | None) -> BackupFile | None:
        """Return a file that was listed when the record was gone on with, by its id."""
        return None if file_id is None else self._listed.get(file_id)

    def candidates(
        self, names: Iterable[str], *, sha256: str, size: int, description: str | None
    ) -> Iterator[BackupFile]:
        """Give the files listed that an earlier run may have made of the same source.

        With a description that is all the same; without, the name decides.

        :param names: Those that it may have been given, the likeliest first.
        """
        same = [
            file
            for file_id in self._by_content.get(_content(sha256, size), ())
            if hash(file_id) not in self._owned
            and ((file := self._listed[file_id]).description or "") == (description or "")
        ]
        wanted = {name: rank for rank, name in enumerate(names)}
        if not description:
            same = [file for file in same if file.file_name in wanted]
        yield from sorted(same, key=lambda file: wanted.get(file.file_name or "", len(wanted)))


def marked_names(name: str, mark: str) -> Iterator[str]:
    """Give names that tell a file from others of the same name, the same ones in every run."""
    stem, extension = PurePosixPath(name).stem, PurePosixPath(name).suffix[-_LONGEST_EXTENSION:]
    for turn in count():
        digest = blake2b(f"{mark}\n{turn}".encode(errors="replace"), digest_size=4).hexdigest()
        suffix = f"_{digest}{extension}"
        yield stem[: MAX_FILE_NAME - len(suffix)] + suffix


def _content(sha256: str | None, size: int | None) -> object:
    return (sha256, size)
