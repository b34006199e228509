"""``locks.hold``: a lock that is kept alive, and given back whatever happens."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from koodrive_async import (
    ApiError,
    InvalidArgument,
    InvalidRequest,
    KooDriveError,
    LockLost,
    LockRefused,
    Module,
    RetryPolicy,
    Timeouts,
)
from koodrive_async.emulator import Emulator, Fault
from koodrive_async.testing import connect
from tests.interface.scripted import LOCK, TLS, answer, client_of, reset
from tests.interface.wall_clock import WallClock

pytestmark = pytest.mark.anyio

GRANTED = {"code": 0, "data": {"lockId": LOCK}}
OK = {"code": 0}
REFUSED = answer({"code": 13000102, "msg": "the backup lock has expired"}, 400)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def clock():
    return WallClock()


@pytest.fixture
async def holder(scripted, clock):
    """A client whose lease lives for 600 seconds of a clock that stands still."""
    async with client_of(scripted, clock=clock, retry=ONCE) as client:
        yield client


async def hold_while(client, work):
    async with client.locks.hold("100"):
        await work()


async def test_a_lock_is_renewed_at_a_third_of_its_life_and_given_back(holder, scripted, clock):
    scripted.replies(GRANTED, OK, OK, OK)
    async with holder.locks.hold(Module.ADDRESS_BOOK) as lease:
        assert lease.lock_id == LOCK
        assert lease.expires_at == clock.now + 600
        await clock.advance(199)
        assert scripted.methods == ["POST"]
        await clock.advance(2)
        assert scripted.methods == ["POST", "PATCH"]
        await clock.advance(200)
        assert scripted.methods == ["POST", "PATCH", "PATCH"]
    assert scripted.methods == ["POST", "PATCH", "PATCH", "DELETE"]
    quoted = [request.headers.get("x-backup-lock-id") for request in scripted.requests]
    assert quoted == [None, LOCK, LOCK, LOCK]


async def test_a_renewed_lock_lives_on_from_before_the_renewal_was_sent(holder, scripted, clock):
    scripted.replies(GRANTED, OK, OK)
    async with holder.locks.hold("100") as lease:
        clock.suspend(230)
        renewed_at = clock.now
        await clock.advance(6)
        assert lease.expires_at == pytest.approx(renewed_at + 600, abs=6)


async def test_the_life_of_a_lock_is_a_setting(scripted, clock):
    scripted.replies(GRANTED, OK, OK)
    timeouts = Timeouts(lease=30)
    async with (
        client_of(scripted, clock=clock, timeouts=timeouts) as client,
        client.locks.hold("100"),
    ):
        await clock.advance(9)
        assert scripted.methods == ["POST"]
        await clock.advance(1)
        assert scripted.methods == ["POST", "PATCH"]


async def test_a_lock_is_given_back_when_the_body_raises(holder, scripted):
    scripted.replies(GRANTED, OK)
    error = LookupError("mine")

    async def fail():
        raise error

    with pytest.raises(LookupError) as caught:
        await hold_while(holder, fail)
    assert caught.value is error
    assert scripted.methods == ["POST", "DELETE"]


async def test_an_error_of_the_body_keeps_its_cause_and_context(holder, scripted):
    scripted.replies(GRANTED, OK, GRANTED, OK)

    async def fail_because():
        try:
            int("first")
        except ValueError as error:
            raise LookupError("second") from error

    async def fail_while():
        try:
            int("first")
        except ValueError:
            raise LookupError("second")  # noqa: B904 - the context is what is looked at

    with pytest.raises(LookupError) as caught:
        await hold_while(holder, fail_because)
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(LookupError) as caught:
        await hold_while(holder, fail_while)
    assert isinstance(caught.value.__context__, ValueError)
    assert not caught.value.__suppress_context__


async def test_a_lock_is_given_back_when_the_body_is_cancelled(holder, scripted):
    scripted.replies(GRANTED, OK)
    inside = asyncio.Event()

    async def work():
        async with holder.locks.hold("100"):
            inside.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert scripted.methods == ["POST", "DELETE"]
    left = {each for each in asyncio.all_tasks() - before if "_serve" not in repr(each)}
    assert left == set()


async def test_a_lock_is_given_back_when_the_time_for_the_work_is_up(holder, scripted):
    scripted.replies(GRANTED, OK)
    with anyio.CancelScope() as scope:
        async with holder.locks.hold("100"):
            scope.cancel()
            await asyncio.Event().wait()
    assert scope.cancelled_caught
    assert scripted.methods == ["POST", "DELETE"]


async def test_a_refused_renewal_cancels_the_body_and_is_raised_bare(holder, scripted, clock):
    scripted.replies(GRANTED, REFUSED, REFUSED)
    cancelled = asyncio.Event()

    async def work():
        try:
            await clock.advance(200)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(LockLost) as caught:
        await hold_while(holder, work)
    assert cancelled.is_set()
    assert caught.value.lock_id == LOCK
    assert "the backup lock has expired" in str(caught.value)
    assert isinstance(caught.value.__cause__, InvalidRequest)
    # giving back what is lost is tried and does not hide why it was lost
    assert scripted.methods == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize("fault", [reset(), answer("", 503), answer("", 429), answer("<html>")])
async def test_a_renewal_that_fails_in_passing_is_tried_again_before_the_lock_ends(
    holder, scripted, clock, fault
):
    scripted.replies(GRANTED, fault, OK, OK, OK)
    async with holder.locks.hold("100") as lease:
        granted_until = lease.expires_at
        await clock.advance(210)
        assert scripted.methods == ["POST", "PATCH"]
        await clock.advance(300)
        assert lease.expires_at > granted_until
    assert scripted.methods.count("PATCH") >= 2


async def test_a_lock_that_cannot_be_renewed_in_time_is_lost(holder, scripted, clock):
    scripted.replies(GRANTED)
    scripted.otherwise = lambda _: answer("", 503)
    began = clock.now

    async def let_time_pass():
        await clock.advance(700)

    with pytest.raises(LockLost, match="in time") as caught:
        await hold_while(holder, let_time_pass)
    assert "HTTP 503" in str(caught.value)
    assert clock.now >= began + 600
    # patiently to the end, not ever faster
    assert 4 <= scripted.methods.count("PATCH") <= 30


async def test_a_machine_that_slept_too_long_has_lost_its_lock(holder, scripted, clock):
    scripted.replies(GRANTED)
    scripted.otherwise = lambda _: REFUSED

    async def sleep_long():
        clock.suspend(3600)
        await clock.advance(60)

    with pytest.raises(LockLost):
        await hold_while(holder, sleep_long)
    assert scripted.methods in (["POST", "DELETE"], ["POST", "PATCH", "DELETE"])


async def test_a_lock_that_cannot_be_given_back_does_not_spoil_the_work(holder, scripted, caplog):
    scripted.replies(GRANTED, answer("", 500))
    async with holder.locks.hold("100"):
        pass
    assert "not given back" in caplog.text


async def test_an_error_of_the_body_wins_over_one_of_giving_back(holder, scripted):
    scripted.replies(GRANTED, answer("", 500))
    with pytest.raises(LookupError):
        async with holder.locks.hold("100"):
            raise LookupError


async def test_a_lock_that_is_not_granted_is_not_given_back(holder, scripted):
    scripted.replies(answer({"code": 13000102, "msg": "held already"}, 400))
    entered = False
    with pytest.raises(LockRefused, match="held already"):
        async with holder.locks.hold("100"):
            entered = True
    assert not entered
    assert scripted.methods == ["POST"]


async def test_an_unknown_module_is_refused_before_a_lock_is_asked_for(holder, scripted):
    with pytest.raises(InvalidArgument):
        async with holder.locks.hold("7"):
            pass
    assert scripted.requests == []


# --- against the emulator ----------------------------------------------------------------------


async def test_a_held_lock_is_alive_and_another_is_refused(drive, device_id):
    async with drive.locks.hold("100") as lease:
        await drive.records.create(device_id, "100", lock_id=lease.lock_id)
        with pytest.raises(ApiError, match="held already"):
            await drive.locks.create("100")
    await drive.locks.create("100")


async def test_a_lock_outlives_its_lease_while_it_is_held(tmp_path, clock):
    """Both clocks are one: without renewals the lock would be refused in the end."""
    with Emulator(tmp_path / "koodrive", clock=clock.time) as emulator:
        async with connect(emulator, clock=clock, tls=TLS) as drive:
            device = await drive.devices.bind("m")
            async with drive.locks.hold("100") as lease:
                await clock.advance(5 * 200)
                await drive.records.create(device.device_id, "100", lock_id=lease.lock_id)
                assert emulator.seen.count("locks.renew", status=200) >= 4


async def test_a_lock_that_expired_at_the_service_is_lost(koodrive_emulator, clock):
    koodrive_emulator.faults.add(Fault("expired-lock", "locks.renew"))

    async def work():
        await clock.advance(201)

    async with connect(koodrive_emulator, clock=clock, tls=TLS) as drive:
        with pytest.raises(LockLost) as caught:
            await hold_while(drive, work)
    assert isinstance(caught.value, KooDriveError)
    assert "expired" in str(caught.value)


async def test_a_clock_that_is_set_forward_costs_no_lock(holder, scripted, clock):
    scripted.replies(GRANTED, OK, OK)
    async with holder.locks.hold("100") as lease:
        clock.suspend(5000)
        await clock.advance(6)
        assert scripted.methods == ["POST", "PATCH"]
        assert lease.expires_at > clock.now
        assert lease.losses == 0


async def test_a_group_of_exceptions_of_the_block_stays_as_it_is(holder, scripted):
    scripted.replies(GRANTED, OK)
    mine = ExceptionGroup("mine", [ValueError("a"), KeyError("b")])

    async def fail():
        raise mine

    with pytest.raises(ExceptionGroup) as caught:
        await hold_while(holder, fail)
    assert caught.value is mine
    assert len(caught.value.exceptions) == 2
