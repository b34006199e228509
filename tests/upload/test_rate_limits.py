"""Limits on bytes and calls per second are paid in full, by every part and every call."""

from __future__ import annotations

import asyncio
import threading

import anyio
import attrs
import pytest

from koodrive_async import ClientClosed, Limits, Module, UploadReceipt
from koodrive_async.pace import Pace
from koodrive_async.testing import connect
from koodrive_async.threads import ThreadPool
from koodrive_async.upload import lane as lane_module
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.sockets import AbortedError, PatientSocket
from koodrive_async.upload.source import open_source
from tests.interface.scripted import LOCK, FakeClock, HeldClock, Scripted, answer, client_of
from tests.sample import sample
from tests.upload.raw_server import FOR_EVER, MIB, open_lane, put, serving

pytestmark = pytest.mark.anyio

RATE = 10 * MIB
BURST = 0.1
HEAD = 1000
"""More bytes than the head of a part has."""


class PausedTime:
    """Time that passes only in the pauses of sockets, which it records."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.pauses: list[float] = []
        monkeypatch.setattr(PatientSocket, "pause", lambda _, seconds: self.pause(seconds))

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def paused_time(monkeypatch):
    return PausedTime(monkeypatch)


@pytest.mark.parametrize("kind", ["path", "bytes"])
async def test_a_part_takes_as_long_as_its_bytes_do(paused_time, make_file, kind):
    size = 5 * MIB
    source = make_file(size) if kind == "path" else sample(size)
    pace = Pace(RATE, burst=BURST, now=lambda: paused_time.now)
    pool = ThreadPool(1)
    async with (
        serving() as server,
        open_lane(pace=pace) as lane,
        open_source(source, pool, MemoryBudget(0)) as content,
    ):
        for _ in range(3):
            await lane.send(PlannedPart(1, 0, size), content, server.url)
    await pool.aclose()
    assert [len(request.body) for request in server.requests] == [size] * 3
    last_step = RATE / 20
    least = (3 * size - last_step) / RATE - BURST
    assert least <= sum(paused_time.pauses) <= (3 * (size + HEAD)) / RATE
    assert max(paused_time.pauses) <= (last_step + HEAD) / RATE  # spread, not all at once


async def test_nothing_is_paid_without_a_limit(paused_time, session):
    await session.upload(sample(6 * MIB), name="free")
    assert paused_time.pauses == []


async def test_all_bytes_of_all_parts_are_paid_for(koodrive_emulator, make_file, monkeypatch):
    paid = []

    def delay(pace, amount):
        assert pace.rate == 1e9
        paid.append(amount)
        return 0.0

    monkeypatch.setattr(Pace, "delay", delay)
    monkeypatch.setattr(Pace, "give_back", lambda _, amount: paid.append(-amount))
    sizes = [0, 1000, MIB + 1, 12 * MIB]
    files = [make_file(size, str(size)) for size in sizes]
    async with connect(koodrive_emulator, limits=Limits(bandwidth=1e9)) as drive:
        device = await drive.devices.bind("paced")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes = [outcome async for outcome in session.upload_many(files)]
    assert [type(outcome) for outcome in outcomes] == [UploadReceipt] * len(files)
    puts = koodrive_emulator.seen.requests("part.put")
    body = sum(put.body_size for put in puts)
    assert body == sum(sizes)
    assert body < sum(paid) < body + HEAD * len(puts)


async def test_many_connections_together_stay_below_the_limit(monkeypatch):
    class Gated(PatientSocket):
        """No body goes out before every connection is at one, or waits."""

        def pause(self, seconds):
            waits.append(seconds)
            arrive()
            if len(waits) == parts:
                loop.call_soon_threadsafe(all_wait.set)
            super().pause(FOR_EVER)  # time stands still

        def send(self, data, watch):
            if len(data) > HEAD:
                arrive()
                gate.wait(30)
            sent = super().send(data, watch)
            passed.append(sent or 0)
            return sent

    def arrive():
        here.append(1)
        if len(here) >= parts:
            gate.set()

    here: list[int] = []
    waits: list[float] = []
    passed: list[int] = []
    gate, all_wait, loop = threading.Event(), anyio.Event(), asyncio.get_running_loop()
    parts, step = 16, MIB / 20
    monkeypatch.setattr(lane_module, "PatientSocket", Gated)
    pace = Pace(MIB, burst=BURST, now=lambda: 1000.0)
    async with (
        serving() as server,
        open_lane(parts, pace=pace) as lane,
        anyio.create_task_group() as group,
    ):
        for _ in range(parts):
            group.start_soon(put, lane, server.url, bytes(MIB))
        await all_wait.wait()
        group.cancel_scope.cancel()
    assert 0 < sum(passed) <= MIB * BURST + step


async def test_bytes_that_are_not_sent_are_given_back(monkeypatch):
    monkeypatch.setattr(PatientSocket, "pause", refuse_to_wait)
    pace = Pace(MIB, burst=0, now=lambda: 1000.0)
    async with serving() as server, open_lane(pace=pace) as lane:
        with pytest.raises(ClientClosed):
            await put(lane, server.url, bytes(MIB))
    head = pace.delay(0) * MIB
    assert 0 < head < HEAD


def refuse_to_wait(_socket, _seconds):
    raise AbortedError


@pytest.fixture
async def scripted():
    async with Scripted() as server:
        yield server


# One call in a thousand seconds: what the calls themselves take is nothing beside it.
SLOW = Limits(requests_per_second=1 / 1000)


async def test_calls_wait_for_their_turn(scripted):
    clock = FakeClock()
    scripted.otherwise = lambda _: answer({"code": 0, "devices": []})
    async with client_of(scripted, clock=clock, limits=SLOW) as drive:
        for _ in range(4):
            await drive.devices.list()
    assert len(scripted.requests) == 4
    # this clock's sleep takes no time, so each call waits for all before it
    assert clock.slept == pytest.approx([1000, 2000, 3000], abs=60)


async def test_repeated_calls_wait_for_their_turn_as_well(scripted):
    clock = FakeClock()
    scripted.replies(answer({"code": 1, "msg": "later"}, 503), {"code": 0, "devices": []})
    async with client_of(scripted, clock=clock, limits=SLOW) as drive:
        await drive.devices.list()
    assert len(scripted.requests) == 2
    assert [seconds for seconds in clock.slept if seconds] == pytest.approx([1000], abs=60)


async def test_a_call_that_is_cancelled_gives_its_turn_back(scripted):
    clock = HeldClock()
    scripted.otherwise = lambda _: answer({"code": 0, "devices": []})
    async with client_of(scripted, clock=clock, limits=SLOW) as drive:
        await drive.devices.list()
        for _ in range(3):
            waiting = asyncio.create_task(drive.devices.list())
            seconds, _ = await clock._asleep.get()
            assert seconds == pytest.approx(1000, abs=60)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert len(scripted.requests) == 1


async def test_a_lock_is_renewed_and_given_back_without_waiting_for_a_turn(scripted):
    clock = FakeClock()
    scripted.otherwise = lambda _: answer({"code": 0, "devices": []})
    async with client_of(scripted, clock=clock, limits=SLOW) as drive:
        await drive.devices.list()
        await drive.locks.renew(LOCK)
        await drive.locks.release(LOCK)
        assert clock.slept == []
        await drive.devices.list()
    assert clock.slept == pytest.approx([1000], abs=60)


async def test_calls_do_not_wait_without_a_limit(scripted):
    clock = FakeClock()
    scripted.otherwise = lambda _: answer({"code": 0, "devices": []})
    async with client_of(scripted, clock=clock) as drive:
        for _ in range(4):
            await drive.devices.list()
    assert clock.slept == []


@pytest.mark.parametrize(
    ("bandwidth", "most"), [(1.0, 1), (2 * MIB, 1), (2 * MIB + 1.0, 2), (15e6, 8), (1e12, 62)]
)
async def test_a_bounded_bandwidth_is_not_spread_over_many_connections(
    koodrive_emulator, bandwidth, most
):
    limits = Limits(bandwidth=bandwidth)
    async with connect(koodrive_emulator, limits=limits) as drive:
        assert drive._uploader.means.limit.most == most
    async with connect(koodrive_emulator, limits=attrs.evolve(limits, connections=5)) as drive:
        assert drive._uploader.means.limit.most == 5
