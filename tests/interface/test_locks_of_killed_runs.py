"""A lock that a killed process of this machine has left is taken over, if the service says so."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import anyio
import pytest

from koodrive_async import LockRefused, Module, RetryPolicy, Timeouts
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from koodrive_async.upload import Journal
from tests.interface.scripted import FakeClock

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def service(tmp_path):
    with Emulator(tmp_path / "koodrive") as emulator:
        yield emulator


def client(service, path, **more):
    return connect(service, journal=path, **({"retry": ONCE} | more))


async def left(service, path, module=Module.FOLDER):
    """Leave a lock as a killed process does: it is not given back, and noted."""
    async with client(service, path) as drive:
        lock = await drive.locks.create(module)
    await noted(service, path, module, lock.lock_id)
    return lock.lock_id


async def noted(service, path, module, *lock_ids):
    journal = Journal(path)
    await journal.open()
    for lock_id in lock_ids:
        journal.hold_lock(f"{service.user_id}@{service.url}", module.value, lock_id)
    await journal.aclose()


def held(service):
    return [lock.lock_id for lock in service.locks()]


async def test_a_lock_that_was_left_is_taken_over_when_it_is_in_the_way(service, path):
    lock_id = await left(service, path)
    async with client(service, path) as drive:
        async with drive.locks.hold(Module.FOLDER) as lease:
            assert lease.lock_id == lock_id
        assert held(service) == []
        renewed = service.seen.count("locks.renew")
        async with drive.locks.hold(Module.FOLDER) as lease:
            assert lease.lock_id != lock_id
        assert service.seen.count("locks.renew") == renewed


async def test_a_lock_is_noted_before_the_block_begins(service, path):
    async with AsyncExitStack() as stack:
        drive = await stack.enter_async_context(client(service, path))
        service.faults.add(Fault("reset", "locks.release"))
        async with drive.locks.hold(Module.FOLDER) as lease:
            lock_id = lease.lock_id
    service.faults.clear()
    async with client(service, path) as drive, drive.locks.hold(Module.FOLDER) as lease:
        assert lease.lock_id == lock_id


async def test_a_lock_of_a_living_session_is_not_taken(service, path, device_id_of):
    async with client(service, path) as one, client(service, path) as other:
        async with one.locks.hold(Module.FOLDER):
            with pytest.raises(LockRefused):
                await other.backup(await device_id_of(other), Module.FOLDER).__aenter__()
            with pytest.raises(LockRefused):
                await one.backup(await device_id_of(one), Module.FOLDER).__aenter__()
        assert service.seen.count("locks.renew") == 0


@pytest.fixture
def device_id_of():
    async def bound(drive):
        return (await drive.devices.bind("m")).device_id

    return bound


async def test_a_note_that_is_wrong_costs_two_calls_and_is_forgotten(service, path):
    await noted(service, path, Module.FOLDER, "gone@100")
    async with client(service, path) as drive:
        other = await drive.locks.create(Module.FOLDER)
        for _ in range(2):
            with pytest.raises(LockRefused):
                async with drive.locks.hold(Module.FOLDER):
                    pass
    assert service.seen.count("locks.renew") == 1
    assert service.seen.count("locks.release") == 1
    assert held(service) == [other.lock_id]


async def test_few_of_many_wrong_notes_are_tried(service, path):
    await noted(service, path, Module.FOLDER, *(f"{number}@100" for number in range(12)))
    async with client(service, path) as drive:
        await drive.locks.create(Module.FOLDER)
        with pytest.raises(LockRefused):
            async with drive.locks.hold(Module.FOLDER):
                pass
    assert service.seen.count("locks.renew") == 8


async def test_a_lock_of_another_module_is_given_back_where_it_is_in_the_way(tmp_path, path):
    with Emulator(tmp_path / "one for all", dialect=Dialect(lock_scope="user")) as service:
        lock_id = await left(service, path, Module.ALBUM)
        async with client(service, path) as drive, drive.locks.hold(Module.FOLDER) as lease:
            assert held(service) == [lease.lock_id] != [lock_id]


async def test_a_lock_that_is_left_while_its_successor_waits_is_taken_over(service, path):
    clock = FakeClock()
    async with client(service, path) as drive:
        lock_id = (await drive.locks.create(Module.FOLDER)).lock_id
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    service.seen.then("locks.create", lambda: loop.call_soon_threadsafe(asked.set), count=2)

    async def die():
        await asked.wait()
        await noted(service, path, Module.FOLDER, lock_id)

    patient = {"clock": clock, "timeouts": Timeouts(lock=1e6)}
    async with client(service, path, **patient) as drive, anyio.create_task_group() as group:
        group.start_soon(die)
        async with drive.locks.hold(Module.FOLDER) as lease:
            assert lease.lock_id == lock_id


async def test_a_cancelled_take_over_leaves_the_lock_to_the_next(service, path):
    lock_id = await left(service, path)
    service.faults.add(Fault("silence", "locks.renew"), Fault("silence", "locks.release"))
    settings = {"timeouts": Timeouts(cleanup=0.05)}
    async with client(service, path, **settings) as drive:

        async def take():
            async with drive.locks.hold(Module.FOLDER):
                raise AssertionError("it was not renewed")

        task = asyncio.create_task(take())
        assert await asyncio.to_thread(service.seen.wait_active, "locks.renew")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        service.faults.clear()
        async with drive.locks.hold(Module.FOLDER) as lease:
            assert lease.lock_id == lock_id


async def test_without_a_journal_a_lock_that_was_left_runs_out_by_itself(service):
    async with client(service, None) as drive:
        await drive.locks.create(Module.FOLDER)
        with pytest.raises(LockRefused):
            async with drive.locks.hold(Module.FOLDER):
                pass
