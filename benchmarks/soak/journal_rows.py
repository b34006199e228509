"""What a journal holds when the process that kept it is dead, read past its own code."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class JournalRows:
    """What a killed process had made certain of.

    :param records: Unfinished ones, the newest first.
    :param parts: Acknowledged parts: file id and number.
    :param hashes: Paths of files whose hash is finished, with what tells the version.
    :param uploads: How many files of unfinished records there are.
    """

    records: tuple[str, ...] = ()
    parts: frozenset[tuple[str, int]] = frozenset()
    hashes: frozenset[tuple[str, tuple[int, ...]]] = frozenset()
    uploads: int = 0


def read_journal(path: Path) -> JournalRows:
    """Read a journal that nobody has open; an absent one is empty."""
    if not path.exists():
        return JournalRows()
    with _opened(path) as rows:
        records = rows.execute("SELECT record_id FROM records ORDER BY number DESC")
        parts = rows.execute(
            "SELECT file_id, parts.number FROM parts JOIN uploads ON upload = uploads.number"
            " WHERE file_id IS NOT NULL AND outcome IS NULL"
        )
        hashes = rows.execute("SELECT path, identity FROM hashes WHERE sha256 IS NOT NULL")
        return JournalRows(
            records=tuple(record for (record,) in records),
            parts=frozenset(parts),
            hashes=frozenset(
                (json.loads(path), tuple(json.loads(identity)[1:])) for path, identity in hashes
            ),
            uploads=rows.execute("SELECT count(*) FROM uploads").fetchone()[0],
        )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as rows:
        if not rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'hashes'").fetchone():
            rows.executescript(  # killed before it had begun
                "CREATE TEMP TABLE records (number, record_id);"
                "CREATE TEMP TABLE uploads (number, file_id, outcome);"
                "CREATE TEMP TABLE parts (upload, number);"
                "CREATE TEMP TABLE hashes (path, identity, sha256)"
            )
        yield rows
