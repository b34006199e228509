"""A keeper that is ended has nothing under way: no renewal, no new lock, no look at the record."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from koodrive_async import ApiError, LockLost
from koodrive_async.resources.keeper import Grant, Keeper
from tests.interface.scripted import FakeClock

pytestmark = pytest.mark.anyio


class Service:
    """Refuses to renew, and hangs at one step.

    :param stuck: The step: renew, take or retake.
    """

    def __init__(self, stuck):
        self.stuck = stuck
        self.clock = FakeClock()
        self.asked = []
        self.is_stuck = asyncio.Event()

    async def step(self, name):
        self.asked.append(name)
        if name == self.stuck:
            self.is_stuck.set()
            await anyio.sleep_forever()

    async def renew(self, _):
        await self.step("renew")
        raise ApiError(status=400, code="13000102", msg="gone", method="PATCH", path="/lock")

    async def take(self):
        await self.step("take")
        return Grant("another", self.clock.now)

    async def retake(self):
        await self.step("retake")

    def keeper(self):
        return Keeper(
            Grant("lock", self.clock.now),
            life=60.0,
            clock=self.clock,
            renew=self.renew,
            take=self.take,
            retake=self.retake,
        )


STEPS = ["renew", "take", "retake"]


@pytest.mark.parametrize("stuck", STEPS)
async def test_what_is_under_way_ends_with_the_keeper(stuck):
    service, stopped = Service(stuck), []
    keeper = service.keeper()
    async with asyncio.timeout(30), anyio.create_task_group() as group:
        group.start_soon(keeper.keep, lambda: stopped.append(True))
        await service.is_stuck.wait()
        keeper.end("it was given back")
        await keeper.until_ended()
    assert service.asked == STEPS[: STEPS.index(stuck) + 1]
    assert stopped == []
    with pytest.raises(LockLost, match="it was given back"):
        keeper.check()


@pytest.mark.parametrize("stuck", STEPS)
async def test_what_waits_for_a_keeper_that_ends_gets_the_reason(stuck):
    service = Service(stuck)
    keeper = service.keeper()
    async with asyncio.timeout(30), anyio.create_task_group() as group:
        group.start_soon(keeper.keep, lambda: None)
        await service.is_stuck.wait()
        waiting = asyncio.ensure_future(keeper.lost_since(keeper.losses))
        await anyio.wait_all_tasks_blocked()
        assert not waiting.done()
        keeper.end("it was given back")
        with pytest.raises(LockLost, match="it was given back"):
            await waiting


@pytest.mark.parametrize("stuck", STEPS)
async def test_a_keeper_that_is_cancelled_has_ended(stuck):
    service = Service(stuck)
    keeper = service.keeper()
    async with asyncio.timeout(30), anyio.create_task_group() as group:
        group.start_soon(keeper.keep, lambda: None)
        await service.is_stuck.wait()
        group.cancel_scope.cancel()
    await keeper.until_ended()


async def test_a_keeper_that_never_began_has_ended():
    await Service("renew").keeper().until_ended()
