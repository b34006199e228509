"""What has been hashed need not be hashed again."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import attrs
import pytest

from koodrive_async import SourceChanged
from koodrive_async.hashing import Fingerprinter
from koodrive_async.threads import ThreadPool
from koodrive_async.upload import hash_pool as hash_pool_module
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.hash_pool import HashPool
from koodrive_async.upload.journal import Journal
from koodrive_async.upload.source import FileContent, open_source
from tests.sample import sample
from tests.upload.journal_sample import LONG_AGO

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
SIZE = 9 * MIB + 5


class Interrupted(Exception):  # noqa: N818 - as a kill would
    pass


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    monkeypatch.setattr(hash_pool_module, "TURN", 4 * MIB)
    monkeypatch.setattr(hash_pool_module, "SAVED_EVERY", 2 * MIB)


@pytest.fixture
def path(make_file):
    return make_file(SIZE)


class HeardJournal(Journal):
    """A journal that tells what it was told."""

    def __init__(self, path):
        super().__init__(path)
        self.heard: list[tuple[int, int]] = []

    def hashed_on(self, identity, grid, start, midstates):
        self.heard.append((start, len(midstates) // 32 * grid))
        super().hashed_on(identity, grid, start, midstates)


@pytest.fixture
async def journal(tmp_path):
    journal = HeardJournal(tmp_path / "journal.db")
    await journal.open()
    yield journal
    await journal.aclose()


@asynccontextmanager
async def opened(journal, source, *, settled=True):
    """A pool, and a source in it that was last changed long ago."""
    threads = ThreadPool(2)
    try:
        async with open_source(source, threads, MemoryBudget(0)) as content:
            if settled and isinstance(content, FileContent) and content.identity is not None:
                content.identity = attrs.evolve(content.identity, ctime_ns=LONG_AGO)
            yield HashPool(threads, 1, journal), content
    finally:
        await threads.aclose()


async def hashed(journal, source, grid=MIB, *, until=None, settled=True):
    """Hash a source, and return its fingerprint and the bytes hashed at each report."""
    seen: list[int] = []

    def report(done):
        seen.append(done)
        if done == until:
            raise Interrupted

    async with opened(journal, source, settled=settled) as (pool, content):
        try:
            return await pool.fingerprint(content, grid, report), seen
        except Interrupted:
            return None, seen


def in_one_go(data, grid=MIB):
    fingerprinter = Fingerprinter(grid)
    fingerprinter.update(data)
    return fingerprinter.finish()


async def test_a_file_that_was_hashed_is_not_read_again(journal, path):
    found, seen = await hashed(journal, path)
    assert len(seen) == 10
    again, seen = await hashed(journal, path)
    assert again == found == in_one_go(sample(SIZE))
    assert seen == []


async def test_midstates_are_noted_now_and_then_and_none_twice(journal, path):
    await hashed(journal, path)
    assert journal.heard == [(at * MIB, 2 * MIB) for at in (0, 2, 4, 6)]


@pytest.mark.parametrize("grid", [64 * 1024, 4160, MIB, 3 * MIB // 2, 3 * MIB, 5 * MIB])
@pytest.mark.parametrize("until", [MIB, 2 * MIB, 3 * MIB, 5 * MIB, 9 * MIB, SIZE])
async def test_an_interrupted_hash_goes_on_from_a_midstate_that_was_noted(
    journal, path, grid, until
):
    nothing, _ = await hashed(journal, path, grid, until=until)
    assert nothing is None
    found, seen = await hashed(journal, path, grid)
    assert found == in_one_go(sample(SIZE), grid)
    assert seen[0] <= until + MIB
    assert seen[0] > until - 2 * MIB - grid - MIB


async def test_a_hash_that_is_interrupted_again_and_again_comes_to_its_end(journal, path):
    found, steps = None, 0
    while found is None:
        saved = sum(length for _, length in journal.heard)
        found, _ = await hashed(journal, path, until=saved + 3 * MIB)
        steps += 1
    assert found == in_one_go(sample(SIZE))
    assert steps == 5
    assert journal.heard == [(at * MIB, 2 * MIB) for at in (0, 2, 4, 6)]


async def test_another_grid_needs_the_file_again_and_takes_the_place_of_the_first(journal, path):
    for grid in (MIB, 64 * 1024):
        found, seen = await hashed(journal, path, grid)
        assert found == in_one_go(sample(SIZE), grid)
        assert len(seen) == 10
    assert (await hashed(journal, path, 64 * 1024))[1] == []


async def test_a_file_that_was_changed_is_hashed_anew(journal, path):
    await hashed(journal, path)
    path.write_bytes(sample(SIZE, seed=1))
    found, _ = await hashed(journal, path)
    assert found == in_one_go(sample(SIZE, seed=1))


async def test_a_file_that_changes_while_it_is_hashed_leaves_no_finished_hash(journal, path):
    def grow(done):
        if done == 5 * MIB:
            with path.open("ab") as file:
                file.write(b"more")

    async with opened(journal, path) as (pool, content):
        with pytest.raises(SourceChanged):
            await pool.fingerprint(content, MIB, grow)
        saved = await journal.hash_of(content.identity)
        assert saved.sha256 is None


async def test_a_file_that_was_changed_just_now_is_not_noted(journal, path, monkeypatch):
    async with opened(journal, path, settled=False) as (_, content):
        changed = content.identity.ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + 10**6)
    found, _ = await hashed(journal, path, settled=False)
    assert found == in_one_go(sample(SIZE))
    assert journal.heard == []
    assert await journal.hash_of(content.identity) is None


@pytest.mark.parametrize("kind", ["bytes", "stream"])
async def test_what_is_no_file_is_not_noted(journal, kind):
    data = sample(SIZE)
    found, _ = await hashed(journal, data if kind == "bytes" else [data])
    assert found == in_one_go(data)
    assert not journal.path.exists()


async def test_a_journal_with_nonsense_in_it_does_no_harm(journal, path):
    await hashed(journal, path, until=5 * MIB)
    await journal.aclose()
    journal.path.write_bytes(b"nonsense" * 10000)
    await journal.open()
    assert (await hashed(journal, path))[0] == in_one_go(sample(SIZE))
