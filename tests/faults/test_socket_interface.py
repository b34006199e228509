"""What networks do to calls: each ends as one exception of ours, or is tried again where it may."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress

import pytest
import trustme

from koodrive_async import (
    ApiError,
    BearerToken,
    ConnectionFailed,
    DeadlineExceeded,
    KooDrive,
    MalformedResponse,
    NewScope,
    RateLimited,
    RetryPolicy,
    Timeouts,
    UntrustedCertificate,
)
from tests.interface.scripted import LOCK, TLS, Scripted, answer, client_of, raw, reset, silence

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)
SCOPE = NewScope(local_path="/a")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = "x" * 8_000_000
"""More than the system takes before the other side reads."""


async def half_an_answer(request, writer):
    writer.write(HEAD + b'{"code": ')
    await writer.drain()
    await silence(request, writer)


async def headers_only(request, writer):
    writer.write(HEAD)
    await writer.drain()
    await silence(request, writer)


async def drops(_request, writer):
    """Send a byte at a time, and never the last."""
    with suppress(OSError):
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0)


BROKEN = {
    "reset": reset(),
    "reset after the head": reset(HEAD),
    "reset in the body": reset(HEAD + b'{"code"'),
    "closed": raw(b""),
    "closed in the head": raw(b"HTTP/1.1 200"),
    "closed after the head": raw(HEAD),
    "closed in the body": raw(HEAD + b'{"code": 0}'),
    "closed in a chunk": raw(CHUNKED + b"20\r\n{"),
    "closed between chunks": raw(CHUNKED + b"1\r\n{\r\n"),
    "garbage for a chunk": raw(CHUNKED + b"no number\r\n{}"),
    "garbage": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "noise": raw(bytes(range(256)) * 16),
    "half a line and a reset": reset(b"HTTP/1.1 2"),
}
STUCK = {
    "silence": silence,
    "headers only": headers_only,
    "half an answer": half_an_answer,
    "drops": drops,
}


@pytest.fixture
async def scripted():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def client(scripted):
    async with client_of(scripted) as client:
        yield client


@pytest.fixture
async def once(scripted):
    """A client that never repeats."""
    async with client_of(scripted, retry=ONCE) as client:
        yield client


@pytest.fixture
def closed_port():
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def nowhere(port, **settings):
    settings.setdefault("retry", ONCE)
    return KooDrive(
        f"http://127.0.0.1:{port}", auth=BearerToken("t"), user_id="u", tls=TLS, **settings
    )


# --- what is repeated, and what is known of what is not ----------------------------------------


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_look_is_repeated(client, scripted, name):
    scripted.replies(BROKEN[name], BROKEN[name], {"code": 0})
    assert await client.devices.list() == ()
    assert scripted.methods == ["GET"] * 3


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_creation_is_not_repeated(client, scripted, name):
    scripted.replies(BROKEN[name])
    with pytest.raises(ConnectionFailed) as caught:
        await client.scopes.add("1", "100", [SCOPE])
    error = caught.value
    assert error.sent
    assert (error.attempts, error.history) == (1, ())
    assert error.gave_up == "the service may have acted on it, and may not do it twice"
    assert scripted.methods == ["POST"]


@pytest.mark.parametrize("name", STUCK)
async def test_a_look_that_is_stuck_is_repeated_at_the_deadline(scripted, name):
    scripted.replies(STUCK[name], {"code": 0})
    async with client_of(scripted, timeouts=Timeouts(answer=0.5)) as client:
        assert await client.devices.list() == ()
    assert scripted.methods == ["GET"] * 2


@pytest.mark.parametrize("name", STUCK)
async def test_a_creation_that_is_stuck_is_not_repeated(scripted, name):
    scripted.replies(STUCK[name])
    async with client_of(scripted, timeouts=Timeouts(answer=0.3)) as client:
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s for the answer") as caught:
            await client.scopes.add("1", "100", [SCOPE])
    error = caught.value
    assert error.sent
    assert (error.attempts, error.history) == (1, ())
    assert scripted.methods == ["POST"]


async def test_a_connection_that_is_to_be_closed_is_not_used_again(client, scripted):
    scripted.otherwise = lambda _: answer(connection="close")
    for _ in range(3):
        await client.devices.list()
    assert scripted.connections == 3


async def test_a_creation_does_not_fail_for_a_kept_connection_that_has_ended(client, scripted):
    """The end has come, but our event loop has not been round since."""
    writers = []

    async def reply(request, writer):
        writers.append(writer)
        await answer({"code": 0, "data": {"deviceId": "1"}})(request, writer)

    scripted.otherwise = lambda _: reply
    for _ in range(3):
        await client.devices.bind("m")
        writers[-1].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    assert scripted.methods == ["POST"] * 3
    assert scripted.connections == 3


# --- an answer before all was sent -------------------------------------------------------------


def without_reading(reply):
    """Reply first, and take what is still being sent afterwards."""

    async def answer_and_listen(request, writer):
        await reply(request, writer)
        await request.left()
        writer.close()

    return answer_and_listen


@pytest.fixture
async def hasty(scripted):
    """A server that answers after the head of a request."""
    scripted.reads_bodies = False
    return scripted


async def large_creation(client):
    await client.tokens.login("me", agent_name="carrier", password=LARGE)


async def test_an_answer_before_the_body_was_sent_is_heard(hasty, client):
    too_large = answer({"code": 13000102, "msg": "too large"}, 413, connection="close")
    hasty.replies(without_reading(too_large))
    with pytest.raises(ApiError, match="too large") as caught:
        await large_creation(client)
    assert caught.value.status == 413
    assert len(hasty.requests) == 1


@pytest.mark.parametrize("reply", [reset(), raw(b""), reset(HEAD), raw(HEAD + b"{")])
async def test_a_connection_that_ends_before_the_body_was_sent_is_not_repeated(
    hasty, client, reply
):
    hasty.replies(reply)
    with pytest.raises(ConnectionFailed) as caught:
        await large_creation(client)
    assert caught.value.sent
    assert len(hasty.requests) == caught.value.attempts == 1


async def test_a_refusal_for_the_rate_before_the_body_was_sent_is_waited_for(hasty, client):
    busy = answer({"code": 1, "msg": "busy"}, 429, connection="close")
    hasty.replies(*[without_reading(busy)] * 7)
    with pytest.raises(RateLimited) as caught:
        await large_creation(client)
    assert len(hasty.requests) == caught.value.attempts == 7


# --- how it reads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "disaster",
    [
        *BROKEN.values(),
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
        raw(b"HTTP/1.1 two-hundred\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    ],
)
async def test_a_broken_exchange_is_a_failed_connection(once, scripted, disaster):
    scripted.replies(disaster)
    with pytest.raises(ConnectionFailed) as caught:
        await once.locks.renew(LOCK)
    error = caught.value
    assert (error.method, error.path) == ("PATCH", "/koodrive/ose/v1/backup/lock")
    assert error.sent
    assert error.attempts == 1
    assert error.__cause__ is None
    assert scripted.url not in str(error)


async def test_a_call_works_again_after_a_disaster(once, scripted):
    scripted.replies(reset(HEAD), {"code": 0})
    with pytest.raises(ConnectionFailed):
        await once.locks.renew(LOCK)
    await once.locks.renew(LOCK)


async def test_a_refused_connection_says_where_and_that_nothing_was_sent(closed_port):
    async with nowhere(closed_port) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.devices.list()
    assert not caught.value.sent
    assert f"cannot connect to 127.0.0.1:{closed_port}" in str(caught.value)


async def failure_behind_tls(url, context=TLS):
    """Meet a server that speaks no TLS as it should; return what is raised."""
    async with KooDrive(url, auth=BearerToken("t"), user_id="u", retry=ONCE, tls=context) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.devices.list()
    return caught.value


async def test_a_server_without_tls_is_a_failed_connection():
    async def speak_plainly(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure_behind_tls(f"https://127.0.0.1:{port}")
    assert not error.sent
    assert "cannot connect" in str(error)


async def test_a_certificate_nobody_vouches_for_is_a_failed_connection():
    reached = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with await asyncio.start_server(
        lambda *_: reached.append(1), "127.0.0.1", 0, ssl=context
    ) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure_behind_tls(f"https://127.0.0.1:{port}")
    assert not error.sent
    assert isinstance(error, UntrustedCertificate)
    assert "certificate verify failed" in str(error)
    assert error.attempts == 1  # it would be the same certificate again
    assert reached == []


async def test_completing_a_file_has_a_deadline_of_its_own(scripted):
    scripted.otherwise = lambda _: silence
    timeouts = Timeouts(answer=30, complete=0.05)
    async with client_of(scripted, retry=ONCE, timeouts=timeouts) as client:
        with pytest.raises(DeadlineExceeded, match=r"Timeouts\.complete"):
            await client.files.complete("F1")


async def test_a_server_that_does_not_accept_is_left_at_the_deadline():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        try:
            # the queue of those who wait to be accepted is full after one or two
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                fillers.append(filler)
            async with nowhere(
                full.getsockname()[1], timeouts=Timeouts(connect=0.1, answer=30)
            ) as client:
                with pytest.raises(DeadlineExceeded, match=r"Timeouts\.connect") as caught:
                    await client.devices.list()
            assert not caught.value.sent
        finally:
            for filler in fillers:
                filler.close()


async def test_cancelling_a_call_closes_its_connection(client, scripted):
    closed = asyncio.Event()

    async def hang(request, writer):
        await silence(request, writer)
        closed.set()

    scripted.replies(hang)
    before = asyncio.all_tasks()
    call = asyncio.create_task(client.devices.list())
    await scripted.arrived.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await closed.wait()
    left = {task for task in asyncio.all_tasks() - before if "_serve" not in repr(task)}
    assert left == set()


async def test_an_error_before_the_body_was_sent_is_heard(once, scripted):
    scripted.replies(answer({"code": 13000102, "msg": "no"}, 400))
    with pytest.raises(Exception, match="13000102"):
        await once.scopes.delete("1", ["1"] * 100)


async def test_html_in_200_names_the_status(once, scripted):
    scripted.replies(answer("<html>login here</html>", content_type="text/html"))
    with pytest.raises(MalformedResponse, match="HTTP 200"):
        await once.devices.list()


async def test_each_repetition_is_logged_with_its_reason(scripted, caplog):
    caplog.set_level(logging.WARNING, logger="koodrive_async")
    scripted.replies(reset(), {"code": 0})
    async with client_of(scripted) as client:
        await client.devices.list()
    (record,) = caplog.records
    assert record.name.startswith("koodrive_async.")
    assert "attempt 1 failed" in record.getMessage()
