"""The life of a backup session: lock, record, and what is left of both."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import anyio.to_thread
import pytest

from koodrive_async import (
    ApiError,
    ClientClosed,
    InvalidArgument,
    LockLost,
    Module,
    RecordStatus,
    Timeouts,
)
from koodrive_async.emulator import Fault, HeldStatus
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio


async def test_a_clean_exit_completes_the_record_and_gives_the_lock_back(
    drive, device_id, koodrive_emulator
):
    async with drive.backup(device_id, Module.ALBUM) as session:
        assert session.record.status is RecordStatus.NEW
        assert session.lock.lock_id.endswith("@101")
    record = await drive.records.get(session.record.record_id)
    assert (record.status, record.module) == (RecordStatus.COMPLETED, Module.ALBUM)
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1
    await drive.locks.create(Module.ALBUM)  # it is free


async def test_a_group_of_tasks_that_failed_inside_does_not_cancel_a_clean_exit(
    drive, device_id, koodrive_emulator
):
    async def fail():
        raise ZeroDivisionError

    async with drive.backup(device_id, Module.FOLDER) as session:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        receipt = await session.upload(b"after the failure", name="a")
    (record,) = koodrive_emulator.records()
    assert record.status is HeldStatus.COMPLETED
    assert koodrive_emulator.content(receipt.file_id) == b"after the failure"


async def test_a_task_that_was_cancelled_at_the_end_of_a_session_completes_nothing(
    drive, device_id, koodrive_emulator
):
    async def work():
        async with drive.backup(device_id, Module.FOLDER) as session:
            await session.upload(b"a", name="a")
            task.cancel()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = koodrive_emulator.records()
    assert (record.status, koodrive_emulator.locks()) == (HeldStatus.NEW, ())


async def test_leaving_with_an_exception_completes_nothing_and_gives_the_lock_back(
    drive, device_id
):
    with pytest.raises(ZeroDivisionError):
        async with drive.backup(device_id, Module.FOLDER) as session:
            1 / 0  # noqa: B018 - it raises
    assert (await drive.records.get(session.record.record_id)).status is RecordStatus.NEW
    await drive.locks.create(Module.FOLDER)


async def test_a_record_that_cannot_be_created_gives_the_lock_back(
    drive, device_id, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("error", "records.create", status=400))
    with pytest.raises(ApiError):
        async with drive.backup(device_id, Module.FOLDER):
            pytest.fail("the block must not run")
    await drive.locks.create(Module.FOLDER)


async def test_writes_quote_the_lock_of_the_session(drive, device_id, koodrive_emulator):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"abc", name="x")
    for route in ("records.create", "files.create", "records.complete", "locks.release"):
        (request,) = koodrive_emulator.seen.requests(route)
        assert request.headers["x-backup-lock-id"] == session.lock.lock_id


@pytest.mark.parametrize("properties", ['{"test":"123"}', {"test": "123"}])
async def test_properties_are_kept_as_given(drive, device_id, properties):
    async with drive.backup(device_id, Module.FOLDER, properties=properties) as session:
        await session.upload(b"abc", name="x")
    record = await drive.records.get(session.record.record_id)
    assert record.properties == '{"test":"123"}'


async def test_without_properties_the_record_says_which_spaces_its_files_are_in(
    drive, device_id, koodrive_emulator
):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"abc", name="x")
        await session.upload(b"abd", name="y")
    record = await drive.records.get(session.record.record_id)
    assert json.loads(record.properties) == {"containerIds": [koodrive_emulator.container_id]}


@pytest.mark.parametrize(
    ("module", "properties", "named"),
    [
        ("999", None, "module must be one of"),
        (Module.FOLDER, "{", "JSON"),
        ("100", {1: {2}}, "JSON"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_is_sent(
    drive, device_id, koodrive_emulator, module, properties, named
):
    with pytest.raises(InvalidArgument, match=named):
        drive.backup(device_id, module, properties=properties)
    assert koodrive_emulator.seen.count("locks.create") == 0


async def test_a_session_is_entered_once_and_used_inside(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER)
    with pytest.raises(ClientClosed, match="async with"):
        _ = session.record
    with pytest.raises(ClientClosed, match="async with"):
        await session.upload(b"a", name="a")
    async with session:
        pass
    with pytest.raises(ClientClosed, match="entered once"):
        await session.__aenter__()
    with pytest.raises(ClientClosed, match="async with"):
        await session.upload(b"a", name="a")
    with pytest.raises(ClientClosed, match="async with"):
        session.upload_many([])


async def test_a_session_outlives_no_client(koodrive_emulator):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
    with pytest.raises(ClientClosed):
        async with drive.backup(device.device_id, Module.FOLDER):
            pytest.fail("the block must not run")


async def test_several_sessions_of_different_modules_share_one_client(drive, device_id):
    async with (
        drive.backup(device_id, Module.FOLDER) as folder,
        drive.backup(device_id, Module.ALBUM) as album,
    ):
        await folder.upload(b"abc", name="x")
        await album.upload(b"abc", name="y")
    listed = [
        [file.file_name async for file in drive.files.list(session.record.record_id)]
        for session in (folder, album)
    ]
    assert listed == [["x"], ["y"]]


async def test_a_clean_exit_waits_for_the_uploads_of_other_tasks(
    drive, device_id, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=0.2, times=1))
    async with anyio.create_task_group() as group:
        async with drive.backup(device_id, Module.FOLDER) as session:

            async def upload():
                await session.upload(b"abc", name="late")

            group.start_soon(upload)
            await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
        (file,) = await drive.files.list(session.record.record_id).collect()
    assert file.file_name == "late"


async def test_nothing_is_written_after_the_lock_was_lost(koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("latency", "part.put", seconds=60, times=1),
        Fault("error", "locks.renew", status=400, code="13000102"),
    )
    ended: list[object] = []
    session: Any = None
    async with connect(koodrive_emulator, timeouts=Timeouts(lease=1.5)) as drive:
        device = await drive.devices.bind("loser")

        async def upload():
            try:
                ended.append(await session.upload(b"abc", name="late"))
            except LockLost as error:
                ended.append(error)

        async with anyio.create_task_group() as group:

            async def back_up():
                nonlocal session
                async with drive.backup(device.device_id, Module.FOLDER) as session:
                    group.start_soon(upload)
                    await anyio.sleep_forever()

            with pytest.raises(LockLost):
                await back_up()
    assert [type(outcome) for outcome in ended] == [LockLost]
    assert koodrive_emulator.seen.count("files.complete") == 0
    assert koodrive_emulator.seen.count("records.complete") == 0


async def test_after_a_loss_nothing_goes_into_a_record_that_somebody_has_completed(
    koodrive_emulator, device_id
):
    async with connect(koodrive_emulator) as drive:

        async def back_up():
            async with drive.backup(device_id, Module.FOLDER) as session:
                await session.upload(b"before", name="before.txt")
                async with drive.locks.hold(Module.ALBUM) as other:
                    record_id = session.record.record_id
                    await drive.records.complete(record_id, lock_id=other.lock_id)
                koodrive_emulator.faults.add(Fault("expired-lock", "files.create", times=1))
                await session.upload(b"after", name="after.txt")

        with pytest.raises(LockLost, match="takes no more files: its status is COMPLETED"):
            await back_up()
    assert [file.name for file in koodrive_emulator.files()] == ["before.txt"]
    assert koodrive_emulator.locks() == ()


async def test_a_lock_that_is_lost_while_the_record_is_completed_is_no_failure(
    koodrive_emulator, device_id, drive
):
    koodrive_emulator.faults.add(
        Fault("lost-answer", "records.complete", times=1),
        Fault("expired-lock", "records.complete", times=1, after=1),
    )
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"bytes", name="a.txt")
    record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED
    assert koodrive_emulator.locks() == ()
