"""A token that runs out in the middle of a backup: renewed once and unnoticed, or the end of it."""

from __future__ import annotations

import asyncio

import pytest

from koodrive_async import (
    AuthenticationError,
    BearerToken,
    Limits,
    LockLost,
    Module,
    TokenRefreshFailed,
    UploadItem,
)
from koodrive_async.emulator import Emulator, Fault
from koodrive_async.testing import connect
from tests.faults.trial import LIFE_OF_A_LOCK, Clock, errors_among, raise_first
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
STAGES = (
    "locks.create",
    "records.create",
    "files.create",
    "files.part_urls",
    "files.complete",
    "records.complete",
    "locks.release",
)
FILES = {f"{n}.bin": sample(MIB + n, n) for n in range(4)}


class Tokens:
    """Gives a token that is good, or fails.

    :ivar asked: How often it was asked.
    :ivar at_once: How often at the same time, at the most.
    """

    def __init__(self, emulator):
        self._emulator = emulator
        self._asking = 0
        self.fails = False
        self.asked = 0
        self.at_once = 0

    async def __call__(self):
        self.asked += 1
        self._asking += 1
        self.at_once = max(self.at_once, self._asking)
        await asyncio.sleep(0)
        self._asking -= 1
        if self.fails:
            raise RuntimeError("no token today")
        return await asyncio.to_thread(self._emulator.new_token)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def emulator(tmp_path, clock):
    with Emulator(tmp_path / "koodrive", clock=clock.time) as running:
        yield running


@pytest.fixture
def tokens(emulator):
    return Tokens(emulator)


@pytest.fixture
async def backed_up(emulator, tmp_path, clock):
    """Return a function that backs up a few files and returns the failures of single ones."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    async with connect(emulator, clock=clock) as drive:
        device_id = (await drive.devices.bind("machine")).device_id

    async def run(auth, *, meanwhile=None, **settings):
        async with (
            connect(emulator, auth=auth, clock=clock, **settings) as drive,
            drive.backup(device_id, Module.FOLDER) as session,
        ):
            items = [UploadItem(source=tmp_path / name, description=name) for name in FILES]
            failures = await errors_among(session.upload_many(items))
            if meanwhile is not None:
                await meanwhile()
            raise_first(failures)

    return run


def runs_out(emulator, route, **more):
    """Let the token run out at a request of a route."""
    emulator.faults.add(Fault("expired-token", route, **more))
    if route == "files.part_urls":
        emulator.faults.add(Fault("expired-url", "part.put", times=1))


def stored(emulator):
    return {f.description: emulator.content(f.file_id) for f in emulator.files() if f.completed}


@pytest.mark.parametrize("route", STAGES)
async def test_a_token_function_is_asked_once_more_and_nobody_notices(
    route, emulator, tokens, backed_up
):
    runs_out(emulator, route, times=1)
    await backed_up(BearerToken(tokens))
    assert (tokens.asked, tokens.at_once) == (2, 1)
    assert stored(emulator) == FILES
    assert len(emulator.files()) == len(FILES)
    assert emulator.locks() == ()


async def test_a_token_that_runs_out_at_a_renewal_keeps_the_lock(
    emulator, tokens, backed_up, clock
):
    seen = emulator.seen

    async def let_time_pass():
        clock.moved += LIFE_OF_A_LOCK / 2
        assert await asyncio.to_thread(seen.wait, "locks.renew", count=2)

    runs_out(emulator, "locks.renew", times=1)
    await backed_up(BearerToken(tokens), meanwhile=let_time_pass)
    assert [each.status for each in seen.requests("locks.renew")] == [401, 200]
    assert tokens.asked == 2
    assert stored(emulator) == FILES


async def test_every_file_may_meet_another_token(emulator, tokens, backed_up):
    """The proof code starts from the token: it is computed anew for each."""
    for route in ("files.create", "files.complete"):
        runs_out(emulator, route, times=1)
        runs_out(emulator, route, after=3, times=1)
    await backed_up(BearerToken(tokens), limits=Limits(files_in_flight=1))
    assert tokens.asked == 5
    assert stored(emulator) == FILES


@pytest.mark.parametrize("route", STAGES[:-1])
async def test_a_token_function_that_fails_ends_everything_at_once(
    route, emulator, tokens, backed_up
):
    runs_out(emulator, route)
    emulator.seen.then(route, lambda: setattr(tokens, "fails", True))
    with pytest.raises(TokenRefreshFailed) as failed:
        await backed_up(BearerToken(tokens))
    assert "no token today" not in str(failed.value)
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert emulator.seen.count(route) <= len(FILES)


@pytest.mark.parametrize("route", STAGES[:-1])
async def test_a_fixed_token_that_runs_out_is_an_authentication_error(route, emulator, backed_up):
    runs_out(emulator, route)
    with pytest.raises(AuthenticationError, match="check the token"):
        await backed_up(BearerToken(emulator.new_token()))
    assert emulator.seen.count(route) <= len(FILES)


async def test_a_fixed_token_that_runs_out_at_a_renewal_loses_the_lock(emulator, backed_up, clock):
    async def let_time_pass():
        clock.moved += LIFE_OF_A_LOCK / 2
        await asyncio.Event().wait()  # until the lock is lost

    runs_out(emulator, "locks.renew")
    with pytest.raises(LockLost, match="401") as lost:
        await backed_up(BearerToken(emulator.new_token()), meanwhile=let_time_pass)
    assert isinstance(lost.value.__cause__, AuthenticationError)
