"""Uploads work on every event loop there is for asyncio."""

from __future__ import annotations

import asyncio
import sys

import anyio
import anyio.to_thread
import pytest

from koodrive_async import Limits, Module
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.upload.source import SMALL
from tests.upload.raw_server import MIB

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop"),
]


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


async def test_the_loop_is_the_one_that_is_meant(anyio_backend):
    module = type(asyncio.get_running_loop()).__module__
    assert module.startswith("uvloop") == anyio_backend[1]["use_uvloop"]


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 12 * MIB + 5])
@pytest.mark.parametrize("kind", ["path", "bytes", "stream"])
async def test_files_of_every_size_arrive(session, stored, make_file, kind, size):
    path = make_file(size)
    data = path.read_bytes()
    source = {"bytes": data, "stream": [data]}.get(kind, path)
    receipt = await session.upload(source, name="file", part_size=5 * MIB)
    assert receipt.size == size
    assert await stored(receipt.file_id) == data


async def test_many_files_arrive_though_parts_fail(koodrive_emulator, make_file):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", rate=0.3, times=6))
    files = [make_file(1000 * number, str(number), number) for number in range(30)]
    async with connect(koodrive_emulator, limits=Limits(connections=4)) as drive:
        device = await drive.devices.bind("loops")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes = [outcome async for outcome in session.upload_many(files)]
    assert {outcome.name for outcome in outcomes} == {path.name for path in files}
    assert not any(hasattr(outcome, "error") for outcome in outcomes)


async def test_an_upload_can_be_cancelled(koodrive_emulator, drive, device_id, make_file):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=60))
    async with (
        drive.backup(device_id, Module.FOLDER) as session,
        anyio.create_task_group() as group,
    ):

        async def upload():
            await session.upload(make_file(11 * MIB), part_size=5 * MIB)

        group.start_soon(upload)
        await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
        group.cancel_scope.cancel()
    assert drive._uploader.means.connections.taken == 0
