"""The synchronous client where an event loop is running: it holds that loop up, knowingly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from jupyter_client.manager import start_new_kernel

from koodrive_async.emulator import Fault

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
def run_cell(koodrive_environment):
    """Return a function that runs a cell in a kernel and returns what it printed and raised."""
    manager, client = start_new_kernel(
        env={**os.environ, **koodrive_environment, "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        kernel_name="python3",
    )

    def run(code, meanwhile=lambda _: None):
        printed = []

        def show(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        asked = client.execute(code)
        meanwhile(manager)
        answer = client._recv_reply(asked, timeout=30)["content"]
        while (message := client.get_iopub_msg(timeout=30)) is not None:
            if message["parent_header"].get("msg_id") != asked:
                continue
            show(message)
            if message["content"].get("execution_state") == "idle":
                break
        return "".join(printed), answer.get("ename")

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("default")  # of the kernel's client
def test_it_works_in_cells_of_a_notebook_and_a_cell_can_be_interrupted(run_cell, koodrive_emulator):
    def interrupt(manager):
        assert koodrive_emulator.seen.wait_active("devices.list", timeout=30)
        manager.interrupt_kernel()

    begin = "from koodrive_async.sync import KooDrive\ndrive = KooDrive.from_env().__enter__()"
    assert run_cell(begin) == ("", None)
    assert run_cell("print(len(drive.devices.list()))") == ("0\n", None)
    stuck = Fault("latency", "devices.list", seconds=3600.0)
    koodrive_emulator.faults.add(stuck)
    assert run_cell("drive.devices.list()", interrupt) == ("", "KeyboardInterrupt")
    koodrive_emulator.faults.remove(stuck)
    assert run_cell("print(drive.devices.bind('again').machine_code)") == ("again\n", None)
    assert run_cell("drive.__exit__(None, None, None)") == ("", None)
