"""A file that changes between hashing and sending is noticed; nothing torn is completed."""

from __future__ import annotations

import hashlib
import os

import anyio
import anyio.to_thread
import pytest

from koodrive_async import SourceChanged
from koodrive_async.emulator import Fault
from koodrive_async.upload import Phase
from koodrive_async.upload.source import SMALL
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def rewrite(path):
    path.write_bytes(sample(path.stat().st_size, seed=9))


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def remove(path):
    path.unlink()


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (rewrite, "mtime_ns"),
        (append, "size 11534336 -> 11534340"),
        (truncate, "size 11534336 -> 5767168"),
        (remove, "it is gone"),
        (replace, "inode"),
    ],
)
async def test_a_change_after_hashing_is_noticed(
    session, drive, make_file, koodrive_emulator, blocking_calls_fail, change, named
):
    path = make_file(11 * MIB)

    blocking_calls_fail.deactivate()  # the change is made by this test, in a callback

    def change_when_hashed(progress):
        if progress.phase is Phase.HASH and progress.done == progress.total:
            change(path)

    with pytest.raises(SourceChanged, match=named) as error:
        await session.upload(path, part_size=5 * MIB, on_progress=change_when_hashed)
    assert str(path) in str(error.value)
    assert koodrive_emulator.seen.count("files.complete") == 0
    assert await drive.files.list(session.record.record_id).collect() == []


async def test_a_change_during_the_last_part_is_noticed(session, make_file, koodrive_emulator):
    path = make_file(SMALL + 1)
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=0.2))

    def change_while_sending():
        koodrive_emulator.seen.wait_active("part.put")
        append(path)

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, change_while_sending)
        with pytest.raises(SourceChanged, match=f"size {SMALL + 1} -> {SMALL + 5}"):
            await session.upload(path)
    assert koodrive_emulator.seen.count("files.complete") == 0


@pytest.mark.parametrize("change", [rewrite, append, truncate, remove, replace])
@pytest.mark.parametrize("size", [1000, SMALL])
async def test_of_a_small_file_what_was_hashed_is_sent_whatever_happens_to_it(
    session, stored, make_file, blocking_calls_fail, change, size
):
    blocking_calls_fail.deactivate()  # the change is made by this test, in a callback
    path = make_file(size)

    def change_when_hashed(progress):
        if progress.phase is Phase.HASH and progress.done == progress.total:
            change(path)

    receipt = await session.upload(path, on_progress=change_when_hashed)
    assert await stored(receipt.file_id) == sample(size)
    assert receipt.sha256 == hashlib.sha256(sample(size)).hexdigest()


async def test_a_small_file_for_which_there_is_no_memory_is_noticed_as_a_large_one(
    session, make_file, blocking_calls_fail
):
    blocking_calls_fail.deactivate()  # the change is made by this test, in a callback
    memory = session._uploader.means.memory
    assert memory.take(memory.limit)
    path = make_file(1000)

    def change_when_hashed(progress):
        if progress.phase is Phase.HASH and path.exists():
            path.unlink()

    with pytest.raises(SourceChanged, match="it is gone"):
        await session.upload(path, on_progress=change_when_hashed)
    memory.give_back(memory.limit)


async def test_one_changed_file_does_not_stop_the_others(session, make_file, blocking_calls_fail):
    blocking_calls_fail.deactivate()  # the change is made by this test, in a callback
    paths = [make_file(SMALL + 1, f"{number}", seed=number) for number in range(4)]

    def change_one(progress):
        if progress.name == "2" and progress.phase is Phase.HASH and paths[2].exists():
            paths[2].unlink()

    outcomes = [item async for item in session.upload_many(paths, on_progress=change_one)]
    failed = [item for item in outcomes if not hasattr(item, "file_id")]
    assert [type(item.error) for item in failed] == [SourceChanged]
    assert len(outcomes) == 4
