"""``Lease.run``: nothing is written under a lock that is lost, and what was begun goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import attrs
import pytest

from koodrive_async import (
    InvalidRequest,
    KooDrive,
    Lease,
    LockLost,
    LockRefused,
    NotFound,
    RetryPolicy,
    Timeouts,
)
from koodrive_async.emulator import Emulator, Fault
from koodrive_async.testing import connect
from tests.interface.scripted import TLS
from tests.interface.wall_clock import WallClock

pytestmark = pytest.mark.anyio

HOUR = 3600.0
ONCE = RetryPolicy(attempts=1)


@attrs.define
class Retaking:
    """Counts how often it is asked whether going on is right."""

    error: Exception | None = None
    asked: int = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


@attrs.define
class Writing:
    """Creates a record under the lock of a lease; the first time it waits to be told."""

    drive: KooDrive
    device: str
    lease: Any = None
    hold_on: bool = False
    under: list[str] = attrs.field(factory=list)
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self):
        self.under.append(self.lease.lock_id)
        self.begun.set()
        if self.hold_on and len(self.under) == 1:
            await asyncio.Event().wait()
        return await self.drive.records.create(self.device, "100", lock_id=self.lease.lock_id)


@pytest.fixture
def clock():
    return WallClock()


@pytest.fixture
def service(tmp_path, clock):
    """The emulator, on the clock of the client: a lock of 600 seconds ends for both at once."""
    with Emulator(tmp_path / "koodrive", clock=clock.time, token_seconds=24 * HOUR) as emulator:
        yield emulator


@pytest.fixture
async def drive(service, clock):
    async with connect(service, clock=clock, retry=ONCE, tls=TLS) as drive:
        yield drive


@pytest.fixture
async def write(drive):
    return Writing(drive, (await drive.devices.bind("m")).device_id)


@pytest.fixture
def retake():
    return Retaking()


def tasks():
    return {task for task in asyncio.all_tasks() if not task.done()}


async def write_after_sleeping(drive, clock, write, retake):
    async with drive.locks.hold("100", retake=retake) as lease:
        write.lease = lease
        clock.suspend(HOUR)
        await lease.run(write)


# --- a machine that slept ----------------------------------------------------------------------


async def test_a_laptop_that_slept_writes_nothing_under_its_old_lock(
    drive, service, clock, write, retake
):
    async with drive.locks.hold("100", retake=retake) as lease:
        write.lease, first = lease, lease.lock_id
        clock.suspend(HOUR)
        await lease.run(write)
        assert write.under == [lease.lock_id] != [first]
        assert (lease.losses, retake.asked) == (1, 1)
        assert lease.expires_at == clock.now + 600
    assert service.seen.count("records.create") == 1
    assert service.locks() == ()


async def test_a_write_that_a_laptop_slept_in_is_stopped_and_begun_again(
    drive, service, clock, write, retake
):
    async with drive.locks.hold("100", retake=retake) as lease, anyio.create_task_group() as group:
        write.lease, write.hold_on, first = lease, True, lease.lock_id
        group.start_soon(lease.run, write)
        await write.begun.wait()
        clock.suspend(HOUR)
        await clock.advance(5)
    assert write.under == [first, lease.lock_id]
    assert service.seen.count("records.create") == 1


async def test_without_a_check_a_laptop_that_slept_has_lost_its_lock(drive, service, clock, write):
    with pytest.raises(LockLost) as caught:
        await write_after_sleeping(drive, clock, write, None)
    assert not getattr(caught.value, "__notes__", [])
    assert isinstance(caught.value.__cause__, InvalidRequest)
    assert write.under == []
    assert service.seen.count("locks.create") == 1


async def test_a_clock_that_was_set_forward_costs_no_lock(tmp_path, clock, retake):
    with Emulator(tmp_path / "koodrive") as emulator:
        async with (
            connect(emulator, clock=clock, tls=TLS) as drive,
            drive.locks.hold("100", retake=retake) as lease,
        ):
            write = Writing(drive, (await drive.devices.bind("m")).device_id, lease)
            first = lease.lock_id
            clock.suspend(HOUR)
            await lease.run(write)
            assert write.under == [first]
            assert (lease.losses, retake.asked) == (0, 0)
            assert lease.expires_at > clock.now


async def test_a_clock_that_was_set_back_does_not_put_the_renewal_off(tmp_path, clock):
    with Emulator(tmp_path / "koodrive") as emulator:
        async with (
            connect(emulator, clock=clock, tls=TLS) as drive,
            drive.locks.hold("100") as lease,
        ):
            await clock.advance(100)
            clock.suspend(-HOUR)
            await clock.advance(110)
            assert emulator.seen.count("locks.renew", status=200) == 1
            assert lease.expires_at <= clock.now + 600


async def test_a_lock_that_was_set_back_unnoticed_is_not_believed_to_live_longer(
    drive, service, clock
):
    service.faults.add(Fault("reset", "locks.renew"))
    began = clock.now

    async def hold():
        async with drive.locks.hold("100"):
            await clock.advance(50)
            clock.suspend(-HOUR)
            await clock.advance(1000)

    with pytest.raises(LockLost):
        await hold()
    assert clock.now + HOUR - began <= 650


# --- others ------------------------------------------------------------------------------------


async def test_a_lock_that_somebody_else_took_meanwhile_is_lost(
    drive, service, clock, write, retake
):
    theirs = []

    async def hold():
        async with drive.locks.hold("100", retake=retake) as lease:
            write.lease = lease
            clock.suspend(HOUR)
            theirs.append((await drive.locks.create("100")).lock_id)
            await lease.run(write)

    with pytest.raises(LockLost, match="held already") as caught:
        await hold()
    assert isinstance(caught.value.__cause__, LockRefused)
    assert write.under == []
    assert retake.asked == 0
    assert [lock.lock_id for lock in service.locks()] == theirs


async def test_a_lock_that_somebody_else_took_is_waited_for(service, clock, retake):
    timeouts = Timeouts(lock=100)
    async with connect(service, clock=clock, retry=ONCE, timeouts=timeouts, tls=TLS) as drive:
        write = Writing(drive, (await drive.devices.bind("m")).device_id)
        async with drive.locks.hold("100", retake=retake) as lease:
            write.lease = lease
            clock.suspend(HOUR)
            theirs = await drive.locks.create("100")
            async with anyio.create_task_group() as group:
                group.start_soon(lease.run, write)
                await clock.advance(20)
                assert write.under == []
                await drive.locks.release(theirs.lock_id)
                await clock.advance(6)
            assert write.under == [lease.lock_id]


async def test_nothing_is_written_when_going_on_is_not_right(drive, service, clock, write):
    error = LookupError("it is complete")
    retake = Retaking(error)
    with pytest.raises(LockLost, match="it is complete") as caught:
        await write_after_sleeping(drive, clock, write, retake)
    assert caught.value.__cause__ is error
    assert write.under == []
    assert service.locks() == ()


async def test_all_who_wait_hear_that_a_lock_is_lost_for_good(drive, clock, write):
    heard = []

    async def run(lease):
        try:
            await lease.run(write)
        except LockLost as lost:
            heard.append(lost)

    others: list[asyncio.Task[None]] = []
    leases: list[Lease] = []

    async def hold():
        async with drive.locks.hold("100", retake=Retaking(LookupError("it is gone"))) as lease:
            leases.append(lease)
            write.lease = lease
            clock.suspend(HOUR)
            others.extend(asyncio.create_task(run(lease)) for _ in range(3))
            await asyncio.Event().wait()

    with pytest.raises(LockLost):
        await hold()
    await asyncio.gather(*others)
    await run(*leases)
    assert len({id(lost) for lost in heard}) == 4
    assert all("it is gone" in str(lost) for lost in heard)
    assert write.under == []


async def test_what_others_still_write_is_stopped_before_the_lock_is_given_back(
    drive, service, write
):
    async with drive.locks.hold("100") as lease:
        write.lease, write.hold_on = lease, True
        other = asyncio.create_task(lease.run(write))
        await write.begun.wait()
    with pytest.raises(LockLost):
        await other
    with pytest.raises(LockLost):
        await lease.run(write)
    assert service.seen.count("records.create") == 0


# --- refused writes ----------------------------------------------------------------------------


async def test_a_refusal_under_a_good_lock_is_raised_as_it_is(drive, service):
    refusal = NotFound(status=404, code="", msg="no such record", method="GET", path="/")
    refused = []

    async def write():
        raise refusal

    async def run(lease):
        try:
            await lease.run(write)
        except NotFound as error:
            refused.append(error)

    async with drive.locks.hold("100", retake=Retaking()) as lease:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(run, lease)
        assert lease.losses == 0
    assert all(error is refusal for error in refused)
    assert len(refused) == 5
    # those who ask at the same time ask once; and each of the two refusals of a write is looked at
    assert service.seen.count("locks.renew") == 2


def refused_write():
    return NotFound(status=404, code="", msg="no", method="POST", path="/")


async def test_a_lock_that_is_lost_after_a_refusal_under_a_good_lock_is_replaced(drive):
    """A long write is refused early, for something else, and hours later for its lock."""
    under = []

    async def write():
        under.append(lease.lock_id)
        if len(under) == 2:
            await drive.locks.release(lease.lock_id)
        if len(under) <= 2:
            raise refused_write()
        return "written"

    async with drive.locks.hold("100", retake=Retaking()) as lease:
        assert await lease.run(write) == "written"
        assert lease.losses == 1
    assert under[0] == under[1] != under[2]


async def test_a_write_that_goes_on_may_be_refused_again_where_it_has_got_further(drive):
    got_to = 0

    async def write():
        nonlocal got_to
        got_to += 1
        raise refused_write()

    async with drive.locks.hold("100", retake=Retaking()) as lease:
        with pytest.raises(NotFound):
            await lease.run(write, progress=lambda: min(got_to, 5))
    assert got_to == 6


async def test_a_write_that_was_stopped_may_be_refused_again(drive):
    refusals = 0

    async def write():
        nonlocal refusals
        if refusals == 1 and not lease.losses:
            await drive.locks.release(lease.lock_id)
            lease._keeper._summon()
            await asyncio.Event().wait()
        refusals += 1
        if refusals <= 2:
            raise refused_write()

    async with drive.locks.hold("100", retake=Retaking()) as lease:
        await lease.run(write)
        assert lease.losses == 1
    assert refusals == 3


async def test_a_write_refused_for_its_lock_is_begun_again_under_the_next(
    drive, service, write, retake
):
    service.faults.add(Fault("expired-lock", "records.create", times=1))
    async with drive.locks.hold("100", retake=retake) as lease:
        write.lease, first = lease, lease.lock_id
        await lease.run(write)
        assert write.under == [first, lease.lock_id]
        assert (lease.losses, retake.asked) == (1, 1)
    assert service.seen.count("records.create", status=200) == 1


async def test_a_write_that_is_refused_under_every_lock_is_given_up(drive, service, write, retake):
    service.faults.add(Fault("expired-lock", "records.create"))

    async def hold():
        async with drive.locks.hold("100", retake=retake) as lease:
            write.lease = lease
            await lease.run(write)

    with pytest.raises(LockLost, match="3 times") as caught:
        await hold()
    assert isinstance(caught.value.__cause__, InvalidRequest)
    assert len(set(write.under)) == 3
    assert service.locks() == ()


# --- a renewal that hangs ----------------------------------------------------------------------


async def renewing(service):
    await anyio.to_thread.run_sync(service.seen.wait_active, "locks.renew")


@pytest.fixture
async def quick(service, clock):
    """A client whose locks live for 15 seconds: it looks at the clock twice in one of them."""
    timeouts = Timeouts(lease=15)
    async with connect(service, clock=clock, retry=ONCE, timeouts=timeouts, tls=TLS) as drive:
        yield drive


async def test_a_write_is_stopped_when_a_laptop_sleeps_while_a_renewal_hangs(
    quick, service, clock, write, retake
):
    service.faults.add(Fault("latency", "locks.renew", seconds=3, times=1))
    async with quick.locks.hold("100", retake=retake) as lease:
        write.lease, write.hold_on, stopped = lease, True, asyncio.Event()

        async def note_when_stopped():
            try:
                return await write()
            except asyncio.CancelledError:
                stopped.set()
                raise

        writing = asyncio.create_task(lease.run(note_when_stopped))
        await write.begun.wait()
        passing = asyncio.create_task(clock.advance(5))  # until the renewal is over
        await renewing(service)
        passing.cancel()
        clock.suspend(HOUR)
        await stopped.wait()
        assert service.seen.active("locks.renew") == 1
        assert len(write.under) == 1
        assert not writing.done()
        writing.cancel()


async def test_a_clock_that_is_set_back_while_a_renewal_hangs_takes_the_life_with_it(
    quick, service, clock
):
    service.faults.add(Fault("latency", "locks.renew", seconds=3, times=1))
    async with quick.locks.hold("100") as lease:
        expires_at = lease.expires_at
        passing = asyncio.create_task(clock.advance(5))  # until the renewal is over
        await renewing(service)
        passing.cancel()
        clock.suspend(-HOUR)
        while lease.expires_at > expires_at - HOUR:  # noqa: ASYNC110 - nobody tells it
            await asyncio.sleep(0)


# --- the network -------------------------------------------------------------------------------


async def test_a_lock_that_ran_out_while_the_network_was_gone_is_taken_anew(
    drive, service, clock, write, retake
):
    service.faults.add(Fault("reset", "locks.renew"))
    async with drive.locks.hold("100", retake=retake) as lease, anyio.create_task_group() as group:
        write.lease, write.hold_on, first = lease, True, lease.lock_id
        group.start_soon(lease.run, write)
        await clock.advance(595)
        assert write.under == [first]
        await clock.advance(15)
        assert lease.losses == 0  # nobody has said so yet
        service.faults.clear()
        await clock.advance(6)
    assert write.under == [first, lease.lock_id] != [first, first]
    assert service.seen.count("records.create") == 1


async def test_a_network_that_stays_gone_costs_the_lock(drive, service, clock, retake):
    service.faults.add(Fault("reset", "locks.renew"))
    with pytest.raises(LockLost, match="in time"):
        async with drive.locks.hold("100", retake=retake):
            await clock.advance(HOUR)
    assert service.seen.count("locks.renew") < 60


async def test_a_check_that_fails_in_passing_is_made_again(drive, service, clock, write):
    service.faults.add(Fault("reset", "records.list", times=1))

    async def retake():
        async for _ in drive.records.list("100"):
            pass

    async with drive.locks.hold("100", retake=retake) as lease, anyio.create_task_group() as group:
        write.lease = lease
        clock.suspend(HOUR)
        group.start_soon(lease.run, write)
        await clock.advance(6)
    assert write.under == [lease.lock_id]
    assert lease.losses == 1


# --- cancellation ------------------------------------------------------------------------------


@pytest.mark.parametrize("caller_first", [True, False])
async def test_the_cancellation_of_the_caller_goes_before_beginning_again(
    drive, clock, write, retake, caller_first
):
    async with drive.locks.hold("100", retake=retake) as lease:
        write.lease, write.hold_on = lease, True
        caller = asyncio.create_task(lease.run(write))
        await write.begun.wait()
        clock.suspend(HOUR)
        if caller_first:
            caller.cancel()
        # another one notices the loss in the same moment
        other = asyncio.create_task(lease.run(write))
        if not caller_first:
            asyncio.get_running_loop().call_soon(caller.cancel)
        await asyncio.wait([caller])
        assert caller.cancelled()
        await other
    assert len(write.under) == 2


@pytest.mark.parametrize("route", ["locks.create", "locks.renew", "records.list", None])
@pytest.mark.parametrize("by_scope", [True, False])
async def test_cancellation_while_a_lock_is_taken_anew_leaves_nothing_behind(
    drive, service, clock, write, route, by_scope
):
    async def retake():
        async for _ in drive.records.list("100"):
            pass

    waiting = asyncio.Event()

    async def work(scope):
        with scope:
            async with drive.locks.hold("100", retake=retake) as lease:
                write.lease, write.hold_on = lease, route is None
                if route is not None:
                    service.faults.add(Fault("latency", route, seconds=0.3))
                clock.suspend(HOUR)
                waiting.set()
                await lease.run(write)

    before = tasks()
    scope = anyio.CancelScope()
    task = asyncio.create_task(work(scope))
    await waiting.wait()
    if route is None:
        await write.begun.wait()
    else:
        await anyio.to_thread.run_sync(service.seen.wait_active, route)
    if by_scope:
        scope.cancel()
    else:
        task.cancel()
    await asyncio.wait([task])
    assert scope.cancelled_caught if by_scope else task.cancelled()
    assert service.locks() == ()
    assert tasks() - before == set()
    assert service.seen.count("records.create") == 0


async def test_a_cancelled_holder_waits_no_longer_than_the_settings_say(service, clock):
    service.faults.add(Fault("latency", "locks.release", seconds=5))
    timeouts = Timeouts(cleanup=0.05)
    async with connect(service, clock=clock, timeouts=timeouts, tls=TLS) as drive:
        with anyio.fail_after(3), anyio.CancelScope() as scope:
            async with drive.locks.hold("100"):
                scope.cancel()
                await asyncio.Event().wait()
    assert scope.cancelled_caught


# --- taking over, waiting, and lost answers ----------------------------------------------------


async def test_a_lock_of_an_earlier_run_is_taken_over_while_it_lives(drive, service):
    left = await drive.locks.create("100")
    async with drive.locks.hold("100", lock_id=left.lock_id) as lease:
        assert lease.lock_id == left.lock_id
    assert service.seen.count("locks.create") == 1
    assert service.locks() == ()


async def test_another_lock_is_taken_when_that_of_an_earlier_run_has_ended(drive, service, clock):
    left = await drive.locks.create("100")
    clock.suspend(HOUR)
    async with drive.locks.hold("100", lock_id=left.lock_id) as lease:
        assert [lock.lock_id for lock in service.locks()] == [lease.lock_id]
        assert lease.lock_id != left.lock_id
        assert lease.losses == 0


async def test_cancellation_while_a_lock_is_taken_over_gives_it_back(drive, service):
    left = await drive.locks.create("100")
    service.faults.add(Fault("latency", "locks.renew", seconds=0.3))

    async def work():
        async with drive.locks.hold("100", lock_id=left.lock_id):
            pass

    task = asyncio.create_task(work())
    await anyio.to_thread.run_sync(service.seen.wait_active, "locks.renew")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert service.locks() == ()


async def test_cancellation_while_a_lock_that_was_refused_is_given_back_sees_that_through(
    drive, service
):
    left = await drive.locks.create("100")
    service.faults.add(
        Fault("error", "locks.renew", status=400, code="13000901", times=1),
        Fault("latency", "locks.release", seconds=0.3, times=1),
    )

    async def work():
        async with drive.locks.hold("100", lock_id=left.lock_id):
            pass

    task = asyncio.create_task(work())
    await anyio.to_thread.run_sync(service.seen.wait_active, "locks.release")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert service.locks() == ()


async def test_a_lock_that_is_held_is_refused_at_once_by_default(drive, service):
    await drive.locks.create("100")
    with pytest.raises(LockRefused, match="held already") as caught:
        async with drive.locks.hold("100"):
            pass
    assert "lost" not in str(caught.value)
    assert caught.value.status == 400
    assert service.seen.count("locks.create") == 2


async def test_a_lock_that_is_held_is_asked_for_until_the_time_is_over(service, clock):
    async with connect(service, clock=clock, timeouts=Timeouts(lock=60), tls=TLS) as drive:
        await drive.locks.create("100")

        async def hold():
            async with drive.locks.hold("100"):
                pass

        began = clock.now
        waiting = asyncio.create_task(hold())
        passing = asyncio.create_task(clock.advance(HOUR))
        with pytest.raises(LockRefused):
            await waiting
        passing.cancel()
    assert clock.now == pytest.approx(began + 60)
    assert 60 / 5 <= service.seen.count("locks.create") <= 60 + 2


async def test_a_lock_whose_answer_was_lost_may_be_in_its_own_way(service, clock):
    service.faults.add(Fault("lost-answer", "locks.create", times=1))
    async with connect(
        service, clock=clock, retry=RetryPolicy(base_delay=0.0, outage=0), tls=TLS
    ) as drive:
        creating = asyncio.create_task(drive.locks.create("100"))
        passing = asyncio.create_task(clock.advance(1))
        with pytest.raises(LockRefused, match="may be our own") as caught:
            await creating
        passing.cancel()
    assert caught.value.attempts == 2
    assert len(caught.value.history) == 1


async def test_a_lock_whose_answer_was_lost_is_waited_for(service, clock):
    service.faults.add(Fault("lost-answer", "locks.create", times=1))
    retry = RetryPolicy(base_delay=0.0, outage=0)
    timeouts = Timeouts(lock=700)
    async with connect(service, clock=clock, retry=retry, timeouts=timeouts, tls=TLS) as drive:

        async def pass_time():
            await clock.advance(650)

        async with anyio.create_task_group() as group:
            group.start_soon(pass_time)
            async with drive.locks.hold("100") as lease:
                assert [lock.lock_id for lock in service.locks()] == [lease.lock_id]
                group.cancel_scope.cancel()
    assert service.locks() == ()


async def test_a_release_whose_answer_was_lost_is_no_warning(koodrive_emulator, caplog):
    koodrive_emulator.faults.add(Fault("lost-answer", "locks.release", times=1))
    async with connect(koodrive_emulator, tls=TLS) as drive, drive.locks.hold("100"):
        pass
    assert koodrive_emulator.seen.count("locks.release") == 2
    warnings = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert not [text for text in warnings if "not given back" in text]
