"""A resumed file whose parts have all arrived is completed under a lock that is held."""

from __future__ import annotations

import asyncio
import time

import pytest

from koodrive_async import Module, UploadItem
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from tests.interface.wall_clock import WallClock
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB
LOCK_LIFE = 600


@pytest.fixture
def clock():
    return WallClock(time.time())


@pytest.fixture
def koodrive_emulator(tmp_path, clock, koodrive_dialect):
    """An emulator by the clock of the test."""
    folder = tmp_path / "koodrive"
    with Emulator(folder, clock=clock.time, dialect=koodrive_dialect) as emulator:
        yield emulator


@pytest.fixture
def items(make_file):
    return [UploadItem(source=make_file(PART + 1000), part_size=PART)]


async def go_on(drive, device_id, record_id, items):
    async with drive.backup(device_id, Module.FOLDER, resume=record_id) as session:
        receipts = [outcome async for outcome in session.upload_many(items)]
    return session.lock, receipts


def assert_is_complete(emulator):
    (file,) = emulator.files()
    assert file.completed
    assert emulator.content(file.file_id) == sample(PART + 1000)
    assert emulator.seen.count("part.put", status=200) == 2
    assert emulator.locks() == ()


@pytest.mark.parametrize("koodrive_dialect", [Dialect(lock_header="parts-too")], ids=str)
async def test_a_completion_that_is_refused_for_its_lock_is_repeated_under_the_next(
    interrupted, koodrive_emulator, journal, device_id, items
):
    record_id = await interrupted(items, "files.complete", 0)
    seen = koodrive_emulator.seen
    before = seen.count("files.complete")
    # the first completion does not quote a lock yet, and is refused for that
    lost = Fault("expired-lock", "files.complete", times=1, after=1)
    koodrive_emulator.faults.add(lost)
    async with connect(koodrive_emulator, journal=journal) as drive:
        lock, (receipt,) = await go_on(drive, device_id, record_id, items)
    assert (receipt.outcome, receipt.parts_resumed) == ("uploaded", 2)
    assert lock.losses == 1
    completions = seen.requests("files.complete")[before:]
    quoting = [each for each in completions if each.lock_id is not None]
    assert [each.status for each in quoting] == [400, 200]
    first, second = (each.lock_id for each in quoting)
    assert first != second == lock.lock_id
    assert {each.status for each in completions if each.lock_id is None} == {400}
    assert_is_complete(koodrive_emulator)


async def test_a_completion_after_the_life_of_the_lock_waits_for_another_lock(
    interrupted, koodrive_emulator, journal, device_id, items, clock
):
    record_id = await interrupted(items, "part.put", 1, acknowledged=1000)
    seen, loop = koodrive_emulator.seen, asyncio.get_running_loop()
    seen.then(
        "part.put",
        lambda: loop.call_soon_threadsafe(clock.suspend, LOCK_LIFE + 100),
        count=seen.count("part.put") + 1,
    )
    async with connect(koodrive_emulator, journal=journal, clock=clock) as drive:
        lock, (receipt,) = await go_on(drive, device_id, record_id, items)
    assert (receipt.outcome, receipt.parts_resumed) == ("uploaded", 1)
    assert lock.losses == 1
    (completion,) = seen.requests("files.complete")
    taken = seen.requests("locks.create")[-1]
    requests = list(seen)
    assert requests.index(taken) < requests.index(completion)
    assert_is_complete(koodrive_emulator)
