"""The memory budget: never exceeded, first come first served, nothing lost on cancellation."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.upload.budget import MemoryBudget

pytestmark = pytest.mark.anyio


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 3), st.booleans()), max_size=20),
)
def test_the_limit_is_kept_whatever_is_reserved_and_cancelled(limit, users):
    async def use(budget, size, turns, cancelled):
        with anyio.CancelScope() as scope:
            if cancelled:
                scope.cancel()
            async with budget.reserve(size):
                assert budget.held <= limit
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()

    async def main():
        budget = MemoryBudget(limit)
        async with anyio.create_task_group() as group:
            for user in users:
                group.start_soon(use, budget, *user)
        assert budget.held == 0

    anyio.run(main)


async def test_a_large_reservation_is_not_overtaken_by_small_ones():
    budget = MemoryBudget(10)
    order = []

    async def take(size):
        async with budget.reserve(size):
            order.append(size)

    async with budget.reserve(5), anyio.create_task_group() as group:
        group.start_soon(take, 10)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(take, 1)
        await anyio.wait_all_tasks_blocked()
        assert order == []
        group.cancel_scope.cancel()
    async with anyio.create_task_group() as group:
        group.start_soon(take, 10)
        group.start_soon(take, 1)
    assert order == [10, 1]


async def test_more_than_everything_is_everything():
    budget = MemoryBudget(10)
    async with budget.reserve(1000):
        assert budget.held == 10
