"""Presigned URLs that live for two seconds, and a file that takes far longer: nobody notices."""

from __future__ import annotations

import os
import tempfile

import pytest

from koodrive_async import Limits, Module
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from tests.faults.trial import Clock

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB
PARTS = 80
LIFE = 2.0
SECONDS_OF_A_PART = 0.1


class StandingClock(Clock):
    """The wall clock of both sides, which moves with the parts and with nothing else."""

    def time(self):
        return 1_766_000_000.0 + self.moved


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def emulator(clock):
    """Return an emulator in whose time every part takes a while."""
    with (
        tempfile.TemporaryDirectory() as folder,  # hundreds of megabytes that no later look needs
        Emulator(folder, etags=False, url_seconds=LIFE, clock=clock.time) as found,
    ):
        for number in range(1, PARTS + 1):
            found.seen.then("part.put", clock.let_pass(SECONDS_OF_A_PART), count=number)
        yield found


@pytest.fixture
def path(tmp_path):
    """Return a file with holes: it takes no room, and is read as zeros."""
    path = tmp_path / "file.bin"
    path.touch()
    os.truncate(path, PARTS * PART - 1)
    return path


async def test_every_url_is_replaced_before_it_expires(emulator, clock, path):
    async with connect(emulator, clock=clock, limits=Limits(connections=2)) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipt = await session.upload(path, part_size=PART)
    refused = [each for each in emulator.seen.requests("part.put") if each.status != 200]
    assert refused == []
    assert (receipt.parts, receipt.retries) == (PARTS, 0)
    # a part began with each URL while that was good; each request is for many parts
    fetches = emulator.seen.count("files.part_urls")
    assert PARTS * SECONDS_OF_A_PART / LIFE <= fetches <= PARTS / 2
    (file,) = emulator.files()
    assert (file.completed, file.size) == (True, PARTS * PART - 1)
