from __future__ import annotations

import asyncio

import pytest

from examples.web_service.body import PACE, Body, TooLarge, TooSlow

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pass_time(monkeypatch):
    """Return what lets time pass, which stands still otherwise."""

    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)

    async def passing(seconds):
        nonlocal now
        now += seconds
        for _ in range(2):  # what is due by then gets its turn
            await asyncio.sleep(0)

    return passing


async def read(pieces, *, most=10 * PACE, patience=60.0):
    received: list[int] = []
    body = Body(pieces, most=most, patience=patience, on_received=received.append)
    content = b"".join([piece async for piece in body])
    assert body.is_read.is_set()
    return content, received


async def test_a_body_is_passed_on_as_it_comes():
    async def pieces():
        yield b"ab"
        yield b"c"

    assert await read(pieces(), most=3) == (b"abc", [2, 3])


async def test_more_than_is_allowed_is_refused_and_the_rest_is_not_taken():
    closed = asyncio.Event()

    async def endless():
        try:
            while True:
                yield bytes(1000)
        finally:
            closed.set()

    with pytest.raises(TooLarge):
        await read(endless(), most=2500)
    assert closed.is_set()


async def test_a_trickle_is_given_up(pass_time):
    async def trickle():
        while True:
            await pass_time(1)
            yield b"x"

    with pytest.raises(TooSlow):
        await read(trickle(), patience=10)


async def test_what_comes_in_time_is_not_given_up_however_long_it_takes_in_all(pass_time):
    async def steady():
        for _ in range(5):
            await pass_time(9)
            yield bytes(PACE)

    content, _ = await read(steady(), patience=10)
    assert len(content) == 5 * PACE


async def test_the_time_that_the_disk_takes_does_not_count(pass_time):
    async def pieces():
        for _ in range(5):
            yield b"x"

    body = Body(pieces(), most=100, patience=10, on_received=lambda _: None)
    content = b""
    async for piece in body:
        await pass_time(9)
        content += piece
    assert content == b"xxxxx"
