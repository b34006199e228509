from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sysconfig
from typing import get_args

import click
import pytest

from koodrive_async.cli.emulator import FAULT_KINDS, dialect_of
from koodrive_async.emulator import Dialect, Faults
from koodrive_async.emulator.fault import Kind


def exported(process):
    """The variables that the command prints, once it serves."""
    lines = [process.stdout.readline() for _ in range(4)]
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
    with start(
        *options, "--port", port, "--fault", "error=400:locks.create:code=13000311"
    ) as process:
        assert exported(process) == first
        for name, value in first.items():
            monkeypatch.setenv(name, value)
        done = invoke("backup", tmp_path / "file")
        assert done.exit_code == 4
        assert "a fault was ordered" in done.stderr


@pytest.mark.usefixtures("no_settings")
def test_a_command_runs_with_an_emulator_for_as_long_as_it_takes(call, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    script = 'koodrive backup "$0" && koodrive records && exit 7'
    env = os.environ | {"TMPDIR": str(tmp_path / "scratch"), "KOODRIVE_JOURNAL": "off"}
    (tmp_path / "scratch").mkdir()
    done = call("emulator", "--", "sh", "-c", script, tmp_path / "file", env=env)
    assert done.returncode == 7
    assert "done\t1 file, " in done.stdout
    assert done.stdout.splitlines()[-1].split("\t")[1] == "completed"
    assert done.stderr.startswith("emulator: http://127.0.0.1:")
    assert done.stderr.count("\n") == 1
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_command_is_not_told_of_another_way_to_sign_in(call):
    env = os.environ | {"KOODRIVE_APP_ID": "mine", "KOODRIVE_APP_SECRET": "mine"}
    done = call("emulator", "--quiet", "koodrive", "devices", "--json", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"devices": []}\n', "")


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), (os.devnull, 126)])
def test_a_command_that_cannot_be_started_has_the_exit_code_of_a_shell(call, command, code):
    done = call("emulator", "--quiet", command)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"error: {command}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "told"), [(signal.SIGTERM, "TERM"), (signal.SIGHUP, "HUP")])
def test_signals_are_handed_on_to_a_command(start, number, told):
    script = "trap 'echo TERM; exit 9' TERM; trap 'echo HUP; exit 9' HUP; echo; read line; exit 3"
    with start("emulator", "--quiet", "sh", "-c", script, stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"{told}\n"
        assert process.wait(timeout=20) == 9


def test_ctrl_c_is_left_to_the_command_which_hears_it_from_the_terminal(start):
    script = "echo; read line; exit 3"
    with start("emulator", "--quiet", "sh", "-c", script, stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "\n"
        process.send_signal(signal.SIGINT)
        process.stdin.write("line\n")
        process.stdin.flush()
        assert process.wait(timeout=20) == 3


def test_a_command_that_a_signal_ends_has_the_exit_code_of_a_shell(call):
    assert call("emulator", "--quiet", "sh", "-c", "kill -KILL $$").returncode == 137


def test_in_json_it_is_one_object(start):
    with start("emulator", "--json") as process:
        found = json.loads(process.stdout.readline())
        assert set(found) == {"url", "directory", "environment"}
        assert found["environment"]["KOODRIVE_ENDPOINT"] == found["url"]
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_the_journal_of_its_clients_goes_with_it(call, monkeypatch):
    monkeypatch.delenv("KOODRIVE_JOURNAL", raising=False)
    script = 'echo "$KOODRIVE_JOURNAL"'
    done = call("emulator", "sh", "-c", script)
    where = done.stderr.partition("serves what is in ")[2].partition(" to ")[0]
    assert done.stdout == f"{where}/journal.db\n"
    monkeypatch.setenv("KOODRIVE_JOURNAL", "off")
    assert call("emulator", "sh", "-c", 'echo "$KOODRIVE_JOURNAL"').stdout == "off\n"


def test_help_lists_every_kind_of_fault(invoke):
    text = invoke("emulator", "--help").stdout
    assert set(FAULT_KINDS) == set(get_args(Kind))
    for kind, words in FAULT_KINDS.items():
        assert f"  {kind:<15}  {words}\n" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("text", FAULT_KINDS.values(), ids=FAULT_KINDS)
def test_the_examples_in_help_are_faults(text):
    for word in text.split():
        if "=" in word or ":" in word.rstrip(":"):
            Faults.parse([word])


def test_a_port_in_use_is_one_line(invoke):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = invoke("emulator", "--port", port)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: cannot listen on")
    assert done.stderr.count("\n") == 1


def test_a_fault_that_is_none_is_wrong_usage(invoke):
    assert invoke("emulator", "--fault", "latency=soon").exit_code == 2


@pytest.mark.parametrize(
    ("set_already", "name", "value"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:9"}, "NO_PROXY", "127.0.0.1"),
        ({"ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": "a"}, "NO_PROXY", "a,127.0.0.1"),
        ({"http_proxy": "http://127.0.0.1:9", "no_proxy": "a"}, "no_proxy", "a,127.0.0.1"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "*"}, "NO_PROXY", "*"),
        ({"KOODRIVE_PROXY": "http://127.0.0.1:9"}, "KOODRIVE_PROXY", "none"),
    ],
)
def test_no_proxy_is_between_a_command_and_its_emulator(call, set_already, name, value):
    script = f'echo "${name}" && koodrive devices --json && python -c "$0"'
    program = """
import asyncio
from koodrive_async import KooDrive
async def main():
    async with KooDrive.from_env() as drive:
        print(await drive.devices.list())
asyncio.run(main())"""
    env = os.environ | set_already
    env["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), env["PATH"]))
    done = call("emulator", "--quiet", "--", "sh", "-c", script, program, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [value, '{"devices": []}', "()"]


def test_dialects_are_answers_of_the_service(start):
    given = ("--dialect", "bad_credentials=403-13000410", "--dialect", "numbers=text")
    program = (
        "import os, urllib.request as u, urllib.error as e\n"
        "try: u.urlopen(os.environ['KOODRIVE_ENDPOINT'] + '/koodrive/ose/v1/backup/device')\n"
        "except e.HTTPError as error: print(error.code, error.read().decode())"
    )
    with start("emulator", *given, "--", "python", "-c", program) as process:
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out.startswith("403 {")
    assert json.loads(out[4:])["code"] == "13000410"


def test_a_wrong_dialect_is_refused_with_what_there_is(invoke):
    wrong = invoke("emulator", "--dialect", "url_life=61", "--", "true")
    assert wrong.exit_code == 2
    assert "url_life is one of 3600, 60" in " ".join(wrong.stderr.split())
    wrong = invoke("emulator", "--dialect", "url=60", "--", "true")
    assert "there are unfinished_files, " in " ".join(wrong.stderr.split())
    wrong = invoke("emulator", "--dialect", "url_scheme=http", "--", "true")
    assert "needs a certificate" in wrong.stderr


def test_the_help_lists_every_question_and_answer(invoke):
    told = " ".join(invoke("emulator", "--help").stdout.split())
    for name, choices in Dialect.choices().items():
        assert f"{name}: {', '.join(choices)}" in told


def test_the_help_marks_the_questions_that_the_command_cannot_play(invoke):
    told = " ".join(invoke("emulator", "--help").stdout.split())
    for name, choices in Dialect.choices().items():
        is_marked = f"{name}: {', '.join(choices)} (only Python can play it" in told
        try:
            dialect_of((f"{name}={choices[-1]}",))
        except click.BadParameter:
            assert is_marked, name
        else:
            assert not is_marked, name
