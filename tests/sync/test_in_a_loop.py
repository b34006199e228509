"""The synchronous client where an event loop is running: it holds that loop up, knowingly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from koodrive_async.emulator import Fault
from tests.notebook.kernels import running

PROGRAM = """
import asyncio
import threading
import time

from koodrive_async import Module
from koodrive_async.sync import KooDrive


async def main():
    ticks = []

    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0)

    task = asyncio.create_task(tick())
    await asyncio.sleep(0)
    with KooDrive.from_env() as drive:
        before = len(ticks)
        device = drive.devices.bind("machine")
        with drive.backup(device.device_id, Module.FOLDER) as session:
            session.upload(b"hello", name="hello.txt")
        names = [file.file_name for file in drive.files.list(session.record.record_id)]
        assert len(ticks) == before, "the loop has run"
    await asyncio.sleep(0)
    assert len(ticks) > before
    task.cancel()
    left = [each for each in threading.enumerate() if each.name.startswith("koodrive")]
    print(names, left)


asyncio.run(main())
"""


def test_it_works_inside_a_running_loop_which_it_holds_up(koodrive_environment):
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **koodrive_environment},
    )
    assert ended.stderr == ""
    assert ended.stdout == "['hello.txt'] []\n"


@pytest.fixture
def kernel(koodrive_environment, tmp_path):
    with running(tmp_path, {**os.environ, **koodrive_environment}) as kernel:
        yield kernel


def test_it_works_in_cells_of_a_notebook_and_a_cell_can_be_interrupted(kernel, koodrive_emulator):
    begin = "from koodrive_async.sync import KooDrive\ndrive = KooDrive.from_env().__enter__()\n"
    assert kernel.value(begin + "len(drive.devices.list())") == "0"
    stuck = Fault("latency", "devices.list", seconds=3600.0)
    koodrive_emulator.faults.add(stuck)
    cell = kernel.begin("drive.devices.list()")
    assert koodrive_emulator.seen.wait_active("devices.list", timeout=30)
    kernel.interrupt()
    reply, _ = kernel.end(cell)
    assert reply["ename"] == "KeyboardInterrupt"
    koodrive_emulator.faults.remove(stuck)
    assert kernel.value("drive.devices.bind('again').machine_code") == "'again'"
