from __future__ import annotations

import os
import shlex
import signal
import socket

import pytest


def exported(process):
    """The variables that the command prints, once it serves."""
    lines = [process.stdout.readline() for _ in range(3)]
    assert "Ctrl-C stops it" in process.stderr.readline()
    words = [shlex.split(line) for line in lines]
    assert {word[0] for word in words} == {"export"}
    return dict(word[1].split("=", 1) for word in words)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_it_prints_points_a_client_at_it(start, invoke, monkeypatch, tmp_path, number):
    with start("emulator", env=os.environ | {"TMPDIR": str(tmp_path)}) as process:
        for name, value in exported(process).items():
            monkeypatch.setenv(name, value)
        assert invoke("doctor").exit_code == 0
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "emulator: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_it_stops_although_its_shell_has_it_ignore_ctrl_c(start):
    # as a job that a script starts with "&" does
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with start("emulator", preexec_fn=ignore) as process:
        exported(process)
        process.terminate()
        assert process.wait(timeout=20) == 0


@pytest.mark.usefixtures("no_settings")
def test_state_ports_and_faults_are_as_asked_for(start, invoke, monkeypatch, tmp_path):
    directory = tmp_path / "state"
    options = ("emulator", "--dir", directory)
    with start(*options) as process:
        first = exported(process)
        port = first["KOODRIVE_ENDPOINT"].rpartition(":")[2]
    (tmp_path / "file").write_bytes(b"x")
    with start(*options, "--port", port, "--fault", "error=400:locks.create") as process:
        assert exported(process) == first
        for name, value in first.items():
            monkeypatch.setenv(name, value)
        done = invoke("backup", tmp_path / "file")
        assert done.exit_code == 4
        assert "a fault was ordered" in done.stderr


def test_a_port_in_use_is_one_line(invoke):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke("emulator", "--port", port)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: cannot listen on")
    assert done.stderr.count("\n") == 1


def test_a_fault_that_is_none_is_wrong_usage(invoke):
    assert invoke("emulator", "--fault", "latency=soon").exit_code == 2
