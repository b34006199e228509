"""Files of the same bytes: each upload has a file of its own, and no other record's."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from koodrive_async import (
    AutoRename,
    DuplicateFileName,
    MalformedResponse,
    Module,
    NewBackupFile,
    RetryPolicy,
    UploadItem,
)
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from koodrive_async.upload.creation import Creation, is_made_of
from koodrive_async.upload.record_files import RecordFiles

pytestmark = pytest.mark.anyio

EMPTY = sha256(b"").hexdigest()
QUICK = RetryPolicy(base_delay=0, per_second=None)


class NoAttempts:
    """No call has to be made again."""

    def succeeded(self):
        pass


def complete(emulator, record_id):
    return {
        file.file_id: file
        for file in emulator.files()
        if file.completed and file.record_id == record_id
    }


@pytest.mark.parametrize("acts", [False, True], ids=["does not act", "acts"])
@pytest.mark.parametrize("descriptions", ["given", "absent"])
@pytest.mark.parametrize("described", [False, True], ids=["alike", "described"])
async def test_equal_files_of_which_one_is_in_doubt_are_as_many(
    tmp_path, acts, descriptions, described
):
    """The create call of one gets no answer, while those of the others are being answered."""
    count = 12
    dialect = Dialect(unfinished_files="listed", listed_description=descriptions)
    items = [
        UploadItem(
            source=b"", name="__init__.py", description=f"{n}/__init__.py" if described else None
        )
        for n in range(count)
    ]
    receipts: list[Any] = []
    with Emulator(tmp_path / "koodrive", dialect=dialect) as emulator:
        async with connect(emulator, retry=QUICK, journal=None) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                lost = Fault("lost-answer" if acts else "reset", "files.create", times=1)
                emulator.faults.add(lost, Fault("trickle", "files.create", seconds=0.001))
                receipts.extend([each async for each in session.upload_many(items)])
        assert emulator.faults.hits(lost) == 1
        held = complete(emulator, session.record.record_id)
    assert not [each for each in receipts if hasattr(each, "error")]
    assert {each.file_id for each in receipts} == held.keys()
    assert len(held) == count
    for receipt in receipts:
        assert held[receipt.file_id].description == receipt.description
        assert held[receipt.file_id].name == receipt.name


@pytest.mark.parametrize(
    ("name", "is_its"),
    [
        ("IMG_20251218_093235.jpg", True),
        ("IMG(1).jpg", True),
        ("IMG (2).jpg", True),
        ("IMG.jpg_20251218_093235", True),
        ("IMG_2025-12-18T09:32:35Z.jpg", True),
        ("IMG.jpg", False),
        ("IMG_20251218_093235.png", False),
        ("IMG_b88263bf.jpg", False),
        ("IMG_b88263bf_20251218_093235.jpg", False),
        ("IMGx.jpg", False),
        ("IMG_1_edited.jpg", False),
        ("IMG.jpg.jpg", False),
    ],
)
def test_a_name_is_made_of_another_one_by_a_time_or_a_number(name, is_its):
    assert is_made_of("IMG.jpg", name) is is_its


def creating(change):
    """Return a function that changes answers to creating a file in a record."""

    def rewrite(path, answer):
        if path.endswith("/file") and answer.get("fileId"):
            change(answer)

    return rewrite


def only_existing(answer, other):
    answer.pop("fileId")
    answer.update(rapidUpload=True, existFileId=other)


def existing(answer, other):
    answer.update(fileId=other, exist=True)


def another_file(answer, other):
    answer.update(fileId=other, rapidUpload=True)


@pytest.mark.parametrize("policy", AutoRename)
@pytest.mark.parametrize("change", [only_existing, existing, another_file])
async def test_a_file_of_another_record_is_not_taken_for_an_upload(
    rewriting, koodrive_emulator, device_id, change, policy
):
    """The service answers every call with it: that ends with an error, after a second try."""
    async with (
        connect(koodrive_emulator) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        other = (await session.upload(b"bytes", name="x")).file_id
    before = koodrive_emulator.seen.count("files.create")
    async with (
        rewriting(creating(lambda answer: change(answer, other))) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        with pytest.raises(MalformedResponse, match="not"):
            await session.upload(b"bytes", name="a", auto_rename=policy)
    asked = koodrive_emulator.seen.count("files.create") - before
    assert asked == (1 if policy is AutoRename.REJECT or change is another_file else 2)


async def test_one_id_for_two_files_is_an_error(rewriting, device_id):
    ids = []

    def same_id(answer):
        ids.append(answer["fileId"])
        answer["fileId"] = ids[0]

    async with (
        rewriting(creating(same_id)) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        await session.upload(b"one", name="a")
        with pytest.raises(MalformedResponse, match="gave the id"):
            await session.upload(b"two", name="b")


async def test_few_names_are_tried_when_all_are_taken(koodrive_emulator, device_id):
    async with (
        connect(koodrive_emulator, retry=QUICK) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        koodrive_emulator.faults.add(Fault("error", "files.create", status=503, times=1))
        taken = Fault("error", "files.create", status=400, code="13000405", after=1)
        koodrive_emulator.faults.add(taken)
        with pytest.raises(DuplicateFileName):
            await session.upload(b"bytes", name="a")
    assert koodrive_emulator.faults.hits(taken) <= 6


async def test_files_that_another_record_has_are_skipped_without_a_listing_for_each(tmp_path):
    with Emulator(tmp_path / "koodrive", dialect=Dialect(unique_names="space")) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            for _ in range(2):
                listings = emulator.seen.count("files.list")
                async with drive.backup(device.device_id, Module.FOLDER) as session:
                    for n in range(9):
                        content = f"{n}".encode()
                        await session.upload(content, name=f"{n}", auto_rename=AutoRename.SKIP)
                assert len(complete(emulator, session.record.record_id)) == 9
        assert emulator.seen.count("files.list") - listings <= 1


async def test_what_was_created_is_not_asked_for_again_when_its_upload_goes_on(tmp_path):
    """As after a lock that was lost while the existing file was being looked at."""
    unused: Any = None
    with Emulator(tmp_path / "koodrive") as emulator:
        async with connect(emulator) as drive:
            means: Any = SimpleNamespace(files=drive.files, attempts=NoAttempts)
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"", name="a")
            async with drive.locks.hold(Module.FOLDER) as lease:
                record = await drive.records.create(
                    device.device_id, Module.FOLDER, lock_id=lease.lock_id
                )
                creation = Creation(
                    means,
                    RecordFiles(record.record_id),
                    NewBackupFile(file_name="a", sha256=EMPTY, length=0),
                    name="a",
                    mark="a",
                    in_doubt=False,
                    has_asked=False,
                    adopts=False,
                    completeness=unused,
                    on_name=unused,
                )
                created = await creation.run(lease.lock_id)
                assert await creation.run(lease.lock_id) is created
        assert emulator.seen.count("files.create") == 2
        assert creation.has_it
