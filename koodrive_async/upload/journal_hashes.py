"""The hashes in a journal, in SQL."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.upload.journal_entries import SavedHash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from koodrive_async.upload.journal_entries import FileIdentity

SCHEMA: Final = (
    """CREATE TABLE hashes (
        number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, identity TEXT NOT NULL,
        grid INTEGER NOT NULL, offset INTEGER NOT NULL, sha256 TEXT, checksum BLOB NOT NULL,
        used REAL NOT NULL
    )""",
    "CREATE INDEX hashes_by_use ON hashes (used)",
    # in pieces, as they became known; in one, when the hash is finished
    """CREATE TABLE midstates (
        hash INTEGER NOT NULL REFERENCES hashes ON DELETE CASCADE, start INTEGER NOT NULL,
        words BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (hash, start)
    )""",
)

DAY: Final = 86400.0
_MIDSTATE: Final = 32


class HashRows:
    """How far which files were hashed: one version of each path.

    :param connection: To a database with the schema, in a transaction.
    :param clock: Seconds since 1970.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._run = connection.execute
        self._clock = clock

    def find(self, identity: FileIdentity) -> SavedHash | None:
        """Return how far this version of a file was hashed; None when nothing sound is known."""
        path, version = _named(identity)
        row = self._run(
            "SELECT number, grid, offset, sha256, checksum, used FROM hashes"
            " WHERE path = ? AND identity = ?",
            (path, version),
        ).fetchone()
        if row is None:
            return None
        number, grid, offset, sha256, checksum, used = row
        midstates = self._midstates(number, version, grid)
        hashed = None if midstates is None else len(midstates) // _MIDSTATE * grid
        sound = (
            checksum == _checksum(version, grid, sha256)
            and hashed is not None
            and (offset == hashed or (sha256 and offset == identity.size < hashed + grid))
        )
        if midstates is None or not sound:
            self._run("DELETE FROM hashes WHERE number = ?", (number,))
            return None
        if self._clock() - used > DAY:
            self._run("UPDATE hashes SET used = ? WHERE number = ?", (self._clock(), number))
        return SavedHash(identity, grid, midstates, offset, sha256)

    def _midstates(self, number: int, version: str, grid: int) -> bytes | None:
        midstates = bytearray()
        pieces = self._run(
            "SELECT start, words, checksum FROM midstates WHERE hash = ? ORDER BY start", (number,)
        )
        for start, words, checksum in pieces:
            follows = start == len(midstates) // _MIDSTATE * grid
            if not follows or checksum != _checksum(version, grid, start, words=words):
                return None
            midstates += words
        return bytes(midstates)

    def go_on(self, identity: FileIdentity, grid: int, start: int, midstates: bytes) -> None:
        """Add the midstates behind ``start``; does nothing unless they are the next ones.

        A finished hash of this version stays.
        """
        path, version = _named(identity)
        row = self._run(
            "SELECT number, identity, grid, offset, sha256 FROM hashes WHERE path = ?", (path,)
        ).fetchone()
        number = None
        if row is not None and row[1] == version:
            if row[4] is not None or (row[2] == grid and row[3] != start):
                return
            number = row[0] if row[2] == grid else None
        if number is None:
            if start:
                return
            number = self._begin(path, version, grid)
        self._add(number, version, grid, start, midstates)
        offset = start + len(midstates) // _MIDSTATE * grid
        self._run(
            "UPDATE hashes SET offset = ?, used = ? WHERE number = ?",
            (offset, self._clock(), number),
        )

    def finish(self, saved: SavedHash) -> None:
        """Keep a finished hash, unless the file may yet change without becoming another version."""
        if not saved.identity.settled_at(int(self._clock() * 1e9)):
            return
        path, version = _named(saved.identity)
        number = self._begin(path, version, saved.grid, saved.offset, saved.sha256)
        self._add(number, version, saved.grid, 0, saved.midstates)

    def _begin(
        self, path: str, version: str, grid: int, offset: int = 0, sha256: str | None = None
    ) -> int:
        self._run("DELETE FROM hashes WHERE path = ?", (path,))
        number = self._run(
            "INSERT INTO hashes (path, identity, grid, offset, sha256, checksum, used)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (path, version, grid, offset, sha256, _checksum(version, grid, sha256), self._clock()),
        ).lastrowid
        assert number is not None  # noqa: S101 - tells the type checker
        return number

    def _add(self, number: int, version: str, grid: int, start: int, words: bytes) -> None:
        checksum = _checksum(version, grid, start, words=words)
        self._run("INSERT INTO midstates VALUES (?, ?, ?, ?)", (number, start, words, checksum))

    def forget(self, identity: FileIdentity) -> None:
        """Forget how far this version of a file was hashed."""
        self._run("DELETE FROM hashes WHERE path = ? AND identity = ?", _named(identity))

    def prune(self, days: float) -> None:
        """Forget the hashes that nobody asked for in so many days."""
        self._run("DELETE FROM hashes WHERE used < ?", (self._clock() - days * DAY,))

    def count(self) -> int:
        """Return how many there are, finished or not."""
        count: int = self._run("SELECT count(*) FROM hashes").fetchone()[0]
        return count


def _named(identity: FileIdentity) -> tuple[str, str]:
    # as JSON: a path may hold bytes that are no text, and an inode may take more than 63 bits
    return json.dumps(identity.path), json.dumps(attrs.astuple(identity))


def _checksum(*values: object, words: bytes = b"") -> bytes:
    """SQLite does not notice a flipped bit, and a wrong midstate would be found out much later."""
    return blake2b(repr(values).encode() + words, digest_size=8).digest()
