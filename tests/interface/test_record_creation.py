"""``records.create_once``: one record, whatever becomes of the answers."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from koodrive_async import (
    ConnectionFailed,
    InvalidRequest,
    RateLimited,
    RecordStatus,
    RetryPolicy,
    ServerFault,
    TransportError,
)
from koodrive_async.emulator import Emulator, Fault
from koodrive_async.testing import connect
from tests.interface.scripted import TLS, FakeClock

pytestmark = pytest.mark.anyio

MODULE = "100"
PROPERTIES = {"a": [1, 2], "b": "ä"}


@pytest.fixture
async def lock(drive):
    return (await drive.locks.create(MODULE)).lock_id


async def records_of(drive, device):
    return [record async for record in drive.records.list(MODULE, device)]


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (Fault("lost-answer", "records.create", times=1), 1),
        (Fault("reset", "records.create", moment="after", times=1), 2),
        (Fault("reset", "records.create", moment="before", times=1), 2),
        (Fault("error", "records.create", status=500, times=1), 2),
        (Fault("error", "records.create", status=503, times=3), 4),
        (Fault("throttle", "records.create", retry_after=0, times=2), 3),
    ],
    ids=lambda value: str(getattr(value, "kind", value)),
)
async def test_one_record_is_created_whatever_becomes_of_the_answers(
    koodrive_emulator, drive, device_id, lock, fault, asked
):
    koodrive_emulator.faults.add(fault)
    record = await drive.records.create_once(device_id, MODULE, lock_id=lock, properties=PROPERTIES)
    assert [each.record_id for each in await records_of(drive, device_id)] == [record.record_id]
    assert record.status is RecordStatus.NEW
    assert koodrive_emulator.faults.hits(fault) == fault.times
    assert koodrive_emulator.seen.count("records.create") <= asked


async def test_a_record_whose_last_answer_was_lost_is_found_too(koodrive_emulator, device_id, lock):
    koodrive_emulator.faults.add(Fault("lost-answer", "records.create"))
    async with connect(koodrive_emulator, retry=RetryPolicy(attempts=1), tls=TLS) as drive:
        record = await drive.records.create_once(device_id, MODULE, lock_id=lock)
        assert [each.record_id for each in await records_of(drive, device_id)] == [record.record_id]


async def test_a_record_that_was_there_before_is_not_taken(
    koodrive_emulator, drive, device_id, lock
):
    before = await drive.records.create(device_id, MODULE, lock_id=lock)
    completed = await drive.records.create(device_id, MODULE, lock_id=lock)
    other = await drive.records.create(device_id, MODULE, lock_id=lock, properties=PROPERTIES)
    await drive.records.complete(completed.record_id, lock_id=lock)
    fault = Fault("error", "records.create", status=500, times=1)
    koodrive_emulator.faults.add(fault)
    record = await drive.records.create_once(
        device_id, MODULE, lock_id=lock, known={before.record_id}
    )
    known = {before.record_id, completed.record_id, other.record_id}
    assert record.record_id not in known
    assert {each.record_id for each in await records_of(drive, device_id)} == {
        *known,
        record.record_id,
    }


async def test_a_record_of_a_minute_ago_is_not_taken(tmp_path):
    clock = FakeClock()
    with Emulator(tmp_path / "koodrive", clock=clock.time) as emulator:
        async with connect(emulator, clock=clock, tls=TLS) as drive:
            device = (await drive.devices.bind("m")).device_id
            lock = (await drive.locks.create(MODULE)).lock_id
            left = await drive.records.create(device, MODULE, lock_id=lock)
            clock.now += 60
            emulator.faults.add(Fault("error", "records.create", status=500, times=1))
            record = await drive.records.create_once(device, MODULE, lock_id=lock)
            assert record.record_id != left.record_id
            assert len(await records_of(drive, device)) == 2


async def test_an_hour_wrong_clock_finds_its_record_all_the_same(
    koodrive_emulator, drive, device_id, lock
):
    koodrive_emulator.faults.add(Fault("lost-answer", "records.create", times=1))
    async with connect(koodrive_emulator, clock=FakeClock(), tls=TLS) as wrong:
        record = await wrong.records.create_once(device_id, MODULE, lock_id=lock)
    assert [each.record_id for each in await records_of(drive, device_id)] == [record.record_id]


async def test_a_record_is_not_asked_for_again_without_having_looked(
    koodrive_emulator, drive, device_id, lock
):
    koodrive_emulator.faults.add(
        Fault("lost-answer", "records.create"), Fault("reset", "records.list")
    )
    with pytest.raises(ConnectionFailed) as caught:
        await drive.records.create_once(device_id, MODULE, lock_id=lock)
    assert caught.value.method == "POST"
    assert isinstance(caught.value.__cause__, TransportError)
    assert koodrive_emulator.seen.count("records.create") == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("error", "records.create", status=400, code="13000101"), InvalidRequest),
        (Fault("throttle", "records.create", retry_after=0), RateLimited),
    ],
)
async def test_what_the_service_certainly_refused_is_not_looked_for(
    koodrive_emulator, drive, device_id, lock, fault, error
):
    koodrive_emulator.faults.add(fault)
    with pytest.raises(error):
        await drive.records.create_once(device_id, MODULE, lock_id=lock)
    assert koodrive_emulator.seen.count("records.list") == 0


async def test_a_service_that_keeps_failing_is_given_up(koodrive_emulator, drive, device_id, lock):
    koodrive_emulator.faults.add(Fault("error", "records.create", status=500))
    with pytest.raises(ServerFault) as caught:
        await drive.records.create_once(device_id, MODULE, lock_id=lock)
    assert caught.value.attempts == drive.retry.attempts
    assert len(caught.value.history) == drive.retry.attempts - 1
    assert await records_of(drive, device_id) == []


async def test_a_creation_that_was_cancelled_looks_before_it_creates(
    koodrive_emulator, drive, device_id, lock
):
    fault = Fault("latency", "records.create", seconds=0.3, times=1)
    koodrive_emulator.faults.add(fault)
    creation = drive.records.creation(device_id, MODULE)
    task = asyncio.create_task(creation.run(lock))
    await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "records.create")
    task.cancel()
    await asyncio.wait([task])
    await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_idle, "records.create")
    record = await creation.run(lock)
    assert [each.record_id for each in await records_of(drive, device_id)] == [record.record_id]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lost-answer", "records.complete", times=1),
        Fault("reset", "records.complete", moment="after", times=1),
        Fault("error", "records.complete", status=500, times=1),
    ],
    ids=lambda fault: fault.kind,
)
async def test_a_record_is_completed_whatever_becomes_of_the_answers(
    koodrive_emulator, drive, device_id, lock, fault
):
    record = await drive.records.create(device_id, MODULE, lock_id=lock)
    koodrive_emulator.faults.add(fault)
    await drive.records.complete(record.record_id, lock_id=lock)
    assert (await drive.records.get(record.record_id)).status is RecordStatus.COMPLETED
