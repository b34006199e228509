"""What the tests of interrupted backups look at."""

from __future__ import annotations

import re
import shlex
import sqlite3
import time
from contextlib import closing, suppress

LINE = re.compile(
    r"interrupted: ([\d,]+) files? backed up, record (\d+) is unfinished; go on with: (koodrive .+)"
)


def command_in(err):
    """Return the record and the command to go on, from the only line on standard error."""
    (line,) = err.splitlines()
    found = LINE.fullmatch(line)
    assert found, line
    return found[2], shlex.split(found[3])[1:]


def assert_is_backed_up(emulator, tree):
    """Every file is in the one completed record, once, byte for byte."""
    (record,) = emulator.records()
    assert record.status == 1
    assert emulator.locks() == ()
    held = [file for file in emulator.files() if file.completed]
    local = {
        path.relative_to(tree).as_posix(): path
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert sorted(file.description for file in held) == sorted(local)
    for file in held:
        assert emulator.content(file.file_id) == local[file.description].read_bytes()


def wait_for_row(journal, query, *, seconds=20.0):
    """Wait until a query of the journal gives a row, which is to say that it was committed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with (
            suppress(sqlite3.OperationalError),  # there is none yet, or not all of it
            closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection,
        ):
            if row := connection.execute(query).fetchone():
                return row
    raise AssertionError(f"nothing came of {query}")
