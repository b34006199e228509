"""Hashing takes turns, no more files at a time than workers, and small files none of it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async import ClientClosed, SourceChanged
from koodrive_async.hashing import MIDSTATE_GRID, Fingerprinter
from koodrive_async.threads import ThreadPool, call_in_loop
from koodrive_async.upload import hash_pool as hash_pool_module
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.hash_pool import HashPool
from koodrive_async.upload.journal import Journal
from koodrive_async.upload.source import SMALL, BytesContent, open_source
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@asynccontextmanager
async def open_pool(workers):
    threads = ThreadPool(8)
    try:
        yield HashPool(threads, workers, Journal.off())
    finally:
        await threads.aclose()


def nothing(_done):
    pass


def in_one_go(data, grid=MIDSTATE_GRID):
    fingerprinter = Fingerprinter(grid)
    fingerprinter.update(data)
    return fingerprinter.finish()


@pytest.fixture
def short_turns(monkeypatch):
    monkeypatch.setattr(hash_pool_module, "TURN", MIB)


@pytest.mark.usefixtures("short_turns")
async def test_a_large_file_makes_room_for_another_after_its_turn():
    order: list[str] = []
    loop = asyncio.get_running_loop()
    large, other = BytesContent(memoryview(sample(4 * MIB))), BytesContent(memoryview(b"abc"))
    async with open_pool(1) as pool, anyio.create_task_group() as group:

        def another_comes(done):
            order.append(f"large {done // MIB}")
            if done == MIB:
                call_in_loop(loop, group.start_soon, pool.fingerprint, other, MIB, note_other)
                call_in_loop(loop, nothing, None)  # by now it waits

        def note_other(_done):
            order.append("other")

        await pool.fingerprint(large, MIB, another_comes)
    assert order == ["large 1", "other", "large 2", "large 3", "large 4"]


@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("size", [1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 5])
@pytest.mark.parametrize("kind", ["path", "bytes", "stream"])
async def test_turns_change_nothing_in_the_fingerprint(make_file, kind, size):
    data = sample(size)
    source = {"bytes": data, "stream": [data]}.get(kind, make_file(size))
    grid = 64 * 1024
    async with (
        open_pool(1) as pool,
        open_source(source, pool._threads, MemoryBudget(0)) as content,
    ):
        found = await pool.fingerprint(content, grid, nothing)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found == in_one_go(data, grid)


@given(st.integers(1, 5), st.integers(0, 10 * 64))
def test_turns_of_any_length_change_nothing(blocks, size):
    async def main():
        async with open_pool(1) as pool:
            return await pool.fingerprint(BytesContent(memoryview(sample(size))), 64, nothing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_pool_module, "TURN", blocks * 64)
        assert anyio.run(main) == in_one_go(sample(size), 64)


async def test_as_many_files_are_hashed_at_a_time_as_there_are_workers():
    class Counted(BytesContent):
        def hash_some(self, fingerprinter, limit, checkpoint):
            running.append(self)
            peaks.append(len(running))
            together.wait()  # fewer would wait here for ever
            running.remove(self)
            return super().hash_some(fingerprinter, limit, checkpoint)

    running: list[BytesContent] = []
    peaks: list[int] = []
    together = threading.Barrier(2, timeout=30)
    async with open_pool(2) as pool, anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(pool.fingerprint, Counted(memoryview(b"abc")), MIDSTATE_GRID, nothing)
    assert max(peaks) == 2


async def test_a_small_file_is_hashed_though_all_workers_are_busy(make_file):
    path = make_file(SMALL)
    async with (
        open_pool(1) as pool,
        pool.slots.slot("busy"),
        open_source(path, pool._threads, MemoryBudget(SMALL)) as content,
    ):
        found = await pool.fingerprint(content, MIDSTATE_GRID, nothing)
    assert (found.size, found.sha256) == (SMALL, in_one_go(sample(SMALL)).sha256)


async def test_a_small_file_is_read_once(make_file):
    path = make_file(1000)
    async with (
        open_pool(1) as pool,
        open_source(path, pool._threads, MemoryBudget(SMALL)) as content,
    ):
        path.unlink()
        found = await pool.fingerprint(content, MIDSTATE_GRID, nothing)
        assert content.descriptor is None
        assert found.sha256 == hashlib.sha256(content.read(0, 1000)).hexdigest()


async def test_a_small_file_gives_its_memory_back(make_file):
    memory = MemoryBudget(1500)
    path = make_file(1000)
    async with open_pool(1) as pool:
        async with open_source(path, pool._threads, memory):
            assert memory.held == 1000
        assert memory.held == 0
        with pytest.raises(FileNotFoundError):
            async with open_source(path.with_name("none"), pool._threads, memory):
                pass
        assert memory.held == 0


@pytest.mark.parametrize(("size", "memory"), [(1000, 999), (SMALL + 1, 4 * SMALL)])
async def test_a_file_that_is_not_kept_is_read_when_it_is_sent(make_file, size, memory):
    budget = MemoryBudget(memory)
    path = make_file(size)
    async with open_pool(1) as pool, open_source(path, pool._threads, budget) as content:
        assert budget.held == 0
        assert content.fingerprint is None
        assert content.descriptor is not None
        assert await pool.fingerprint(content, MIDSTATE_GRID, nothing) == in_one_go(sample(size))


@pytest.mark.usefixtures("short_turns")
async def test_a_file_that_grows_between_its_turns_has_changed(make_file):
    path = make_file(3 * MIB)

    def grow(done):
        if done == MIB:
            with path.open("ab") as file:
                file.write(b"more")

    async with open_pool(1) as pool, open_source(path, pool._threads, MemoryBudget(0)) as content:
        with pytest.raises(SourceChanged, match=f"size {3 * MIB} -> {3 * MIB + 4}"):
            await pool.fingerprint(content, MIDSTATE_GRID, grow)


async def test_cancelling_ends_the_hashing_with_its_slice_and_frees_the_worker():
    class Cancelled(BytesContent):
        def hash_some(self, fingerprinter, limit, checkpoint):
            call_in_loop(loop, scope.cancel)
            call_in_loop(loop, nothing, None)  # by now the hashing has been told
            return super().hash_some(fingerprinter, limit, checkpoint)

    seen: list[int] = []
    data, loop = memoryview(bytes(8 * MIB)), asyncio.get_running_loop()
    async with open_pool(1) as pool:
        with anyio.CancelScope() as scope:
            await pool.fingerprint(Cancelled(data), MIDSTATE_GRID, seen.append)
        assert scope.cancelled_caught
        assert pool.slots.taken == 0
    assert seen == []


async def test_closing_ends_the_hashing_with_its_slice():
    class Closed(BytesContent):
        def hash_some(self, fingerprinter, limit, checkpoint):
            call_in_loop(loop, pool.close)
            return super().hash_some(fingerprinter, limit, checkpoint)

    seen: list[int] = []
    data, loop = memoryview(bytes(8 * MIB)), asyncio.get_running_loop()
    async with open_pool(1) as pool:
        with pytest.raises(ClientClosed, match="while a file was hashed"):
            await pool.fingerprint(Closed(data), MIDSTATE_GRID, seen.append)
        with pytest.raises(ClientClosed):
            await pool.fingerprint(BytesContent(data), MIDSTATE_GRID, seen.append)
        assert pool.slots.taken == 0
    assert seen == []


async def test_what_a_report_raises_reaches_the_caller_and_frees_the_worker():
    def fail(done):
        raise ZeroDivisionError(done)

    async with open_pool(1) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.fingerprint(BytesContent(memoryview(b"abc")), MIDSTATE_GRID, fail)
        assert pool.slots.taken == 0
