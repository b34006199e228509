"""Parts that are cancelled, or whose client is closed, end at once and leave nothing behind."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from koodrive_async import ClientClosed
from tests.upload.raw_server import LARGE, OK, full_server, open_lane, put, serving, stuck

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lane():
    async with open_lane() as opened:
        yield opened


class Stage:
    """A server that keeps a part waiting at some stage.

    :ivar given_up: Set by the test; until then nothing of a large part is read.
    """

    def __init__(self):
        self.reached = anyio.Event()
        self.given_up = anyio.Event()
        self.left = anyio.Event()

    async def handshaking(self, connection):
        self.reached.set()
        await connection.left()
        self.left.set()

    async def sending(self, connection):
        await connection.head()
        self.reached.set()
        await self.given_up.wait()
        await connection.left()
        self.left.set()

    async def answering(self, connection):
        await connection.request()
        self.reached.set()
        await connection.left()
        self.left.set()


async def cancel_scope(lane, url, data, given_up):
    async with anyio.create_task_group() as group:
        group.start_soon(put, lane, url, data)
        await given_up()
        group.cancel_scope.cancel()


async def cancel_task(lane, url, data, given_up):
    task = asyncio.create_task(put(lane, url, data))
    await given_up()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def close_lane(lane, url, data, given_up):
    task = asyncio.create_task(put(lane, url, data))
    await given_up()
    await lane.aclose()
    with pytest.raises(ClientClosed):
        await task


WAYS = [cancel_scope, cancel_task, close_lane]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["handshaking", "sending", "answering"])
async def test_giving_up_takes_effect_at_once_and_leaves_nothing(name, way):
    stage = Stage()
    scheme = "https" if name == "handshaking" else "http"
    async with serving(getattr(stage, name)) as server, open_lane(1) as lane:
        await way(lane, f"{scheme}://127.0.0.1:{server.port}/", LARGE, stage.reached.wait)
        stage.given_up.set()
        await stage.left.wait()  # the connection has ended
        assert lane._busy == set()
        assert await lane._threads.run(str) == ""  # the only thread is free


@pytest.mark.parametrize("way", [cancel_scope, cancel_task])
async def test_giving_up_while_connecting_takes_effect_at_once(lane, way):
    with full_server() as url:
        await way(lane, url, b"abc", anyio.wait_all_tasks_blocked)
    assert lane._busy == set()


async def test_a_connection_that_is_made_as_the_lane_is_closed_carries_nothing(lane):
    async with serving() as server:
        task = asyncio.create_task(put(lane, server.url))
        await asyncio.sleep(0)  # it looks the host up
        await lane.aclose()
        with pytest.raises(ClientClosed):
            await task
        assert server.requests == []


async def test_a_part_that_waits_for_a_thread_is_given_up_at_once():
    async with serving(stuck) as server, open_lane(1) as lane, anyio.create_task_group() as group:
        group.start_soon(put, lane, server.url, LARGE)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(put, lane, server.url)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def test_parts_that_were_given_up_leave_the_lane_usable(lane):
    async def answer_at_last(connection):
        await connection.request()
        reached.set()
        await answering_now.wait()
        await connection.send(OK)

    answering_now = anyio.Event()
    async with serving(answer_at_last) as server:
        for _ in range(20):
            reached = anyio.Event()
            await cancel_scope(lane, server.url, b"abc", lambda: reached.wait())  # noqa: B023, PLW0108 - the one of this round
        answering_now.set()
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(put, lane, server.url)
