"""Closing a client ends the sessions and held locks that are still open, and keeps no lock."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from koodrive_async import (
    ClientClosed,
    LockLost,
    LockRefused,
    Module,
    RecordStatus,
    Timeouts,
    UploadItem,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio

if TYPE_CHECKING:
    from collections.abc import Callable

FOREVER = 3600.0


class Background:
    """A task that has entered a block, and stays in it."""

    def __init__(self, block):
        self.entered = asyncio.Event()
        self.value: Any = None
        self._block = block
        self.task = asyncio.create_task(self._stay())

    async def _stay(self):
        async with self._block as self.value:
            self.entered.set()
            await asyncio.sleep(FOREVER)


async def test_closing_a_client_ends_the_session_of_another_task(koodrive_emulator, tmp_path):
    journal = tmp_path / "journal.db"
    async with connect(koodrive_emulator, journal=journal) as drive:
        device = await drive.devices.bind("machine")
        background = Background(drive.backup(device.device_id, Module.FOLDER))
        await background.entered.wait()
        await background.value.upload(b"here", name="here")
    with pytest.raises(ClientClosed, match="client was closed while this backup session was open"):
        await background.task
    assert koodrive_emulator.locks() == ()
    record_id = background.value.record.record_id
    async with connect(koodrive_emulator, journal=journal) as drive:
        assert (await drive.records.get(record_id)).status is RecordStatus.NEW
        left = await drive.find_unfinished(device.device_id, Module.FOLDER)
        assert left is not None
        async with drive.backup(device.device_id, Module.FOLDER, resume=left.record_id) as again:
            assert (await again.upload(b"here", name="here")).outcome == "exists"


async def test_a_task_that_is_cancelled_as_the_client_closes_gives_its_lock_back(koodrive_emulator):
    # a web server with its grace used up cancels its tasks, and ends the application at once
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        background = Background(drive.backup(device.device_id, Module.FOLDER))
        await background.entered.wait()
        background.task.cancel()
    await asyncio.wait([background.task])
    assert background.task.cancelled()
    assert koodrive_emulator.locks() == ()


async def test_closing_a_client_cancels_the_uploads_of_its_sessions(koodrive_emulator):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=FOREVER))
    running = asyncio.all_tasks()
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        background = Background(drive.backup(device.device_id, Module.FOLDER))
        await background.entered.wait()
        session = background.value

        async def go_over(batch):
            return [outcome async for outcome in batch]

        items = [UploadItem(source=sample(10, number), name=f"{number}") for number in range(5)]
        uploads = [
            asyncio.create_task(session.upload(b"one", name="one")),
            asyncio.create_task(go_over(session.upload_many(items))),
        ]
        assert await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
    ends = await asyncio.gather(background.task, *uploads, return_exceptions=True)
    assert [type(end) for end in ends] == [ClientClosed] * 3
    assert koodrive_emulator.locks() == ()
    assert koodrive_emulator.seen.count("files.complete") == 0
    assert asyncio.all_tasks() <= running


async def test_closing_a_client_ends_several_sessions_and_locks(koodrive_emulator):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        blocks = [
            drive.backup(device.device_id, Module.FOLDER),
            drive.backup(device.device_id, Module.ALBUM),
            drive.locks.hold(Module.ADDRESS_BOOK),
        ]
        tasks = [Background(block) for block in blocks]
        for background in tasks:
            await background.entered.wait()
        assert len(koodrive_emulator.locks()) == 3
    ends = await asyncio.gather(*[each.task for each in tasks], return_exceptions=True)
    assert [type(end) for end in ends] == [ClientClosed] * 3
    assert koodrive_emulator.locks() == ()


@pytest.mark.parametrize("route", ["locks.create", "records.create"])
async def test_a_session_that_is_being_entered_as_the_client_closes_is_given_up(
    koodrive_emulator, route
):
    koodrive_emulator.faults.add(Fault("latency", route, seconds=0.3))
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        background = Background(drive.backup(device.device_id, Module.FOLDER))
        assert await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, route)
    with pytest.raises(ClientClosed):
        await background.task
    assert not background.entered.is_set()
    assert koodrive_emulator.locks() == ()


async def test_a_session_that_waits_for_a_lock_is_given_up(koodrive_emulator):
    async with connect(koodrive_emulator) as other, other.locks.hold(Module.FOLDER):
        async with connect(koodrive_emulator, timeouts=Timeouts(lock=FOREVER)) as drive:
            device = await drive.devices.bind("machine")
            background = Background(drive.backup(device.device_id, Module.FOLDER))
            seen = koodrive_emulator.seen
            assert await anyio.to_thread.run_sync(lambda: seen.wait("locks.create", count=2))
        with pytest.raises(ClientClosed):
            await background.task


async def test_no_session_begins_while_a_client_is_closed(koodrive_emulator):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        late = drive.backup(device.device_id, Module.FOLDER)
        await drive.aclose()
        with pytest.raises(ClientClosed, match="closed"):
            await late.__aenter__()
        with pytest.raises(ClientClosed, match="closed"):
            await drive.locks.hold(Module.FOLDER).__aenter__()
    assert koodrive_emulator.seen.count("locks.create") == 0


async def test_a_client_may_be_closed_twice_and_by_two_tasks(koodrive_emulator):
    drive = connect(koodrive_emulator)
    await drive.aclose()  # that was not entered: nothing happens
    async with drive:
        device = await drive.devices.bind("machine")
        background = Background(drive.backup(device.device_id, Module.FOLDER))
        await background.entered.wait()
        await asyncio.gather(drive.aclose(), drive.aclose())
        assert koodrive_emulator.locks() == ()
        await drive.aclose()
    with pytest.raises(ClientClosed):
        await background.task


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_a_client_that_is_left_by_cancellation_ends_its_sessions(koodrive_emulator, how):
    inside = asyncio.Event()
    background: Any = None

    async def live():
        nonlocal background
        async with connect(koodrive_emulator) as drive:
            device = await drive.devices.bind("machine")
            background = Background(drive.backup(device.device_id, Module.FOLDER))
            await background.entered.wait()
            inside.set()
            await asyncio.sleep(FOREVER)

    async def live_in_a_scope():
        with anyio.CancelScope() as scope:
            stop.append(scope.cancel)
            await live()

    stop: list[Callable[[], None]] = []
    task = asyncio.create_task(live() if how == "task" else live_in_a_scope())
    await inside.wait()
    (task.cancel if how == "task" else stop[0])()
    await asyncio.wait([task])
    with pytest.raises(ClientClosed):
        await background.task
    assert koodrive_emulator.locks() == ()


async def test_a_client_that_is_closed_while_it_is_entered_is_not_open(koodrive_emulator, tmp_path):
    drive = connect(koodrive_emulator, journal=tmp_path / "journal.db")  # opened in a thread
    entering = asyncio.create_task(drive.__aenter__())
    await asyncio.sleep(0)
    await drive.aclose()
    with pytest.raises(ClientClosed, match="while it was being entered"):
        await entering
    with pytest.raises(ClientClosed):
        await drive.devices.list()
    assert drive._uploader._means is None


async def test_a_session_that_was_never_left_ends_with_its_client(koodrive_emulator):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        session = drive.backup(device.device_id, Module.FOLDER)
        await session.__aenter__()
    assert koodrive_emulator.locks() == ()
    await asyncio.sleep(0)  # and nothing is cancelled that was not asked to be
    with pytest.raises(ClientClosed):
        await session.__aexit__(None, None, None)


async def test_a_session_whose_task_has_ended_without_leaving_it_gives_its_lock_back(
    koodrive_emulator,
):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        session = drive.backup(device.device_id, Module.FOLDER)
        await asyncio.create_task(session.__aenter__())
        assert len(koodrive_emulator.locks()) == 1
    assert koodrive_emulator.locks() == ()


async def test_leaving_a_session_whose_task_has_ended_gives_its_lock_back(koodrive_emulator):
    # as fixtures of some plugins do, which begin and end in tasks of their own
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        session = drive.backup(device.device_id, Module.FOLDER)
        await asyncio.create_task(session.__aenter__())
        with pytest.raises(ClientClosed, match="which has ended: its lock was given back"):
            await session.__aexit__(None, None, None)
        assert koodrive_emulator.locks() == ()


def keepers():
    """Return the tasks that keep locks."""
    return [task for task in asyncio.all_tasks() if task.get_name().endswith("Keeper.keep")]


async def test_a_lock_that_was_given_back_is_neither_renewed_nor_replaced(koodrive_emulator):
    async with connect(koodrive_emulator, timeouts=Timeouts(lease=0.9)) as drive:
        device = await drive.devices.bind("machine")
        session = drive.backup(device.device_id, Module.FOLDER)
        await asyncio.create_task(session.__aenter__())
        assert keepers()
        with pytest.raises(ClientClosed, match="its lock was given back"):
            await session.__aexit__(None, None, None)
        async with asyncio.timeout(10):
            while tasks := keepers():
                await asyncio.wait(tasks)
        assert koodrive_emulator.locks() == ()
    assert koodrive_emulator.seen.count("locks.create") == 1
    assert koodrive_emulator.locks() == ()


async def test_a_lock_that_is_granted_while_its_block_is_given_up_is_given_back(koodrive_emulator):
    """The service grants another lock in the place of a lost one, and the answer comes late."""
    seen, loop = koodrive_emulator.seen, asyncio.get_running_loop()
    granted, answer = asyncio.Event(), threading.Event()

    def grant():
        loop.call_soon_threadsafe(granted.set)
        answer.wait(10)

    async with connect(koodrive_emulator, timeouts=Timeouts(lease=0.9)) as drive:
        device = await drive.devices.bind("machine")
        seen.then("locks.create", grant, count=2)
        koodrive_emulator.faults.add(Fault("expired-lock", "locks.renew", times=1))
        session = drive.backup(device.device_id, Module.FOLDER)
        await asyncio.create_task(session.__aenter__())
        await granted.wait()

        async def let_it_come():
            with contextlib.suppress(LockLost):
                while True:
                    session.lock.check()
                    await asyncio.sleep(0)
            answer.set()

        coming = asyncio.create_task(let_it_come())
    await coming
    assert seen.count("locks.create", status=200) == 2
    assert koodrive_emulator.locks() == ()


async def test_a_session_is_left_in_the_task_that_has_entered_it(koodrive_emulator):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        session = drive.backup(device.device_id, Module.FOLDER)
        await session.__aenter__()
        with pytest.raises(ClientClosed, match="left in the task that has entered it"):
            await asyncio.create_task(session.__aexit__(None, None, None))
        await asyncio.sleep(0)  # this task is not cancelled
        await session.upload(b"more", name="more")
        await session.__aexit__(None, None, None)
        record = await drive.records.get(session.record.record_id)
    assert record.status is RecordStatus.COMPLETED
    assert koodrive_emulator.locks() == ()


async def test_a_block_that_clings_to_its_session_does_not_keep_the_lock(
    koodrive_emulator, monkeypatch
):
    monkeypatch.setattr("koodrive_async.blocks._UNWINDING", 0.1)
    let_go, entered = asyncio.Event(), asyncio.Event()
    async with connect(koodrive_emulator, timeouts=Timeouts(cleanup=0.3)) as drive:
        device = await drive.devices.bind("machine")

        async def cling():
            async with drive.backup(device.device_id, Module.FOLDER):
                entered.set()
                with anyio.CancelScope(shield=True):
                    await let_go.wait()

        task = asyncio.create_task(cling())
        await entered.wait()
    assert koodrive_emulator.locks() == ()
    let_go.set()
    with pytest.raises(ClientClosed):
        await task


@pytest.mark.parametrize("kind", ["session", "lock"])
@pytest.mark.parametrize("end", ["cancelled", "quiet", "error"])
async def test_a_task_that_leaves_a_block_that_was_given_up_is_cancelled_no_further(
    koodrive_emulator, monkeypatch, kind, end
):
    monkeypatch.setattr("koodrive_async.blocks._UNWINDING", 0.1)
    let_go, entered = asyncio.Event(), asyncio.Event()
    running = asyncio.all_tasks()
    drive = connect(koodrive_emulator, timeouts=Timeouts(cleanup=0.1))
    await drive.__aenter__()
    device = await drive.devices.bind("machine")
    block: Any = drive.locks.hold(Module.FOLDER)
    if kind == "session":
        block = drive.backup(device.device_id, Module.FOLDER)

    async def cling():
        async with block:
            entered.set()
            with anyio.CancelScope(shield=True):
                await let_go.wait()
                if end == "error":
                    raise LookupError("of the block")
            if end == "cancelled":
                await asyncio.sleep(FOREVER)

    async def cling_and_go_on():
        with pytest.raises(LookupError if end == "error" else ClientClosed):
            await cling()
        await asyncio.sleep(0)
        with anyio.CancelScope():
            await asyncio.sleep(0)
        return "went on"

    task = asyncio.create_task(cling_and_go_on())
    await entered.wait()
    await drive.aclose()
    assert koodrive_emulator.locks() == ()
    let_go.set()
    assert await task == "went on"
    assert asyncio.all_tasks() <= running
    assert koodrive_emulator.seen.count("locks.release") == 1
    assert koodrive_emulator.seen.count("records.complete") == 0


@pytest.mark.parametrize("kind", ["session", "lock"])
async def test_a_client_is_not_closed_from_inside_of_a_block_of_the_same_task(
    koodrive_emulator, kind
):
    drive = connect(koodrive_emulator)
    await drive.__aenter__()
    device = await drive.devices.bind("machine")
    block: Any = drive.locks.hold(Module.FOLDER)
    if kind == "session":
        block = drive.backup(device.device_id, Module.FOLDER)
    async with block as entered:
        with anyio.CancelScope(), pytest.raises(ClientClosed, match="not closed from inside of"):
            await drive.aclose()
        await asyncio.sleep(0)  # nothing is cancelled, and everything works
        await drive.devices.list()
        if kind == "session":
            await entered.upload(b"a", name="a")
    await drive.aclose()
    assert koodrive_emulator.locks() == ()
    if kind == "session":
        assert koodrive_emulator.seen.count("records.complete") == 1


@pytest.mark.parametrize("when", ["inside", "afterwards"])
async def test_a_lock_is_held_once_for_each_call(koodrive_emulator, when):
    async with connect(koodrive_emulator) as drive:
        block = drive.locks.hold(Module.FOLDER)
        async with block:
            if when == "inside":
                with pytest.raises(ClientClosed, match="entered once"):
                    await block.__aenter__()
        if when == "afterwards":
            with pytest.raises(ClientClosed, match="entered once"):
                await block.__aenter__()
        async with drive.locks.hold(Module.FOLDER):
            pass
    assert koodrive_emulator.locks() == ()


async def test_an_error_of_the_block_goes_before_the_closing(koodrive_emulator):
    entered = asyncio.Event()
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")

        async def fail_when_cancelled():
            async with drive.backup(device.device_id, Module.FOLDER):
                entered.set()
                try:
                    await asyncio.sleep(FOREVER)
                finally:
                    raise LookupError("while it was ended")

        task = asyncio.create_task(fail_when_cancelled())
        await entered.wait()
    with pytest.raises(LookupError):
        await task
    assert koodrive_emulator.locks() == ()


async def test_leaving_a_session_in_time_is_no_closing(koodrive_emulator):
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            await session.upload(b"a", name="a")
        with pytest.raises(LockRefused):
            async with drive.locks.hold(Module.FOLDER), drive.locks.hold(Module.FOLDER):
                pytest.fail("one of them is refused")
    assert koodrive_emulator.locks() == ()
