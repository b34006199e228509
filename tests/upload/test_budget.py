"""Memory is shared out so that all of it together stays below the limit, and the budget is kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async import Limits
from koodrive_async.capacity import MIN_MEMORY
from koodrive_async.upload.budget import AUTO_MOST, MemoryBudget, Shares
from koodrive_async.upload.connection import READ_AT_ONCE
from koodrive_async.upload.source import SLICE, SMALL

MIB = 1024 * 1024


@given(
    st.integers(MIN_MEMORY, 1 << 40),
    st.integers(1, 10_000),
    st.integers(1, 10_000) | st.just("auto"),
)
def test_all_shares_together_are_no_more_than_the_memory(memory, workers, connections):
    shares = Shares.of(Limits(memory=memory, hash_workers=workers, connections=connections))
    together = shares.hash_workers * SLICE + shares.connections * READ_AT_ONCE + shares.kept
    assert together <= memory
    assert 1 <= shares.hash_workers <= workers
    assert 1 <= shares.connections <= (AUTO_MOST if connections == "auto" else connections)
    assert shares.kept >= SMALL  # a small file can always be kept when there is no other


@pytest.mark.parametrize(
    ("limits", "shares"),
    [
        (Limits(memory=4 * MIB, hash_workers=8, connections=32), Shares(2, 8, MIB)),
        (Limits(memory=32 * MIB, hash_workers=8, connections=32), Shares(8, 32, 8 * MIB)),
        (Limits(memory=32 * MIB, hash_workers=64, connections=500), Shares(16, 64, 8 * MIB)),
        (Limits(memory=256 * MIB, hash_workers=2, connections="auto"), Shares(2, 64, 64 * MIB)),
    ],
)
def test_how_much_everybody_gets(limits, shares):
    assert Shares.of(limits) == shares


def test_who_gets_no_memory_does_without():
    budget = MemoryBudget(10)
    assert budget.take(6)
    assert not budget.take(5)
    assert budget.take(4)
    assert budget.held == 10
    budget.give_back(6)
    assert budget.take(5)
    assert not budget.take(1000)


@given(st.integers(0, 100), st.lists(st.integers(0, 120), max_size=30))
def test_never_more_is_held_than_the_limit(limit, sizes):
    budget = MemoryBudget(limit)
    taken = []
    for size in sizes:
        if budget.take(size):
            taken.append(size)
        elif taken:
            budget.give_back(taken.pop())
        assert budget.held == sum(taken) <= limit


def test_the_limit_is_kept_among_threads():
    budget = MemoryBudget(10)
    most = []
    together = threading.Barrier(8)

    def use(size):
        together.wait()
        for _ in range(2000):
            if budget.take(size):
                most.append(budget.held)
                budget.give_back(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [1, 2, 3, 4, 5, 6, 7, 8]))
    assert max(most) <= 10
    assert budget.held == 0
