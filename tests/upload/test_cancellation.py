"""Cancelling an upload leaves nothing behind: no task, thread, file, connection or lock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from koodrive_async import ClientClosed, Module, RecordStatus
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.upload import Phase

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def open_files(folder):
    """Return the files below a folder that this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(entry.readlink()))
    return [link for link in links if link.startswith(str(folder))]


@pytest.mark.parametrize("route", ["files.create", "part.put", "files.complete"])
async def test_cancelling_leaves_nothing_behind(koodrive_emulator, make_file, route, tmp_path):
    path = make_file(11 * MIB)
    running_before = asyncio.all_tasks()
    koodrive_emulator.faults.add(Fault("latency", route, seconds=60, times=3))
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("cancelled")
        async with anyio.create_task_group() as group:

            async def cancel_when_reached():
                await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, route)
                group.cancel_scope.cancel()

            group.start_soon(cancel_when_reached)
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(path, part_size=5 * MIB)
        assert asyncio.all_tasks() <= running_before
        assert drive._uploader.means.connections.taken == 0
        assert drive._uploader.means.memory.held == 0
        found = await anyio.to_thread.run_sync(open_files, tmp_path / "source")
        assert found == []
        assert (await drive.records.get(session.record.record_id)).status is RecordStatus.NEW
        await drive.locks.create(Module.FOLDER)  # the old one was given back


async def test_closing_the_client_gives_up_what_is_on_its_way(koodrive_emulator, make_file):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=60))
    before = set(threading.enumerate())
    drive = connect(koodrive_emulator)
    await drive.__aenter__()
    device = await drive.devices.bind("closed")

    async def close_meanwhile():
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            upload = asyncio.create_task(session.upload(make_file(11 * MIB), part_size=5 * MIB))
            await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
            await drive.__aexit__(None, None, None)
            await upload

    with pytest.raises(ClientClosed):
        await close_meanwhile()
    left = {thread for thread in threading.enumerate() if thread.name == "koodrive"} - before
    assert left == set()


async def test_a_lock_granted_while_its_holder_is_cancelled_is_given_back(
    drive, device_id, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("latency", "locks.create", seconds=0.3, times=1))
    async with anyio.create_task_group() as group:

        async def cancel_when_asked():
            await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "locks.create")
            group.cancel_scope.cancel()

        group.start_soon(cancel_when_asked)
        async with drive.backup(device_id, Module.FOLDER):
            pytest.fail("the block must not run")
    assert koodrive_emulator.seen.count("locks.create", status=200) == 1
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1


async def test_cancelling_stops_hashing(drive, device_id, make_file, tmp_path):
    path = make_file(200 * MIB)
    threads = []

    async with drive.backup(device_id, Module.FOLDER) as session:
        with anyio.CancelScope() as scope:

            def cancel(progress):
                assert progress.phase is Phase.HASH
                assert progress.done < progress.total
                threads.append(threading.active_count())
                scope.cancel()

            await session.upload(path, on_progress=cancel)
        assert scope.cancelled_caught
        assert len(threads) == 1
        assert await anyio.to_thread.run_sync(open_files, tmp_path / "source") == []


async def test_cancelling_a_task_stops_hashing_and_waits_for_its_thread(drive, device_id):
    # Task.cancel() and asyncio.timeout() do not go through anyio's scopes.
    reports = []

    async with drive.backup(device_id, Module.FOLDER) as session:

        def cancel(progress):
            reports.append(progress.done)
            task.cancel()

        upload = session.upload(bytes(400 * MIB), name="x", on_progress=cancel)
        task = asyncio.ensure_future(upload)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session._uploader.means.hashing.slots.taken == 0
    assert len(reports) == 1
    assert reports[0] < 400 * MIB


async def test_a_source_that_blocks_for_ever_does_not_hold_up_a_cancellation(drive, device_id):
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb"):  # noqa: ASYNC230, PTH123 - a pipe
        async with drive.backup(device_id, Module.FOLDER) as session:
            with anyio.move_on_after(0.05) as scope:
                await session.upload(pipe, name="pipe")
            assert scope.cancelled_caught
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await session.upload(pipe, name="pipe")
            # and takes no thread that others need
            assert (await session.upload(b"abc", name="other")).outcome == "uploaded"


async def test_a_cancelled_stream_is_closed_with_its_spool(drive, device_id):
    closed, begun = anyio.Event(), anyio.Event()

    async def stream():
        try:
            yield b"abc"
            begun.set()
            await anyio.sleep_forever()
        finally:
            closed.set()

    source = stream()
    async with drive.backup(device_id, Module.FOLDER) as session:
        async with anyio.create_task_group() as group:

            async def upload():
                await session.upload(source, name="x")

            group.start_soon(upload)
            await begun.wait()
            group.cancel_scope.cancel()
        assert closed.is_set()
