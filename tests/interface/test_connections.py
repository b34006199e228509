"""Who waits for a connection, who does not, and what that wait is taken for."""

from __future__ import annotations

import asyncio

import pytest

from koodrive_async import DeadlineExceeded, Module, RetryPolicy, Timeouts
from koodrive_async import client as client_module
from tests.interface.scripted import LOCK, after, answer, client_of, silence
from tests.upload.raw_server import full_server

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)
GRANTED = {"code": 0, "data": {"lockId": LOCK}}


@pytest.fixture(autouse=True)
def few_connections(monkeypatch):
    monkeypatch.setattr(client_module, "_INTERFACE_CONNECTIONS", 2)


async def busy(scripted, client, *, calls, connections=2):
    """Begin more calls than there are connections for; return them when these are taken."""
    tasks = [asyncio.ensure_future(client.devices.list()) for _ in range(calls)]
    while len(scripted.requests) < connections:
        scripted.arrived.clear()
        await scripted.arrived.wait()
    return tasks


async def test_a_lock_is_taken_renewed_and_given_back_beside_calls_that_take_for_ever(scripted):
    let_go = asyncio.Event()

    def handle(request):
        if request.path.endswith("/lock"):
            return answer(GRANTED)
        return after(let_go, answer({"code": 0}))

    scripted.otherwise = handle
    async with client_of(scripted) as client:
        waiting = await busy(scripted, client, calls=20)
        assert (await client.locks.create(Module.FOLDER)).lock_id == LOCK
        await client.locks.renew(LOCK)
        await client.locks.release(LOCK)
        assert scripted.methods == ["GET", "GET", "POST", "PATCH", "DELETE"]
        assert scripted.connections == 3
        let_go.set()
        assert await asyncio.gather(*waiting) == [()] * 20
    assert scripted.connections == 3


async def test_waiting_for_a_connection_is_no_slowness_of_the_service(scripted):
    scripted.replies(silence, silence)
    scripted.otherwise = lambda _: answer({"code": 0})
    settings = {"timeouts": Timeouts(answer=0.3), "retry": ONCE}
    async with client_of(scripted, **settings) as client:
        stuck = await busy(scripted, client, calls=2)
        patient = [asyncio.ensure_future(client.devices.list()) for _ in range(5)]
        failures = await asyncio.gather(*stuck, return_exceptions=True)
        assert [type(failure) for failure in failures] == [DeadlineExceeded] * 2
        assert [getattr(failure, "sent", None) for failure in failures] == [True, True]
        # their time began when they had the connections of those
        assert await asyncio.gather(*patient) == [()] * 5


async def test_who_is_cancelled_while_waiting_takes_no_connection_along(scripted):
    let_go = asyncio.Event()
    scripted.otherwise = lambda _: after(let_go, answer({"code": 0}))
    async with client_of(scripted) as client:
        tasks = await busy(scripted, client, calls=6)
        waiting = tasks[2:]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        let_go.set()
        await asyncio.gather(*tasks[:2])
        await asyncio.gather(*(client.devices.list() for _ in range(4)))
    assert len(scripted.requests) == 6


async def test_a_call_is_signed_when_it_has_a_place(scripted, held_clock):
    let_go = asyncio.Event()
    scripted.otherwise = lambda _: after(let_go, answer({"code": 0}))
    async with client_of(scripted, clock=held_clock) as client:
        tasks = await busy(scripted, client, calls=3)
        await asyncio.sleep(0)
        held_clock.now += 3600  # longer than a signature lives
        let_go.set()
        await asyncio.gather(*tasks)
    first, _, last = (request.headers["X-Date"] for request in scripted.requests)
    assert first < last


async def test_an_endpoint_that_is_not_connected_in_time_was_not_asked(scripted):
    # less for the answer than for the connection, whose time it is not
    waits = Timeouts(connect=0.2, answer=0.1)
    with full_server() as scripted.url:
        async with client_of(scripted, timeouts=waits, retry=ONCE) as client:
            with pytest.raises(DeadlineExceeded, match=r"Timeouts\.connect") as failure:
                await client.devices.list()
    assert failure.value.sent is False
