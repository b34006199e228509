"""What somebody meets who types into a notebook: errors that help, and nothing left behind."""

from __future__ import annotations

import os
import time

import pytest

from koodrive_async.emulator import Fault
from tests.notebook.kernels import running

pytestmark = pytest.mark.timeout(180)

PATIENCE = 30.0

CONNECT = """
from koodrive_async import KooDrive, Module
from koodrive_async.sinks import show
drive = await KooDrive.from_env().__aenter__()
device = await drive.devices.bind("notebook")
"""
UPLOAD = """
async with drive.backup(device.device_id, Module.FOLDER) as session, show(session):
    await session.upload(bytes(12_000_000), name="large.bin")
"""
LEFT = """
import asyncio
sorted(repr(task.get_coro()) for task in asyncio.all_tasks() if "koodrive" in repr(task))
"""


@pytest.fixture
def kernel(tmp_path, koodrive_emulator):
    environment = {**os.environ, **koodrive_emulator.environment(), "KOODRIVE_JOURNAL": "off"}
    with running(tmp_path, environment) as kernel:
        yield kernel


def wait_until(what):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_interrupted_cell_gives_the_lock_back_and_the_next_one_works(kernel, koodrive_emulator):
    kernel.run(CONNECT)
    before = kernel.value(LEFT)
    stuck = Fault("silence", "part.put", moment="after")
    koodrive_emulator.faults.add(stuck)
    cell = kernel.begin(UPLOAD)
    wait_until(lambda: koodrive_emulator.faults.hits(stuck) >= 2)
    assert len(koodrive_emulator.locks()) == 1
    kernel.interrupt()
    reply, _ = kernel.end(cell)
    assert reply["status"] == "error"
    assert reply["ename"] in {"CancelledError", "KeyboardInterrupt"}
    assert koodrive_emulator.locks() == ()
    assert kernel.value(LEFT) == before
    (record,) = koodrive_emulator.records()
    assert kernel.value("session") == (
        f"<BackupSession record {record.record_id}, ended, not completed>"
    )
    koodrive_emulator.faults.clear()
    reply, _ = kernel.run(UPLOAD)
    assert reply["status"] == "ok"
    assert [record.status for record in koodrive_emulator.records()] == [0, 1]


def test_a_cell_can_be_run_again(kernel, koodrive_emulator):
    for _ in range(2):
        reply, _ = kernel.run(CONNECT + UPLOAD)
        assert reply["status"] == "ok"
    assert koodrive_emulator.locks() == ()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            "await KooDrive.from_env().records.list(Module.FOLDER).first()",
            "this client is not open: use it inside 'async with KooDrive(...)'",
        ),
        (
            "async with drive:\n    pass",
            "a KooDrive client is entered once: make another one",
        ),
        (
            "await drive.backup('1', Module.FOLDER).upload(b'')",
            "this backup session is not open: use it inside 'async with'",
        ),
    ],
    ids=["client not entered", "client entered twice", "session not entered"],
)
def test_what_was_forgotten_is_said(kernel, cell, said):
    kernel.run(CONNECT)
    reply, _ = kernel.run(cell)
    assert (reply["ename"], reply["evalue"]) == ("ClientClosed", said)


@pytest.mark.parametrize("first", ["pass", "import matplotlib.pyplot"], ids=["alone", "pyplot"])
def test_a_timeline_is_shown_once_whether_or_not_pyplot_is_there(kernel, first):
    kernel.run(first)
    kernel.run(CONNECT + UPLOAD)
    reply, shown = kernel.run("session.timeline()")
    assert reply["status"] == "ok"
    pictures = [each["data"]["image/png"] for each in shown if "image/png" in each.get("data", {})]
    assert len(pictures) == 1
