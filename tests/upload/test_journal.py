"""What the journal promises while nothing goes wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import attrs
import pytest

from koodrive_async import KooDrive, RecordInUse
from koodrive_async.upload import journal as journal_module
from koodrive_async.upload.journal import Journal, SavedUpload, default_path
from koodrive_async.upload.journal_file import JournalFile
from koodrive_async.upload.journal_hashes import DAY
from koodrive_async.upload.journal_locks import RecordLocks
from koodrive_async.upload.journal_store import Call
from koodrive_async.upload.journal_thread import JournalThread
from tests.upload.journal_sample import (
    ACCOUNT,
    GRID,
    LONG_AGO,
    fingerprint_of,
    hashed_bytes,
    identity_of,
    key_of,
    record_of,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.db"


@pytest.fixture
async def journal(path):
    """A journal in which the record r1 is being written."""
    journal = Journal(path)
    await journal.open()
    await journal.begin(record_of())
    yield journal
    await journal.aclose()


async def next_run(journal):
    """Go on with r1, as the next session does."""
    await journal.leave(ACCOUNT, "r1")
    await journal.begin(record_of())


async def creating(journal, key=None, record_id="r1"):
    return await journal.creating(
        ACCOUNT, record_id, key or key_of(), stored_name="film.mkv", sha256="0" * 64
    )


# --- the file ----------------------------------------------------------------------------------


async def test_nothing_is_made_before_the_first_call(path):
    journal = Journal(path)
    await journal.open()
    await journal.aclose()
    assert not path.parent.exists()


async def test_only_its_owner_may_read_it(journal, path):
    await creating(journal)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)


async def test_it_is_where_the_system_keeps_state_unless_the_environment_says_otherwise(
    monkeypatch,
):
    monkeypatch.delenv("KOODRIVE_JOURNAL", raising=False)
    assert str(default_path()).endswith(str(Path("koodrive-async", "journal.db")))
    monkeypatch.setenv("KOODRIVE_JOURNAL", "~/mine.db")
    assert default_path() == Path.home() / "mine.db"
    monkeypatch.setenv("KOODRIVE_JOURNAL", " ~/mine.db\n")
    assert default_path() == Path.home() / "mine.db"


@pytest.mark.usefixtures("koodrive_environment")
@pytest.mark.parametrize("word", ["off", "OFF", "off\n", " Off\r\n", "none", "False", "0", "no"])
async def test_a_word_that_keeps_no_journal_names_no_file(monkeypatch, tmp_path, word):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    monkeypatch.setenv("KOODRIVE_JOURNAL", word)
    assert default_path() is None
    for drive in (KooDrive.from_env(), KooDrive.from_env(journal=word)):
        async with drive:
            assert drive.journal_path is None
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("word", ["", "\n", "auto", " AUTO\n"])
async def test_an_empty_variable_names_no_journal(monkeypatch, word):
    monkeypatch.delenv("KOODRIVE_JOURNAL")
    usual = default_path()
    monkeypatch.setenv("KOODRIVE_JOURNAL", word)
    assert default_path() == usual


@pytest.mark.parametrize("kind", ["off", "not open", "closed"])
async def test_without_a_journal_every_call_does_nothing(kind, path):
    journal = Journal.off() if kind == "off" else Journal(path)
    if kind != "not open":
        await journal.open()
    if kind == "closed":
        await journal.aclose()
    identity = identity_of()
    await journal.begin(record_of())
    await journal.begin(record_of())
    journal.hashed_on(identity, GRID, 0, hashed_bytes(identity, GRID).midstates)
    await journal.hashed(identity, fingerprint_of(identity))
    journal.forget_hash(identity)
    assert await journal.hash_of(identity) is None
    assert await journal.record(ACCOUNT, "r1") is None
    assert await journal.unfinished(ACCOUNT) == ()
    journal.note_lock(ACCOUNT, "r1", "l1")
    number = await creating(journal)
    journal.created(number, file_id="f1", stored_name="n", container_id=None)
    await journal.part_arrived(number, 1, None)
    journal.forget_parts(number, [1])
    journal.completed(number, "uploaded")
    journal.forget_upload(number)
    assert await journal.claim(ACCOUNT, "r1", key_of()) is None
    await journal.completed_record(ACCOUNT, "r1")
    await journal.leave(ACCOUNT, "r1")
    await journal.aclose()
    assert not path.exists()


async def test_closing_commits_what_nobody_waited_for(path):
    journal = Journal(path)
    await journal.open()
    await journal.begin(record_of())
    number = await creating(journal)
    journal.created(number, file_id="f1", stored_name="stored", container_id="c1")
    for part in range(500):
        journal.note_lock(ACCOUNT, "r1", f"l{part}")
    await journal.aclose()
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT file_id, lock_id FROM uploads, records").fetchall() == [
            ("f1", "l499")
        ]
    reader.close()


async def test_closing_waits_though_its_scope_is_cancelled(path):
    journal = Journal(path)
    await journal.open()
    with anyio.CancelScope() as scope:
        journal.forget_hash(identity_of())
        scope.cancel()
        await journal.aclose()
    assert "koodrive journal" not in {thread.name for thread in threading.enumerate()}


async def test_a_journal_can_be_opened_again(path):
    journal = Journal(path)
    for _ in range(2):
        await journal.open()
        await journal.open()
        await journal.begin(record_of())
        await journal.aclose()
    await journal.open()
    (found,) = await journal.unfinished(ACCOUNT)
    assert found.record_id == "r1"
    await journal.aclose()


# --- hashes ------------------------------------------------------------------------------------


async def test_a_finished_hash_is_found_again(journal):
    identity = identity_of()
    fingerprint = fingerprint_of(identity)
    await journal.hashed(identity, fingerprint)
    saved = await journal.hash_of(identity)
    assert (saved.grid, saved.sha256, saved.offset) == (GRID, fingerprint.sha256, 1000)
    assert saved.midstates == fingerprint.midstates


@pytest.mark.parametrize("field", ["path", "size", "mtime_ns", "ctime_ns", "inode"])
async def test_another_version_of_a_file_has_another_hash(journal, field):
    identity = identity_of()
    await journal.hashed(identity, fingerprint_of(identity))
    old = getattr(identity, field)
    other = attrs.evolve(identity, **{field: "/other" if field == "path" else old + 1})
    assert await journal.hash_of(other) is None


async def test_hashing_goes_on_from_what_was_noted_last(journal):
    identity = identity_of()
    whole = fingerprint_of(identity)
    journal.hashed_on(identity, GRID, 0, whole.midstates[: 3 * 32])
    journal.hashed_on(identity, GRID, 3 * GRID, whole.midstates[3 * 32 : 5 * 32])
    saved = await journal.hash_of(identity)
    assert (saved.offset, saved.sha256) == (5 * GRID, None)
    assert saved.midstates == whole.midstates[: 5 * 32]


async def test_midstates_that_are_not_the_next_ones_are_not_taken(journal):
    identity = identity_of()
    whole = fingerprint_of(identity)
    journal.hashed_on(identity, GRID, 3 * GRID, whole.midstates[3 * 32 :])
    journal.hashed_on(identity, GRID, 0, whole.midstates[: 3 * 32])
    journal.hashed_on(identity, GRID, 0, whole.midstates[:32])
    journal.hashed_on(identity, GRID, 4 * GRID, whole.midstates[4 * 32 :])
    assert (await journal.hash_of(identity)).offset == 3 * GRID


@pytest.mark.parametrize("grid", [GRID, 2 * GRID])
async def test_a_finished_hash_is_not_replaced_by_one_that_begins(journal, grid):
    identity = identity_of()
    await journal.hashed(identity, fingerprint_of(identity))
    journal.hashed_on(identity, grid, 0, hashed_bytes(identity, grid, grid).midstates)
    assert (await journal.hash_of(identity)).sha256 == fingerprint_of(identity).sha256


async def test_a_new_version_or_grid_takes_the_place_of_what_had_begun(journal):
    identity = identity_of()
    journal.hashed_on(identity, GRID, 0, bytes(32))
    journal.hashed_on(identity, 2 * GRID, 0, bytes(64))
    assert (await journal.hash_of(identity)).grid == 2 * GRID
    other = identity_of(changed=LONG_AGO + 1)
    journal.hashed_on(other, GRID, 0, bytes(32))
    assert await journal.hash_of(identity) is None
    assert (await journal.hash_of(other)).offset == GRID


async def test_a_hash_can_be_forgotten(journal):
    identity = identity_of()
    await journal.hashed(identity, fingerprint_of(identity))
    journal.forget_hash(identity_of(changed=LONG_AGO + 1))
    assert await journal.hash_of(identity) is not None
    journal.forget_hash(identity)
    assert await journal.hash_of(identity) is None


@pytest.mark.parametrize("size", [0, GRID - 1, GRID, GRID + 1])
async def test_a_file_of_any_size_has_a_hash(journal, size):
    identity = identity_of(size=size)
    await journal.hashed(identity, fingerprint_of(identity))
    assert (await journal.hash_of(identity)).midstates == fingerprint_of(identity).midstates


async def test_paths_that_are_no_text_and_inodes_of_64_bits_are_kept(journal):
    identity = identity_of(path="/data/\udcff\n", inode=2**64 - 1)
    await journal.hashed(identity, fingerprint_of(identity))
    assert (await journal.hash_of(identity)).identity == identity
    await journal.begin(record_of("r2", root="/data/\udcff"))
    assert (await journal.record(ACCOUNT, "r2")).root == "/data/\udcff"
    number = await creating(journal, key_of(identity, name="\udcff"))
    await next_run(journal)
    assert (await journal.claim(ACCOUNT, "r1", key_of(identity, name="\udcff"))).number == number


@pytest.mark.parametrize(
    ("changed", "moment", "settled"),
    [
        (5 * 10**9 + 1, 5 * 10**9 + 20 * 10**6, False),
        (5 * 10**9 + 1, 5 * 10**9 + 20 * 10**6 + 2, True),
        (5 * 10**9, 7 * 10**9, False),
        (5 * 10**9, 7 * 10**9 + 1, True),
        (5 * 10**9 + 1, 4 * 10**9, False),
    ],
)
def test_a_file_has_settled_when_its_last_change_is_a_tick_of_its_clock_ago(
    changed, moment, settled
):
    assert identity_of(changed=changed).settled_at(moment) is settled


async def test_the_hash_of_a_file_that_was_just_changed_is_not_kept(journal):
    identity = identity_of(changed=time.time_ns() + 10**9)
    await journal.hashed(identity, fingerprint_of(identity))
    assert await journal.hash_of(identity) is None


# --- records -----------------------------------------------------------------------------------


async def test_a_record_is_as_it_was_begun(journal):
    record = record_of("r2", root=None, lock_id="l1", notes="boot")
    await journal.begin(record)
    assert await journal.record(ACCOUNT, "r2") == record
    journal.note_lock(ACCOUNT, "r2", "l2")
    assert await journal.record(ACCOUNT, "r2") == attrs.evolve(record, lock_id="l2")
    assert await journal.record(ACCOUNT, "r3") is None
    assert await journal.record("somebody else", "r2") is None


async def test_who_goes_on_with_a_record_says_whether_notes_may_be_missing(journal):
    for notes in ("boot", "", "another boot"):
        await journal.leave(ACCOUNT, "r1")
        await journal.begin(record_of(notes=notes))
        assert (await journal.record(ACCOUNT, "r1")).notes == notes


async def test_a_record_is_begun_once_at_a_time(journal):
    with pytest.raises(RecordInUse) as caught:
        await journal.begin(record_of())
    assert caught.value.record_id == "r1"
    await journal.begin(record_of(account="somebody else"))
    await journal.leave(ACCOUNT, "r1")
    await journal.begin(record_of())


def test_where_nothing_can_be_locked_this_process_still_begins_a_record_once(tmp_path):
    (tmp_path / "file").touch()
    locks = RecordLocks(tmp_path / "file" / "locks")
    locks.take(ACCOUNT, "r1")
    with pytest.raises(RecordInUse):
        locks.take(ACCOUNT, "r1")
    assert locks.is_taken(ACCOUNT, "r1")
    locks.give_back(ACCOUNT, "r1")
    assert not locks.is_taken(ACCOUNT, "r1")


def test_lock_files_that_nobody_has_held_for_long_are_removed(tmp_path):
    locks = RecordLocks(tmp_path)
    for record_id in ("held", "old", "new"):
        locks.take(ACCOUNT, record_id)
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0))
    for record_id in ("old", "new"):
        locks.give_back(ACCOUNT, record_id)
    os.utime(locks._file(ACCOUNT, "new"))
    RecordLocks(tmp_path).prune()
    assert set(tmp_path.iterdir()) == {locks._file(ACCOUNT, name) for name in ("held", "new")}
    locks.give_back_all()


async def test_who_is_cancelled_while_a_record_is_begun_does_not_hold_it(journal):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.begin(record_of("r2"))
    await journal.begin(record_of("r2"))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.begin(record_of("r2"))
    with pytest.raises(RecordInUse):  # the one before is at it still
        await journal.begin(record_of("r2"))


async def test_unfinished_records_are_those_that_nobody_is_at_newest_first(journal):
    for number, (device, module) in enumerate(
        [("d1", "FOLDER"), ("d1", "ALBUM"), ("d2", "FOLDER")], start=2
    ):
        await journal.begin(
            record_of(f"r{number}", device_id=device, module=module, begun=float(number))
        )
        await journal.leave(ACCOUNT, f"r{number}")

    async def found(*limits):
        return [record.record_id for record in await journal.unfinished(ACCOUNT, *limits)]

    assert await found() == ["r4", "r3", "r2"]
    assert await found("d1") == ["r3", "r2"]
    assert await found(None, "FOLDER") == ["r4", "r2"]
    assert await found("d2", "ALBUM") == []
    await journal.leave(ACCOUNT, "r1")
    assert await found() == ["r1", "r4", "r3", "r2"]
    assert await journal.unfinished("somebody else") == ()


async def test_a_completed_record_leaves_nothing_but_hashes(journal, path):
    identity = identity_of()
    await journal.hashed(identity, fingerprint_of(identity))
    number = await creating(journal)
    await journal.part_arrived(number, 1, "e")
    await journal.completed_record(ACCOUNT, "r1")
    assert await journal.record(ACCOUNT, "r1") is None
    assert await journal.hash_of(identity) is not None
    await journal.begin(record_of())
    assert await journal.claim(ACCOUNT, "r1", key_of()) is None
    await journal.part_arrived(number, 2, "e")
    await journal.aclose()
    with sqlite3.connect(path) as reader:
        for table in ("uploads", "parts"):
            assert reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    reader.close()


async def test_a_record_of_many_files_is_forgotten_piece_by_piece(journal, path, monkeypatch):
    monkeypatch.setattr(journal_module, "_FORGOTTEN_AT_ONCE", 3)
    for _ in range(7):
        await creating(journal)
    await journal.begin(record_of("r2"))
    await creating(journal, record_id="r2")
    await journal.completed_record(ACCOUNT, "r1")
    await journal.aclose()
    with sqlite3.connect(path) as reader:
        assert reader.execute(
            "SELECT record_id, count(*) FROM records JOIN uploads ON record = records.number"
        ).fetchall() == [("r2", 1)]
    reader.close()


async def test_what_was_not_used_for_long_is_forgotten_at_the_next_opening(journal, path):
    old, new = identity_of(path="/old"), identity_of(path="/new")
    for identity in (old, new):
        await journal.hashed(identity, fingerprint_of(identity))
    await journal.begin(record_of("r2"))
    await journal.aclose()
    writer = sqlite3.connect(path)
    with writer:
        before = time.time() - 31 * DAY
        writer.execute("UPDATE hashes SET used = ? WHERE path LIKE '%old%'", (before,))
        writer.execute("UPDATE records SET used = ? WHERE record_id = 'r1'", (before,))
    writer.close()
    await journal.open()
    assert await journal.hash_of(old) is None
    assert await journal.hash_of(new) is not None
    assert await journal.record(ACCOUNT, "r1") is None
    assert await journal.record(ACCOUNT, "r2") is not None


def test_what_was_not_used_for_long_is_forgotten_while_it_stays_open(path):
    now = [time.time()]
    file = JournalFile(path, {}, clock=lambda: now[0])
    file.transact([Call(lambda store: store.begin(record_of("old")), None)])

    def known():
        [record] = file.transact([Call(lambda store: store.record(ACCOUNT, "old"), None)])
        return record is not None

    now[0] += 30 * DAY
    assert known()
    now[0] += 2 * DAY
    assert not known()
    file.close()


async def test_the_room_of_what_was_forgotten_is_given_back_at_the_next_opening(journal, path):
    for file in range(200):
        await creating(journal, key_of(identity_of(path=f"/{file}")))
    await journal.aclose()
    full = path.stat().st_size
    await journal.open()
    await journal.completed_record(ACCOUNT, "r1")
    for _ in range(2):
        await journal.aclose()
        await journal.open()
        await journal.record(ACCOUNT, "r1")
    await journal.aclose()
    assert path.stat().st_size < full - 20000


async def test_a_hash_that_is_used_is_not_forgotten(journal, path):
    identity = identity_of()
    await journal.hashed(identity, fingerprint_of(identity))
    await journal.aclose()
    for _ in range(2):
        writer = sqlite3.connect(path)
        with writer:
            writer.execute("UPDATE hashes SET used = used - ?", (29 * DAY,))
        writer.close()
        await journal.open()
        assert await journal.hash_of(identity) is not None
        await journal.aclose()


# --- uploads -----------------------------------------------------------------------------------


async def test_an_upload_of_an_earlier_run_can_be_claimed_once(journal):
    number = await creating(journal)
    journal.created(number, file_id="f1", stored_name="film_1.mkv", container_id="c1")
    await journal.part_arrived(number, 2, "etag")
    await journal.part_arrived(number, 1, None)
    assert await journal.claim(ACCOUNT, "r1", key_of()) is None  # it is of this run
    await next_run(journal)
    assert await journal.claim(ACCOUNT, "r1", key_of()) == SavedUpload(
        number=number,
        stored_name="film_1.mkv",
        sha256="0" * 64,
        file_id="f1",
        container_id="c1",
        parts={1: None, 2: "etag"},
        outcome=None,
    )
    assert await journal.claim(ACCOUNT, "r1", key_of()) is None
    await next_run(journal)
    assert await journal.claim(ACCOUNT, "r1", key_of()) is not None


async def test_each_of_two_uploads_of_the_same_file_is_claimed_once(journal):
    numbers = [await creating(journal), await creating(journal)]
    await next_run(journal)
    claimed = [await journal.claim(ACCOUNT, "r1", key_of()) for _ in range(3)]
    assert [each and each.number for each in claimed] == [*numbers, None]


async def test_an_upload_that_was_noted_twice_is_claimed_by_the_note_that_has_its_file(journal):
    """A run that loses its lock while a file is noted notes the file once more."""
    interrupted, number = await creating(journal), await creating(journal)
    journal.created(number, file_id="f1", stored_name="film.mkv", container_id=None)
    await journal.part_arrived(number, 1, "etag")
    await next_run(journal)
    claimed = [await journal.claim(ACCOUNT, "r1", key_of()) for _ in range(2)]
    assert [each.number for each in claimed] == [number, interrupted]
    assert claimed[0].parts == {1: "etag"}


@pytest.mark.parametrize(
    ("noted", "known"),
    [
        ({}, True),
        ({"file_id": "f1"}, True),
        ({"file_id": "f2"}, False),
        ({"name": "other.mkv"}, False),
        ({"sha256": "1" * 64}, False),
        ({"outcome": "uploaded"}, False),
    ],
    ids=str,
)
async def test_a_file_that_another_record_may_have_begun_is_known(journal, noted, known):
    await journal.begin(record_of("r2"))
    noted = {"name": "film.mkv", "sha256": "0" * 64, "file_id": None, "outcome": None, **noted}
    name = noted["name"]
    number = await journal.creating(
        ACCOUNT, "r2", key_of(), stored_name=name, sha256=noted["sha256"]
    )
    if noted["file_id"]:
        journal.created(number, file_id=noted["file_id"], stored_name=name, container_id=None)
    if noted["outcome"]:
        journal.completed(number, noted["outcome"])

    async def knows(record_id, account=ACCOUNT):
        return await journal.knows_of_others(
            account, record_id, file_id="f1", name="film.mkv", sha256="0" * 64
        )

    assert await knows("r1") == known
    assert await knows("r2") == (noted["file_id"] == "f1")
    assert not await knows("r1", "another account")
    assert not await Journal.off().knows_of_others(
        ACCOUNT, "r1", file_id="f1", name="film.mkv", sha256="0" * 64
    )


@pytest.mark.parametrize(
    "other",
    [
        key_of(identity_of(changed=LONG_AGO + 1)),
        key_of(name="other.mkv"),
        key_of(description="a/film.mkv"),
        key_of(part_size=9 * 2**20),
        key_of(parent_folder="p"),
        key_of(container_id="c"),
    ],
)
async def test_only_the_same_upload_is_claimed(journal, other):
    await creating(journal)
    await next_run(journal)
    assert await journal.claim(ACCOUNT, "r1", other) is None
    await journal.begin(record_of("r2"))
    assert await journal.claim(ACCOUNT, "r2", key_of()) is None


@pytest.mark.parametrize("outcome", ["uploaded", "rapid", "exists"])
async def test_a_completed_upload_says_how_and_needs_its_parts_no_more(journal, outcome):
    number = await creating(journal)
    await journal.part_arrived(number, 1, "e")
    journal.completed(number, outcome)
    await next_run(journal)
    saved = await journal.claim(ACCOUNT, "r1", key_of())
    assert (saved.outcome, saved.parts) == (outcome, {})


async def test_a_file_that_is_noted_when_it_is_completed_has_what_the_service_said(journal):
    number = await creating(journal)
    journal.completed(number, "uploaded", file_id="f1", container_id="c1")
    await next_run(journal)
    saved = await journal.claim(ACCOUNT, "r1", key_of())
    assert (saved.outcome, saved.file_id, saved.container_id) == ("uploaded", "f1", "c1")


async def test_completing_a_file_keeps_what_was_noted_when_it_was_created(journal):
    number = await creating(journal)
    journal.created(number, file_id="f1", stored_name="n", container_id="c1")
    journal.completed(number, "uploaded")
    await next_run(journal)
    saved = await journal.claim(ACCOUNT, "r1", key_of())
    assert (saved.file_id, saved.container_id) == ("f1", "c1")


async def test_parts_that_have_to_be_sent_again_can_be_forgotten(journal):
    numbers = [await creating(journal), await creating(journal)]
    for number in numbers:
        for part in range(1, 5):
            await journal.part_arrived(number, part, "e")
    journal.forget_parts(numbers[0], (part for part in (2, 4, 9)))
    await next_run(journal)
    claimed = [await journal.claim(ACCOUNT, "r1", key_of()) for _ in numbers]
    assert [sorted(each.parts) for each in claimed] == [[1, 3], [1, 2, 3, 4]]


async def test_parts_of_a_file_that_was_created_anew_are_not_those_of_the_old_one(journal):
    number = await creating(journal)
    for file_id in ("f1", "f1", "f2"):
        journal.created(number, file_id=file_id, stored_name="n", container_id=None)
        await journal.part_arrived(number, int(file_id[1:]), file_id)
    await next_run(journal)
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {2: "f2"}


async def test_a_part_that_was_sent_again_has_its_last_etag(journal):
    number = await creating(journal)
    await journal.part_arrived(number, 1, "first")
    await journal.part_arrived(number, 1, "second")
    await next_run(journal)
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {1: "second"}


async def test_a_forgotten_upload_is_not_claimed_and_takes_no_parts(journal):
    number = await creating(journal)
    journal.forget_upload(number)
    await journal.part_arrived(number, 1, "e")
    await next_run(journal)
    assert await journal.claim(ACCOUNT, "r1", key_of()) is None


async def test_an_upload_of_a_record_that_was_not_begun_is_not_kept(journal):
    assert await creating(journal, record_id="r2") == 0
    await journal.part_arrived(0, 1, "e")


# --- the thread --------------------------------------------------------------------------------


async def test_calls_take_effect_in_the_order_they_were_made(journal):
    number = await creating(journal)
    for file in range(3000):  # more than one transaction takes
        journal.created(number, file_id=f"f{file}", stored_name="n", container_id=None)
    journal.completed(number, "uploaded")
    await next_run(journal)
    saved = await journal.claim(ACCOUNT, "r1", key_of())
    assert (saved.file_id, saved.outcome) == ("f2999", "uploaded")


async def test_calls_from_many_threads_are_all_taken(journal):
    identities = [identity_of(path=f"/{number}") for number in range(200)]

    def note(identity):
        journal.hashed_on(identity, GRID, 0, bytes(32))
        journal.hashed_on(identity, GRID, GRID, bytes(32))

    with ThreadPoolExecutor(8) as threads:
        await anyio.to_thread.run_sync(lambda: list(threads.map(note, identities)))
    assert {(await journal.hash_of(identity)).offset for identity in identities} == {2 * GRID}


async def test_what_a_cancelled_caller_asked_for_is_done_all_the_same(journal):
    number = await creating(journal)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.part_arrived(number, 1, "e")
    await next_run(journal)
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {1: "e"}


async def test_many_parts_at_a_time_arrive_in_few_transactions(journal, path):
    number = await creating(journal)
    async with anyio.create_task_group() as group:
        for part in range(1, 1001):
            group.start_soon(journal.part_arrived, number, part, None)
    commits = path.with_name("journal.db-wal").stat().st_size // 4096
    assert commits < 500
    await next_run(journal)
    assert len((await journal.claim(ACCOUNT, "r1", key_of())).parts) == 1000


async def test_without_a_thread_uploads_go_on(path, monkeypatch, caplog):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    journal = Journal(path)
    await journal.open()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        await journal.begin(record_of())
    assert await journal.record(ACCOUNT, "r1") is None
    await journal.aclose()
    (warning,) = caplog.messages
    assert warning.endswith("can't start new thread")


async def test_who_asks_just_as_another_call_finds_no_thread_gets_an_answer(path, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    def usable_until_another_call(thread):
        patch.setattr(JournalThread, "_is_usable", is_usable)
        usable = is_usable(thread)
        journal.forget_hash(identity_of())
        return usable

    journal = Journal(path)
    await journal.open()
    is_usable = JournalThread._is_usable
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        patch.setattr(JournalThread, "_is_usable", usable_until_another_call)
        with anyio.fail_after(60):
            assert await journal.record(ACCOUNT, "r1") is None
    await journal.aclose()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_in_a_forked_process_there_is_no_journal(journal):
    number = await creating(journal)
    heard, told = os.pipe()
    if (child := os.fork()) == 0:
        answers = []
        for call in (
            journal.part_arrived(number, 1, "e"),
            journal.record(ACCOUNT, "r1"),
            journal.leave(ACCOUNT, "r1"),
            journal.aclose(),
        ):
            try:  # it must return at once, for no loop runs here
                call.send(None)
            except StopIteration as done:
                answers.append(done.value)
        os.write(told, repr(answers).encode())
        os._exit(0)
    os.close(told)
    assert os.read(heard, 1000) == b"[None, None, None, None]"
    os.close(heard)
    await anyio.to_thread.run_sync(os.waitpid, child, 0)
    with pytest.raises(RecordInUse):  # this process has left nothing
        await journal.begin(record_of())
    await next_run(journal)
    assert (await journal.claim(ACCOUNT, "r1", key_of())).parts == {}
