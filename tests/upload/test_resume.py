"""A session that was interrupted goes on where it was, with a journal and without."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import anyio
import pytest

from koodrive_async import InvalidArgument, Module, NotFound, RecordInUse, RecordStatus, UploadItem
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.upload import Journal, SavedRecord
from koodrive_async.upload.source import FileContent
from tests.sample import sample
from tests.upload.interrupting import resume

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture
def make_file(make_file):
    """Return a function that makes a file whose times do not change with its next change.

    File systems have clocks that tick: what was hashed in the tick in which it was written is not
    taken for the same file later on.
    """

    def make(*arguments, **more):
        path = make_file(*arguments, **more)
        while time.time_ns() - path.stat().st_ctime_ns < 25_000_000:
            pass
        return path

    return make


def content_of(item):
    return Path(f"{item.source}").read_bytes()


def arrived(emulator):
    return [each.part_number for each in emulator.seen.requests("part.put") if each.status == 200]


@pytest.fixture
def hashing_fails(monkeypatch):
    """Return a function after which nothing can be hashed any more."""

    def fail(*_):
        raise AssertionError("this had been hashed")

    return lambda: monkeypatch.setattr(FileContent, "hash_some", fail)


async def test_no_part_is_sent_again_and_nothing_hashed_again(
    interrupted, koodrive_emulator, journal, device_id, make_file, hashing_fails
):
    path = make_file(6 * PART + 1000)
    items = [UploadItem(source=path, part_size=PART)]
    record_id = await interrupted(items, "part.put", 3, acknowledged=3 * PART)
    before = arrived(koodrive_emulator)
    assert len(before) >= 3
    hashing_fails()
    (receipt,) = await resume(koodrive_emulator, journal, device_id, record_id, items)
    assert sorted(arrived(koodrive_emulator)) == [1, 2, 3, 4, 5, 6, 7]
    assert (receipt.outcome, receipt.parts_resumed) == ("uploaded", len(before))
    assert receipt.parts == 7 - len(before)
    (file,) = koodrive_emulator.files()
    assert koodrive_emulator.content(file.file_id) == path.read_bytes()
    assert koodrive_emulator.seen.count("files.create") == 1


async def test_files_that_are_there_are_neither_hashed_nor_sent_again(
    interrupted, koodrive_emulator, journal, device_id, make_file, hashing_fails
):
    items = [
        UploadItem(source=make_file(2 * MIB, f"{n}.bin", seed=n), description=f"{n}")
        for n in range(4)
    ]
    record_id = await interrupted(items, "files.complete", 2, active=2)
    done = koodrive_emulator.seen.count("files.complete", status=200)
    hashing_fails()
    outcomes = await resume(koodrive_emulator, journal, device_id, record_id, items)
    kinds = sorted(outcome.outcome for outcome in outcomes)
    assert kinds == sorted(["exists"] * done + ["uploaded"] * (4 - done))
    assert koodrive_emulator.seen.count("part.put", status=200) == 4
    assert len(koodrive_emulator.files()) == 4


@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "none"])
@pytest.mark.parametrize("route", ["files.create", "part.put", "files.complete"])
async def test_nothing_is_there_twice_with_a_journal_or_without(
    route, with_journal, interrupted, koodrive_emulator, journal, device_id, make_file
):
    place = journal if with_journal else None
    items = [
        UploadItem(source=make_file(2 * MIB, f"{n}/a.bin", seed=n), description=f"{n}/a.bin")
        for n in range(3)
    ]
    items += [
        UploadItem(source=make_file(100, f"{n}/same", seed=7), description=f"{n}/same")
        for n in range(3)
    ]
    record_id = await interrupted(items, route, 2, journal=place)
    outcomes = await resume(koodrive_emulator, place, device_id, record_id, items)
    assert not [outcome for outcome in outcomes if hasattr(outcome, "error")]
    files = [file for file in koodrive_emulator.files() if file.completed]
    assert len(files) == len(items)
    contents = {file.description: koodrive_emulator.content(file.file_id) for file in files}
    assert contents == {item.description: content_of(item) for item in items}
    assert all(outcome.container_id for outcome in outcomes)


async def test_a_file_that_the_record_no_longer_has_is_uploaded_again_whatever_the_journal_says(
    interrupted, koodrive_emulator, journal, device_id, make_file
):
    paths = [
        make_file(PART + 1, "large"),
        make_file(100, "small", seed=1),
        make_file(100, "last", seed=2),
    ]
    items = [UploadItem(source=path, part_size=PART) for path in paths]
    record_id = await interrupted(items, "files.complete", 2)
    lost = {file.file_id for file in koodrive_emulator.files() if file.completed}
    assert len(lost) == 2

    def lose(service):
        for file_id in lost:
            service.store.run("DELETE FROM files WHERE file_id = ?", file_id)

    koodrive_emulator._running.ask(lose)
    receipts = await resume(koodrive_emulator, journal, device_id, record_id, items)
    assert [receipt.outcome for receipt in receipts] == ["uploaded"] * 3
    stored = {receipt.name: koodrive_emulator.content(receipt.file_id) for receipt in receipts}
    assert stored == {path.name: path.read_bytes() for path in paths}
    assert all(file.completed for file in koodrive_emulator.files())


async def test_a_file_that_changed_since_is_another_file(
    interrupted, koodrive_emulator, journal, device_id, make_file
):
    path = make_file(3 * PART)
    items = [UploadItem(source=path, part_size=PART)]
    record_id = await interrupted(items, "part.put", 1)
    path.write_bytes(sample(3 * PART, seed=9))
    (receipt,) = await resume(koodrive_emulator, journal, device_id, record_id, items)
    assert receipt.parts_resumed == 0
    assert koodrive_emulator.content(receipt.file_id) == path.read_bytes()
    assert [file.file_id for file in koodrive_emulator.files() if file.completed] == [
        receipt.file_id
    ]


async def test_an_upload_that_the_service_has_forgotten_begins_anew(
    interrupted, koodrive_emulator, journal, device_id, make_file
):
    path = make_file(3 * PART)
    items = [UploadItem(source=path, part_size=PART)]
    record_id = await interrupted(items, "part.put", 1)
    koodrive_emulator.faults.add(Fault("lost-upload", "files.part_urls", times=1))
    (receipt,) = await resume(koodrive_emulator, journal, device_id, record_id, items)
    assert koodrive_emulator.content(receipt.file_id) == path.read_bytes()
    assert len(koodrive_emulator.files()) == 1


async def test_the_lock_that_a_killed_run_left_is_taken_over(
    koodrive_emulator, journal, device_id, drive
):
    lock = await drive.locks.create(Module.FOLDER)
    record = await drive.records.create(device_id, Module.FOLDER, lock_id=lock.lock_id)
    async with connect(koodrive_emulator, journal=journal) as other:
        session = other.backup(device_id, Module.FOLDER, resume=record.record_id)
        with contextlib.suppress(Exception):
            async with session:  # refused: the lock is held
                pass
    left = Journal(journal)
    await left.open()
    await left.begin(
        SavedRecord(
            account=f"{koodrive_emulator.user_id}@{koodrive_emulator.url}",
            record_id=record.record_id,
            device_id=device_id,
            module=Module.FOLDER.value,
            lock_id=lock.lock_id,
            begun=0.0,
        )
    )
    await left.aclose()
    async with (
        connect(koodrive_emulator, journal=journal) as other,
        other.backup(device_id, Module.FOLDER, resume=record.record_id) as session,
    ):
        assert session.lock.lock_id == lock.lock_id
        await session.upload(b"hello", name="a.txt")
    assert koodrive_emulator.locks() == ()
    assert (await drive.records.get(record.record_id)).status is RecordStatus.COMPLETED


async def test_a_record_is_one_session_s_at_a_time(koodrive_emulator, journal, device_id):
    async with (
        connect(koodrive_emulator, journal=journal) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        again = drive.backup(device_id, Module.FOLDER, resume=session.record.record_id)
        with pytest.raises(RecordInUse):
            async with again:
                pass


async def test_a_record_that_is_completed_is_not_gone_on_with(drive, device_id, koodrive_emulator):
    async with drive.backup(device_id, Module.FOLDER) as session:
        pass
    with pytest.raises(InvalidArgument, match="takes no more files"):
        async with drive.backup(device_id, Module.FOLDER, resume=session.record.record_id):
            pass
    assert koodrive_emulator.locks() == ()


async def test_a_record_of_another_module_is_not_gone_on_with(drive, device_id, koodrive_emulator):
    with pytest.raises(RuntimeError):
        async with drive.backup(device_id, Module.ALBUM) as session:
            raise RuntimeError
    with pytest.raises(InvalidArgument, match="module"):
        async with drive.backup(device_id, Module.FOLDER, resume=session.record.record_id):
            pass
    assert koodrive_emulator.locks() == ()


async def test_a_record_that_is_gone_says_so_and_is_forgotten(
    drive, device_id, koodrive_emulator, tmp_path
):
    gone = "1842862763295184641"
    with pytest.raises(NotFound):
        async with drive.backup(device_id, Module.FOLDER, resume=gone):
            pass
    assert koodrive_emulator.locks() == ()
    journal = Journal(tmp_path / "state" / "journal.db")
    await journal.open()
    account = f"{koodrive_emulator.user_id}@{koodrive_emulator.url}"
    assert await journal.record(account, gone) is None
    await journal.aclose()


async def test_the_spaces_of_an_earlier_run_are_known_again(
    interrupted, koodrive_emulator, device_id, drive
):
    items = [UploadItem(source=b"bytes", name="a.txt"), UploadItem(source=b"more", name="b.txt")]
    record_id = await interrupted(items, "files.complete", 1, journal=None)
    only_done = [item for item in items if item.name in {f.name for f in done(koodrive_emulator)}]
    await resume(koodrive_emulator, None, device_id, record_id, only_done)
    record = await drive.records.get(record_id)
    assert koodrive_emulator.container_id in (record.properties or "")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", "files.create", status=408, times=1),
        Fault("lost-answer", "files.create", times=1),
        Fault("error", "files.create", status=400),
    ],
    ids=["timed out", "lost", "refused"],
)
async def test_a_file_does_not_fail_for_the_space_it_is_in(
    fault, interrupted, koodrive_emulator, device_id
):
    items = [UploadItem(source=b"%d" % n, name=f"{n}.txt") for n in range(5)]
    record_id = await interrupted([*items, UploadItem(source=b"x", name="x")], "part.put", 5)
    there = {file.name for file in done(koodrive_emulator)}
    koodrive_emulator.faults.add(fault)
    only_done = [item for item in items if item.name in there]
    outcomes = await resume(koodrive_emulator, None, device_id, record_id, only_done)
    assert len(outcomes) == len(only_done)
    assert not [outcome for outcome in outcomes if hasattr(outcome, "error")]


def done(emulator):
    return [file for file in emulator.files() if file.completed]


async def test_two_sessions_of_one_client_do_not_wait_for_each_other(
    koodrive_emulator, journal, device_id
):
    async with connect(koodrive_emulator, journal=journal) as drive, anyio.create_task_group() as g:
        for module in (Module.FOLDER, Module.ALBUM):

            async def run(module=module):
                async with drive.backup(device_id, module) as session:
                    await session.upload(b"hello", name="a.txt")

            g.start_soon(run)
    assert len(done(koodrive_emulator)) == 2


async def test_small_files_that_were_being_sent_keep_their_names(
    interrupted, koodrive_emulator, journal, device_id, make_file
):
    items = [
        UploadItem(source=make_file(100, f"{n}.txt", seed=n), description=f"{n}.txt")
        for n in range(3)
    ]
    record_id = await interrupted(items, "part.put", 0, active=3)
    assert not any(file.completed for file in koodrive_emulator.files())
    await resume(koodrive_emulator, journal, device_id, record_id, items)
    # no second file of any of them: the emulator shows nothing of an unfinished one
    files = {
        file.name: koodrive_emulator.content(file.file_id) for file in koodrive_emulator.files()
    }
    assert files == {f"{item.description}": content_of(item) for item in items}
    assert all(file.completed for file in koodrive_emulator.files())
