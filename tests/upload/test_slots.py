"""Slots are shared fairly, and no more of them are taken than there are."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async import Limits, Module
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.upload.slots import FairSlots

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024

# owner, steps until it asks, steps it holds its slot, steps until it is cancelled
USERS = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(0, 8)
    ),
    max_size=20,
)


async def steps(number):
    for _ in range(number):
        await anyio.lowlevel.checkpoint()


async def use(slots, user, check):
    owner, before, during, cancelled_after = user
    async with anyio.create_task_group() as group:

        async def hold():
            await steps(before)
            async with slots.slot(owner):
                check()
                await steps(during)
            group.cancel_scope.cancel()

        group.start_soon(hold)
        if cancelled_after is not None:
            await steps(cancelled_after)
            group.cancel_scope.cancel()


@given(st.integers(1, 4), USERS)
def test_no_more_are_taken_than_there_are_whoever_is_cancelled(capacity, users):
    async def main():
        slots = FairSlots(lambda: capacity)

        def check():
            assert 0 < slots.taken <= capacity

        async with anyio.create_task_group() as group:
            for user in users:
                group.start_soon(use, slots, user, check)
        assert slots.taken == 0
        assert not slots.contended

    anyio.run(main)


@given(USERS, st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_everybody_is_served_while_the_capacity_changes(users, capacities):
    async def main():
        capacity = capacities[0]
        slots = FairSlots(lambda: capacity)

        def check():
            assert slots.taken <= max(capacities)

        async with anyio.create_task_group() as group:
            for user in users:
                group.start_soon(use, slots, user, check)
            for changed in capacities:
                capacity = changed
                await anyio.lowlevel.checkpoint()
        assert slots.taken == 0

    anyio.run(main)


class Queue:
    """Those who wait for slots, and in which order they were served."""

    def __init__(self, slots, group):
        self.served: list[str] = []
        self._slots = slots
        self._group = group

    async def join(self, owner):
        """Wait for a slot and keep it; returns when the queue stands still."""
        release = anyio.Event()

        async def hold():
            async with self._slots.slot(owner):
                self.served.append(owner)
                await release.wait()

        self._group.start_soon(hold)
        await anyio.wait_all_tasks_blocked()
        return release

    async def give_back(self, release):
        release.set()
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def queue_for(slots):
    async with anyio.create_task_group() as group:
        yield Queue(slots, group)
        group.cancel_scope.cancel()


async def test_one_owner_alone_gets_all_slots():
    async with queue_for(FairSlots(lambda: 3)) as queue:
        for _ in range(5):
            await queue.join("one")
        assert queue.served == ["one"] * 3


async def test_a_free_slot_goes_to_who_holds_the_fewest():
    async with queue_for(FairSlots(lambda: 3)) as queue:
        first = await queue.join("large")
        await queue.join("large")
        await queue.join("medium")
        for owner in ("large", "medium", "small"):
            await queue.join(owner)
        await queue.give_back(first)
        assert queue.served[3:] == ["small"]


async def test_owners_that_hold_equally_many_take_turns():
    async with queue_for(FairSlots(lambda: 1)) as queue:
        release = await queue.join("other")
        waiting = {
            owner: [await queue.join(owner), await queue.join(owner)] for owner in ("a", "b", "c")
        }
        await queue.give_back(release)
        while len(queue.served) < 7:
            await queue.give_back(waiting[queue.served[-1]].pop(0))
        assert queue.served[1:] == ["a", "b", "c", "a", "b", "c"]


async def test_a_late_file_of_one_part_gets_the_next_free_slot():
    async with queue_for(FairSlots(lambda: 2)) as queue:
        releases = [await queue.join("large") for _ in range(10)]
        await queue.join("late")
        await queue.give_back(releases[0])
        assert queue.served == ["large", "large", "late"]


async def test_slots_that_are_added_are_given_to_those_who_wait():
    capacity = 1
    slots = FairSlots(lambda: capacity)
    async with queue_for(slots) as queue:
        release = await queue.join("a")
        for _ in range(5):
            await queue.join("a")
        capacity = 4
        await queue.give_back(release)
        assert len(queue.served) == 1 + 4


async def test_slots_that_are_taken_away_are_not_given_on():
    capacity = 3
    slots = FairSlots(lambda: capacity)
    async with queue_for(slots) as queue:
        releases = [await queue.join("a") for _ in range(6)]
        capacity = 1
        await queue.give_back(releases[0])
        await queue.give_back(releases[1])
        assert (len(queue.served), slots.taken) == (3, 1)
        await queue.give_back(releases[2])
        assert len(queue.served) == 4


async def test_a_slot_given_to_one_who_is_cancelled_goes_to_the_next():
    slots = FairSlots(lambda: 1)
    async with queue_for(slots) as queue, anyio.create_task_group() as cancelled:
        release = await queue.join("first")
        unlucky = Queue(slots, cancelled)
        await unlucky.join("cancelled")
        await queue.join("next")
        release.set()
        while "first" in slots._held:
            await anyio.lowlevel.checkpoint()
        cancelled.cancel_scope.cancel()  # in the moment in which it is its turn
        await anyio.wait_all_tasks_blocked()
        assert queue.served == ["first", "next"]


async def test_one_file_fails_or_ends_without_holding_slots(koodrive_emulator, make_file):
    koodrive_emulator.faults.add(Fault("error", "part.put", status=400, times=1))
    async with connect(koodrive_emulator, limits=Limits(connections=2)) as drive:
        device = await drive.devices.bind("slots")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            files = [make_file(11 * MIB, "a", 1), make_file(1000, "b", 2)]
            outcomes = [outcome async for outcome in session.upload_many(files)]
            assert drive._uploader.means.connections.taken == 0
    assert len(outcomes) == 2


async def test_a_small_file_does_not_wait_for_a_large_one(koodrive_emulator, make_file):
    large, small = make_file(40 * MIB, "large", 1), make_file(1000, "small", 2)
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=20e6))
    finished = []

    async with (
        connect(koodrive_emulator, limits=Limits(connections=2)) as drive,
        drive.backup((await drive.devices.bind("slots")).device_id, Module.FOLDER) as session,
        anyio.create_task_group() as group,
    ):

        async def upload(path):
            receipt = await session.upload(path, part_size=5 * MIB)
            finished.append(receipt.name)

        group.start_soon(upload, large)
        await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
        group.start_soon(upload, small)
    assert finished == ["small", "large"]


# --- short ones --------------------------------------------------------------------------------


async def test_what_is_short_has_a_slot_beside_when_all_are_taken():
    slots = FairSlots(lambda: 1, express=1)
    async with slots.slot("large"):
        with anyio.fail_after(5):
            async with slots.slot("small", short=True):
                assert slots.taken == 2


async def test_a_slot_beside_is_for_short_ones_that_hold_no_other():
    slots = FairSlots(lambda: 1, express=1)
    got = []

    async def take(owner, *, short):
        async with slots.slot(owner, short=short):
            got.append(owner)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(partial(take, "first", short=True))
        await anyio.wait_all_tasks_blocked()
        group.start_soon(partial(take, "long", short=False))
        group.start_soon(partial(take, "first", short=True))
        await anyio.wait_all_tasks_blocked()
        assert got == ["first"]
        group.start_soon(partial(take, "other", short=True))
        group.start_soon(partial(take, "one too many", short=True))
        await anyio.wait_all_tasks_blocked()
        assert got == ["first", "other"]
        group.cancel_scope.cancel()
    assert slots.taken == 0


async def test_a_small_file_does_not_wait_until_a_part_of_a_large_one_ends(
    koodrive_emulator, make_file
):
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=1000.0))
    large = make_file(64 * MIB, "large")
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("slow")
        async with (
            drive.backup(device.device_id, Module.FOLDER) as session,
            anyio.create_task_group() as group,
        ):
            group.start_soon(session.upload, large)
            seen = koodrive_emulator.seen
            await anyio.to_thread.run_sync(partial(seen.wait_active, "part.put", count=8))
            with anyio.fail_after(30):
                assert (await session.upload(b"small", name="small")).outcome == "uploaded"
            group.cancel_scope.cancel()
