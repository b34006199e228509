"""A journal shared with other processes, which may be killed at any moment."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
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


async def test_the_lock_of_a_run_that_was_killed_is_given_to_one_who_asks(journal, path):
    with other_process("hold", path) as process:
        assert process.stdout.readline() == "held\n"
        assert await journal.take_lock(ACCOUNT, "FOLDER") is None  # that run is at it still
        process.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(process.wait)
    assert await journal.take_lock(ACCOUNT, "ALBUM") is None
    assert await journal.take_lock("another", "FOLDER") is None
    assert await journal.take_lock(ACCOUNT, "FOLDER") == "l1"
    assert await journal.take_lock(ACCOUNT, "FOLDER") is None
    (record,) = await journal.unfinished(ACCOUNT)
    assert record.lock_id is None


async def test_a_lock_is_left_alone_where_nobody_can_tell_whether_its_run_has_ended(journal, path):
    await journal.begin(record_of(lock_id="l1"))
    await journal.leave(ACCOUNT, "r1")
    for file in locks_of(path).iterdir():
        file.unlink()
    assert await journal.take_lock(ACCOUNT, "FOLDER") is None


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
