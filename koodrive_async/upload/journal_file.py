"""A journal on disk: opened, committed to, set aside when it is damaged, and done without."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
from filelock import FileLock

from koodrive_async.upload.journal_calls import make
from koodrive_async.upload.journal_hashes import DAY
from koodrive_async.upload.journal_locks import locks_of
from koodrive_async.upload.journal_store import ADDED, SCHEMA, JournalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from koodrive_async.upload.journal_entries import SavedRecord
    from koodrive_async.upload.journal_store import Call

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

VERSION: Final = 1
"""Of the schema, kept as ``user_version``: raised whenever older code could not use it."""

KEPT_DAYS: Final = 30.0
"""Days after which hashes nobody asked for and records nobody went on with are forgotten."""

_LOCKS_KEPT_DAYS: Final = 1.0
"""Days after which the backup locks of ended processes are forgotten, which live for minutes."""

_APPLICATION: Final = 0x6B6F6F64
"""``application_id``, which tells a journal from other databases."""

_PATIENCE: Final = 10.0
"""Seconds to wait for another process that is writing or opening."""

_PAUSE: Final = 10.0
"""Seconds after which a journal that could not be used is tried again."""

_HEADER: Final = b"SQLite format 3\0"

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Unusable(Exception):  # noqa: N818 - it says what the file is
    """The file is in order, but it is no journal for this version."""


class Damaged(sqlite3.DatabaseError):
    """The journal's pages do not fit together."""


class JournalFile:
    """A journal on disk, for one thread. Nothing that is wrong with it is an error.

    :param records: The records this process is at, with which a new journal begins.
    :param in_use: Whether any process is at a record, by account and id.
    :param locks: The modules of the backup locks that this process holds, by account and id, with
        which a new journal begins as well.
    :param is_held: Whether any process holds a backup lock, by account and id.
    :param clock: Seconds since 1970.
    """

    def __init__(
        self,
        path: Path,
        records: Mapping[tuple[str, str], SavedRecord],
        in_use: Callable[[str, str], bool] = lambda _account, _record_id: False,
        *,
        locks: Mapping[tuple[str, str], str] = MappingProxyType({}),
        is_held: Callable[[str, str], bool] = lambda _account, _lock_id: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._records = records
        self._in_use = in_use
        self._locks = locks
        self._is_held = is_held
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._given_up = False
        self._again_at = self._tidied_at = 0.0
        self._was_told = False
        self._is_incomplete = False
        self._incomplete: set[tuple[str, str]] = set()

    def transact(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Make calls in one transaction, and return what they gave once it is committed.

        Where that is not possible they are done without, and so are those of the next seconds.
        """
        if not self._given_up and time.monotonic() >= self._again_at:
            try:
                try:
                    return self._commit(calls)
                except sqlite3.Error as error:
                    if not _is_damage(error):
                        raise
                    self._set_aside(error)
                return self._commit(calls)
            except (sqlite3.Error, OSError, NotImplementedError, Unusable) as error:
                self._do_without(error)
        self._miss()
        return [call.otherwise for call in calls]

    def close(self) -> None:
        """Close it, having tried once more to note what was missed."""
        if self._incomplete:
            self._again_at = 0.0
            self.transact([])
        self._disconnect()

    def _do_without(self, error: Exception) -> None:
        self._disconnect()
        self._again_at = time.monotonic() + _PAUSE
        self._given_up = isinstance(error, NotImplementedError | Unusable) or _is_damage(error)
        level = logging.INFO if self._was_told else logging.WARNING
        self._was_told = True
        logger.log(level, "going on without the journal %s: %s", self._path, error)

    def _miss(self) -> None:
        """Have it noted, as soon as that is possible, that something was not."""
        self._is_incomplete = True
        self._incomplete.update(self._records)  # they may be left by then

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _commit(self, calls: Sequence[Call[Any]]) -> list[Any]:
        connection = self._opened()
        store = JournalStore(connection, self._clock)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._is_incomplete:
                self._note_what_is_missing(store)  # for those of the calls that read it
            results, all_taken = make(connection, store, calls)
            if self._is_incomplete or not all_taken:
                self._note_what_is_missing(store)
            connection.execute("COMMIT")
        except BaseException:
            self._miss()
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        self._is_incomplete = False
        self._incomplete.clear()
        return results

    def _note_what_is_missing(self, store: JournalStore) -> None:
        for account, record_id in {*self._incomplete, *self._records}:
            store.notes_are_missing(account, record_id)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._file == _file_at(self._path):
            if self._clock() - self._tidied_at > DAY:  # a service may have it open for years
                self._put_in_order(self._connection)
            return self._connection
        self._disconnect()
        # when it is not the first time, another process has set it aside, or somebody deleted it
        self._is_incomplete = self._is_incomplete or self._file is not None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_another_file(self._path):
            raise Unusable("it is no database, and no journal was kept there before")
        with _opening(self._path):
            _make(self._path)
            self._file = _file_at(self._path)
            connection = _connect(self._path)
        self._connection = connection
        self._put_in_order(connection)
        return connection

    def _put_in_order(self, connection: sqlite3.Connection) -> None:
        store = JournalStore(connection, self._clock)
        self._tidied_at = self._clock()
        connection.execute("BEGIN IMMEDIATE")
        store.hashes.prune(KEPT_DAYS)
        store.prune_records(KEPT_DAYS, self._in_use)
        store.prune_locks(_LOCKS_KEPT_DAYS, self._is_held)
        for (account, record_id), record in self._records.items():
            if store.record(account, record_id) is None:
                store.begin(attrs.evolve(record, notes=""))  # what was noted is gone
        for (account, lock_id), module in self._locks.items():
            store.hold_lock(account, module, lock_id)
        connection.execute("COMMIT")
        _shrink(connection)

    def _set_aside(self, error: sqlite3.Error) -> None:
        self._disconnect()
        with _opening(self._path):
            if _file_at(self._path) != self._file:
                return  # another process has done so
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            name = f"{self._path.name}.damaged-{stamp}"
            for suffix in ("-wal", "-shm", ""):  # a log must not outlive its database here
                with suppress(FileNotFoundError):
                    old = self._path.with_name(self._path.name + suffix)
                    old.rename(self._path.with_name(name + suffix))
        logger.warning(
            "the journal %s is damaged (%s): it was set aside as %s, and a new one begun",
            *(self._path, error, name),
        )


@contextmanager
def transaction(path: Path) -> Iterator[JournalStore]:
    """Open an existing journal for one transaction, and give back what room it has left then.

    :raises Damaged: Its pages do not fit together.
    :raises Unusable: It belongs to another program or to a newer version.
    :raises sqlite3.Error: It cannot be read or is no database.
    """
    with _opening(path), closing(_connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield JournalStore(connection)
        connection.execute("COMMIT")
        _shrink(connection)


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file, and give an empty one its tables; one process at a time."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE)
    try:
        is_new = _check_stamps(connection)
        if is_new:
            # not before the tables: SQLite would not take it then
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if is_new:
            _create(connection)
        _check_pages(connection)
        for statement in ADDED:  # not the version with it: older code does without them
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_stamps(connection: sqlite3.Connection) -> bool:
    """Return whether it is a new database."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables and application != _APPLICATION:
        raise Unusable("it is no journal of this program")
    if version > VERSION:
        raise Unusable(f"it is of a newer version ({version}, known are those up to {VERSION})")
    return not tables


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA:
        connection.execute(statement)
    # From a number that no earlier journal can have come to: who still has one of its numbers
    # must not hit upon another upload.
    connection.execute("INSERT INTO sqlite_sequence VALUES ('uploads', ?)", (time.time_ns(),))
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _check_pages(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Damaged(found)


def _is_damage(error: Exception) -> bool:
    if isinstance(error, Damaged):
        return True
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in _DAMAGE  # the rest of the code says more of the same


def _shrink(connection: sqlite3.Connection) -> None:
    # execute() would stop after the first page
    connection.executescript("PRAGMA incremental_vacuum")


def _is_another_file(path: Path) -> bool:
    """Return whether a file is of something else, such as a document that was named by mistake.

    Where the folder of locks is, it was a journal, and is damaged. Otherwise no process has it open
    as one, so that reading it gives no lock of this process up.
    """
    if locks_of(path).exists() or not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(len(_HEADER))
    return beginning not in {b"", _HEADER}


def _make(path: Path) -> None:
    """Make an empty file for its owner alone; SQLite gives the same mode to those beside it.

    One that exists is not even opened: closing it would give up this process's locks on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _opening(path: Path) -> FileLock:
    """Return the lock under which a journal is opened or replaced."""
    folder = locks_of(path)
    folder.mkdir(mode=0o700, exist_ok=True)
    return FileLock(folder / "opening", timeout=_PATIENCE, mode=0o600)


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
