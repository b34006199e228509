from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from koodrive_async.emulator import Fault

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.cli.talking import talk

pytestmark = pytest.mark.usefixtures("environment")

ESCAPE = "\x1b["


def everything(descriptor):
    """Read what is written to a terminal until nobody has it open any more."""
    written = b""
    try:
        while data := os.read(descriptor, 65536):
            written += data
    except OSError:  # how Linux says that the other side is closed
        pass
    return written.decode()


@pytest.fixture
def on_terminal(start):
    """Run the command on a terminal of its own; return its exit code and what it wrote."""

    def run(*arguments, **options):
        ours, theirs = pty.openpty()
        env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": env}
        try:
            with start(*arguments, **(streams | options)) as process:
                os.close(theirs)
                written = everything(ours)
                return process.wait(timeout=20), written
        finally:
            os.close(ours)

    return run


def test_a_backup_shows_its_progress_and_then_only_its_result(on_terminal, tree):
    code, written = on_terminal("backup", tree)
    assert code == 0
    assert ESCAPE in written
    for word in ("hash", "upload", "files", "MB"):
        assert word in written
    assert "large.bin" not in written
    assert written.splitlines()[-1].startswith("done\t5 files, ")


def test_failures_show_above_the_bars(on_terminal, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=400, code="13000308", times=1)
    )
    code, written = on_terminal("backup", tree)
    assert code == 1
    assert f"failed: {tree}" in written


def test_lines_go_to_a_file_while_bars_are_on_the_terminal(on_terminal, tree, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stdout:
        code, written = on_terminal("backup", tree, stdout=stdout)
    assert code == 0
    assert ESCAPE in written
    assert ESCAPE not in log.read_text()
    assert "\tlarge.bin\n" in log.read_text()


def test_a_dumb_terminal_gets_lines(on_terminal, tree):
    env = os.environ | {"TERM": "dumb"}
    code, written = on_terminal("backup", tree, env=env)
    assert code == 0
    assert ESCAPE not in written
    assert "\tlarge.bin\r\n" in written


def test_listings_are_tables_with_whole_ids(on_terminal, invoke, tree):
    record = invoke("backup", tree).stdout.split("record\t")[1].split()[0]
    _, records = on_terminal("records")
    assert "STATUS" in records
    assert record in records
    _, files = on_terminal("files", record)
    assert "SHA-256" in files
    assert "文档/说明.txt" in files
    assert max(len(line) for line in files.replace(ESCAPE, "").splitlines()[1:]) <= 110


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_no_id_is_cut_whatever_the_width(on_terminal, invoke, tree, columns):
    record = invoke("backup", tree).stdout.split("record\t")[1].split()[0]
    device = invoke("devices").stdout.split("\t")[0]
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": columns}
    ids = {row.split("\t")[0] for row in invoke("files", record).stdout.splitlines()}
    for arguments, expected in (
        (["records"], {record}),
        (["devices"], {device}),
        (["files", record], ids),
    ):
        code, written = on_terminal(*arguments, env=env)
        assert code == 0
        assert expected <= set(written.split())


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_journal_is_whole_whatever_the_width(
    on_terminal, invoke, kept_journal, tree, koodrive_emulator, columns
):
    full = Fault("error", "files.create", status=400, code="13000311")
    koodrive_emulator.faults.add(full)
    assert invoke("backup", tree).exit_code == 4
    row = invoke("journal").stdout.rstrip("\n").split("\t")
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": columns}
    _, written = on_terminal("journal", env=env)
    assert kept_journal.exists()
    record, device = row[0], row[7]
    assert {record, device} <= set(written.split())
    # a block of lines where a line has no room for all of it
    assert (f"RECORD     {record}" in written) is (columns == "80")


def test_on_a_terminal_json_is_json_and_has_no_bars(on_terminal, tree):
    code, written = on_terminal("backup", tree, "--json")
    assert code == 0
    assert ESCAPE not in written
    assert json.loads(written.splitlines()[-1])["event"] == "done"


def test_on_a_terminal_quiet_is_quiet(on_terminal, tree):
    assert on_terminal("backup", tree, "--quiet") == (0, "")


@pytest.mark.parametrize(
    "setting",
    [
        {"COLUMNS": "4"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "FORCE_COLOR": "1"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
    ],
    ids=" ".join,
)
def test_any_terminal_will_do(on_terminal, tree, setting):
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"} | setting
    for arguments in (["backup", tree], ["devices"], ["doctor"]):
        code, written = on_terminal(*arguments, env=env)
        assert code == 0, written
        assert "Traceback" not in written
        if arguments == ["doctor"] and len(setting) == 2:
            assert ESCAPE not in written


def test_a_dry_run_reads_well_on_a_terminal(on_terminal, tree):
    code, written = on_terminal("backup", tree, "--dry-run")
    assert code == 0
    assert ESCAPE not in written
    assert "upload    9.4 MB    2 parts  large.bin\r\n" in written
    assert "upload       0 B     1 part  empty.txt\r\n" in written
    assert written.splitlines()[-1].startswith("plan\t5 files, 9.5 MB, 6 parts")


def test_the_demo_shows_its_progress(on_terminal, tree):
    code, written = on_terminal("demo", tree)
    assert code == 0
    assert ESCAPE in written
    assert "5 of 5 files equal" in written
    assert "download" in written


def test_pipes_of_a_child_are_not_taken_for_a_terminal(call, tree):
    done = call("backup", tree, env=os.environ | {"FORCE_COLOR": "1"}, stderr=subprocess.STDOUT)
    assert ESCAPE not in done.stdout


@pytest.mark.parametrize("command", [("devices",), ("backup", ".")])
def test_a_service_that_does_not_answer_is_waited_for_in_words(start, command):
    env = os.environ | {"KOODRIVE_ENDPOINT": "http://127.0.0.1:1"}
    with talk(start, *command, env=env) as talking:
        talking.wait_for("waiting for 127.0.0.1:1: connection refused (attempt 2 of 7)\r\n")
