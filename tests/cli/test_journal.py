"""``koodrive journal`` shows what was begun, and forgets it."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing

import anyio
import pytest

from koodrive_async.upload.journal import Journal
from koodrive_async.upload.journal_hashes import DAY
from koodrive_async.upload.journal_locks import RecordLocks, locks_of
from tests.upload.journal_sample import (
    ACCOUNT,
    fingerprint_of,
    identity_of,
    key_of,
    record_of,
)


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "journal.db"
    monkeypatch.setenv("KOODRIVE_JOURNAL", str(path))
    return path


@pytest.fixture
def journal(path):
    """Two unfinished records, the newer one with a completed file and one with two parts."""

    async def make():
        journal = Journal(path)
        await journal.open()
        await journal.begin(record_of("old", root=None, begun=time.time() - 3 * DAY))
        await journal.begin(record_of("new", root="/home/a\tb", begun=0.0 + time.time() - 100))
        numbers = [
            await journal.creating(ACCOUNT, "new", key_of(), stored_name="n", sha256="0" * 64)
            for _ in range(2)
        ]
        for number in numbers:
            await journal.part_arrived(number, 1, None)
            await journal.part_arrived(number, 2, None)
        journal.completed(numbers[0], "uploaded")
        identity = identity_of()
        await journal.hashed(identity, fingerprint_of(identity))
        await journal.aclose()

    anyio.run(make)
    return path


def rows_of(done):
    return [line.split("\t") for line in done.stdout.splitlines()]


def make_old(path, days):
    with closing(sqlite3.connect(path)) as writer, writer:
        used = time.time() - days * DAY
        writer.execute("UPDATE records SET used = ? WHERE record_id = 'old'", (used,))
        writer.execute("UPDATE hashes SET used = ?", (used,))


def test_records_are_lines_of_tab_separated_fields_newest_first(invoke, journal):
    done = invoke("journal")
    assert done.exit_code == 0
    new, old = rows_of(done)
    assert new[:2] == ["new", "unfinished"]
    assert new[4:] == ["2", "1", "2", "d1", "FOLDER", ACCOUNT, r"/home/a\tb"]
    assert old[:2] == ["old", "unfinished"]
    assert old[3:] == ["3 days", "0", "0", "0", "d1", "FOLDER", ACCOUNT, "-"]
    assert done.stderr.startswith(f"{journal}: ")
    assert done.stderr.endswith("kB, 1 hash\n")


def test_a_record_that_a_process_is_at_is_in_use_and_not_forgotten(invoke, journal):
    locks = RecordLocks(locks_of(journal))
    locks.take(ACCOUNT, "new")
    shown, forgotten = invoke("journal"), invoke("journal", "--forget", "new")
    locks.give_back_all()
    assert [row[:2] for row in rows_of(shown)] == [["new", "in use"], ["old", "unfinished"]]
    assert forgotten.exit_code == 1
    assert "another process is backing up into record new" in forgotten.stderr
    assert len(rows_of(invoke("journal"))) == 2


@pytest.mark.usefixtures("journal")
def test_one_record_can_be_forgotten(invoke):
    done = invoke("journal", "--forget", "new")
    assert (done.exit_code, done.stdout) == (0, "forgot record new with 2 files\n")
    assert [row[0] for row in rows_of(invoke("journal"))] == ["old"]
    again = invoke("journal", "--forget", "new")
    assert again.exit_code == 1
    assert "record new is not in the journal" in again.stderr


@pytest.mark.parametrize(
    ("days", "options", "answer", "left"),
    [
        (31, [], "forgot 1 record and 1 hash\n", ["new"]),
        (29, [], "forgot 0 records and 0 hashes\n", ["new", "old"]),
        (29, ["--older-than", "7"], "forgot 1 record and 1 hash\n", ["new"]),
    ],
)
def test_what_is_old_can_be_forgotten(invoke, journal, days, options, answer, left):
    make_old(journal, days)
    done = invoke("journal", "--prune", *options)
    assert (done.exit_code, done.stdout) == (0, answer)
    assert [row[0] for row in rows_of(invoke("journal"))] == left


def test_in_json_it_is_one_object(invoke, journal):
    found = json.loads(invoke("journal", "--json").stdout)
    new, old = found.pop("records")
    assert found == {"path": str(journal), "size": found["size"], "hashes": 1}
    assert found["size"] > 4096
    assert new.pop("begun").endswith("Z")
    assert new == {
        "record_id": "new",
        "state": "unfinished",
        "files": 2,
        "completed": 1,
        "parts": 2,
        "device_id": "d1",
        "module": "FOLDER",
        "account": ACCOUNT,
        "root": "/home/a\tb",
    }
    assert old["root"] is None
    forgotten = json.loads(invoke("journal", "--json", "--forget", "new").stdout)
    assert forgotten["forgotten"] == {"records": 1, "hashes": 0}
    assert [record["record_id"] for record in forgotten["records"]] == ["old"]


@pytest.mark.usefixtures("path")
def test_in_json_no_journal_has_nothing(invoke):
    done = invoke("journal", "--json")
    found = json.loads(done.stdout)
    assert (found["records"], found["hashes"], done.stderr) == ([], 0, "")


@pytest.mark.usefixtures("journal")
def test_quiet_forgets_without_a_word(invoke):
    done = invoke("journal", "--forget", "new", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert [row[0] for row in rows_of(invoke("journal"))] == ["old"]


def test_a_module_of_the_service_has_its_name(invoke, journal):
    with closing(sqlite3.connect(journal)) as writer, writer:
        writer.execute("UPDATE records SET module = '101'")
    assert {row[8] for row in rows_of(invoke("journal"))} == {"album"}


def test_another_journal_can_be_named(invoke, journal, monkeypatch, tmp_path):
    monkeypatch.setenv("KOODRIVE_JOURNAL", "off")
    assert len(rows_of(invoke("journal", "--path", journal))) == 2
    done = invoke("journal")
    assert done.exit_code == 3
    assert "KOODRIVE_JOURNAL says that no journal is kept" in done.stderr
    done = invoke("journal", "--path", tmp_path / "none.db")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"no journal at {tmp_path / 'none.db'}\n"
    assert not (tmp_path / "none.db").exists()


def test_looking_at_a_damaged_journal_leaves_it_where_it_is(invoke, journal):
    journal.write_bytes(b"nonsense")
    done = invoke("journal")
    assert done.exit_code == 1
    assert "file is not a database" in done.stderr
    assert journal.read_bytes() == b"nonsense"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (7199, "120 minutes"),
        (86400, "24 hours"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(invoke, journal, seconds, text, monkeypatch):
    with closing(sqlite3.connect(journal)) as writer, writer:
        writer.execute("UPDATE records SET begun = 1000000")
    monkeypatch.setattr(time, "time", lambda: 1000000 + seconds)
    assert rows_of(invoke("journal"))[0][3] == text
