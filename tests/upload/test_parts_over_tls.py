"""Parts travel over TLS as they do without, and only to whom somebody trusted vouches for."""

from __future__ import annotations

import asyncio
import selectors
import ssl
import threading

import anyio
import pytest
import trustme

from koodrive_async import (
    ConnectionFailed,
    DeadlineExceeded,
    Limits,
    Module,
    PartRejected,
    RetryPolicy,
    UntrustedCertificate,
)
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.retry import Failure, first_objection
from koodrive_async.upload import lane as lane_module
from koodrive_async.upload import sockets
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.sockets import PatientSocket
from koodrive_async.upload.source import open_source
from tests.sample import sample
from tests.upload.raw_server import LARGE, MIB, OK, open_lane, put, serving, silent

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lane():
    async with open_lane() as opened:
        yield opened


def server_context(authority, *names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def client_context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority):
    return server_context(authority, "127.0.0.1")


@pytest.fixture(scope="module")
def client_tls(authority):
    return client_context(authority)


@pytest.fixture
async def secure_lane(client_tls):
    async with open_lane(tls=client_tls) as opened:
        yield opened


async def test_a_connection_with_tls_is_used_again(secure_lane, server_tls):
    async with serving(tls=server_tls) as server:
        for size in (3, 0, 2 * MIB, 3):
            await put(secure_lane, server.url, sample(size))
    assert server.connections == 1
    assert [len(request.body) for request in server.requests] == [3, 0, 2 * MIB, 3]


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("kind", ["path", "small path", "bytes", "stream"])
async def test_every_source_arrives_as_it_is_plain_and_with_tls(
    lane, secure_lane, server_tls, make_file, secure, kind
):
    data = sample(MIB if kind == "small path" else 6 * MIB + 5)
    path = make_file(len(data))
    source = {"bytes": data, "stream": [data]}.get(kind, path)
    start, size = 77, len(data) - 99
    pool = ThreadPool(1)
    async with (
        serving(tls=server_tls if secure else None) as server,
        open_source(source, pool, MemoryBudget(MIB)) as content,
    ):
        sending = secure_lane if secure else lane
        await sending.send(PlannedPart(1, start, size), content, server.url)
    await pool.aclose()
    assert server.requests[0].body == data[start : start + size]


async def test_a_refusal_in_the_middle_of_a_part_is_seen_at_once_on_an_open_connection(
    secure_lane, server_tls
):
    async def refuse(connection):
        await connection.head()
        await connection.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        await anyio.sleep_forever()

    async with serving(refuse, tls=server_tls) as server:
        with pytest.raises(PartRejected, match="HTTP 403"):
            await put(secure_lane, server.url, LARGE)
    assert server.connections == 1


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize(
    "announced",
    [
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
        [b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n"] * 3,
        [b"HTTP/1.1 10", b"3 Early Hints\r\nLink: a\r", b"\n\r\n"],
    ],
)
async def test_what_is_announced_in_the_middle_of_a_part_does_not_end_it(
    lane, secure_lane, server_tls, secure, announced, monkeypatch
):
    class Telling(PatientSocket):
        def _watched(self, events, *watch):
            ready = super()._watched(events, *watch)
            if events & selectors.EVENT_WRITE and ready == selectors.EVENT_READ:
                loop.call_soon_threadsafe(heard.set)
            return ready

    async def announce(connection):
        _, headers = await connection.head()
        while not heard.is_set():  # while there was no room for more of the part
            for some in announced:
                await connection.send(some)
                with anyio.move_on_after(0.05):
                    await heard.wait()
        left = int(headers["content-length"])
        while left:
            left -= len(await connection.some())
        arrived.append(left)
        await connection.send(OK)
        await connection.left()

    arrived: list[int] = []
    heard, loop = anyio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(lane_module, "PatientSocket", Telling)
    async with serving(announce, tls=server_tls if secure else None) as server:
        await put(secure_lane if secure else lane, server.url, LARGE)
    assert arrived == [0]
    assert server.connections == 1


@pytest.mark.parametrize("length", [8192, 100])
async def test_what_comes_behind_an_answer_never_answers_the_next_part(
    secure_lane, server_tls, length
):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Fill: "
    answer = head + b"f" * (length - len(head) - 4) + b"\r\n\r\n"  # 8192 is what is read at once

    async def talk_on(connection):
        server.requests.append(await connection.request())
        await connection.send(answer + OK)  # in one record
        await anyio.sleep_forever()

    async with serving(talk_on, tls=server_tls) as server:
        await put(secure_lane, server.url, b"one")
        await put(secure_lane, server.url, b"two")
    assert [request.body for request in server.requests] == [b"one", b"two"]
    assert server.connections == 2


async def untrusted(server_context, client_context):
    async with (
        serving(tls=server_context) as server,
        open_lane(tls=client_context) as lane,
    ):
        with pytest.raises(UntrustedCertificate, match="certificate is not trusted") as error:
            await put(lane, server.url)
        assert server.requests == []
    return error.value


async def test_a_certificate_of_another_host_is_not_trusted(authority, client_tls):
    error = await untrusted(server_context(authority, "example.org"), client_tls)
    assert not error.sent


async def test_a_certificate_nobody_vouches_for_is_not_trusted_and_not_tried_again(client_tls):
    error = await untrusted(server_context(trustme.CA(), "127.0.0.1"), client_tls)
    assert not error.sent
    failure = Failure(error, attempt=1, repeatable=True, policy=RetryPolicy())
    assert first_objection(failure) == "the next attempt would meet the same certificate"


async def test_a_server_without_tls_is_a_failed_connection(secure_lane):
    async def speak_plainly(connection):
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(speak_plainly) as server:
        with pytest.raises(ConnectionFailed, match="cannot connect") as error:
            await put(secure_lane, f"https://127.0.0.1:{server.port}/")
    assert not error.value.sent
    assert not isinstance(error.value, UntrustedCertificate)


async def test_a_server_that_leaves_instead_of_speaking_tls_is_a_failed_connection(secure_lane):
    async def leave(connection):
        connection.reset()

    async with serving(leave) as server:
        with pytest.raises(ConnectionFailed) as error:
            await put(secure_lane, f"https://127.0.0.1:{server.port}/")
    assert not error.value.sent


async def test_a_server_that_says_nothing_of_tls_is_left_at_the_deadline(client_tls):
    async with serving(silent) as server, open_lane(tls=client_tls, connect=0.05) as lane:
        with pytest.raises(DeadlineExceeded, match=r"Timeouts\.connect") as error:
            await put(lane, f"https://127.0.0.1:{server.port}/")
    assert not error.value.sent


class TurnsTaken(threading.Semaphore):
    """Turns to encrypt, all of which are taken; says when a thread waits for one."""

    def __init__(self, waits):
        super().__init__(0)
        self._waits = waits

    def acquire(self, blocking=True, timeout=None):
        self._waits()
        return super().acquire(blocking, timeout)


@pytest.fixture
async def waiting(monkeypatch):
    """Return the turns to encrypt, which are all taken, and an event: a thread waits for one."""
    loop, waits = asyncio.get_running_loop(), asyncio.Event()
    turns = TurnsTaken(lambda: loop.call_soon_threadsafe(waits.set))
    monkeypatch.setattr(sockets._ENCRYPTING, "turns", turns)
    return turns, waits


@pytest.mark.parametrize("again", [1, 3])
async def test_a_part_that_waits_for_its_turn_to_encrypt_can_be_cancelled(
    client_tls, server_tls, waiting, again
):
    turns, waits = waiting
    async with serving(tls=server_tls) as server, open_lane(tls=client_tls, threads=1) as lane:
        for _ in range(again):
            waits.clear()
            sending = asyncio.create_task(put(lane, server.url, b"cancelled"))
            await waits.wait()
            sending.cancel()
            await asyncio.wait([sending])
            assert sending.cancelled()
        assert server.requests == []
        turns.release()
        await put(lane, server.url, b"sent")  # by the only thread, in the only turn
        assert [request.body for request in server.requests] == [b"sent"]
    assert turns.acquire(blocking=False)
    assert not turns.acquire(blocking=False)


async def test_an_upload_cancelled_before_its_turn_to_encrypt_takes_no_connection_along(
    client_tls, server_tls, waiting, tmp_path
):
    turns, waits = waiting
    with Emulator(tmp_path / "koodrive", ssl_context=server_tls) as emulator:
        one = Limits(connections=1)
        async with connect(emulator, tls=client_tls, limits=one) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                sending = asyncio.create_task(session.upload(b"cancelled", name="a"))
                await waits.wait()
                sending.cancel()
                await asyncio.wait([sending])
                assert sending.cancelled()
                turns.release()
                assert (await session.upload(b"sent", name="b")).outcome == "uploaded"
        assert [file.name for file in emulator.files() if file.completed] == ["b"]
    assert turns.acquire(blocking=False)
