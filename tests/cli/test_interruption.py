from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys

import pytest

from koodrive_async.emulator import Fault
from tests.cli.conftest import reset_signals
from tests.cli.interrupted import assert_is_backed_up, command_in, wait_for_row

SECONDS = 10
NUMBERS = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGHUP"):
    NUMBERS[signal.SIGHUP] = 129

pytestmark = pytest.mark.usefixtures("kept_journal")
each_signal = pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)


def interrupt(process, number=signal.SIGINT):
    process.send_signal(number)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == NUMBERS[number]
    return err


@each_signal
def test_interrupted_while_parts_are_sent(start, call, tree, koodrive_emulator, number):
    slow = Fault("bandwidth", "part.put", bytes_per_second=1000)
    koodrive_emulator.faults.add(slow)
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        err = interrupt(process, number)
    record, command = command_in(err)
    assert command == ["backup", "--resume", str(tree)]
    assert koodrive_emulator.locks() == ()
    (held,) = koodrive_emulator.records()
    assert (held.record_id, held.status) == (record, 0)
    koodrive_emulator.faults.remove(slow)
    done = call(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"resume\trecord {record}, begun 20" in done.stdout
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.parametrize(
    "route", ["records.create", "files.create", "files.complete", "records.complete"]
)
def test_interrupted_while_a_call_is_not_answered(start, call, tree, koodrive_emulator, route):
    silence = Fault("silence", route, moment="after")
    koodrive_emulator.faults.add(silence)
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active(route)
        err = interrupt(process)
    if route == "records.create":
        assert err == "interrupted: nothing was backed up\n"
        assert koodrive_emulator.records() == ()
        command = ["backup", "--resume", tree]
    else:
        _, command = command_in(err)
    assert koodrive_emulator.locks() == ()
    koodrive_emulator.faults.remove(silence)
    assert call(*command).returncode == 0
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.parametrize("route", ["devices.bind", "locks.create"])
def test_interrupted_before_there_is_a_record(start, tree, koodrive_emulator, route):
    koodrive_emulator.faults.add(Fault("silence", route))
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active(route)
        assert interrupt(process) == "interrupted: nothing was backed up\n"
    assert koodrive_emulator.locks() == ()


@each_signal
def test_interrupted_while_the_command_is_being_loaded(number):
    program = """
import signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            signal.raise_signal(int(sys.argv[1]))
sys.meta_path.insert(0, Finder())
from koodrive_async.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))],
        capture_output=True,
        preexec_fn=reset_signals if os.name == "posix" else None,
        encoding="utf-8",
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == NUMBERS[number]
    assert (done.stdout, done.stderr) == ("", "interrupted: nothing was backed up\n")


def test_interrupted_while_it_waits_for_the_lock(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "locks.create", status=400, code="13000102"))
    with start("backup", tree, "--wait", "600") as process:
        assert process.stderr.readline().startswith("waiting for the backup lock, at most 10:00")
        assert interrupt(process) == "interrupted: nothing was backed up\n"
    assert koodrive_emulator.records() == ()


def test_interrupted_while_a_file_is_hashed(start, tmp_path, kept_journal, koodrive_emulator):
    root = tmp_path / "root"
    root.mkdir()
    with (root / "endless.bin").open("wb") as file:
        file.truncate(64 * 2**30)  # with nothing in it, which takes long enough to hash
    with start("backup", root) as process:
        wait_for_row(kept_journal, "SELECT 1 FROM hashes WHERE offset > 0")
        command_in(interrupt(process))
    assert koodrive_emulator.locks() == ()
    assert koodrive_emulator.seen.count("files.create") == 0


def test_a_service_that_has_frozen_is_not_waited_for(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("silence", "part.put", moment="after"), Fault("silence", "locks.release")
    )
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        command_in(interrupt(process))
    assert len(koodrive_emulator.locks()) == 1  # it could not be given back


def test_the_lock_that_a_frozen_service_has_kept_is_taken_over(
    start, call, tree, koodrive_emulator
):
    faults = Fault("silence", "part.put", moment="after"), Fault("silence", "locks.release")
    koodrive_emulator.faults.add(*faults)
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        _, command = command_in(interrupt(process))
    koodrive_emulator.faults.clear()
    done = call(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert_is_backed_up(koodrive_emulator, tree)


def test_a_name_that_is_being_looked_up_is_not_waited_for(start, tree, tmp_path):
    # as if the name server did not answer: that is a thread which nothing can cancel
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, sys, threading\n"
        "def getaddrinfo(*_, **__):\n"
        "    print('looking up', file=sys.stderr, flush=True)\n"
        "    threading.Event().wait()\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path), "KOODRIVE_ENDPOINT": "https://nowhere.invalid"}
    with start("backup", tree, env=env) as process:
        assert process.stderr.readline() == "looking up\n"
        assert interrupt(process) == "interrupted: nothing was backed up\n"


def test_a_reader_that_has_gone_to_sleep_is_not_waited_for(start, tmp_path, koodrive_emulator):
    root = tmp_path / "root"
    root.mkdir()
    for number in range(80):
        (root / f"{number:0240}").touch()
    # a dozen of their lines fit into the pipe, and then no more files are begun
    with start("backup", root, pipesize=4096) as process:
        assert koodrive_emulator.seen.wait("files.complete", count=32 + 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 143
        command_in(process.stderr.read())


def test_one_more_ctrl_c_ends_it_at_once(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("silence", "part.put", moment="after"), Fault("silence", "locks.release")
    )
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        process.send_signal(signal.SIGINT)
        assert koodrive_emulator.seen.wait_active("locks.release")
        command_in(interrupt(process))


def test_other_signals_that_come_twice_change_nothing(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=1000))
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        process.send_signal(signal.SIGTERM)
        command_in(interrupt(process, signal.SIGTERM))
    assert koodrive_emulator.locks() == ()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_a_job_that_is_to_outlive_its_terminal_does(start, tree, koodrive_emulator):
    # as nohup has it
    slow = Fault("latency", "files.complete", seconds=0.5)
    koodrive_emulator.faults.add(slow)
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731 - a def says no more
    with start("backup", tree, preexec_fn=ignore) as process:
        assert koodrive_emulator.seen.wait_active("files.complete")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_that_has_gone_is_not_written_to(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=1000))
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with start("backup", tree, **streams) as process:
        os.close(theirs)
        assert koodrive_emulator.seen.wait_active("part.put")
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=SECONDS) == 129
    assert koodrive_emulator.locks() == ()


def test_other_commands_are_interrupted_with_one_word(start, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "devices.list"))
    with start("devices") as process:
        assert koodrive_emulator.seen.wait_active("devices.list")
        assert interrupt(process, signal.SIGTERM) == "interrupted\n"


def test_a_service_that_listens_and_never_answers_is_not_waited_for(start, tree):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with start("backup", tree, env=os.environ | {"KOODRIVE_ENDPOINT": url}) as process:
            listening.settimeout(SECONDS)
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(1)
                assert interrupt(process) == "interrupted: nothing was backed up\n"
