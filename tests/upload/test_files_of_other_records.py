"""Names may be unique in a record, a folder or a space: yesterday's files are never today's."""

from __future__ import annotations

from hashlib import sha256

import pytest

from koodrive_async import AutoRename, Limits, Module, RetryPolicy, UploadItem
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB
QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)
SCOPES = ["record", "folder", "space", "nowhere"]
COMPLETE, UNFINISHED = sample(100, 1), sample(PART + 7, 2)
CHANGED = sample(PART + 7, 3)


@pytest.fixture(params=SCOPES)
def scope(request):
    return request.param


@pytest.fixture(params=["hidden", "listed"])
def listing(request):
    return request.param


@pytest.fixture
def emulator(tmp_path, scope, listing):
    dialect = Dialect(unique_names=scope, unfinished_files=listing, complete_part_urls="given")
    with Emulator(tmp_path / "koodrive", dialect=dialect) as emulator:
        yield emulator


def items(changed=False):
    return [
        UploadItem(source=COMPLETE, name="a.bin", description="x/a.bin"),
        UploadItem(
            source=CHANGED if changed else UNFINISHED,
            name="b.bin",
            description="x/b.bin",
            part_size=PART,
        ),
    ]


async def yesterday(emulator):
    """Leave a record with a complete file, and one of which a part has arrived."""
    # one part at a time: none is still arriving when this ends
    async with connect(emulator, limits=Limits(connections=1)) as drive:
        device = await drive.devices.bind("m")
        session = drive.backup(device.device_id, Module.FOLDER)

        async def end_early():
            async with session:
                emulator.faults.add(Fault("error", "part.put", status=403, after=2))
                for item in items():
                    [_ async for _ in session.upload_many([item])]
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await end_early()
    emulator.faults.clear()
    record_id = session.record.record_id
    assert [held[2:4] for held in state(emulator, record_id, by_name=True)] == [
        (True, 1),
        (False, 1),
    ]
    return record_id


def digest_of(emulator, file):
    return sha256(emulator.content(file.file_id)).hexdigest()


def state(emulator, record_id, *, by_name=False):
    """Return everything that a record holds, complete or not, with the bytes that have arrived."""
    return sorted(
        (
            (file.file_id, file.name, file.completed, file.arrived, digest_of(emulator, file))
            for file in emulator.files()
            if file.record_id == record_id
        ),
        key=lambda held: held[1 if by_name else 0],
    )


def stored(emulator, record_id):
    return sorted(
        (file.description, digest_of(emulator, file))
        for file in emulator.files()
        if file.completed and file.record_id == record_id
    )


def wanted(items):
    return [(item.description, sha256(item.source).hexdigest()) for item in items]


LOST = {
    "nothing": [],
    "answers": [Fault("lost-answer", "files.create", times=4)],
    "a call": [Fault("error", "files.create", status=503, times=2)],
}


@pytest.mark.parametrize(
    ("lost", "changed"),
    [("nothing", False), ("answers", False), ("answers", True), ("a call", False)],
)
async def test_a_backup_leaves_the_files_of_another_record_alone(emulator, lost, changed):
    async with connect(emulator, retry=QUICK) as drive:
        device = await drive.devices.bind("m")
        before = await yesterday(emulator)
        as_it_was = state(emulator, before)
        emulator.faults.add(*LOST[lost])
        today = items(changed)
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes = [each async for each in session.upload_many(today)]
        assert not [each for each in outcomes if hasattr(each, "error")]
        assert state(emulator, before) == as_it_was
        assert stored(emulator, session.record.record_id) == wanted(today)


@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "none"])
@pytest.mark.parametrize("lost", ["nothing", "answers"])
async def test_a_resume_leaves_the_files_of_another_record_alone(
    emulator, lost, with_journal, tmp_path
):
    place = tmp_path / "journal.db" if with_journal else None
    async with connect(emulator, retry=RetryPolicy(attempts=1), journal=place) as drive:
        device = await drive.devices.bind("m")
        before = await yesterday(emulator)
        as_it_was = state(emulator, before)
        session = drive.backup(device.device_id, Module.FOLDER)

        async def end_early():
            async with session:
                emulator.faults.add(Fault("lost-answer", "files.create", times=2))
                [_ async for _ in session.upload_many(items())]
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await end_early()
    emulator.faults.clear()
    emulator.faults.add(*LOST[lost])
    record_id = session.record.record_id
    async with (
        connect(emulator, retry=QUICK, journal=place) as drive,
        drive.backup(device.device_id, Module.FOLDER, resume=record_id) as session,
    ):
        outcomes = [each async for each in session.upload_many(items())]
    assert not [each for each in outcomes if hasattr(each, "error")]
    assert state(emulator, before) == as_it_was
    assert stored(emulator, record_id) == [
        (item.description, sha256(item.source).hexdigest()) for item in items()
    ]


async def test_a_file_that_another_record_has_is_not_skipped(emulator):
    async with connect(emulator, retry=QUICK) as drive:
        device = await drive.devices.bind("m")
        before = await yesterday(emulator)
        as_it_was = state(emulator, before)
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            first = await session.upload(COMPLETE, name="a.bin", auto_rename=AutoRename.SKIP)
            again = await session.upload(COMPLETE, name="a.bin", auto_rename=AutoRename.SKIP)
        assert state(emulator, before) == as_it_was
        files = {file.file_id: file for file in emulator.files()}
        assert files[first.file_id].record_id == session.record.record_id
        assert files[again.file_id].record_id == session.record.record_id


@pytest.mark.parametrize("listing", ["hidden", "listed"])
async def test_a_name_that_identifies_a_file_identifies_its_record_too(tmp_path, scope, listing):
    """Both records are in doubt of the same file: each asks for a name that is its own."""
    dialect = Dialect(
        unique_names=scope,
        unfinished_files=listing,
        complete_part_urls="given",
        flash_upload="never",
    )
    held = []
    with Emulator(tmp_path / "koodrive", dialect=dialect) as emulator:
        for _ in range(2):
            emulator.faults.clear()
            emulator.faults.add(Fault("lost-answer", "files.create", times=1))
            async with connect(emulator, retry=QUICK) as drive:
                device = await drive.devices.bind("m")
                async with drive.backup(device.device_id, Module.FOLDER) as session:
                    receipt = await session.upload(COMPLETE, name="a.bin", description="x/a.bin")
            held.append((receipt.file_id, stored(emulator, session.record.record_id)))
    assert held[0][0] != held[1][0]
    assert held[0][1] == held[1][1] == [("x/a.bin", sha256(COMPLETE).hexdigest())]
