from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio.to_thread
import pytest

from examples.web_service.shared_session import SharedSession, Stopped, begin_or_go_on
from koodrive_async import Event, FileFinished, LockLost, LockRefused, Module, RetryPolicy, Timeouts
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio

FOREVER = 1000.0
AT_ONCE = 0.001


class Records:
    """What became of the records, and a way to wait for it."""

    def __init__(self):
        self.states: list[tuple[str, str]] = []
        self._news = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    def hear(self, record_id, state):
        self.states.append((record_id, state))
        self._tasks.append(asyncio.create_task(self._tell()))

    async def until(self, state, count=1):
        async with self._news:
            await self._news.wait_for(lambda: self.of(state) >= count)

    def of(self, state):
        return sum(1 for _, each in self.states if each == state)

    async def _tell(self):
        async with self._news:
            self._news.notify_all()


@pytest.fixture
async def records():
    return Records()


@pytest.fixture
async def share(koodrive_emulator, records):
    """Share sessions of a client of its own."""

    @asynccontextmanager
    async def sharing(**settings):
        quick = {"retry": RetryPolicy(attempts=1), "timeouts": Timeouts(cleanup=0.1)}
        async with connect(koodrive_emulator, **quick) as drive:
            device = await drive.devices.bind("web_service")

            async def begin():
                return drive.backup(device.device_id, Module.FOLDER)

            settings.setdefault("idle", FOREVER)
            async with SharedSession(begin, on_record=records.hear, **settings) as shared:
                yield shared

    return sharing


async def upload(shared, content, name="a.bin"):
    async with shared.borrow() as session:
        return await session.upload(content, name=name)


async def begun(emulator, route):
    assert await anyio.to_thread.run_sync(emulator.seen.wait_active, route)


async def test_uploads_of_many_tasks_share_a_record(share, koodrive_emulator):
    async with share() as shared, asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(upload(shared, b"%d" % number, f"{number}.bin"))
    (record,) = koodrive_emulator.records()
    assert (record.status, koodrive_emulator.locks()) == (1, ())
    assert len([file for file in koodrive_emulator.files() if file.completed]) == 10


async def test_it_is_not_opened_before_the_first_upload(share, koodrive_emulator):
    async with share():
        pass
    assert koodrive_emulator.seen.count("locks.create") == 0


async def test_it_is_completed_when_idle_and_the_next_upload_opens_another(
    share, koodrive_emulator, records
):
    async with share(idle=AT_ONCE) as shared:
        await upload(shared, b"one")
        await records.until("completed")
        assert koodrive_emulator.locks() == ()
        await upload(shared, b"two")
        await records.until("completed", 2)
    assert [record.status for record in koodrive_emulator.records()] == [1, 1]


async def test_an_upload_that_waits_for_its_bytes_keeps_it_open_and_holds_up_nobody(
    share, koodrive_emulator, records
):
    more = asyncio.Event()

    async def slow():
        yield b"be"
        await more.wait()
        yield b"gun"

    async with share(idle=AT_ONCE) as shared, asyncio.TaskGroup() as group:
        waiting = group.create_task(upload(shared, slow()))
        for number in range(3):
            await upload(shared, b"%d" % number, f"{number}.bin")
        assert records.of("completed") == 0
        more.set()
    assert waiting.result().size == 5
    assert len(koodrive_emulator.records()) == 1


async def test_a_busy_one_is_lent_no_more_after_a_while(share, koodrive_emulator, records):
    more = asyncio.Event()

    async def slow():
        yield b"be"
        await more.wait()
        yield b"gun"

    async with share(longest=AT_ONCE) as shared, asyncio.TaskGroup() as group:
        first = group.create_task(upload(shared, slow(), "slow.bin"))
        await records.until("open")
        while not shared._loan.is_ending:
            await shared._loan._changed.wait()
        later = group.create_task(upload(shared, b"later", "later.bin"))
        await asyncio.sleep(0)
        more.set()
        await first
        await later
    assert [state for _, state in records.states] == ["open", "completed"] * 2
    first_record, later_record = (record.record_id for record in koodrive_emulator.records())
    assert [(file.name, file.record_id) for file in koodrive_emulator.files()] == [
        ("slow.bin", first_record),
        ("later.bin", later_record),
    ]


async def test_it_goes_on_with_what_a_crash_has_left(koodrive_emulator, tmp_path):
    async with connect(koodrive_emulator, journal=tmp_path / "journal.db") as drive:
        device = await drive.devices.bind("web_service")
        begin = partial(begin_or_go_on, drive, device.device_id, Module.FOLDER)
        with suppress(ConnectionResetError):
            async with await begin() as session:
                await session.upload(b"before", name="before.bin")
                raise ConnectionResetError
        for name in ("after.bin", "later.bin"):
            async with SharedSession(begin) as shared:
                await upload(shared, name.encode(), name)
    of_record = {file.name: file.record_id for file in koodrive_emulator.files()}
    assert of_record["before.bin"] == of_record["after.bin"] != of_record["later.bin"]
    assert {record.status.name for record in koodrive_emulator.records()} == {"COMPLETED"}


async def test_one_that_cannot_be_opened_is_tried_again_by_the_next_upload(
    share, koodrive_emulator, drive
):
    async with share() as shared:
        async with drive.locks.hold(Module.FOLDER):
            ended = await asyncio.gather(
                upload(shared, b"one"), upload(shared, b"two"), return_exceptions=True
            )
        assert [type(error) for error in ended] == [LockRefused, LockRefused]
        assert (await upload(shared, b"three")).size == 5
    assert koodrive_emulator.locks() == ()


async def test_after_a_lost_lock_the_next_upload_opens_another(
    share, koodrive_emulator, drive, records
):
    async with share() as shared:
        await upload(shared, b"before", "before.bin")
        ((record_id, _),) = records.states
        async with drive.locks.hold(Module.ALBUM) as other:
            await drive.records.complete(record_id, lock_id=other.lock_id)
        koodrive_emulator.faults.add(Fault("expired-lock", "files.create", times=1))
        with pytest.raises(LockLost):
            await upload(shared, b"lost", "lost.bin")
        await records.until("unfinished")
        await upload(shared, b"after", "after.bin")
    assert [state for _, state in records.states] == ["open", "unfinished", "open", "completed"]
    names = [file.name for file in koodrive_emulator.files() if file.completed]
    assert sorted(names) == ["after.bin", "before.bin"]


async def test_an_upload_that_fails_or_is_cancelled_does_not_end_it(share, koodrive_emulator):
    async def broken():
        yield b"some"
        raise ConnectionResetError

    async with share() as shared:
        with pytest.raises(ConnectionResetError):
            await upload(shared, broken())
        koodrive_emulator.faults.add(Fault("silence", "part.put", times=1))
        task = asyncio.create_task(upload(shared, b"cancelled"))
        await begun(koodrive_emulator, "part.put")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upload(shared, b"fine")
    (record,) = koodrive_emulator.records()
    assert record.status == 1


async def test_stopping_lets_uploads_finish_and_takes_no_more(share, koodrive_emulator, records):
    more = asyncio.Event()

    async def slow():
        yield b"be"
        await more.wait()
        yield b"gun"

    async with share() as shared, asyncio.TaskGroup() as group:
        first = group.create_task(upload(shared, slow()))
        await records.until("open")
        stopping = group.create_task(shared.stop(within=FOREVER))
        await asyncio.sleep(0)
        with pytest.raises(Stopped):
            await upload(shared, b"late")
        more.set()
        await stopping
        assert first.done()
        assert [record.status for record in koodrive_emulator.records()] == [1]
        assert koodrive_emulator.locks() == ()


async def test_stopping_gives_up_what_takes_too_long_and_completes_the_record(
    share, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("silence", "part.put"))
    async with share() as shared:
        first = asyncio.create_task(upload(shared, b"silence"))
        await begun(koodrive_emulator, "part.put")
        await shared.stop(within=AT_ONCE)
        with pytest.raises(Stopped):
            await first
    (record,) = koodrive_emulator.records()
    assert (record.status, koodrive_emulator.locks()) == (1, ())


async def test_stopping_does_not_wait_for_ever_for_the_record(share, koodrive_emulator, records):
    koodrive_emulator.faults.add(Fault("silence", "records.complete"))
    async with share(completing=0.05) as shared:
        await upload(shared, b"one")
        await shared.stop()
        assert records.of("completed") == 0
    assert koodrive_emulator.locks() == ()


async def test_stopping_ends_the_wait_for_a_session(share, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "locks.create"))
    async with share(completing=0.05) as shared:
        first = asyncio.create_task(upload(shared, b"one"))
        await begun(koodrive_emulator, "locks.create")
        await shared.stop()
        with pytest.raises(Stopped):
            await first


async def test_what_happens_in_each_session_is_heard_to_the_last(share, records):
    heard: list[Event] = []
    async with share(idle=AT_ONCE, on_event=heard.append) as shared:
        for count in (1, 2):
            await upload(shared, b"bytes", f"{count}.bin")
            await records.until("completed", count)
            finished = [event.name for event in heard if isinstance(event, FileFinished)]
            assert len(finished) == count
