"""Sessions that are interrupted, and gone on with."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from koodrive_async import Module
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.upload import Phase, watching

FOREVER = 3600.0


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def interrupted(koodrive_emulator, journal, device_id, monkeypatch):
    """Return a function that backs up and is cancelled when so many requests of a route are in.

    It may wait until so many bytes have been acknowledged, as well.
    """
    monkeypatch.setattr(watching, "REPORT_EVERY", 0.0)

    async def run(items, route, count, *, journal=journal, acknowledged=0, active=1, **more):
        found = []
        enough = asyncio.Event()

        def on_progress(progress):
            if progress.phase is Phase.UPLOAD and progress.done >= acknowledged:
                enough.set()

        async def back_up():
            async with (
                connect(koodrive_emulator, journal=journal, **more) as drive,
                drive.backup(device_id, Module.FOLDER) as session,
            ):
                found.append(session.record.record_id)
                async for outcome in session.upload_many(items, on_progress=on_progress):
                    assert not hasattr(outcome, "error"), outcome

        stuck = Fault("latency", route, seconds=FOREVER, after=count)
        koodrive_emulator.faults.add(stuck)
        task = asyncio.create_task(back_up())
        seen = koodrive_emulator.seen
        assert await asyncio.to_thread(seen.wait, route, count=count)
        assert await asyncio.to_thread(seen.wait_active, route, count=active)
        if acknowledged:
            await enough.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        koodrive_emulator.faults.remove(stuck)
        return found[0]

    return run


async def resume(emulator, journal, device_id, record_id, items):
    async with (
        connect(emulator, journal=journal) as drive,
        drive.backup(device_id, Module.FOLDER, resume=record_id) as session,
    ):
        return [outcome async for outcome in session.upload_many(items)]
