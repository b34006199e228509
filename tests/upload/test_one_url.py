"""A file that was announced in parts, to a service that has one URL for it."""

from __future__ import annotations

import asyncio

import pytest

from koodrive_async import Module, RetryPolicy
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from koodrive_async.upload import plan
from tests.sample import sample

pytestmark = pytest.mark.anyio

PART = 1024 * 1024
CONTENT = sample(2 * PART + 17)
QUICK = RetryPolicy(attempts=3, base_delay=0, per_second=None, outage=0)


@pytest.fixture(params=["all", "first-only", "none"])
def emulator(request, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "DEFAULT_PART_SIZE", PART)
    dialect = Dialect(multipart="one-url", created_parts=request.param)
    with Emulator(tmp_path / "koodrive", dialect=dialect, min_part_size=PART) as emulator:
        yield emulator


async def test_the_file_is_sent_as_a_whole_wherever_its_url_comes_from(emulator):
    async with connect(emulator, retry=QUICK) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(CONTENT, name="a")
    (file,) = emulator.files()
    assert (receipt.outcome, receipt.parts) == ("uploaded", 1)
    assert (file.completed, emulator.content(file.file_id)) == (True, CONTENT)


@pytest.mark.parametrize("route", ["part.put", "files.complete"])
async def test_a_resumed_upload_goes_on_with_the_same_file(emulator, tmp_path, route):
    source, journal = tmp_path / "a", tmp_path / "journal.db"
    await asyncio.to_thread(source.write_bytes, CONTENT)
    emulator.faults.add(Fault("error", route, status=503))

    async def fail():
        async with (
            connect(emulator, retry=QUICK, journal=journal) as drive,
            drive.backup((await drive.devices.bind("m")).device_id, Module.FOLDER) as session,
        ):
            left.append(session.record.record_id)
            await session.upload(source)

    left: list[str] = []
    with pytest.raises(Exception, match="503"):
        await fail()
    emulator.faults.clear()
    async with (
        connect(emulator, retry=QUICK, journal=journal) as drive,
        drive.backup(
            (await drive.devices.bind("m")).device_id, Module.FOLDER, resume=left[0]
        ) as session,
    ):
        receipt = await session.upload(source)
    (file,) = emulator.files()
    assert (receipt.file_id, receipt.outcome) == (file.file_id, "uploaded")
    assert (file.completed, emulator.content(file.file_id)) == (True, CONTENT)
    assert emulator.seen.count("part.put", status=200) == 1
