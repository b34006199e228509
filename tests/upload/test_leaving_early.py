"""A backup of which a loop was left early is never completed in silence."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from koodrive_async import (
    BackupIncomplete,
    ClientClosed,
    InsufficientSpace,
    Module,
    RecordStatus,
    Timeouts,
    UploadItem,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio


def items(count=8):
    return [UploadItem(source=sample(10, number), name=f"{number}") for number in range(count)]


async def leave_by_break(session):
    async for _ in session.upload_many(items()):
        break


async def leave_by_an_iterator_that_is_kept(session):
    batch = session.upload_many(items())
    await anext(batch)
    session.kept = batch


async def leave_by_aclose(session):
    async with aclosing(session.upload_many(items())) as batch:
        await anext(batch)


async def leave_by_an_error_that_is_caught(session):
    with suppress(ZeroDivisionError):
        async for _ in session.upload_many(items()):
            1 / 0  # noqa: B018 - it raises


async def leave_by_a_consumer_that_is_cancelled(session):
    came = asyncio.Event()

    async def consume():
        async for _ in session.upload_many(items()):
            came.set()
            await asyncio.sleep(3600)

    consumer = asyncio.create_task(consume())
    await came.wait()
    consumer.cancel()
    await asyncio.wait([consumer])


async def leave_by_a_consumer_that_is_still_at_it(session):
    came = asyncio.Event()

    async def consume():
        with suppress(ClientClosed):
            async for _ in session.upload_many(items()):
                came.set()
                await asyncio.sleep(3600)

    session.kept = asyncio.create_task(consume())
    await came.wait()


async def leave_by_sources_that_fail(session):
    def broken():
        yield UploadItem(source=b"a", name="a")
        raise LookupError("no more")

    with suppress(LookupError):
        async for _ in session.upload_many(broken()):
            pass


async def leave_by_a_loop_over_a_part(session):
    batch = session.upload_many(item for item in items(3))
    for _ in range(2):
        await anext(batch)


LEAVING = [
    leave_by_break,
    leave_by_an_iterator_that_is_kept,
    leave_by_aclose,
    leave_by_an_error_that_is_caught,
    leave_by_a_consumer_that_is_cancelled,
    leave_by_a_consumer_that_is_still_at_it,
    leave_by_sources_that_fail,
    leave_by_a_loop_over_a_part,
]


@pytest.fixture
def backing_up(drive, device_id):
    """Return a context manager: a session that is expected to be left as incomplete."""

    @asynccontextmanager
    async def back_up():
        session = drive.backup(device_id, Module.FOLDER)
        with pytest.raises(BackupIncomplete) as caught:
            async with session:
                yield session
        assert caught.value.record_id == session.record.record_id
        assert caught.value.arrived == session.totals.done
        if (task := getattr(session, "kept", None)) is not None and isinstance(task, asyncio.Task):
            task.cancel()
            await asyncio.wait([task])

    return back_up


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_a_loop_that_was_left_early_leaves_the_record_unfinished(
    leave, backing_up, drive, device_id, koodrive_emulator
):
    async with backing_up() as session:
        await leave(session)
    record_id = session.record.record_id
    assert (await drive.records.get(record_id)).status is RecordStatus.NEW
    assert koodrive_emulator.locks() == ()
    async with drive.backup(device_id, Module.FOLDER, resume=record_id) as again:
        outcomes = [outcome async for outcome in again.upload_many(items())]
    assert len(outcomes) == 8
    assert (await drive.records.get(record_id)).status is RecordStatus.COMPLETED


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_leaving_early_completes_the_record_where_it_is_meant(leave, drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await leave(session)
        session.complete_anyway()
    record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED
    task = getattr(session, "kept", None)
    if isinstance(task, asyncio.Task):
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("what", ["many", "tree"])
async def test_a_loop_that_was_forgotten_leaves_the_record_unfinished(backing_up, tmp_path, what):
    (tmp_path / "a.txt").write_text("a")
    async with backing_up() as session:
        with pytest.warns(RuntimeWarning, match="never begun"):
            session.upload_many(items()) if what == "many" else session.upload_tree(tmp_path)
    assert session.totals.files == 0


async def test_an_error_that_ends_a_loop_and_is_caught_leaves_the_record_unfinished(
    backing_up, koodrive_emulator
):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=400, code="13000311", after=3)
    )
    async with backing_up() as session:
        with pytest.raises(InsufficientSpace):
            async for _ in session.upload_many(items()):
                pass


async def test_the_error_says_what_arrived_and_how_to_go_on(drive, device_id):
    async def back_up():
        async with drive.backup(device_id, Module.FOLDER) as session:
            await session.upload(b"one", name="one")
            async for _ in session.upload_many(items()):
                break

    with pytest.raises(BackupIncomplete) as caught:
        await back_up()
    error = caught.value
    assert error.batches == 1
    assert error.arrived >= 2
    for part in (f"{error.arrived} files have arrived", error.record_id, "complete_anyway()"):
        assert part in str(error)


async def test_an_exception_of_the_block_goes_before_a_loop_that_was_left(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER)

    async def back_up():
        async with session:
            async for _ in session.upload_many(items()):
                1 / 0  # noqa: B018 - it raises

    with pytest.raises(ZeroDivisionError):
        await back_up()
    record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.NEW


@pytest.mark.parametrize("kind", ["list", "generator", "async generator"])
async def test_a_batch_of_which_every_outcome_was_taken_is_complete(drive, device_id, kind):
    async def asynchronous():
        for item in items(3):
            yield item

    sources = {
        "list": lambda: items(3),
        "generator": lambda: (item for item in items(3)),
        "async generator": asynchronous,
    }[kind]()
    async with drive.backup(device_id, Module.FOLDER) as session:
        batch = session.upload_many(sources)
        for _ in range(3):  # and never asks for a fourth
            await anext(batch)
    record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED


async def test_a_list_that_grew_is_not_taken_for_complete(backing_up):
    async with backing_up() as session:
        sources = items(1)
        batch = session.upload_many(sources)
        sources.extend(items(40)[1:])
        await anext(batch)


async def test_an_empty_list_that_was_not_iterated_over_is_complete(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload_many([]).aclose()
    record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED


@pytest.fixture
async def move_time(monkeypatch):
    """Return a function that lets the time of the event loop jump, and what is due then happen."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    async def move(seconds):
        nonlocal ahead
        ahead += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return move


@pytest.mark.parametrize("seconds", [2, 60])
async def test_sources_that_end_late_were_gone_through(koodrive_emulator, move_time, seconds):
    async def slow():
        yield UploadItem(source=b"a", name="a")
        await leaving.wait()
        await move_time(seconds)

    leaving = asyncio.Event()
    async with connect(koodrive_emulator, timeouts=Timeouts(cleanup=3600)) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            batch = session.upload_many(slow())
            await anext(batch)
            asyncio.get_running_loop().call_soon(leaving.set)  # when this is being left
        record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED


@pytest.mark.parametrize("others", [0, 1])
async def test_sources_that_do_not_end_hold_a_session_up_for_a_named_time(
    koodrive_emulator, others
):
    async def silent():
        yield UploadItem(source=b"a", name="a")
        await asyncio.sleep(3600)

    async def back_up(drive):
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            for _ in range(others):
                await leave_by_break(session)
            batch = session.upload_many(silent())
            await anext(batch)

    async with connect(koodrive_emulator, timeouts=Timeouts(cleanup=0.01)) as drive:
        with pytest.raises(BackupIncomplete, match=r"not known within Timeouts\.cleanup") as error:
            await back_up(drive)
    assert (error.value.batches, error.value.unknown) == (others + 1, 1)


async def test_what_is_completed_anyway_waits_for_no_source(koodrive_emulator):
    async def silent():
        yield UploadItem(source=b"a", name="a")
        await asyncio.sleep(3600)

    async with connect(koodrive_emulator, timeouts=Timeouts(cleanup=3600)) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            batch = session.upload_many(silent())
            await anext(batch)
            session.complete_anyway()
        record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED


async def test_many_batches_are_not_remembered_when_they_are_over(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as session:
        for number in range(5):
            async for _ in session.upload_many([UploadItem(source=b"x", name=f"{number}")]):
                pass
        assert len(session._batches._works) <= 1


async def test_to_complete_a_session_that_is_over_is_refused(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER)
    with pytest.raises(ClientClosed):
        session.complete_anyway()
    async with session:
        pass
    with pytest.raises(ClientClosed):
        session.complete_anyway()
