"""No page lists the codes of a lock: whatever a refusal says, what it means is looked up."""

from __future__ import annotations

import anyio
import pytest

from koodrive_async import (
    ApiError,
    AuthenticationError,
    InsufficientSpace,
    InvalidRequest,
    LockLost,
    LockRefused,
    Module,
    RetryPolicy,
    Timeouts,
)
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from tests.interface.scripted import TLS, answer, client_of
from tests.interface.wall_clock import WallClock

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)
REFUSALS = [
    (400, "13000102"),
    (400, "13000499"),
    (400, "13000901"),
    (400, "13000101"),
    (400, "13000309"),
    (400, "APIGW.0901"),
    (403, "13000102"),
    (403, "13000901"),
    (404, "13000901"),
    (409, "13000901"),
    (410, "lock.gone"),
    (423, "13000901"),
]


@pytest.fixture(params=REFUSALS, ids=lambda refusal: f"{refusal[0]} {refusal[1]}")
def refusal(request):
    status, code = request.param
    return {"status": status, "code": code}


@pytest.fixture
def clock():
    return WallClock()


@pytest.fixture
def service(tmp_path, clock):
    with Emulator(tmp_path / "koodrive", clock=clock.time) as emulator:
        yield emulator


@pytest.fixture
async def drive(service, clock):
    async with connect(service, clock=clock, retry=ONCE, tls=TLS) as drive:
        yield drive


async def going_on():
    pass


async def test_a_lock_of_an_earlier_run_that_is_refused_is_replaced(drive, service, refusal):
    service.faults.add(Fault("error", "locks.renew", times=1, **refusal))
    async with drive.locks.hold(Module.FOLDER, lock_id="3f0c@100") as lease:
        assert [lock.lock_id for lock in service.locks()] == [lease.lock_id]


async def test_a_lock_of_an_earlier_run_that_lives_is_not_in_the_way(drive, service, refusal):
    left = (await drive.locks.create(Module.FOLDER)).lock_id
    service.faults.add(Fault("error", "locks.renew", times=1, **refusal))
    async with drive.locks.hold(Module.FOLDER, lock_id=left) as lease:
        assert lease.lock_id != left


async def test_a_service_that_fails_to_renew_an_old_lock_may_give_another(drive, service):
    service.faults.add(Fault("error", "locks.renew", status=500, times=1))
    async with drive.locks.hold(Module.FOLDER, lock_id="3f0c@100") as lease:
        assert [lock.lock_id for lock in service.locks()] == [lease.lock_id]


async def test_a_lock_that_is_held_is_waited_for_whatever_the_refusal_says(service, clock, refusal):
    held = Fault("error", "locks.create", times=2, **refusal)
    service.faults.add(held)
    patient = Timeouts(lock=600)
    async with (
        connect(service, clock=clock, retry=ONCE, timeouts=patient, tls=TLS) as drive,
        anyio.create_task_group() as group,
    ):
        group.start_soon(clock.advance, 60)
        async with drive.locks.hold(Module.FOLDER):
            assert service.faults.hits(held) == 2
            group.cancel_scope.cancel()


async def test_a_lock_that_is_held_is_said_to_be_so(drive, service, refusal):
    service.faults.add(Fault("error", "locks.create", times=1, **refusal))
    with pytest.raises(LockRefused) as caught:
        await drive.locks.create(Module.FOLDER)
    assert (caught.value.status, caught.value.code) == (refusal["status"], refusal["code"])


async def test_a_write_that_is_refused_for_its_lock_is_made_under_the_next(drive, service, refusal):
    """Both the write and the renewal say the same unknown thing of a lock that has ended."""
    device = await drive.devices.bind("m")
    service.faults.add(
        Fault("error", "records.create", times=1, **refusal),
        Fault("error", "locks.renew", times=1, **refusal),
    )
    async with drive.locks.hold(Module.FOLDER, retake=going_on) as lease:
        first = lease.lock_id
        await drive.locks.release(first)

        async def write():
            return await drive.records.create(
                device.device_id, Module.FOLDER, lock_id=lease.lock_id
            )

        await lease.run(write)
        assert lease.losses == 1
        assert lease.lock_id != first


async def test_a_write_that_is_refused_under_a_lock_that_lives_is_raised_as_it_is(
    drive, service, refusal
):
    device = await drive.devices.bind("m")
    refused = Fault("error", "records.create", **refusal)
    service.faults.add(refused)
    async with drive.locks.hold(Module.FOLDER, retake=going_on) as lease:

        async def write():
            return await drive.records.create(
                device.device_id, Module.FOLDER, lock_id=lease.lock_id
            )

        with pytest.raises(ApiError) as caught:
            await lease.run(write)
        assert (caught.value.status, caught.value.code) == (refusal["status"], refusal["code"])
        assert lease.losses == 0
        # once more, for the renewal may have brought the lock back, which may end once more
        assert service.faults.hits(refused) == 2
        assert service.seen.count("locks.renew") == 2


async def test_many_files_that_are_refused_alike_are_looked_at_once(drive, service, monkeypatch):
    monkeypatch.setattr("koodrive_async.resources.lease._FRESH", 600.0)  # on a busy machine too
    device = await drive.devices.bind("m")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        await session.upload(b"x", name="accepted")
        created = service.seen.count("files.create")
        service.faults.add(Fault("error", "files.create", status=400, code="13000101"))
        for number in range(8):
            with pytest.raises(InvalidRequest):
                await session.upload(b"%d" % number, name=f"refused {number}")
    # the first file: twice as it is, once with its space named
    assert service.seen.count("files.create") - created == 3 + 7
    assert service.seen.count("locks.renew") == 3 + 7
    assert service.seen.count("devices.list") == 1


async def test_a_lock_that_is_lost_between_files_that_are_refused_alike_is_replaced(drive, service):
    device = await drive.devices.bind("m")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        refused = Fault("error", "files.create", status=400, code="13000901")
        service.faults.add(refused)
        with pytest.raises(ApiError):
            await session.upload(b"x", name="refused")
        service.faults.clear()
        await drive.locks.release(session.lock.lock_id)
        service.faults.add(Fault("error", "files.create", status=400, code="13000901", times=1))
        assert (await session.upload(b"y", name="a")).outcome == "uploaded"
        assert session.lock.losses == 1


async def test_what_is_plainly_of_something_else_asks_nothing_of_the_lock(drive, service):
    service.faults.add(Fault("error", "files.create", status=400, code="13000311"))
    device = await drive.devices.bind("m")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        with pytest.raises(InsufficientSpace):
            await session.upload(b"x", name="a")
    assert service.seen.count("locks.renew") == 0


@pytest.mark.parametrize(("status", "code"), [(404, "13000309"), (404, ""), (400, "13000901")])
async def test_an_edition_without_a_list_of_devices_does_not_blame_the_credentials(
    drive, service, status, code
):
    service.faults.add(
        Fault("error", "locks.create", status=403, code="13000410"),
        Fault("error", "devices.list", status=status, code=code),
    )
    with pytest.raises(LockRefused):
        await drive.locks.create(Module.FOLDER)


async def test_a_lock_is_quoted_to_the_service_that_gave_it_and_to_no_other(drive, tmp_path):
    with Emulator(tmp_path / "other", dialect=Dialect(lock_header="everywhere")) as other:
        async with connect(other, retry=ONCE, tls=TLS) as stranger:

            async def write():
                return await stranger.records.list(Module.FOLDER).collect()

            async with drive.locks.hold(Module.FOLDER) as lease:
                with pytest.raises(ApiError):
                    await lease.run(write)
                assert other.seen.count("records.list") > 0
                assert not any("x-backup-lock-id" in lowered(call.headers) for call in other.seen)
                # a lock of its own is found behind the one of another service
                async with stranger.locks.hold(Module.FOLDER) as own:
                    assert await own.run(lambda: lease.run(write)) == []


def lowered(headers):
    return {name.lower() for name in headers}


CREDENTIALS = [(401, "13000101"), (400, "APIGW.0301"), (400, "13000101"), (403, "13000901")]


@pytest.fixture(params=CREDENTIALS, ids=lambda refusal: f"{refusal[0]} {refusal[1]}")
def not_signed_in(request):
    status, code = request.param
    return answer({"code": code, "msg": "no"}, status)


async def test_credentials_that_are_refused_are_not_taken_for_a_lock_that_is_held(
    scripted, not_signed_in
):
    scripted.otherwise = lambda _: not_signed_in
    async with client_of(scripted, retry=ONCE, timeouts=Timeouts(lock=600)) as client:
        with pytest.raises(AuthenticationError):
            async with client.locks.hold(Module.FOLDER):
                pass


async def test_credentials_that_end_during_a_session_are_said_to_have_ended(
    scripted, not_signed_in
):
    granted = {"code": 0, "data": {"lockId": "1@100"}}
    record = {"code": 0, "data": {"recordId": "7", "status": 0}}
    scripted.replies(granted, record)
    scripted.otherwise = lambda _: not_signed_in
    async with client_of(scripted, retry=ONCE) as client:
        with pytest.raises(AuthenticationError):
            async with client.backup("1", Module.FOLDER) as session:
                await session.upload(b"x", name="a")


async def test_a_session_goes_on_under_another_lock_whatever_the_refusal_says(
    drive, service, refusal
):
    device = await drive.devices.bind("m")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        await session.upload(b"first", name="first")
        await drive.locks.release(session.lock.lock_id)
        service.faults.add(
            Fault("error", "files.create", times=1, **refusal),
            Fault("error", "locks.renew", times=1, **refusal),
        )
        assert (await session.upload(b"second", name="second")).outcome == "uploaded"
        assert session.lock.losses == 1
    assert all(file.completed for file in service.files())


async def test_a_lock_that_another_took_is_lost_whatever_the_refusals_say(drive, service, refusal):
    device = await drive.devices.bind("m")

    async def lose():
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            await drive.locks.release(session.lock.lock_id)
            await drive.locks.create(Module.FOLDER)
            service.faults.add(
                Fault("error", "files.create", **refusal),
                Fault("error", "locks.renew", **refusal),
                Fault("error", "locks.create", **refusal),
            )
            await session.upload(b"x", name="a")

    with pytest.raises(LockLost):
        await lose()
