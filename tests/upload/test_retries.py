"""What passes by itself is tried again; what does not is one clear error."""

from __future__ import annotations

import anyio
import pytest

from koodrive_async import (
    Limits,
    Module,
    PartRejected,
    RetryPolicy,
    UploadReceipt,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.transport.clock import SystemClock

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
LOCK_RENEWAL = 100


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", "part.put", status=503, times=2),
        Fault("error", "part.put", status=500, times=2),
        Fault("throttle", "part.put", retry_after=0, times=2),
        Fault("reset", "part.put", moment="before", times=2),
        Fault("reset", "part.put", moment="middle", times=2),
        Fault("reset", "part.put", moment="after", times=2),
        Fault("lost-answer", "part.put", times=2),
        Fault("expired-url", "part.put", times=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.moment}-{fault.status}",
)
async def test_a_part_that_fails_in_passing_is_sent_again(
    session, stored, make_file, koodrive_emulator, fault
):
    koodrive_emulator.faults.add(fault)
    path = make_file(16 * MIB)
    receipt = await session.upload(path, part_size=5 * MIB)
    assert receipt.retries == 2
    assert await stored(receipt.file_id) == path.read_bytes()
    assert koodrive_emulator.seen.count("part.put") == 4 + 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault("error", "files.complete", status=503, times=2),
        Fault("lost-answer", "files.complete", times=1),
        Fault("error", "files.part_urls", status=502, times=1),
        Fault("throttle", "files.create", retry_after=0, times=2),
        Fault("throttle", "records.create", retry_after=0, times=1),
        Fault("error", "files.complete", status=400, code="13000403", times=1),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.route}-{fault.status}",
)
async def test_a_call_that_fails_in_passing_is_made_again(
    drive, device_id, make_file, koodrive_emulator, fault
):
    koodrive_emulator.faults.add(fault, Fault("expired-url", "part.put", times=1))
    async with drive.backup(device_id, Module.FOLDER) as session:
        receipt = await session.upload(make_file(1000))
    assert receipt.outcome == "uploaded"
    (file,) = await drive.files.list(session.record.record_id).collect()
    assert file.file_id == receipt.file_id


async def test_a_part_that_always_fails_is_given_up_after_the_allowed_attempts(
    koodrive_emulator, make_file
):
    koodrive_emulator.faults.add(Fault("error", "part.put", status=503, code="SlowDown"))
    policy = RetryPolicy(attempts=3, base_delay=0, outage=0)
    async with connect(koodrive_emulator, retry=policy) as drive:
        device = await drive.devices.bind("unlucky")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            with pytest.raises(PartRejected, match="3 attempts") as error:
                await session.upload(make_file(1000))
    assert (error.value.attempts, error.value.status, error.value.code) == (3, 503, "SlowDown")
    assert koodrive_emulator.seen.count("part.put") == 3


async def test_a_url_that_always_comes_too_late_is_given_up(session, make_file, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("expired-url", "part.put"))
    with pytest.raises(PartRejected) as error:
        await session.upload(make_file(1000))
    assert (error.value.status, error.value.attempts) == (403, RetryPolicy().attempts)


async def test_a_url_that_is_refused_twice_is_given_up(session, make_file, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "part.put", status=403, code="AccessDenied"))
    with pytest.raises(PartRejected) as error:
        await session.upload(make_file(1000))
    assert (error.value.status, error.value.attempts) == (403, 2)
    assert koodrive_emulator.seen.count("files.part_urls") == 1


async def test_the_wait_before_a_retry_keeps_no_connection_from_others(
    koodrive_emulator, make_file
):
    class PatientClock(SystemClock):
        async def sleep(self, seconds):
            if seconds < LOCK_RENEWAL:
                await other_is_done.wait()
            else:
                await anyio.sleep_forever()

    other_is_done = anyio.Event()
    koodrive_emulator.faults.add(Fault("error", "part.put", status=503, times=1))
    limits = Limits(connections=1)
    async with connect(koodrive_emulator, limits=limits, clock=PatientClock()) as drive:
        device = await drive.devices.bind("one_connection")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes = []
            files = [make_file(1000, "a", 1), make_file(1000, "b", 2)]
            async for outcome in session.upload_many(files):
                outcomes.append(outcome)
                other_is_done.set()
    receipts = [outcome for outcome in outcomes if isinstance(outcome, UploadReceipt)]
    assert [receipt.retries for receipt in receipts] == [0, 1]
