"""Standard streams that are closed or full, and terminals that want no colour."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import SECONDS
from tests.cli.forked import LOST
from tests.cli.talking import talk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="streams of POSIX")


def closing(*numbers):
    def close():
        for number in numbers:
            os.close(number)

    return close


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_backup_goes_on_without_a_stream(call, tree, number, koodrive_emulator):
    done = call("backup", tree, preexec_fn=closing(number))
    assert done.returncode == 0
    assert len(koodrive_emulator.files()) == 5
    assert done.stderr == ""
    assert ("done\t" in done.stdout) == (number != 1)


@pytest.mark.usefixtures("environment")
def test_nothing_is_written_into_a_file_that_has_the_number_of_a_stream(call, tree, kept_journal):
    done = call("backup", tree / "none", preexec_fn=closing(0, 1, 2))
    assert done.returncode == 2
    for _ in range(2):
        assert call("backup", tree, preexec_fn=closing(0, 1, 2)).returncode == 0
    done = call("journal", "--path", kept_journal)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.usefixtures("no_settings")
def test_questions_need_a_stream_to_answer_on(call):
    done = call("login", preexec_fn=closing(0))
    assert done.returncode == 2
    assert done.stderr.startswith("error: this is no terminal to ask on: ")


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device")  # noqa: PTH110 - of a device

FULL = "standard output: No space left on device"
WRITING = [
    "--help",
    "--version",
    "backup --help",
    "backup {tree}",
    "backup {tree} --dry-run",
    "completion fish",
    "config explain",
    "config path",
    "demo {tree}/empty.txt",
    "devices",
    "doctor",
    "files {record}",
    "journal",
    "records",
    "scopes add {device} /home",
    "scopes list {device}",
]


@pytest.fixture
def words(environment, invoke, tree):
    """Make words of a command line, with a device and a record that are there."""
    del environment
    done = json.loads(invoke("backup", tree, "--json").stdout.splitlines()[-1])

    def split(line):
        return line.format(tree=tree, record=done["record_id"], device=done["device_id"]).split()

    return split


@pytest.fixture
def call_all(tmp_path):
    """Run the command with each of these arguments; return exit codes and standard errors."""

    def run(lines, *, stdout=None, stderr=None, leaves=False):
        asked = {
            "commands": lines,
            "stdout": stdout or os.devnull,
            "stderr": stderr,
            "gone": str(tmp_path / "gone") if leaves else None,
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.forked"],
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=SECONDS,
        )
        return json.loads(done.stdout)

    return run


@needs_full
@pytest.mark.usefixtures("kept_journal")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_is_one_line_and_the_code_for_failures(call_all, words, as_json):
    lines = [line for line in WRITING if not as_json or (line[0] != "-" and "fish" not in line)]
    commands = [[*words(line), *(["--json"] if as_json else [])] for line in lines]
    for line, (code, err) in zip(lines, call_all(commands, stdout="/dev/full"), strict=True):
        *before, last = err.splitlines()
        assert (line, code) == (line, 1), err
        assert FULL in (err if line == "config explain" else last)
        # a backup has begun a record by then, and says how to go on
        assert len(before) == (line == "backup {tree}") or line == "config explain"


@needs_full
def test_errors_that_cannot_be_written_do_not_change_the_exit_code(call_all, words):
    codes = {
        "backup {tree}/empty.txt": 0,
        "backup {tree}/2024 --exclude nothing": 0,
        "devices": 0,
        "files 12345": 4,
        "nonsense": 2,
        "--nonsense devices": 2,
        "files 12345 --json": 4,
        "backup {tree}/none": 2,
    }
    commands = [words(line) for line in codes]
    for stderr in ("/dev/full", LOST):
        found = call_all(commands, stderr=stderr)
        assert [code for code, _ in found] == list(codes.values())
    found = call_all(commands, stderr="/dev/full", stdout="/dev/full")
    assert [code for code, _ in found] == [code or 1 for code in codes.values()]


def test_a_reader_that_has_left_is_no_word(call_all, words):
    lines = ["devices", "backup {tree} --dry-run", "doctor", "--help", "config path --json"]
    assert call_all([words(line) for line in lines], stdout=LOST) == [[1, ""]] * len(lines)


@pytest.mark.usefixtures("kept_journal")
@pytest.mark.parametrize(
    "setting",
    [
        {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "7"},
        {"PYTHONIOENCODING": "ascii", "COLUMNS": "none"},
    ],
    ids=" ".join,
)
def test_files_get_plain_lines_whatever_the_environment_says(
    call_all, words, tree, tmp_path, monkeypatch, setting
):
    (tree / "文档" / "\x1b[31mred\r").write_text("red")
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    written = tmp_path / "written"
    written.touch()
    lines = [*WRITING, "files 12345", "nonsense", "--debug devices", "backup {tree} --json"]
    done = call_all([words(line) for line in lines], stdout=str(written))
    for line, (code, err) in zip(lines, done, strict=True):
        assert code <= 4, line
        assert err.replace("\n", "").isprintable(), line
        assert "Traceback" not in err, line
    text = written.read_text()
    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert r"\x1b[31mred\r" in text


@needs_full
def test_a_full_disk_ends_a_process_of_its_own_like_that(call, environment):
    del environment
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = call("config", "path", stdout=full)
        assert (done.returncode, done.stderr) == (1, f"error: {FULL}\n")
        assert call("nonsense", stderr=full).returncode == 2


def test_a_pipe_that_does_not_wait_gets_everything(start, words):
    # as a parent leaves it that has made its own end so: both have one description of it
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with start(*words("completion bash"), stdout=theirs) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb") as reading:
            written = reading.read()
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    assert written.rstrip().endswith(b"_koodrive_completion_setup;")


@pytest.mark.usefixtures("kept_journal")
def test_a_removed_working_folder_breaks_no_command(call_all, words, koodrive_emulator):
    # completion asks the shell itself, which complains
    commands = [words(line) for line in (*WRITING, "backup {tree} --resume") if "fish" not in line]
    for command, (code, err) in zip(commands, call_all(commands, leaves=True), strict=True):
        assert (command, code) == (command, 0), err
    assert all(record.status == 1 for record in koodrive_emulator.records())
    for code, err in call_all([["backup", "."], ["--ca-file", "x", "devices"]], leaves=True):
        assert code in {1, 2}
        assert "the working folder of the command has been removed" in err


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(start, setting):
    with talk(start, "doctor", env=os.environ | setting) as talking:
        talking.wait_for("clock")
        assert "\x1b[" not in talking.written


@pytest.mark.usefixtures("no_settings")
def test_the_end_of_input_is_one_line(start):
    with talk(start, "login") as talking:
        talking.answer("Sign in with", "\x04")
        talking.wait_for("\r\nerror: the input has ended\r\n")


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("hidden", [False, True])
def test_an_interrupted_question_is_one_line(start, hidden):
    known = ("--endpoint", "http://127.0.0.1:9", "--user-id", "user") if hidden else ()
    with talk(start, "login", *known) as talking:
        talking.wait_for("[token]: ")
        if hidden:
            talking.type("token\n")
            talking.wait_for("such as Bearer+...): ")
        talking.interrupt()
        talking.wait_for("\r\ninterrupted\r\n")
        assert talking.end() == 130
