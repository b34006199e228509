"""What is sent again, when, and how often; what is not."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from koodrive_async import (
    ApiError,
    BearerToken,
    ConnectionFailed,
    DeadlineExceeded,
    KooDrive,
    MalformedResponse,
    Module,
    NewBackupFile,
    NewScope,
    RateLimited,
    RetryPolicy,
    ServerFault,
    Timeouts,
)
from koodrive_async.emulator import Fault
from tests.interface.scripted import LOCK, TLS, answer, client_of, raw, reset, silence

pytestmark = pytest.mark.anyio

DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
FILE = NewBackupFile(file_name="a", sha256=DIGEST, length=1)
READ: dict[str, Any] = {
    "code": 0,
    "data": {"deviceId": "1", "recordId": "1", "lockId": "1", "configName": "n"},
}
UNAVAILABLE = answer({"code": 1, "msg": "later"}, 503)

REPEATABLE = {
    "devices.list": lambda drive: drive.devices.list(),
    "configs.list": lambda drive: drive.configs.list("1", "100"),
    "configs.get": lambda drive: drive.configs.get("1", "100", "n"),
    "scopes.list": lambda drive: drive.scopes.list("1", "100"),
    "locks.create": lambda drive: drive.locks.create("100"),
    "locks.renew": lambda drive: drive.locks.renew(LOCK),
    "locks.release": lambda drive: drive.locks.release(LOCK),
    "records.list": lambda drive: drive.records.list("100").collect(),
    "records.get": lambda drive: drive.records.get("1"),
    "files.list": lambda drive: drive.files.list("1").collect(),
    "files.complete": lambda drive: drive.files.complete("1"),
    "files.download_urls": lambda drive: drive.files.download_urls("c", ["1"]),
}
ONCE_ONLY = {
    "devices.unbind": lambda drive: drive.devices.unbind("1"),
    "configs.update": lambda drive: drive.configs.update("1", "100", "n", current="a", new="b"),
    "scopes.add": lambda drive: drive.scopes.add("1", "100", [NewScope(local_path="/a")]),
    "scopes.delete": lambda drive: drive.scopes.delete("1", ["1"]),
    "records.create": lambda drive: drive.records.create("1", "100", lock_id=LOCK),
    "records.delete": lambda drive: drive.records.delete("1", lock_id=LOCK),
    "files.create": lambda drive: drive.files.create("1", FILE, lock_id=LOCK),
    "tokens.refresh": lambda drive: drive.tokens.refresh("r"),
}
PASSING = {
    "503": UNAVAILABLE,
    "500": answer("", 500),
    "502 in HTML": answer("<html>", 502),
    "504": answer("", 504),
    "408": answer("", 408),
    "520": answer("<html>", 520),
    "529": answer({"code": 529}, 529),
    "HTML": answer("<html>Maintenance</html>", 200),
    "nothing": answer("", 200),
    "a piece of JSON": answer('{"code": 0, "da', 200),
    "another's JSON": answer('{"error": "x"}', 200),
    "another's list": answer("[]", 200),
    "reset": reset(),
    "reset in the answer": reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
    "cut off": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
    "no answer": raw(b""),
    "13000201": answer({"code": 13000201, "msg": "INNER_INVOKE_FAILURE"}, 400),
    "13000304": answer({"code": 13000304, "msg": "Target directory is abnormal."}, 400),
    "13000403": answer({"code": 13000403, "msg": "CHANGE_FILE_STATE_FAILURE"}, 400),
}


# --- what is repeated --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [UNAVAILABLE, reset()], ids=["503", "reset"])
@pytest.mark.parametrize("name", REPEATABLE)
async def test_a_call_that_may_be_repeated_is(client, scripted, name, fault):
    good = {**READ, "data": []} if "list" in name else READ
    scripted.replies(fault, fault, good)
    await REPEATABLE[name](client)
    assert len(scripted.requests) == 3


@pytest.mark.parametrize("name", PASSING)
async def test_what_passes_is_waited_for(client, scripted, name):
    scripted.replies(PASSING[name], {"code": 0})
    await client.devices.list()
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("kept_alive", [False, True])
@pytest.mark.parametrize("fault", [UNAVAILABLE, reset(), raw(b"")], ids=["503", "reset", "closed"])
@pytest.mark.parametrize("name", ONCE_ONLY)
async def test_a_call_that_may_have_acted_is_not_repeated(
    client, scripted, name, fault, kept_alive
):
    if kept_alive:
        scripted.replies({"code": 0})
        await client.devices.list()  # locks have a connection of their own
        scripted.requests.clear()
    scripted.replies(fault)
    failures: tuple[type[ApiError | ConnectionFailed], ...] = (ApiError, ConnectionFailed)
    with pytest.raises(failures) as caught:
        await ONCE_ONLY[name](client)
    assert len(scripted.requests) == 1
    assert caught.value.attempts == 1
    assert scripted.connections == 1


@pytest.mark.parametrize("name", ["records.create", "files.create", "scopes.add"])
async def test_a_creating_call_that_timed_out_is_not_repeated(scripted, name):
    scripted.otherwise = lambda _: silence
    async with client_of(scripted, timeouts=Timeouts(answer=0.05)) as client:
        with pytest.raises(DeadlineExceeded) as caught:
            await ONCE_ONLY[name](client)
    assert caught.value.sent
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("name", ONCE_ONLY)
async def test_any_call_is_repeated_after_429(client, scripted, name):
    refused = answer({"code": "APIGW.0308", "msg": "slow down"}, 429)
    session = {"sessionInfo": {"accessToken": "t"}}
    scripted.replies(refused, {**READ, "data": {**READ["data"], **session}})
    await ONCE_ONLY[name](client)
    assert len(scripted.requests) == 2


async def test_a_creating_call_is_repeated_when_the_connection_was_refused(fake_clock):
    """The third attempt finds somebody at home."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"code": 0, "data": {"deviceId": "1"}}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
            writer.close()

        original, servers = fake_clock.sleep, []

        async def sleep(seconds):
            await original(seconds)
            if len(fake_clock.slept) == 2:
                servers.append(await asyncio.start_server(serve, sock=sock))

        fake_clock.sleep = sleep
        async with KooDrive(
            f"http://127.0.0.1:{port}",
            auth=BearerToken("t"),
            user_id="u",
            clock=fake_clock,
            tls=TLS,
        ) as client:
            device = await client.devices.bind("m")
        assert device.device_id == "1"
        assert len(fake_clock.slept) == 2
        servers[0].close()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lost-answer", "devices.bind", times=2),
        Fault("error", "devices.bind", status=503, times=2),
        Fault("reset", "devices.bind", moment="after", times=2),
    ],
    ids=["lost", "503", "reset"],
)
async def test_a_device_is_bound_once_when_an_answer_is_lost(drive, koodrive_emulator, fault):
    koodrive_emulator.faults.add(fault)
    device = await drive.devices.bind("m", name="name")
    assert await drive.devices.list() == (device,)


DEVICE = {"deviceId": "1", "machineCode": "m"}
ANOTHER = {"deviceId": "2", "machineCode": "M"}


@pytest.mark.parametrize(("status", "code"), [(400, 13000102), (400, 13000312), (409, 13000999)])
async def test_a_machine_whose_binding_is_refused_may_be_bound_already(scripted, status, code):
    scripted.replies(
        answer({"code": code, "msg": "no"}, status), {"code": 0, "data": [ANOTHER, DEVICE]}
    )
    async with client_of(scripted) as client:
        assert (await client.devices.bind("m")).device_id == "1"


async def test_a_machine_that_is_refused_and_not_bound_is_refused(scripted):
    scripted.replies(answer({"code": 7, "msg": "no"}, 409), {"code": 0, "data": [ANOTHER]})
    async with client_of(scripted) as client:
        with pytest.raises(ApiError) as caught:
            await client.devices.bind("m")
    assert caught.value.code == "7"


async def test_a_deletion_whose_answer_is_lost_on_a_kept_connection_is_not_sent_twice(
    drive, koodrive_emulator, device_id
):
    koodrive_emulator.faults.add(Fault("lost-answer", "devices.unbind", times=1))
    with pytest.raises(ConnectionFailed):
        await drive.devices.unbind(device_id)
    assert koodrive_emulator.seen.count("devices.unbind") == 1


@pytest.mark.parametrize(
    "answered",
    [
        answer("<html>"),
        answer(""),
        answer('{"code": 0, "da'),
        answer("[]"),
        answer({"data": []}),
        answer("<html>", 520),
        answer("", 529),
    ],
    ids=["a page", "nothing", "half of it", "a list", "no code", "520", "529"],
)
async def test_what_a_gateway_says_instead_of_the_service_is_not_final(client, scripted, answered):
    scripted.replies(answered, {"code": 0, "data": []})
    assert await client.devices.list() == ()
    assert len(scripted.requests) == 2


@pytest.mark.parametrize(
    "answered",
    [
        answer({"code": 13000102, "msg": "no"}, 400),
        answer({"code": 13000309, "msg": "no"}, 404),
        answer({"code": 7, "msg": "no"}, 409),
        answer({"code": 0, "data": [{}]}),
        answer("<html>", 302),
    ],
)
async def test_what_would_not_help_is_not_repeated(client, scripted, answered):
    scripted.replies(answered)
    with pytest.raises((ApiError, MalformedResponse)):
        await client.devices.list()
    assert len(scripted.requests) == 1


# --- how often and how long --------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_attempts_end_and_are_counted_on_the_exception(scripted, fake_clock, attempts):
    scripted.otherwise = lambda _: UNAVAILABLE
    policy = RetryPolicy(attempts=attempts)
    async with client_of(scripted, retry=policy, clock=fake_clock) as client:
        with pytest.raises(ServerFault) as caught:
            await client.devices.list()
    assert caught.value.attempts == len(scripted.requests) == attempts
    assert len(fake_clock.slept) == attempts - 1
    assert (f"{attempts} attempts" in str(caught.value)) == (attempts > 1)


async def test_waits_grow_within_their_bounds(scripted, fake_clock):
    scripted.otherwise = lambda _: UNAVAILABLE
    policy = RetryPolicy(attempts=9, base_delay=0.5, max_delay=4, per_second=None)
    async with client_of(scripted, retry=policy, clock=fake_clock) as client:
        for _ in range(5):
            with pytest.raises(ServerFault):
                await client.devices.list()
    bounds = [0.5, 1, 2, 4, 4, 4, 4, 4] * 5
    assert all(0 <= slept <= bound for slept, bound in zip(fake_clock.slept, bounds, strict=True))
    # chance decides where within the bounds
    assert len(set(fake_clock.slept)) > 30


async def test_the_service_is_not_asked_before_the_time_it_named(scripted, fake_clock):
    scripted.replies(
        answer("", 503, retry_after="7"), answer("", 429, retry_after="11"), {"code": 0}
    )
    policy = RetryPolicy(base_delay=1)
    async with client_of(scripted, retry=policy, clock=fake_clock) as client:
        await client.devices.list()
    first, second = fake_clock.slept
    assert 7 <= first <= 8
    assert 11 <= second <= 13


async def test_a_wait_longer_than_allowed_is_not_begun(scripted, fake_clock):
    scripted.replies(answer({"code": 1, "msg": "tomorrow"}, 429, retry_after="86400"))
    async with client_of(scripted, clock=fake_clock) as client:
        with pytest.raises(RateLimited) as caught:
            await client.devices.list()
    assert caught.value.retry_after == 86400
    assert "86400 s, more than RetryPolicy.max_retry_after (120 s)" in str(caught.value)
    assert fake_clock.slept == []


async def test_no_wait_is_logged_as_an_error(scripted, caplog):
    caplog.set_level(logging.DEBUG, logger="koodrive_async")
    scripted.replies(UNAVAILABLE, {"code": 0})
    async with client_of(scripted) as client:
        await client.devices.list()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lost-answer", "records.complete", times=1),
        Fault("error", "records.complete", status=503, times=2),
        Fault("reset", "records.complete", moment="after", times=1),
    ],
    ids=lambda fault: fault.kind,
)
async def test_completing_a_record_is_repeated_and_settled_by_looking(
    drive, device_id, koodrive_emulator, fault
):
    koodrive_emulator.faults.add(fault)
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"abc", name="x")
    assert (await drive.records.get(session.record.record_id)).end_time is not None
