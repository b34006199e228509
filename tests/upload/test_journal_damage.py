"""Whatever happens to the journal's file, uploads go on, and one warning says so."""

from __future__ import annotations

import re
import resource
import sqlite3
from contextlib import closing, contextmanager
from logging import WARNING

import pytest

from koodrive_async.upload import journal_file
from koodrive_async.upload.journal import Journal
from koodrive_async.upload.journal_store import Call, JournalStore
from tests.upload.journal_sample import (
    ACCOUNT,
    GRID,
    fingerprint_of,
    hashed_bytes,
    identity_of,
    key_of,
    record_of,
)

pytestmark = pytest.mark.anyio

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path):
    journal = Journal(path)
    await journal.open()
    yield journal
    await journal.aclose()


@pytest.fixture
def warnings(caplog):
    """What was warned of so far."""
    return lambda: [each.getMessage() for each in caplog.records if each.levelno >= WARNING]


async def creating(journal):
    return await journal.creating(ACCOUNT, "r1", key_of(), stored_name="film.mkv", sha256="0" * 64)


async def fill(journal, files=300):
    """Make a journal of many pages, and close it."""
    await journal.begin(record_of())
    for number in range(files):
        identity = identity_of(path=f"/{number}")
        journal.hashed_on(identity, GRID, 0, bytes(32))
        await journal.hashed(identity, fingerprint_of(identity))
    await journal.aclose()


def set_aside(path):
    """The files that were set aside, oldest first, without their logs."""
    return sorted(
        file
        for file in path.parent.iterdir()
        if re.fullmatch(r"journal\.db\.damaged-\d{8}T\d{6}\.\d{6}Z", file.name)
    )


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def damage_in_use(path):
    """Break the schema in such a way that open connections see it."""
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA writable_schema = ON")
        writer.execute("UPDATE sqlite_schema SET sql = 'what' WHERE name = 'hashes_by_use'")
        writer.commit()
        writer.execute("PRAGMA schema_version = 1000")


async def works(journal):
    identity = identity_of(path="/works")
    await journal.hashed(identity, fingerprint_of(identity))
    return await journal.hash_of(identity) is not None


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "data"),
    [(0, b"no database at all"), (3 * PAGE, bytes(PAGE)), (10 * PAGE, b"\xff" * PAGE)],
    ids=["header", "a page of zeros", "a page in the middle"],
)
async def test_a_damaged_journal_is_set_aside_and_a_new_one_begun(
    journal, path, warnings, offset, data
):
    await fill(journal)
    overwrite(path, offset, data)
    damaged = path.read_bytes()
    await journal.open()
    assert await works(journal)
    assert await journal.record(ACCOUNT, "r1") is None
    (kept,) = set_aside(path)
    assert kept.read_bytes() == damaged
    (warning,) = warnings()
    assert f"{path} is damaged" in warning
    assert kept.name in warning


async def test_a_journal_that_was_cut_short_is_set_aside(journal, path, warnings):
    await fill(journal)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE * PAGE)
    await journal.open()
    assert await works(journal)
    assert (len(set_aside(path)), len(warnings())) == (1, 1)


async def test_its_log_goes_with_a_damaged_journal(journal, path):
    await fill(journal, files=5)
    keeper = sqlite3.connect(path)  # keeps the log from being taken in and removed
    keeper.execute("SELECT * FROM hashes").fetchone()
    await journal.open()
    assert await works(journal)
    await journal.aclose()
    overwrite(path, 0, b"no database at all")
    await journal.open()
    assert await works(journal)
    keeper.close()
    (kept,) = set_aside(path)
    assert kept.with_name(kept.name + "-wal").exists()


async def test_damage_in_mid_run_loses_no_call_and_not_the_records_of_this_process(
    journal, path, warnings
):
    await fill(journal)
    await journal.open()
    await journal.begin(record_of("r2"))
    await journal.begin(record_of())
    old = await creating(journal)
    await journal.leave(ACCOUNT, "r2")
    damage_in_use(path)
    assert await works(journal)
    new = await creating(journal)
    await journal.part_arrived(old, 1, "of the journal that was")
    assert new > old
    assert (len(set_aside(path)), len(warnings())) == (1, 1)
    assert await journal.record(ACCOUNT, "r1") is not None
    assert await journal.record(ACCOUNT, "r2") is None  # nobody was at it any more
    await journal.leave(ACCOUNT, "r1")
    await journal.begin(record_of())
    saved = await journal.claim(ACCOUNT, "r1", key_of())
    assert (saved.number, saved.parts) == (new, {})


async def test_a_journal_that_was_deleted_or_set_aside_by_another_process_is_begun_anew(
    journal, path, warnings
):
    await journal.begin(record_of())
    path.rename(path.with_name("elsewhere.db"))
    number = await creating(journal)
    await journal.leave(ACCOUNT, "r1")
    await journal.begin(record_of())
    assert (await journal.claim(ACCOUNT, "r1", key_of())).number == number
    assert path.exists()
    assert warnings() == []


async def test_who_finds_damage_second_does_not_set_the_new_journal_aside(journal, path):
    other = Journal(path)
    await other.open()
    assert await works(journal)
    assert await works(other)
    damage_in_use(path)
    assert await works(journal)
    assert await works(other)
    assert len(set_aside(path)) == 1
    identity = identity_of(path="/shared")
    await other.hashed(identity, fingerprint_of(identity))
    assert await journal.hash_of(identity) is not None
    await other.aclose()


def test_damage_that_another_process_puts_right_meanwhile_is_not_set_aside_again(path):
    tries: list[JournalStore] = []

    def fail_once(store):
        tries.append(store)
        if len(tries) == 1:
            path.rename(path.with_name("journal.db.damaged-20200101T000000.000000Z"))
            other.transact([Call(lambda store: store.begin(record_of()), None)])
            raise journal_file.Damaged("database disk image is malformed")
        return store.record(ACCOUNT, "r1")

    first, other = (journal_file.JournalFile(path, {}) for _ in range(2))
    assert first.transact([Call(fail_once, None)]) != [None]
    assert len(set_aside(path)) == 1
    first.close()
    other.close()


async def test_a_journal_that_is_damaged_again_at_once_is_done_without(
    journal, path, warnings, monkeypatch
):
    def fail(*_):
        raise journal_file.Damaged("database disk image is malformed")

    monkeypatch.setattr(JournalStore, "record", fail)
    assert await journal.record(ACCOUNT, "r1") is None
    assert await creating(journal) == 0
    assert len(set_aside(path)) == 1
    assert [warning.split()[0] for warning in warnings()] == ["the", "going"]


# --- what SQLite does not notice ---------------------------------------------------------------


def flipped(data, bit):
    place = bit % (8 * len(data))
    return bytes(
        byte ^ (1 << place % 8) if index == place // 8 else byte for index, byte in enumerate(data)
    )


@pytest.mark.parametrize("bit", [0, 77, 255, 1234])
@pytest.mark.parametrize("finished", [True, False])
async def test_a_flipped_bit_in_the_midstates_is_noticed(journal, path, finished, bit):
    identity = identity_of()
    whole = fingerprint_of(identity)
    journal.hashed_on(identity, GRID, 0, whole.midstates[:64])
    journal.hashed_on(identity, GRID, 2 * GRID, whole.midstates[64:])
    if finished:
        await journal.hashed(identity, whole)
    await journal.aclose()
    with closing(sqlite3.connect(path)) as writer, writer:
        number, words = writer.execute(
            "SELECT rowid, words FROM midstates ORDER BY start DESC"
        ).fetchone()
        writer.execute(
            "UPDATE midstates SET words = ? WHERE rowid = ?", (flipped(words, bit), number)
        )
    await journal.open()
    assert await journal.hash_of(identity) is None
    await journal.aclose()
    with closing(sqlite3.connect(path)) as reader:
        for table in ("hashes", "midstates"):
            assert reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE hashes SET sha256 = replace(sha256, substr(sha256, 1, 1), 'x')",
        "UPDATE hashes SET sha256 = NULL",
        "UPDATE hashes SET grid = 128",
        "UPDATE hashes SET offset = offset + 64",
        "UPDATE midstates SET start = 64",
        "DELETE FROM midstates",
    ],
)
async def test_a_hash_that_does_not_fit_together_is_dropped(journal, path, change):
    identity = identity_of()
    await journal.hashed(identity, fingerprint_of(identity))
    await journal.aclose()
    with closing(sqlite3.connect(path)) as writer, writer:
        writer.execute(change)
    await journal.open()
    assert await journal.hash_of(identity) is None
    await journal.hashed(identity, fingerprint_of(identity))
    assert await journal.hash_of(identity) is not None


async def test_a_gap_between_midstates_is_noticed(journal, path):
    identity = identity_of()
    whole = fingerprint_of(identity)
    for start in range(3):
        journal.hashed_on(
            identity, GRID, start * GRID, whole.midstates[32 * start : 32 * start + 32]
        )
    await journal.aclose()
    with closing(sqlite3.connect(path)) as writer, writer:
        writer.execute("DELETE FROM midstates WHERE start = 64")
    await journal.open()
    assert await journal.hash_of(identity) is None


# --- a journal that cannot be used -------------------------------------------------------------


async def does_without(journal, warnings):
    """See that nothing fails and nothing is kept, and return the only warning."""
    await journal.begin(record_of("r9"))
    number = await creating(journal)
    journal.created(number, file_id="f", stored_name="n", container_id=None)
    await journal.part_arrived(number, 1, None)
    assert not await works(journal)
    await journal.leave(ACCOUNT, "r9")
    (warning,) = warnings()
    assert warning.startswith("going on without the journal ")
    return warning


async def test_a_journal_of_a_newer_version_is_left_alone(journal, path, warnings):
    await fill(journal, files=1)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA user_version = 2")
    await journal.open()
    assert "newer version (2, known are those up to 1)" in await does_without(journal, warnings)
    await journal.aclose()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA user_version = 1")
    await journal.open()
    assert await journal.record(ACCOUNT, "r1") is not None


async def test_a_database_of_another_program_is_left_alone(journal, path, warnings):
    with closing(sqlite3.connect(path)) as writer, writer:
        writer.execute("CREATE TABLE theirs (something)")
    before = path.read_bytes()
    assert "no journal of this program" in await does_without(journal, warnings)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_and_was_no_journal_is_left_alone(tmp_path, warnings):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"a page of notes\n" * 100)
    journal = Journal(path)
    await journal.open()
    assert not await works(journal)
    await journal.aclose()
    assert path.read_bytes() == b"a page of notes\n" * 100
    assert [each.name for each in tmp_path.iterdir() if not each.is_dir()] == ["notes.txt"]
    (warning,) = warnings()
    assert "no journal was kept there before" in warning


async def test_a_folder_in_the_place_of_the_journal_is_no_error(journal, path, warnings):
    path.mkdir()
    await does_without(journal, warnings)


async def test_a_file_in_the_place_of_the_folder_is_no_error(tmp_path, warnings):
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal.db")
    await journal.open()
    await does_without(journal, warnings)
    await journal.aclose()


@contextmanager
def file_size_limit(limit):
    """What a full disk is like: writing fails, in every thread."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_on_a_full_disk_there_is_no_journal(journal, path, warnings):
    with file_size_limit(PAGE):
        await does_without(journal, warnings)
    assert set_aside(path) == []


async def test_a_disk_that_fills_up_in_mid_run_costs_nothing_that_was_committed(
    journal, path, warnings, monkeypatch
):
    monkeypatch.setattr(journal_file, "_PAUSE", 1000.0)
    await journal.begin(record_of())
    number = await creating(journal)
    await journal.part_arrived(number, 1, "e")
    with file_size_limit(path.with_name("journal.db-wal").stat().st_size):
        for part in range(2, 10):
            await journal.part_arrived(number, part, "e")
        assert await creating(journal) == 0
        (warning,) = warnings()
        assert warning.startswith("going on without the journal ")
    await journal.aclose()
    await journal.open()
    await journal.begin(record_of())
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {1: "e"}
    assert set_aside(path) == []


async def test_a_journal_that_another_process_never_lets_go_of_is_done_without(
    journal, path, warnings, monkeypatch
):
    monkeypatch.setattr(journal_file, "_PATIENCE", 0.01)
    await journal.begin(record_of())
    await journal.aclose()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        await journal.open()
        assert "locked" in await does_without(journal, warnings)
    assert set_aside(path) == []


@contextmanager
def written_to(path):
    """What it is like when another process writes and writes."""
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield


async def test_a_journal_that_was_busy_is_tried_again(journal, path, warnings, monkeypatch):
    monkeypatch.setattr(journal_file, "_PATIENCE", 0.01)
    monkeypatch.setattr(journal_file, "_PAUSE", 0.0)
    await journal.begin(record_of())
    with written_to(path):
        for _ in range(3):
            assert await creating(journal) == 0
    assert await creating(journal) > 0
    assert set_aside(path) == []
    (warning,) = warnings()
    assert "locked" in warning


async def test_a_journal_that_was_busy_is_not_waited_for_with_every_call(
    journal, path, monkeypatch
):
    monkeypatch.setattr(journal_file, "_PATIENCE", 0.01)
    monkeypatch.setattr(journal_file, "_PAUSE", 1000.0)
    await journal.begin(record_of())
    with written_to(path):
        assert await creating(journal) == 0
    assert await creating(journal) == 0
    assert await journal.record(ACCOUNT, "r1") is None


async def test_on_a_disk_that_has_room_again_there_is_a_journal_again(
    journal, path, warnings, monkeypatch
):
    monkeypatch.setattr(journal_file, "_PAUSE", 0.0)
    await journal.begin(record_of())
    number = await creating(journal)
    with file_size_limit(path.with_name("journal.db-wal").stat().st_size):
        await journal.part_arrived(number, 1, "e")
    await journal.part_arrived(number, 2, "e")
    await journal.leave(ACCOUNT, "r1")
    await journal.begin(record_of())
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {2: "e"}
    assert (set_aside(path), len(warnings())) == ([], 1)


async def test_a_record_that_was_begun_without_the_journal_is_in_it_later(
    journal, path, monkeypatch
):
    monkeypatch.setattr(journal_file, "_PATIENCE", 0.01)
    monkeypatch.setattr(journal_file, "_PAUSE", 0.0)
    await journal.begin(record_of("r2"))
    with written_to(path):
        await journal.begin(record_of(notes="boot"))
    assert await creating(journal) > 0
    assert (await journal.record(ACCOUNT, "r1")).notes == ""


@pytest.mark.parametrize("pause", [0.0, 1000.0], ids=["while it runs", "when it closes"])
async def test_a_record_says_that_notes_are_missing(journal, path, monkeypatch, pause):
    monkeypatch.setattr(journal_file, "_PATIENCE", 0.01)
    monkeypatch.setattr(journal_file, "_PAUSE", pause)
    await journal.begin(record_of(notes="boot"))
    await journal.begin(record_of("r2", notes="boot"))
    await journal.leave(ACCOUNT, "r2")
    with written_to(path):
        assert await creating(journal) == 0
        await journal.leave(ACCOUNT, "r1")
    if not pause:
        assert (await journal.record(ACCOUNT, "r1")).notes == ""
    await journal.aclose()
    await journal.open()
    assert (await journal.record(ACCOUNT, "r1")).notes == ""
    assert (await journal.record(ACCOUNT, "r2")).notes == "boot"  # nobody was at it


async def test_a_call_that_cannot_be_kept_is_a_note_that_is_missing(journal):
    await journal.begin(record_of(notes="boot"))
    await journal.part_arrived(1, 2**70, "too large a number")
    assert (await journal.record(ACCOUNT, "r1")).notes == ""


@pytest.mark.parametrize(
    "how", [lambda path: path.unlink(), damage_in_use], ids=["deleted", "damaged"]
)
async def test_a_journal_made_anew_has_the_lock_of_each_record_and_says_that_notes_are_missing(
    journal, path, how
):
    await journal.begin(record_of(lock_id="l1", notes="boot"))
    journal.note_lock(ACCOUNT, "r1", "l2")
    assert (await journal.record(ACCOUNT, "r1")).notes == "boot"
    how(path)
    saved = await journal.record(ACCOUNT, "r1")
    assert (saved.lock_id, saved.notes) == ("l2", "")


async def test_a_record_that_is_gone_on_with_as_the_journal_is_lost_has_lost_its_notes(
    journal, path
):
    await journal.begin(record_of(notes="boot"))
    await journal.leave(ACCOUNT, "r1")
    path.unlink()
    await journal.begin(record_of(notes="boot"))
    assert (await journal.record(ACCOUNT, "r1")).notes == ""


async def test_what_is_wrong_and_no_damage_leaves_the_file_where_it_is(
    journal, path, warnings, monkeypatch
):
    def fail(store, *_):
        store._run("SELECT 1 FROM nowhere")

    await journal.begin(record_of())
    monkeypatch.setattr(JournalStore, "record", fail)
    assert await journal.record(ACCOUNT, "r1") is None
    (warning,) = warnings()
    assert "no such table" in warning
    assert set_aside(path) == []


async def test_a_call_that_cannot_be_kept_fails_no_other(journal, warnings):
    await journal.begin(record_of())
    number = await creating(journal)
    await journal.part_arrived(number, 2**70, "too large a number")
    await journal.part_arrived(number, 1, "\udcff")
    await journal.part_arrived(number, 2, "e")
    await journal.leave(ACCOUNT, "r1")
    await journal.begin(record_of())
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {2: "e"}
    assert len(warnings()) == 2


async def test_an_unfinished_hash_survives_the_end_of_a_run(journal):
    identity = identity_of()
    found = hashed_bytes(identity, 3 * GRID + 5)
    journal.hashed_on(identity, GRID, 0, found.midstates)
    await journal.aclose()
    await journal.open()
    saved = await journal.hash_of(identity)
    assert (saved.midstates, saved.offset) == (found.midstates, found.resume_offset)
