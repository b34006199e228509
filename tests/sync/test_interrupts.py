"""Ctrl-C: raised where the caller waits, with what was running cancelled and cleaned up."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from koodrive_async import Module, RecordStatus
from koodrive_async.emulator import Fault
from tests.sample import sample
from tests.sync.conftest import portals, threads_since

FOREVER = 3600.0


def tasks_of(drive):
    """Return how many tasks there are in the thread of a client."""
    return len(drive._portal.run(asyncio.all_tasks))


def test_ctrl_c_cancels_the_call_and_the_client_goes_on(drive, koodrive_emulator, interrupting):
    fault = Fault("latency", "devices.list", seconds=FOREVER)
    koodrive_emulator.faults.add(fault)
    before = tasks_of(drive)
    with interrupting("devices.list"), pytest.raises(KeyboardInterrupt):
        drive.devices.list()
    assert tasks_of(drive) == before
    koodrive_emulator.faults.remove(fault)
    assert drive.devices.list() == ()


def test_ctrl_c_ends_a_backup_with_nothing_left_behind(
    open_client, koodrive_emulator, interrupting
):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=FOREVER))
    before = set(threading.enumerate())
    with (
        interrupting("part.put"),
        pytest.raises(KeyboardInterrupt),
        open_client() as drive,
        drive.backup(drive.devices.bind("machine").device_id, Module.FOLDER) as session,
    ):
        session.upload(sample(20_000_000), name="large.bin")
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1
    assert koodrive_emulator.seen.count("records.complete") == 0
    assert threads_since(before) == set()
    with open_client() as drive:
        assert drive.records.get(session.record.record_id).status is RecordStatus.NEW


def test_ctrl_c_while_an_outcome_is_waited_for_ends_the_loop(
    drive, device_id, koodrive_emulator, interrupting, tmp_path
):
    root = tmp_path / "root"
    root.mkdir()
    for number in range(40):
        (root / f"{number}.bin").write_bytes(sample(number + 1))
    koodrive_emulator.faults.add(Fault("latency", "files.complete", seconds=FOREVER, after=3))
    taken, before = [], tasks_of(drive)
    with (  # noqa: PT012 - the loop is what is tested
        interrupting("files.complete"),
        pytest.raises(KeyboardInterrupt),
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        for outcome in session.upload_tree(root):
            taken.append(outcome)  # noqa: PERF402 - it is interrupted
    assert tasks_of(drive) == before
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1


def test_ctrl_c_while_a_session_begins_gives_its_lock_back(
    drive, device_id, koodrive_emulator, interrupting
):
    koodrive_emulator.faults.add(Fault("latency", "records.create", seconds=FOREVER))
    with (
        interrupting("records.create"),
        pytest.raises(KeyboardInterrupt),
        drive.backup(device_id, Module.FOLDER),
    ):
        pytest.fail("the session has begun")
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1


def test_ctrl_c_while_a_session_ends_gives_its_lock_back(
    drive, device_id, koodrive_emulator, interrupting
):
    koodrive_emulator.faults.add(Fault("latency", "records.complete", seconds=FOREVER))
    with (
        interrupting("records.complete"),
        pytest.raises(KeyboardInterrupt),
        drive.backup(device_id, Module.FOLDER),
    ):
        pass
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1
    assert drive.devices.list()


def test_ctrl_c_in_the_block_itself_leaves_the_record_unfinished(drive, device_id):
    with (
        pytest.raises(KeyboardInterrupt),
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        signal.raise_signal(signal.SIGINT)
    assert drive.records.get(session.record.record_id).status is RecordStatus.NEW
    assert len(portals()) == 1


def test_system_exit_in_the_block_ends_the_program_as_usual(open_client, koodrive_emulator):
    with (
        pytest.raises(SystemExit),
        open_client() as drive,
        drive.backup(drive.devices.bind("machine").device_id, Module.FOLDER),
    ):
        raise SystemExit(3)
    assert koodrive_emulator.seen.count("locks.release", status=200) == 1
    assert portals() == []


def test_any_exception_of_a_signal_handler_cancels_the_call(drive, koodrive_emulator, interrupting):
    class OutOfTimeError(Exception):
        pass

    def handler(*_):
        raise OutOfTimeError

    koodrive_emulator.faults.add(Fault("latency", "devices.list", seconds=FOREVER))
    before, usual = tasks_of(drive), signal.signal(signal.SIGUSR1, handler)
    try:
        with interrupting("devices.list", signal.SIGUSR1), pytest.raises(OutOfTimeError):
            drive.devices.list()
    finally:
        signal.signal(signal.SIGUSR1, usual)
    assert tasks_of(drive) == before
