"""The connections that parts travel on: made, kept, replaced, and closed."""

from __future__ import annotations

import asyncio
import logging
import math
import socket

import anyio
import pytest

from koodrive_async import (
    ConnectionFailed,
    DeadlineExceeded,
    PartRejected,
)
from koodrive_async.upload import lane as lane_module
from koodrive_async.upload.reuse import Reuse
from tests.sample import sample
from tests.upload.raw_server import (
    LARGE,
    MIB,
    OK,
    answering,
    full_server,
    open_lane,
    put,
    serving,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lane():
    async with open_lane() as opened:
        yield opened


# --- kept connections --------------------------------------------------------------------------


async def test_a_connection_is_used_again(lane):
    async with serving() as server:
        for size in (3, 0, 2 * MIB, 3):
            await put(lane, server.url, sample(size))
    assert server.connections == 1
    assert [len(request.body) for request in server.requests] == [3, 0, 2 * MIB, 3]


async def test_parts_at_the_same_time_have_connections_of_their_own(lane):
    async def wait_for_the_other(connection):
        await connection.request()
        here.append(connection)
        if len(here) == 2:
            both.set()
        await both.wait()
        await connection.send(OK)

    here: list[object] = []
    both = anyio.Event()
    async with serving(wait_for_the_other) as server, anyio.create_task_group() as group:
        group.start_soon(put, lane, server.url)
        group.start_soon(put, lane, server.url)
    assert server.connections == 2


async def test_each_origin_has_connections_of_its_own(lane):
    async with serving() as one, serving() as other:
        for server in (one, other, one, other):
            await put(lane, server.url)
    assert (one.connections, other.connections) == (1, 1)
    assert (len(one.requests), len(other.requests)) == (2, 2)


async def test_a_connection_that_was_closed_while_idle_is_replaced(lane):
    async with serving(answering(OK)) as server:
        for _ in range(3):
            await put(lane, server.url)
    assert server.connections == 3


async def test_a_connection_that_is_closed_as_the_next_part_comes_is_replaced(lane):
    async def serve_one(connection):
        await connection.request()
        await connection.send(OK)
        await connection.head()  # of the next: too late

    async with serving(serve_one) as server:
        await put(lane, server.url)
        await put(lane, server.url)
    assert server.connections == 2


class ClosingUnannounced:
    """Answers one part on each connection, and closes it when the next one has begun to come.

    So does tinyproxy, a moment after the answer, and with nothing said of it there.
    """

    def __init__(self):
        self.lost = self.taken = 0

    async def __call__(self, connection):
        await connection.request()
        await connection.send(OK)
        self.taken += 1
        await connection.head()
        self.lost += 1


def parts_to(lane, url, count, at_a_time):
    """Send parts that no buffer holds, some at a time."""

    async def some():
        for _ in range(count // at_a_time):
            await put(lane, url, bytes(2 * MIB))

    return asyncio.gather(*(some() for _ in range(at_a_time)))


async def test_a_proxy_that_closes_connections_unannounced_costs_one_part_at_most(caplog):
    caplog.set_level(logging.INFO, "koodrive_async.upload")
    closing = ClosingUnannounced()
    async with serving(closing) as proxy, open_lane(4, proxy=proxy.url) as lane:
        await parts_to(lane, "http://store.example/x?X-Amz-Signature=secret", 16, 4)
    assert (closing.taken, closing.lost) == (16, 1)
    assert caplog.text.count("closes connections unannounced") == 1
    assert caplog.text.count("a part is sent again") == 1
    assert "secret" not in caplog.text


async def test_a_store_that_closes_connections_unannounced_has_them_kept_no_longer():
    closing = ClosingUnannounced()
    async with serving(closing) as server, open_lane(1) as lane:
        await parts_to(lane, server.url, 10, 1)
    assert (closing.taken, closing.lost) == (10, 3)


async def test_a_store_that_restarts_under_many_parts_has_connections_kept_afterwards():
    waiting = restarts = 0
    together = anyio.Event()

    async def serve(connection):
        nonlocal waiting
        mine = restarts
        while True:
            await connection.request()
            if mine != restarts:
                return  # from before the restart
            waiting += 1
            if waiting == 8:
                together.set()
            await together.wait()
            await connection.send(OK)

    async with serving(serve) as server, open_lane(8) as lane:
        await parts_to(lane, server.url, 8, 8)
        assert server.connections == 8
        restarts += 1
        for _ in range(3):
            await parts_to(lane, server.url, 8, 8)
    assert server.connections <= 16


async def test_connections_are_kept_again_a_minute_after_they_were_lost():
    async def serve(connection):
        while True:
            await connection.request()
            await connection.send(OK)
            if closes:
                await connection.head()
                return

    time, closes = 1000.0, True
    async with serving(serve) as server, open_lane(1, steady=lambda: time) as lane:
        await parts_to(lane, server.url, 6, 1)
        before, closes = server.connections, False
        assert before == 6
        await parts_to(lane, server.url, 2, 1)
        assert server.connections == before + 2
        time += 61
        await parts_to(lane, server.url, 6, 1)
        assert server.connections == before + 3


async def test_a_kept_connection_that_breaks_within_a_part_is_an_attempt_of_the_part():
    async def serve(connection):
        await connection.request()
        await connection.send(OK)
        await connection.head()
        taken = 0
        while taken < 32 * MIB:
            taken += len(await connection.some())

    async with serving(serve) as server, open_lane(1) as lane:
        await put(lane, server.url)
        with pytest.raises(ConnectionFailed) as error:
            await put(lane, server.url, LARGE)
    assert error.value.sent
    assert server.connections == 1


def test_connections_lost_at_one_time_are_one_loss():
    time = 0.0
    reuse = Reuse("store", proven=True, now=lambda: time)
    for _ in range(16):
        reuse.lost(0)
    assert (reuse.begin(), reuse.counted) == (True, 1)
    reuse.lost(1)
    reuse.lost(2)
    assert (reuse.begin(), reuse.keeps(0)) == (False, False)
    time += 61
    assert (reuse.keeps(0), reuse.keeps(1)) == (True, False)
    assert (reuse.begin(), reuse.begin()) == (True, False)  # one at a time
    reuse.lost(3)
    reuse.end()
    assert not reuse.begin()  # it was worth the one part
    time += 61
    assert reuse.begin()
    reuse.worked()
    reuse.end()
    assert (reuse.begin(), reuse.keeps(100)) == (True, True)


async def test_connections_through_a_proxy_that_keeps_them_are_used_again():
    async with serving() as proxy, open_lane(4, proxy=proxy.url) as lane:
        await put(lane, "http://store.example/x")
        await put(lane, "http://store.example/x")
        await parts_to(lane, "http://store.example/x", 16, 4)
    assert proxy.connections == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_connection_that_the_server_will_close_is_not_used_again(lane, answer):
    async def announce_the_end(connection):
        await connection.request()
        await connection.send(answer)
        await connection.left()

    async with serving(announce_the_end) as server:
        await put(lane, server.url)
        await put(lane, server.url)
    assert server.connections == 2


async def test_a_connection_with_more_than_an_answer_on_it_is_not_used_again(lane):
    async def talk_on(connection):
        await connection.request()
        await connection.send(OK + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await connection.left()

    async with serving(talk_on) as server:
        await put(lane, server.url)
        await put(lane, server.url)
    assert server.connections == 2


async def test_what_comes_while_a_connection_is_idle_is_no_answer_to_the_next_part(
    lane,
):
    async def talk_late(connection):
        await connection.request()
        await connection.send(OK)
        await idle.wait()
        await connection.send(b"HTTP/1.1 408 Too Late\r\nContent-Length: 0\r\n\r\n")
        talked.set()
        await connection.request()
        await connection.send(OK)

    idle, talked = anyio.Event(), anyio.Event()
    async with serving(talk_late) as server:
        await put(lane, server.url)
        idle.set()
        await talked.wait()
        await put(lane, server.url)
    assert server.connections == 2


async def test_a_connection_is_not_used_again_after_an_early_answer(lane):
    async def refuse(connection):
        await connection.head()
        await connection.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        await anyio.sleep_forever()

    async with serving(refuse) as server:
        for _ in range(2):
            with pytest.raises(PartRejected):
                await put(lane, server.url, LARGE)
    assert server.connections == 2


async def test_a_connection_is_used_again_after_a_refusal(lane):
    async def refuse(connection):
        while True:
            await connection.request()
            await connection.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno")

    async with serving(refuse) as server:
        for _ in range(2):
            with pytest.raises(PartRejected):
                await put(lane, server.url)
    assert server.connections == 1


async def test_idle_connections_are_closed_after_a_while(lane, monkeypatch):
    async def wait_for_the_end(connection):
        await connection.request()
        await connection.send(OK)
        await connection.left()
        ended.set()

    ended = anyio.Event()
    monkeypatch.setattr(lane_module, "KEEP_ALIVE", 0.01)
    async with serving(wait_for_the_end) as server:
        await put(lane, server.url)
        await ended.wait()
        await put(lane, server.url)
    assert server.connections == 2


async def test_idle_connections_are_closed_with_the_lane(lane):
    async def wait_for_the_end(connection):
        await connection.request()
        await connection.send(OK)
        await connection.left()
        ended.set()

    ended = anyio.Event()
    async with serving(wait_for_the_end) as server:
        await put(lane, server.url)
        await lane.aclose()
        await ended.wait()


# --- connecting --------------------------------------------------------------------------------


async def test_a_refused_connection_says_where_and_that_nothing_was_sent(lane):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"cannot connect to 127.0.0.1:{port}") as error:
            await put(lane, f"http://127.0.0.1:{port}/?secret")
    assert not error.value.sent
    assert "secret" not in str(error.value)


async def test_a_server_that_does_not_accept_is_left_at_the_deadline():
    with full_server() as url:
        async with open_lane(connect=0.05) as lane:
            with pytest.raises(DeadlineExceeded, match=r"Timeouts\.connect") as error:
                await put(lane, url)
    assert not error.value.sent


async def test_a_wait_may_be_without_end():
    async with (
        serving() as server,
        open_lane(stall=math.inf, answer=math.inf, connect=math.inf) as lane,
    ):
        await put(lane, server.url)
        await put(lane, server.url, bytes(MIB))
    assert server.connections == 1


async def test_a_host_is_looked_up_once_for_all_parts(monkeypatch):
    def look_up(host, *arguments, **more):
        asked.append(host)
        return real(host, *arguments, **more)

    real = socket.getaddrinfo
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with serving(answering(OK)) as server, open_lane(4) as lane:
        asked.clear()  # the server's own
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(put, lane, server.url)
        await put(lane, server.url)
    assert server.connections == 11
    assert asked == ["127.0.0.1"]


async def test_a_host_that_was_not_found_is_looked_up_again(lane, monkeypatch):
    def look_up(*arguments, **more):
        if next(failures):
            raise socket.gaierror(socket.EAI_AGAIN, "try later")
        return real(*arguments, **more)

    real, failures = socket.getaddrinfo, iter([True, False])
    async with serving() as server:
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(ConnectionFailed, match="try later"):
            await put(lane, server.url)
        await put(lane, server.url)
    assert len(server.requests) == 1
