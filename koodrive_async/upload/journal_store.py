"""What a journal remembers, in SQL; :mod:`~koodrive_async.upload.journal_file` commits it."""

from __future__ import annotations

import json
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from koodrive_async.upload.journal_entries import SavedLock, SavedRecord, SavedUpload
from koodrive_async.upload.journal_hashes import DAY, HashRows
from koodrive_async.upload.journal_hashes import SCHEMA as _HASHES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from koodrive_async.upload.journal_entries import UploadKey
    from koodrive_async.upload.receipt import Outcome

T = TypeVar("T")

SCHEMA: Final = (
    *_HASHES,
    # run: how often the record was begun; an upload of an earlier run may be claimed
    """CREATE TABLE records (
        number INTEGER PRIMARY KEY, account TEXT NOT NULL, record_id TEXT NOT NULL,
        device_id TEXT NOT NULL, module TEXT NOT NULL, root TEXT, lock_id TEXT,
        begun REAL NOT NULL, used REAL NOT NULL, run INTEGER NOT NULL, notes TEXT NOT NULL,
        UNIQUE (account, record_id)
    )""",
    """CREATE TABLE uploads (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        record INTEGER NOT NULL REFERENCES records ON DELETE CASCADE, run INTEGER NOT NULL,
        key BLOB NOT NULL, stored_name TEXT NOT NULL, sha256 TEXT NOT NULL, file_id TEXT,
        container_id TEXT, outcome TEXT
    )""",
    "CREATE INDEX uploads_by_key ON uploads (record, key)",
    """CREATE TABLE parts (
        upload INTEGER NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL,
        etag TEXT, PRIMARY KEY (upload, number)
    ) WITHOUT ROWID""",
)

ADDED: Final = (
    """CREATE TABLE IF NOT EXISTS locks (
        account TEXT NOT NULL, lock_id TEXT NOT NULL, module TEXT NOT NULL, granted REAL NOT NULL,
        PRIMARY KEY (account, lock_id)
    ) WITHOUT ROWID""",
)
"""Tables that the first journals do not have, and that older code has no use for."""


@attrs.frozen(eq=False)
class Call(Generic[T]):
    """Something to do in a transaction.

    :param otherwise: What it gives when it cannot be done.
    """

    function: Callable[[JournalStore], T]
    otherwise: T


@attrs.frozen
class Overview:
    """A record in the journal, for a person.

    :ivar files: Files that were begun.
    :ivar completed: Those that were completed.
    :ivar parts: Parts that have arrived of the others.
    """

    record: SavedRecord
    files: int
    completed: int
    parts: int


class JournalStore:
    """The rows of a journal.

    Every method belongs into a transaction, which whoever calls it has begun.

    :param connection: To a database with the schema.
    :param clock: Seconds since 1970.
    """

    def __init__(
        self, connection: sqlite3.Connection, clock: Callable[[], float] = time.time
    ) -> None:
        self.hashes: HashRows = HashRows(connection, clock)
        self._run = connection.execute
        self._clock = clock

    # --- records -------------------------------------------------------------------------------

    def begin(self, record: SavedRecord) -> None:
        """Note a record, or that it is gone on with: what was begun before is an earlier run's."""
        self._run(
            "INSERT INTO records (account, record_id, device_id, module, root, lock_id, begun,"
            " notes, used, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (account, record_id) DO UPDATE SET device_id = excluded.device_id,"
            " module = excluded.module, root = excluded.root, lock_id = excluded.lock_id,"
            " notes = excluded.notes, used = excluded.used, run = run + 1",
            (
                record.account,
                record.record_id,
                record.device_id,
                record.module,
                None if record.root is None else json.dumps(record.root),
                record.lock_id,
                record.begun,
                record.notes,
                self._clock(),
            ),
        )

    def record(self, account: str, record_id: str) -> SavedRecord | None:
        """Return a record that was begun and not completed."""
        row = self._run(
            _RECORDS + " WHERE account = ? AND record_id = ?", (account, record_id)
        ).fetchone()
        return None if row is None else _record(row)

    def unfinished(
        self, account: str, device_id: str | None = None, module: str | None = None
    ) -> list[SavedRecord]:
        """Return the records of an account, newest first."""
        rows = self._run(
            _RECORDS + " WHERE account = :account"
            " AND (:device IS NULL OR device_id = :device)"
            " AND (:module IS NULL OR module = :module) ORDER BY begun DESC, number DESC",
            {"account": account, "device": device_id, "module": module},
        )
        return [_record(row) for row in rows]

    def note_lock(self, account: str, record_id: str, lock_id: str | None) -> None:
        """Note the lock that a record is written under, and in no other place.

        Older code finds it here alone, and so it may not be found a second time elsewhere.
        """
        noted = self._run(
            "UPDATE records SET lock_id = ? WHERE account = ? AND record_id = ?",
            (lock_id, account, record_id),
        )
        if noted.rowcount:
            self._run("DELETE FROM locks WHERE account = ? AND lock_id = ?", (account, lock_id))

    def notes_are_missing(self, account: str, record_id: str) -> None:
        """Note that not everything of a record was noted."""
        self._run(
            "UPDATE records SET notes = '' WHERE account = ? AND record_id = ?",
            (account, record_id),
        )

    def forget_some_uploads(self, account: str, record_id: str, count: int) -> bool:
        """Forget so many uploads of a record; return whether there were that many.

        A record may have a million, and nobody else can write meanwhile.
        """
        # "+": by number and not by key, for neighbours share pages
        cursor = self._run(
            "DELETE FROM uploads WHERE number IN (SELECT number FROM uploads WHERE +record ="
            " (SELECT number FROM records WHERE account = ? AND record_id = ?)"
            " ORDER BY number LIMIT ?)",
            (account, record_id, count),
        )
        return cursor.rowcount == count

    def forget_record(self, account: str, record_id: str) -> None:
        """Forget a record with its uploads; the lock noted for it stays noted, by itself.

        A process may hold that lock for long after its record is complete, and be killed then.
        """
        self._run(
            "INSERT OR IGNORE INTO locks (account, lock_id, module, granted)"
            " SELECT account, lock_id, module, used FROM records"
            " WHERE account = ? AND record_id = ? AND lock_id IS NOT NULL",
            (account, record_id),
        )
        self._run("DELETE FROM records WHERE account = ? AND record_id = ?", (account, record_id))

    def prune_records(self, days: float, in_use: Callable[[str, str], bool]) -> None:
        """Forget the records that were neither begun nor gone on with in so many days.

        :param in_use: Whether a record is to be kept whatever its age, by account and id.
        """
        before = self._clock() - days * DAY
        old = self._run("SELECT account, record_id FROM records WHERE used < ?", (before,))
        for account, record_id in old.fetchall():
            if not in_use(account, record_id):
                self.forget_record(account, record_id)

    def overview(self) -> list[Overview]:
        """Return the records of all accounts, newest first."""
        rows = self._run(
            "SELECT account, record_id, device_id, module, root, lock_id, begun, notes,"
            " (SELECT count(*) FROM uploads WHERE record = records.number),"
            " (SELECT count(outcome) FROM uploads WHERE record = records.number),"
            " (SELECT count(*) FROM uploads JOIN parts ON upload = uploads.number"
            "  WHERE record = records.number)"
            " FROM records ORDER BY begun DESC, number DESC"
        )
        return [Overview(_record(row[:-3]), *row[-3:]) for row in rows]

    # --- backup locks --------------------------------------------------------------------------

    def hold_lock(self, account: str, module: str, lock_id: str) -> None:
        """Note a lock that is held."""
        self._run(
            "INSERT OR REPLACE INTO locks (account, lock_id, module, granted) VALUES (?, ?, ?, ?)",
            (account, lock_id, module, self._clock()),
        )

    def forget_lock(self, account: str, lock_id: str) -> None:
        """Forget a lock, also as that of a record."""
        self._run("DELETE FROM locks WHERE account = ? AND lock_id = ?", (account, lock_id))
        self._run(
            "UPDATE records SET lock_id = NULL WHERE account = ? AND lock_id = ?",
            (account, lock_id),
        )

    def move_lock(self, account: str, module: str, lock_id: str) -> None:
        """Note a lock by itself that may be noted for a record."""
        self.forget_lock(account, lock_id)
        self.hold_lock(account, module, lock_id)

    def locks(self, account: str, module: str) -> list[SavedLock]:
        """Return the locks of an account, those of a module first, then the newest."""
        rows = self._run(
            "SELECT lock_id, module, NULL, granted FROM locks WHERE account = :account"
            " UNION ALL SELECT lock_id, module, record_id, begun FROM records"
            " WHERE account = :account AND lock_id IS NOT NULL AND lock_id NOT IN"
            " (SELECT lock_id FROM locks WHERE account = :account)",
            {"account": account},
        ).fetchall()
        rows.sort(key=lambda row: (row[1] == module, row[3]), reverse=True)
        return [
            SavedLock(lock_id=lock_id, module=of, record_id=record_id)
            for lock_id, of, record_id, _ in rows
        ]

    def prune_locks(self, days: float, in_use: Callable[[str, str], bool]) -> None:
        """Forget the locks that were granted so many days ago.

        :param in_use: Whether a lock is to be kept whatever its age, by account and id.
        """
        before = self._clock() - days * DAY
        old = self._run("SELECT account, lock_id FROM locks WHERE granted < ?", (before,))
        for account, lock_id in old.fetchall():
            if not in_use(account, lock_id):
                self._run("DELETE FROM locks WHERE account = ? AND lock_id = ?", (account, lock_id))

    # --- uploads -------------------------------------------------------------------------------

    def claim(self, account: str, record_id: str, key: UploadKey) -> SavedUpload | None:
        """Take an upload that was begun before this run of the record, and nobody has taken yet.

        Of several notes of one file, those with an id come first: a run that was interrupted while
        the file was noted has noted it once more, and left the note without an id.
        """
        row = self._run(
            "SELECT uploads.number, stored_name, sha256, file_id, container_id, outcome,"
            " records.run FROM records JOIN uploads ON record = records.number"
            " WHERE account = ? AND record_id = ? AND key = ? AND uploads.run < records.run"
            " ORDER BY file_id IS NULL, uploads.number LIMIT 1",
            (account, record_id, _digest(key)),
        ).fetchone()
        if row is None:
            return None
        number, stored_name, sha256, file_id, container_id, outcome, run = row
        self._run("UPDATE uploads SET run = ? WHERE number = ?", (run, number))
        parts = self._run("SELECT number, etag FROM parts WHERE upload = ?", (number,))
        return SavedUpload(
            number=number,
            stored_name=json.loads(stored_name),
            sha256=sha256,
            file_id=file_id,
            container_id=container_id,
            parts=dict(parts),
            outcome=outcome,
        )

    def stored_names(self, account: str, record_id: str) -> tuple[str, ...]:
        """Return the names that the uploads of a record have there."""
        rows = self._run(
            "SELECT stored_name FROM records JOIN uploads ON record = records.number"
            " WHERE account = ? AND record_id = ?",
            (account, record_id),
        )
        return tuple(json.loads(name) for (name,) in rows)

    def knows_of_others(
        self, account: str, record_id: str, file_id: str, name: str, sha256: str
    ) -> bool:
        """Return whether a file is noted, or may be one that another record has begun."""
        found = self._run(
            "SELECT 1 FROM records JOIN uploads ON record = records.number"
            " WHERE account = ? AND (file_id = ? OR"
            "  (record_id <> ? AND file_id IS NULL AND outcome IS NULL AND sha256 = ?"
            "   AND stored_name = ?)) LIMIT 1",
            (account, file_id, record_id, sha256, json.dumps(name)),
        )
        return found.fetchone() is not None

    def creating(
        self, account: str, record_id: str, key: UploadKey, stored_name: str, sha256: str
    ) -> int:
        """Note that a file is about to be created; return its number, 0 without its record."""
        cursor = self._run(
            "INSERT INTO uploads (record, run, key, stored_name, sha256)"
            " SELECT number, run, ?, ?, ? FROM records WHERE account = ? AND record_id = ?",
            (_digest(key), json.dumps(stored_name), sha256, account, record_id),
        )
        return (cursor.lastrowid or 0) if cursor.rowcount else 0

    def created(
        self, number: int, file_id: str | None, stored_name: str, container_id: str | None
    ) -> None:
        """Note what the service said; parts of another file id are not parts of this one."""
        self._run(
            "DELETE FROM parts WHERE upload ="
            " (SELECT number FROM uploads WHERE number = ? AND file_id IS NOT ?)",
            (number, file_id),
        )
        self._run(
            "UPDATE uploads SET file_id = ?, stored_name = ?, container_id = ? WHERE number = ?",
            (file_id, json.dumps(stored_name), container_id, number),
        )

    def part_arrived(self, number: int, part_number: int, etag: str | None) -> None:
        """Note a part that the object store acknowledged."""
        self._run(
            "INSERT OR REPLACE INTO parts SELECT number, ?, ? FROM uploads WHERE number = ?",
            (part_number, etag, number),
        )

    def forget_parts(self, number: int, part_numbers: Iterable[int]) -> None:
        """Forget parts that have to be sent again."""
        for part_number in part_numbers:
            self._run("DELETE FROM parts WHERE upload = ? AND number = ?", (number, part_number))

    def completed(
        self,
        number: int,
        outcome: Outcome,
        file_id: str | None = None,
        container_id: str | None = None,
    ) -> None:
        """Note that a file is in the record; its parts are of no more use.

        :param file_id: None for the one that is known, as with ``container_id``.
        """
        self._run(
            "UPDATE uploads SET outcome = ?, file_id = coalesce(?, file_id),"
            " container_id = coalesce(?, container_id) WHERE number = ?",
            (outcome, file_id, container_id, number),
        )
        self._run("DELETE FROM parts WHERE upload = ?", (number,))

    def forget_upload(self, number: int) -> None:
        """Forget an upload with its parts."""
        self._run("DELETE FROM uploads WHERE number = ?", (number,))


_RECORDS: Final = (
    "SELECT account, record_id, device_id, module, root, lock_id, begun, notes FROM records"
)


def _record(row: tuple[Any, ...]) -> SavedRecord:
    account, record_id, device_id, module, root, lock_id, begun, notes = row
    return SavedRecord(
        account=account,
        record_id=record_id,
        device_id=device_id,
        module=module,
        root=None if root is None else json.loads(root),
        lock_id=lock_id,
        begun=begun,
        notes=notes,
    )


def _digest(key: UploadKey) -> bytes:
    file = key.identity
    told = (
        *(file.path, file.size, file.mtime_ns, file.ctime_ns, file.inode),
        *(key.name, key.description, key.part_size, key.parent_folder, key.container_id),
    )
    return blake2b(repr(told).encode(), digest_size=16).digest()
