"""A journal shared with other processes, which may be killed at any moment."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path

import anyio
import pytest

from koodrive_async import RecordInUse
from koodrive_async.hashing import Fingerprinter
from koodrive_async.upload.journal import Journal
from koodrive_async.upload.journal_locks import locks_of
from tests.upload.journal_sample import (
    ACCOUNT,
    GRID,
    fingerprint_of,
    identity_of,
    key_of,
    record_of,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path):
    journal = Journal(path)
    await journal.open()
    yield journal
    await journal.aclose()


@contextmanager
def other_process(what, *arguments):
    """Have another process do something; it is gone when the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.upload.journal_child", what, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("told", [1, 2, 3, 50, 1500])
async def test_a_kill_takes_nothing_that_was_committed(journal, path, told):
    with other_process("write_for_ever", path) as process:
        for _ in range(told):
            line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        last = int((process.communicate()[0].split() or [line])[-1])
    finished, unfinished = identity_of(path="/finished"), identity_of(path="/unfinished")
    assert (await journal.hash_of(finished)).sha256 == fingerprint_of(finished).sha256

    saved = await journal.hash_of(unfinished)
    assert saved.offset >= last * GRID  # noted before the part that was committed
    on = Fingerprinter.resume(saved.midstates, saved.offset, grid=GRID)
    whole = Fingerprinter(GRID)
    whole.update(bytes(saved.offset))
    assert on.finish() == whole.finish()

    (record,) = await journal.unfinished(ACCOUNT)
    await journal.begin(record)
    parts = (await journal.claim(ACCOUNT, "r1", key_of())).parts
    assert len(parts) >= last
    assert parts == {number: f"e{number}" for number in range(1, len(parts) + 1)}


async def test_a_record_that_another_process_is_at_is_in_use(journal, path):
    with other_process("hold", path) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RecordInUse, match="another process is backing up into record r1"):
            await journal.begin(record_of())
        assert await journal.unfinished(ACCOUNT) == ()
        assert await journal.record(ACCOUNT, "r1") is not None
        go_on(process)
        assert process.stdout.readline() == "left\n"
        assert len(await journal.unfinished(ACCOUNT)) == 1
        await journal.begin(record_of())


async def test_a_process_that_was_killed_is_at_no_record(journal, path):
    with other_process("hold", path) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(process.wait)
    (record,) = await journal.unfinished(ACCOUNT)
    await journal.begin(record)


async def kill(process):
    process.send_signal(signal.SIGKILL)
    await anyio.to_thread.run_sync(process.wait)


async def claimed(journal, account=ACCOUNT, module="FOLDER", passed_over=(), **more):
    left = await journal.claim_lock(account, module, passed_over, **more)
    return None if left is None else (left.lock_id, left.module)


async def test_the_lock_of_a_run_that_was_killed_is_given_to_one_who_asks(journal, path):
    with other_process("hold", path) as process:
        assert process.stdout.readline() == "held\n"
        assert await claimed(journal) is None  # that run is at it still
        await kill(process)
    assert await claimed(journal, "another") is None
    assert await claimed(journal) == ("l1", "FOLDER")
    assert await claimed(journal) is None
    (record,) = await journal.unfinished(ACCOUNT)
    assert record.lock_id is None


async def test_a_lock_without_a_record_is_left_by_a_kill_and_kept_by_the_living(journal, path):
    async with another(path) as second:
        with other_process("hold_lock", path, "l1", "FOLDER") as process:
            assert process.stdout.readline() == "held\n"
            assert await claimed(journal) is None
            await kill(process)
        assert await claimed(journal, passed_over={"l1"}) is None
        assert await claimed(journal) == ("l1", "FOLDER")
        assert await claimed(second) is None  # of this process, too
        journal.leave_lock(ACCOUNT, "l1")
        await journal.committed()
        assert await claimed(second) == ("l1", "FOLDER")
        second.forget_lock(ACCOUNT, "l1")
        await second.committed()
        assert await claimed(journal) is None


@asynccontextmanager
async def another(path):
    """Open the journal once more; what it holds at the end is held as little as after a kill."""
    journal = Journal(path)
    await journal.open()
    async with aclosing(journal):
        yield journal


async def leave_locks(path, *locks):
    async with another(path) as ended:
        for lock_id, module in locks:
            ended.hold_lock(ACCOUNT, module, lock_id)
        await ended.committed()


async def test_a_lock_that_was_taken_over_is_left_by_the_next_kill(journal, path):
    await leave_locks(path, ("l1", "FOLDER"))
    async with another(path) as second:
        assert await claimed(second) == ("l1", "FOLDER")
        assert await claimed(journal) is None
    assert await claimed(journal) == ("l1", "FOLDER")


async def test_locks_of_the_module_that_is_wanted_come_first(journal, path):
    await leave_locks(path, ("l1", "FOLDER"), ("l2", "ALBUM"))
    assert await claimed(journal, module="FOLDER") == ("l1", "FOLDER")
    assert await claimed(journal, module="FOLDER") == ("l2", "ALBUM")
    assert await claimed(journal, module="FOLDER") is None


async def test_a_resumed_record_gets_its_own_lock_unless_another_process_has_it(journal, path):
    await journal.begin(record_of(lock_id="l1"))
    await journal.leave(ACCOUNT, "r1")
    async with another(path) as second:
        assert await claimed(second) == ("l1", "FOLDER")
        await journal.begin(record_of(lock_id="l1"))  # as it was read a moment before
        assert await claimed(journal, record_id="r1") is None
    assert await claimed(journal, record_id="r1") == ("l1", "FOLDER")


async def test_a_lock_is_noted_in_one_place(journal, path):
    def noted():
        with closing(sqlite3.connect(path)) as reader:
            return (
                reader.execute("SELECT lock_id FROM locks").fetchall(),
                reader.execute("SELECT lock_id FROM records").fetchall(),
            )

    journal.hold_lock(ACCOUNT, "FOLDER", "l1")
    await journal.committed()
    assert noted() == ([("l1",)], [])
    await journal.begin(record_of(lock_id="l1"))
    assert noted() == ([], [("l1",)])
    journal.hold_lock(ACCOUNT, "FOLDER", "l2")
    journal.forget_lock(ACCOUNT, "l1")
    await journal.committed()
    assert noted() == ([("l2",)], [(None,)])
    journal.note_lock(ACCOUNT, "r1", "l2")
    await journal.committed()
    assert noted() == ([], [("l2",)])
    journal.leave_lock(ACCOUNT, "l2")
    await journal.committed()
    assert noted() == ([("l2",)], [(None,)])
    await journal.completed_record(ACCOUNT, "r1")
    assert await claimed(journal) == ("l2", "FOLDER")


async def test_a_lock_that_outlives_its_record_stays_noted(journal, path):
    ended = Journal(path)
    await ended.open()
    ended.hold_lock(ACCOUNT, "FOLDER", "l1")
    await ended.begin(record_of(lock_id="l1"))
    await ended.completed_record(ACCOUNT, "r1")
    assert await claimed(journal) is None  # its process lives
    await ended.aclose()
    assert await claimed(journal) == ("l1", "FOLDER")
    journal.forget_lock(ACCOUNT, "l1")
    assert await claimed(journal) is None


async def test_a_cancelled_claim_leaves_the_lock_to_others(journal, path):
    await leave_locks(path, ("l1", "FOLDER"))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.claim_lock(ACCOUNT, "FOLDER")
    assert await claimed(journal) == ("l1", "FOLDER")


async def test_a_journal_without_a_table_of_locks_gets_one(journal, path):
    await journal.begin(record_of(lock_id="l1"))
    await journal.aclose()
    with closing(sqlite3.connect(path)) as older, older:
        older.execute("DROP TABLE locks")
    await journal.open()
    assert await claimed(journal) == ("l1", "FOLDER")
    await journal.aclose()
    with closing(sqlite3.connect(path)) as older:
        assert older.execute("PRAGMA user_version").fetchone() == (1,)
        assert older.execute("SELECT lock_id FROM records").fetchall() == [(None,)]


async def test_a_journal_that_is_replaced_knows_the_locks_that_are_held(journal, path):
    journal.hold_lock(ACCOUNT, "FOLDER", "l1")
    await journal.committed()
    path.unlink()
    await journal.committed()
    await journal.aclose()  # as if it were killed: a lock that was not given back
    await journal.open()
    assert await claimed(journal) == ("l1", "FOLDER")


async def test_a_note_of_a_lock_that_has_long_run_out_is_forgotten(journal, path):
    journal.hold_lock(ACCOUNT, "FOLDER", "l1")
    await journal.committed()
    for is_held in (True, False):
        with closing(sqlite3.connect(path)) as writer, writer:
            writer.execute("UPDATE locks SET granted = 1.0")
        if not is_held:
            await journal.aclose()
            await journal.open()
        async with another(path) as second:
            await second.committed()
        with closing(sqlite3.connect(path)) as reader:
            left = reader.execute("SELECT lock_id FROM locks").fetchall()
        assert left == ([("l1",)] if is_held else [])


async def test_a_lock_is_left_alone_where_it_is_unknown_whether_its_run_has_ended(journal, path):
    await journal.begin(record_of(lock_id="l1"))
    await journal.leave(ACCOUNT, "r1")
    journal.hold_lock(ACCOUNT, "FOLDER", "l2")
    journal.leave_lock(ACCOUNT, "l2")
    await journal.committed()
    for file in locks_of(path).iterdir():
        file.unlink()
    assert await claimed(journal) is None


async def test_a_record_in_use_is_not_pruned_whatever_its_age(journal, path):
    with other_process("hold", path) as process:
        assert process.stdout.readline() == "held\n"
        for used in (0.0, 1.0):
            with closing(sqlite3.connect(path)) as writer, writer:
                writer.execute("UPDATE records SET used = ?", (used,))
            await journal.open()
            assert await journal.record(ACCOUNT, "r1") is not None
            await journal.aclose()
        process.kill()
        await anyio.to_thread.run_sync(process.wait)
    await journal.open()
    assert await journal.record(ACCOUNT, "r1") is None


async def test_a_second_client_of_this_process_does_not_give_up_the_locks_of_the_first(
    journal, path
):
    await journal.begin(record_of("r2"))
    second = Journal(path)
    await second.open()
    assert await second.record(ACCOUNT, "r2") is not None
    await second.aclose()
    with other_process("look", path) as process:  # it must not take the log away as the last one
        assert process.stdout.readline() == "seen\n"
        await anyio.to_thread.run_sync(process.wait)
    await journal.begin(record_of("r3"))
    with closing(sqlite3.connect(path)) as reader:
        found = reader.execute("SELECT record_id FROM records ORDER BY 1").fetchall()
    assert found == [("r2",), ("r3",)]


async def test_processes_that_write_at_once_are_all_heard(journal, path, caplog):
    names = ["r1", "r2", "r3"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(other_process("write_beside_others", path, name)) for name in names
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            go_on(process)  # the journal is not there yet: they make it
        for process in processes:
            await anyio.to_thread.run_sync(process.wait)
            assert process.returncode == 0
    for name in names:
        await journal.begin(record_of(name))
        for file in range(100):
            identity = identity_of(path=f"/{file}")
            saved = await journal.claim(ACCOUNT, name, key_of(identity))
            assert (saved.file_id, saved.parts) == (f"f{file}", {1: name})
            assert (await journal.hash_of(identity)).sha256 == fingerprint_of(identity).sha256
    assert caplog.messages == []
    assert sorted(file.name for file in path.parent.iterdir() if "damaged" in file.name) == []
