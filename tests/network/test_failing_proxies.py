"""A proxy that does not do its work is named, with what can be done; and nothing waits for ever."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
import socket
import struct
import sys
import traceback
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count

import anyio
import pytest

from koodrive_async import (
    ApiError,
    BearerToken,
    ConnectionFailed,
    DeadlineExceeded,
    KooDrive,
    PartRejected,
    ProxyFailed,
    RetryPolicy,
    Timeouts,
    Tls,
    UntrustedCertificate,
)
from koodrive_async.testing import connect
from tests.interface.scripted import TLS
from tests.network.forward_proxy import ForwardProxy, answering, read_head, silent
from tests.upload.raw_server import FOR_EVER, open_lane, put, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[
        False,
        pytest.param(True, marks=pytest.mark.skipif(sys.platform == "win32", reason="no uvloop")),
    ],
    ids=["asyncio", "uvloop"],
)
def anyio_backend(request):
    return ("asyncio", {"use_uvloop": request.param})


SECRET = "pa55word"
THERE = "host.test:443"
ENOUGH = RetryPolicy(attempts=3, base_delay=0.0, per_second=None, outage=0)
PRESIGNED = "https://host.test/path?X-Amz-Signature=secret"
CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@asynccontextmanager
async def caller(proxy_url, connect):
    """Give what makes a call of the interface, as often as a policy says."""
    async with KooDrive(
        "https://host.test",
        auth=BearerToken("token"),
        user_id="user",
        proxy=proxy_url,
        tls=TLS,
        journal=None,
        retry=ENOUGH,
        timeouts=Timeouts(connect=connect, answer=FOR_EVER),
    ) as drive:
        yield drive.devices.list


@asynccontextmanager
async def sender(proxy_url, connect):
    """Give what sends a part, once."""
    async with open_lane(proxy=proxy_url, connect=connect) as lane:

        async def send():
            await put(lane, PRESIGNED)

        yield send


both = pytest.mark.parametrize("client", [caller, sender], ids=["call", "part"])


async def failure(client, proxy, *, kind=ProxyFailed, connect=FOR_EVER, pair=""):
    url = proxy.url.replace("://", f"://{pair}")
    async with client(url, connect) as use:
        with pytest.raises(kind) as error:
            await use()
    assert proxy.name in str(error.value)
    assert error.value.sent is False
    await all_gone(proxy)
    return error.value


async def all_gone(proxy):
    """Wait until nobody is connected any more."""
    while proxy.open:
        proxy.gone.clear()
        await proxy.gone.wait()


def refusal(status, *headers):
    lines = [f"HTTP/1.1 {status} No", *headers, "Content-Length: 5"]
    return answering(("\r\n".join(lines) + "\r\n\r\n<html").encode())


@both
@pytest.mark.parametrize(
    ("reply", "status", "advice"),
    [
        (refusal(407, "Proxy-Authenticate: Basic realm=a"), 407, "user:password@"),
        (refusal(407, "Proxy-Authenticate: NTLM"), 407, "takes NTLM only"),
        (refusal(403), 403, f"does not let through to {THERE} .*ask its administrator"),
        (refusal(502), 502, f"could not reach {THERE}"),
        (refusal(302), 302, f"does not let through to {THERE}"),
        (answering(b""), None, "it closed the connection.*allows CONNECT"),
        (answering(b"HTTP/1.1 2"), None, "what it answered is not HTTP"),
        (answering(b"SSH-2.0-OpenSSH\r\n"), None, "what it answered is not HTTP"),
        (answering(b"HTTP/1.1 abc\r\n\r\n"), None, "what it answered is not HTTP"),
        (answering(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20_000), None, "is not HTTP"),
        (answering(b"HTTP/1.1 200 OK\r\n\r\n<html>"), None, "says more"),
    ],
)
async def test_a_proxy_that_does_not_connect_is_named_with_what_to_do(
    client, reply, status, advice
):
    async with ForwardProxy(instead=reply) as proxy:
        error = await failure(client, proxy)
    assert error.status == status
    assert error.proxy == proxy.name
    assert isinstance(error, ConnectionFailed)
    assert re.search(advice, str(error))


@both
async def test_a_proxy_that_resets_the_connection_is_a_failed_connection(client):
    async def reset(reader, writer):
        await read_head(reader)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()

    async with ForwardProxy(instead=reset) as proxy:
        error = await failure(client, proxy)
    assert "closed the connection" in str(error)


@both
async def test_a_proxy_that_hangs_is_left_at_the_deadline(client):
    async with ForwardProxy(instead=silent) as proxy:
        error = await failure(client, proxy, kind=DeadlineExceeded, connect=0.1)
    assert f"to {THERE} through the proxy" in str(error)
    assert "Timeouts.connect" in str(error)


@both
async def test_a_proxy_that_trickles_is_left_at_the_deadline(client):
    async def trickle(_, writer):
        writer.write(b"HTTP/1.1 200 ")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await anyio.sleep(0.01)

    async with ForwardProxy(instead=trickle) as proxy:
        await failure(client, proxy, kind=DeadlineExceeded, connect=0.1)


@both
async def test_a_proxy_that_connects_to_what_does_not_speak_tls_is_left_at_the_deadline(client):
    async def connect_to_nobody(reader, writer):
        await read_head(reader)
        writer.write(CONNECTED)
        await silent(reader, writer)

    async with ForwardProxy(instead=connect_to_nobody) as proxy:
        error = await failure(client, proxy, kind=DeadlineExceeded, connect=0.1)
    assert "Timeouts.connect" in str(error)


@both
async def test_a_proxy_that_connects_and_hangs_up_is_named(client):
    async with ForwardProxy(instead=answering(CONNECTED)) as proxy:
        error = await failure(client, proxy, kind=ConnectionFailed)
    assert "cannot connect" in str(error)


@both
async def test_a_proxy_that_is_not_there_is_named(client):
    async with ForwardProxy() as proxy:
        pass
    error = await failure(client, proxy)
    assert "cannot connect to the proxy" in str(error)
    assert "refused" in str(error)


@both
async def test_a_proxy_whose_name_nobody_knows_is_named(client):
    async with client("http://proxy.invalid:1", FOR_EVER) as use:
        with pytest.raises(ProxyFailed, match=r"the proxy proxy\.invalid:1"):
            await use()


@both
async def test_a_cancelled_wait_for_a_proxy_leaves_nothing(client):
    async def listen(reader, writer):
        await read_head(reader)
        asked.set()
        await silent(reader, writer)

    asked = anyio.Event()
    async with ForwardProxy(instead=listen) as proxy, client(proxy.url, FOR_EVER) as use:
        async with anyio.create_task_group() as group:
            group.start_soon(use)
            await asked.wait()
            group.cancel_scope.cancel()
        await all_gone(proxy)


class Cancelled:
    """Awaits something, and is cancelled at one of the waits that it consists of.

    :param wait: Which one, from 1.
    :param late: When that wait is over already, so that what it brings gets lost.
    """

    def __init__(self, work, wait, *, late):
        self._work = work
        self._left = wait
        self._late = late

    @property
    def is_in_vain(self):
        """Whether there were fewer waits."""
        return self._left > 0

    def __await__(self):
        task = asyncio.current_task()
        assert task is not None
        work = self._work.__await__()
        step = partial(work.send, None)
        while True:
            try:
                future = step()
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0:
                if self._late:
                    future.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                step = partial(work.send, (yield future))
            except BaseException as error:  # noqa: BLE001 - passed on
                step = partial(work.throw, error)


@both
@pytest.mark.parametrize("late", [False, True], ids=["while waiting", "with the result"])
async def test_cancelling_at_any_wait_leaves_nothing(client, server_tls, late):
    """Who is cancelled while connecting closes what there is, whichever step that is at."""

    async def use_until(wait):
        async with client(proxy.url, FOR_EVER) as use:
            cancelled = Cancelled(use(), wait, late=late)
            with suppress(UntrustedCertificate):
                await cancelled
            return cancelled.is_in_vain

    async with (
        serving(tls=server_tls) as server,
        ForwardProxy(known={"host.test": "127.0.0.1"}, port=server.port) as proxy,
    ):
        for wait in count(1):
            task = asyncio.create_task(use_until(wait))
            await asyncio.wait([task])
            await all_gone(proxy)
            if not task.cancelled():
                break
        assert task.result()
        assert wait > 3


# --- how often ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "attempts"), [(407, 1), (403, 1), (429, 3), (502, 3), (503, 3)])
async def test_a_proxy_that_does_not_want_to_is_asked_once(status, attempts):
    async with ForwardProxy(instead=refusal(status)) as proxy:
        error = await failure(caller, proxy)
    assert (proxy.connections, error.attempts) == (attempts, attempts)
    assert error.gave_up is not None


async def test_a_proxy_that_recovers_does_its_work(secure_emulator, ca_file):
    async def fail_once(reader, writer):
        await refusal(502)(reader, writer)
        proxy._instead = None

    async with (
        ForwardProxy(instead=fail_once) as proxy,
        connect(secure_emulator, tls=Tls(ca_file=ca_file), proxy=proxy.url) as drive,
    ):
        await drive.devices.list()
    assert proxy.connections == 2


# --- without TLS -------------------------------------------------------------------------------


HTML = "Content-Type: text/html"


@asynccontextmanager
async def plain_caller(proxy_url, connect):
    async with KooDrive(
        "http://host.test",
        auth=BearerToken("token"),
        user_id="user",
        proxy=proxy_url,
        journal=None,
        retry=ENOUGH,
        timeouts=Timeouts(connect=connect, answer=FOR_EVER),
        allow_plain_http=("host.test",),
    ) as drive:
        yield drive.devices.list


@asynccontextmanager
async def plain_sender(proxy_url, connect):
    async with open_lane(proxy=proxy_url, connect=connect) as lane:

        async def send():
            await put(lane, "http://host.test/path?X-Amz-Signature=secret")

        yield send


both_plain = pytest.mark.parametrize("client", [plain_caller, plain_sender], ids=["call", "part"])


@both_plain
@pytest.mark.parametrize(
    ("reply", "advice", "sent"),
    [
        (refusal(407), "asks for a user", False),
        (refusal(403, HTML), "does not let through to host.test:80 .*ask its administrator", False),
        (refusal(502, HTML), "could not reach host.test:80", True),
    ],
)
async def test_what_a_proxy_says_to_a_request_without_tls_is_not_taken_for_the_hosts(
    client, reply, advice, sent
):
    async with ForwardProxy(instead=reply) as proxy, client(proxy.url, FOR_EVER) as use:
        with pytest.raises(ProxyFailed, match=advice) as error:
            await use()
    assert proxy.name in str(error.value)
    assert error.value.sent is sent
    assert proxy.connections == (3 if sent and client is plain_caller else 1)


@both_plain
@pytest.mark.parametrize("status", [403, 502])
async def test_what_the_host_says_is_not_taken_for_the_proxys(client, status):
    reply = refusal(status, "Content-Type: application/json")
    async with ForwardProxy(instead=reply) as proxy, client(proxy.url, FOR_EVER) as use:
        with pytest.raises(ApiError if client is plain_caller else PartRejected):
            await use()


async def test_a_call_without_tls_names_a_proxy_that_is_not_there():
    async with ForwardProxy() as proxy:
        pass
    drive = KooDrive(
        "http://host.test",
        auth=BearerToken("t"),
        user_id="u",
        proxy=proxy.url,
        journal=None,
        retry=ENOUGH,
        allow_plain_http=("host.test",),
    )
    async with drive:
        with pytest.raises(ProxyFailed, match=f"cannot connect to the proxy {proxy.name}"):
            await drive.devices.list()


# --- secrets -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("reply", [refusal(407), refusal(403), answering(b"garbage"), silent])
async def test_no_password_of_a_proxy_gets_out(client, reply, caplog):
    caplog.set_level(logging.DEBUG)
    async with ForwardProxy(instead=reply) as proxy:
        error = await failure(
            client,
            proxy,
            kind=ConnectionFailed if reply is not silent else DeadlineExceeded,
            connect=FOR_EVER if reply is not silent else 0.1,
            pair=f"me:{SECRET}@",
        )
    shown = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    shown += str(pickle.loads(pickle.dumps(error)).__dict__)
    assert SECRET not in shown
    assert "bWU6cGE1NXdvcmQ" not in shown
    assert "Signature" not in shown
