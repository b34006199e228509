"""What the log tells: names of loggers, levels, and nothing secret."""

from __future__ import annotations

import logging

import pytest

from koodrive_async import KooDriveError, Module
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio


@pytest.fixture
def told(caplog):
    """Return a function that returns what was logged at a level."""
    caplog.set_level(logging.DEBUG, logger="koodrive_async")

    def at(level):
        return [
            (record.name, record.getMessage())
            for record in caplog.records
            if record.levelno == level and record.name.startswith("koodrive_async")
        ]

    return at


async def test_a_session_without_trouble_tells_of_its_record_and_warns_of_nothing(
    drive, device_id, told
):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"x", name="x")
    record_id = session.record.record_id
    assert told(logging.INFO) == [
        ("koodrive_async.session_record", f"record {record_id} was created"),
        ("koodrive_async.session_record", f"record {record_id} was completed"),
    ]
    assert told(logging.WARNING) == told(logging.ERROR) == []
    ((name, file),) = [line for line in told(logging.DEBUG) if line[0].endswith("watching")]
    assert name == "koodrive_async.upload.watching"
    assert file.startswith("x: uploaded, 1 bytes in ")


async def test_a_session_that_fails_tells_that_its_record_can_be_gone_on_with(
    drive, device_id, told
):
    with pytest.raises(LookupError):
        async with drive.backup(device_id, Module.FOLDER) as session:
            raise LookupError
    async with drive.backup(device_id, Module.FOLDER, resume=session.record.record_id):
        pass
    messages = [message for _, message in told(logging.INFO)]
    record = f"record {session.record.record_id}"
    assert messages == [
        f"{record} was created",
        f"{record} is left unfinished",
        f"going on with {record}, which has 0 files",
        f"{record} was completed",
    ]


async def test_what_is_tried_again_is_a_warning_with_part_and_reason(
    drive, device_id, told, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=1))
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"x" * 300_000, name="x")
    ((name, message),) = told(logging.WARNING)
    assert name == "koodrive_async.transport.retry"
    assert message.startswith("x, part 1: attempt 1 failed, next in ")


async def test_nothing_secret_is_logged_whatever_goes_wrong(
    device_id, told, koodrive_emulator, caplog
):
    koodrive_emulator.faults.add(Fault("expired-url", times=1))
    koodrive_emulator.faults.add(Fault("error", "part.put", status=500, times=1))
    koodrive_emulator.faults.add(Fault("error", "files.complete", status=400))
    async with connect(koodrive_emulator) as drive:
        with pytest.raises(KooDriveError):
            async with drive.backup(device_id, Module.FOLDER) as session:
                await session.upload(b"x" * 300_000, name="x")
    assert told(logging.WARNING)
    assert koodrive_emulator.token not in caplog.text
    assert "X-Amz-Signature" not in caplog.text
