"""Presigned URLs that live much shorter than an upload takes, against the emulator."""

from __future__ import annotations

import attrs
import pytest

from koodrive_async import Limits, Module
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from koodrive_async.transport.clock import SystemClock
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PARTS = 12


@attrs.define
class StandingTime(SystemClock):
    """Time that moves only when a test moves it; whoever sleeps does so as usual."""

    now: float = 1_766_000_000.7

    def time(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("ahead", [0.0, 3 * 3600.0, -3 * 3600.0])
async def test_a_file_outlives_its_urls_without_a_refusal(tmp_path, ahead):
    time = StandingTime()
    emulator = Emulator(tmp_path, url_seconds=2, clock=lambda: time.now + ahead)
    data = sample(PARTS * 5 * MIB)
    with emulator:
        for number in range(1, PARTS + 1):
            emulator.seen.then("part.put", lambda: time.pass_(0.5), count=number)
        async with connect(emulator, limits=Limits(connections=1), clock=time) as drive:
            device = await drive.devices.bind("slow")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                receipt = await session.upload(data, name="film.mkv", part_size=5 * MIB)
        assert receipt.retries == 0
        assert emulator.seen.count("part.put", status=403) == 0
        assert emulator.seen.count("part.put") == PARTS
        assert 3 <= emulator.seen.count("files.part_urls") <= PARTS
        (stored,) = [file for file in emulator.files() if file.file_id == receipt.file_id]
        assert stored.sha256 == receipt.sha256


async def test_urls_of_a_laptop_that_slept_are_not_even_tried(tmp_path):
    time = StandingTime()
    with Emulator(tmp_path, url_seconds=300, clock=time.time) as emulator:
        emulator.seen.then("part.put", lambda: time.pass_(400))
        async with connect(emulator, limits=Limits(connections=1), clock=time) as drive:
            device = await drive.devices.bind("laptop")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                receipt = await session.upload(sample(15 * MIB), name="a", part_size=5 * MIB)
        assert receipt.retries == 0
        assert emulator.seen.count("part.put", status=403) == 0
        assert emulator.seen.count("files.part_urls") == 1
