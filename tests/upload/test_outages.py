"""A service that is away for minutes: a session waits for it, other calls do not."""

from __future__ import annotations

import asyncio
import logging

import attrs
import pytest

from koodrive_async import (
    ApiError,
    ConnectionFailed,
    DuplicateFileName,
    Module,
    RetryPolicy,
    ServerFault,
    Timeouts,
    UntrustedCertificate,
)
from koodrive_async.emulator import Emulator, HeldStatus
from koodrive_async.resources.keeper import Grant, Keeper
from koodrive_async.testing import connect
from koodrive_async.transport.outage import Outage
from koodrive_async.transport.retry import LEAST_PAUSE, Attempts, RetryBudget
from tests.interface.scripted import FakeClock, Scripted, answer, client_of
from tests.interface.wall_clock import WallClock
from tests.sample import sample

pytestmark = pytest.mark.anyio

POLICY = RetryPolicy(outage=600.0, per_second=None)
LIFE = 1_000_000.0
"""Seconds that no lock outlives: what becomes of one is another matter."""


def refused():
    return ConnectionFailed("refused", method="PUT", path="part 1", sent=False)


def fault(status=503, **more):
    return ServerFault(status=status, code="", msg="no", method="GET", path="/x", **more)


def followed(clock, **more):
    return Outage("the store", clock, POLICY.outage, **more)


def attempts_of(clock, outage, policy=POLICY, **more):
    return Attempts(policy, clock, RetryBudget(None), repeatable=True, outage=outage, **more)


async def given_up_after(attempts, clock, error, between=lambda _: None):
    """Fail with an error until it is raised; return the seconds that took.

    :param between: Called with the number of each attempt that follows.
    """
    began = clock.now
    while True:
        try:
            await attempts.after(error)
        except type(error):
            return clock.now - began
        between(attempts.number)


@pytest.mark.parametrize("error", [refused(), fault(), fault(521)], ids=["refused", "503", "521"])
async def test_a_request_waits_for_a_place_that_is_out_of_reach_and_no_longer(error):
    clock = FakeClock()
    attempts = attempts_of(clock, followed(clock))
    seconds = await given_up_after(attempts, clock, error)
    assert POLICY.outage <= seconds <= POLICY.outage + POLICY.max_delay + LEAST_PAUSE
    assert error.attempts > POLICY.attempts
    assert max(clock.slept) <= POLICY.max_delay


async def test_many_that_wait_begin_from_the_beginning_of_the_outage():
    clock = FakeClock()
    outage = followed(clock)
    await given_up_after(attempts_of(clock, outage), clock, refused())
    late = refused()
    await given_up_after(attempts_of(clock, outage), clock, late)
    assert late.attempts == POLICY.attempts


@pytest.mark.parametrize(
    ("policy", "more", "once_reached"),
    [
        (POLICY, {"waits": False}, False),
        (attrs.evolve(POLICY, outage=0.0), {}, False),
        (POLICY, {}, True),
    ],
    ids=["a single call", "set to 0", "never reached"],
)
async def test_what_does_not_wait_ends_with_its_attempts(policy, more, once_reached):
    clock = FakeClock()
    outage = Outage("the service", clock, policy.outage, once_reached=once_reached)
    error = refused()
    await given_up_after(attempts_of(clock, outage, policy, **more), clock, error)
    assert error.attempts == policy.attempts


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (RetryPolicy(), 900.0),
        (RetryPolicy(attempts=12, max_delay=60), 900.0),
        (RetryPolicy(attempts=3), 900.0),
        (RetryPolicy(base_delay=0), 900.0),
        (attrs.evolve(RetryPolicy(), attempts=3), 900.0),
        (RetryPolicy(attempts=3, outage=30), 30.0),
    ],
)
def test_how_long_an_outage_is_waited_for_depends_on_no_other_setting(policy, seconds):
    assert policy.outage == seconds


async def test_one_attempt_is_one_attempt():
    clock, once = FakeClock(), attrs.evolve(POLICY, attempts=1)
    error = refused()
    await given_up_after(attempts_of(clock, followed(clock), once), clock, error)
    assert error.attempts == 1


async def test_a_request_that_fails_alone_is_no_outage():
    clock = FakeClock()
    outage = followed(clock)
    attempts = attempts_of(clock, outage)
    error = fault(500)
    await given_up_after(attempts, clock, error, lambda _: outage.reached())  # by another request
    assert error.attempts == POLICY.attempts


async def test_a_request_that_always_fails_ends_though_the_place_comes_and_goes():
    clock = FakeClock()
    outage = followed(clock)
    attempts = attempts_of(clock, outage)
    error = fault(500)

    def come_and_go(number):
        if number % 20 == 0:
            outage.reached()

    assert await given_up_after(attempts, clock, error, come_and_go) < 2 * POLICY.outage


async def test_what_was_tried_during_an_outage_does_not_count_after_it():
    clock = FakeClock()
    outage = followed(clock)
    attempts = attempts_of(clock, outage)
    for _ in range(POLICY.attempts + 3):
        await attempts.after(refused())
    outage.reached()
    attempts._failing_since = clock.now - POLICY.outage - 1  # it may wait no longer
    error = fault(500)
    tried = attempts.number
    await given_up_after(attempts, clock, error)
    assert attempts.number - tried == POLICY.attempts - 1


async def test_a_long_retry_after_is_waited_for_within_an_outage():
    clock = FakeClock()
    attempts = attempts_of(clock, followed(clock))
    waited = await attempts.after(fault(retry_after=500.0))
    assert waited >= 500.0
    with pytest.raises(ServerFault):
        await attempts.after(fault(retry_after=500.0))


async def test_refusals_and_certificates_are_waited_for_by_none():
    clock = FakeClock()
    for error in (
        UntrustedCertificate("self-signed", method="PUT", path="x", sent=False),
        DuplicateFileName(status=400, code="13000405", msg="", method="POST", path="/x"),
    ):
        with pytest.raises((UntrustedCertificate, ApiError)):
            await attempts_of(clock, followed(clock)).after(error)
    assert clock.slept == []


async def test_an_outage_is_logged_once_and_so_is_its_end(caplog):
    clock = FakeClock()
    outage = followed(clock)
    several = [attempts_of(clock, outage) for _ in range(3)]
    for _ in range(POLICY.attempts + 5):
        for attempts in several:
            await attempts.after(refused())
    for attempts in several:
        attempts.succeeded()
    said = [r.getMessage() for r in caplog.records if r.name.endswith("transport.outage")]
    assert len(said) == 2
    assert said[0].startswith("the store is out of reach since ")
    assert "refused" in said[0]
    assert said[1].startswith("the store can be reached again, after ")


async def test_a_machine_that_slept_begins_to_wait_when_it_wakes():
    clock = FakeClock()
    outage = followed(clock)
    attempts = attempts_of(clock, outage)
    await attempts.after(refused())
    clock.now += 8 * 3600
    late = attempts_of(clock, outage)
    assert await given_up_after(late, clock, refused()) >= POLICY.outage


# --- whole clients -----------------------------------------------------------------------------


async def test_a_call_outside_a_session_fails_soon():
    async with (
        Scripted() as server,
        client_of(server, clock=FakeClock(), retry=POLICY) as drive,
    ):
        server.replies({"code": 0})
        await drive.devices.list()
        server.otherwise = lambda _: answer({"code": 1, "msg": "later"}, 503)
        with pytest.raises(ServerFault) as failure:
            await drive.devices.list()
    assert failure.value.attempts == POLICY.attempts


async def test_a_session_outlasts_an_outage_of_minutes(koodrive_emulator, device_id, caplog):
    caplog.set_level(logging.WARNING, "koodrive_async")
    emulator, clock = koodrive_emulator, WallClock()
    files = {f"{number}.bin": sample(1000, number) for number in range(8)}
    settings = {"clock": clock, "retry": POLICY, "timeouts": Timeouts(lease=LIFE)}
    async with (
        connect(emulator, **settings) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        record = session.record.record_id
        await session.upload(b"before", name="before.bin")
        await asyncio.to_thread(emulator.stop)
        uploads = [
            asyncio.ensure_future(session.upload(content, name=name))
            for name, content in files.items()
        ]
        away_until = clock.now + 300
        while clock.now < away_until or "out of reach" not in caplog.text:
            await clock.advance(5)
            await asyncio.sleep(0.001)  # for the sockets
        assert not any(upload.done() for upload in uploads)
        await asyncio.to_thread(emulator.start)
        while not all(upload.done() for upload in uploads):
            await clock.advance(1)
            await asyncio.sleep(0.001)
        receipts = [upload.result() for upload in uploads]
    assert {receipt.name for receipt in receipts} == set(files)
    held = {file.name: file for file in emulator.files() if file.record_id == record}
    assert set(held) == {*files, "before.bin"}
    assert all(emulator.content(held[name].file_id) == files[name] for name in files)
    said = [r.getMessage() for r in caplog.records if r.name.endswith("transport.outage")]
    assert sum("out of reach" in line for line in said) == 1
    assert "can be reached again" in said[-1]


async def test_a_backup_goes_on_under_a_new_lock_after_an_outage_that_outlasts_the_old_one(
    tmp_path, caplog
):
    caplog.set_level(logging.WARNING, "koodrive_async")
    clock = WallClock()
    files = {f"{number}.bin": sample(1000, number) for number in range(4)}
    settings = {"clock": clock, "retry": RetryPolicy(per_second=None)}
    with Emulator(tmp_path / "koodrive", clock=clock.time) as emulator:
        async with connect(emulator, **settings) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"before", name="before.bin")
                first, ends = session.lock.lock_id, session.lock.expires_at
                await asyncio.to_thread(emulator.stop)
                uploads = [
                    asyncio.ensure_future(session.upload(content, name=name))
                    for name, content in files.items()
                ]
                away_until = clock.now + 700
                while clock.now < away_until:
                    await clock.advance(5)
                    await asyncio.sleep(0.001)  # for the sockets
                assert clock.now > ends == session.lock.expires_at
                assert not any(upload.done() for upload in uploads)
                await asyncio.to_thread(emulator.start)
                while not all(upload.done() for upload in uploads):
                    await clock.advance(1)
                    await asyncio.sleep(0.001)
                receipts = [upload.result() for upload in uploads]
                assert session.lock.losses >= 1
                assert session.lock.lock_id != first
        assert {receipt.name for receipt in receipts} == set(files)
        held = {file.name: emulator.content(file.file_id) for file in emulator.files()}
        assert held == files | {"before.bin": b"before"}
        assert all(file.completed for file in emulator.files())
        (record,) = emulator.records()
        assert record.status == HeldStatus.COMPLETED
        assert emulator.locks() == ()
        assert first not in {call.lock_id for call in emulator.seen.requests("files.create")[1:]}
    assert caplog.text.count("the service is out of reach since") == 1


async def test_a_lock_that_ran_out_is_asked_for_as_long_as_an_outage_is_waited_for():
    asked = []

    async def renew(lock_id):
        asked.append(lock_id)
        raise refused()

    clock = FakeClock()
    keeper = Keeper(
        Grant("lock", clock.now),
        life=60.0,
        clock=clock,
        renew=renew,
        take=lambda: renew("another"),
        retake=lambda: renew("looked at"),
        outage=600.0,
    )
    began = clock.now
    ended = asyncio.Event()
    await keeper.keep(ended.set)
    assert ended.is_set()
    assert clock.now - began >= 600
