"""The state of the service in SQLite: the schema, and one connection in the server's thread."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY, user_id TEXT NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refresh_tokens (
    digest TEXT PRIMARY KEY, user_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS devices (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, device_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
    machine_code TEXT NOT NULL, name TEXT, os TEXT, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS configs (
    device_id TEXT NOT NULL, module TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    description TEXT NOT NULL, PRIMARY KEY (device_id, module, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scopes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, scope_id TEXT NOT NULL UNIQUE, device_id TEXT NOT NULL,
    module TEXT NOT NULL, local_path TEXT, target_folder_path TEXT, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS locks (
    lock_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, module TEXT NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, record_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
    device_id TEXT NOT NULL, module TEXT NOT NULL, status INTEGER NOT NULL, properties TEXT,
    created REAL NOT NULL, ended REAL
);
-- completed: the rank among completed files, so that a listing grows at its end only.
-- blob: the name of the content, which files with the same content share.
CREATE TABLE IF NOT EXISTS files (
    file_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, record_id TEXT, container_id TEXT NOT NULL,
    parent TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, length INTEGER NOT NULL,
    description TEXT, mime_type TEXT, upload_id TEXT NOT NULL, object_key TEXT NOT NULL UNIQUE,
    blob TEXT NOT NULL, concurrent INTEGER, proof_seed TEXT, proof_code TEXT,
    created REAL NOT NULL, completed INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_name ON files (user_id, record_id, name);
CREATE INDEX IF NOT EXISTS files_by_rank ON files (record_id, completed);
CREATE INDEX IF NOT EXISTS files_by_content ON files (sha256, length);
CREATE INDEX IF NOT EXISTS files_by_blob ON files (blob);
-- hash_ctx: eight words as declared; end_state and end_digest: what the bytes that came hash to.
CREATE TABLE IF NOT EXISTS parts (
    file_id TEXT NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL,
    size INTEGER NOT NULL, hash_ctx BLOB, end_state BLOB, end_digest TEXT,
    PRIMARY KEY (file_id, number)
) WITHOUT ROWID;
"""


class Store:
    """One connection to the state; used by the thread that opened it, and by no other.

    Every call of the interface runs without an ``await`` between its statements, so calls never
    interleave; :meth:`transaction` is for the case that the process dies half way.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT, 0o600))  # SQLite gives its other files the same mode
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=0.0)
        self._connection.row_factory = sqlite3.Row
        try:
            # Exclusive: a second emulator on the same directory is refused instead of mixing in.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            # The state must survive the process, not a power cut: nothing waits for the disk.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(f"BEGIN;{SCHEMA}COMMIT;")
            self._add_column("locks", "session TEXT NOT NULL DEFAULT ''")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise OSError(
                f"{path.parent} is in use by another emulator, or cannot be used ({error}): stop "
                "that one (it may be another kernel's), or use another folder"
            ) from None

    def _add_column(self, table: str, column: str) -> None:
        """Bring the state of an earlier version up to date."""
        known = {row["name"] for row in self.rows(f"PRAGMA table_info({table})")}
        if column.partition(" ")[0] not in known:
            self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def run(self, statement: str, *values: object) -> int:
        """Run a statement and return how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Run a statement once for each row of values."""
        self._connection.executemany(statement, rows)

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """Return the first row, or ``None``."""
        found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        return found

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return all rows."""
        return self._connection.execute(query, values).fetchall()

    def value(self, query: str, *values: object) -> Any:
        """Return the first column of the first row, or ``None``."""
        found = self.row(query, *values)
        return None if found is None else found[0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all statements inside happen, or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
