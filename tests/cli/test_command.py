from __future__ import annotations

import logging
import re
import subprocess
import sys
import uuid

import click
import pytest

from koodrive_async import __version__
from koodrive_async.cli import machine
from koodrive_async.cli.exits import exit_code_of
from koodrive_async.cli.machine import this_machine
from koodrive_async.cli.options import ConnectionsType, SizeType
from koodrive_async.cli.wording import count_text, printable, reason, size_text, speed_text
from koodrive_async.errors import ConfigurationError, InvalidArgument, LockLost


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    program = f"import sys; sys.modules[{missing!r}] = None\n"
    program += "from koodrive_async.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'koodrive-async[cli]'" in done.stderr


def test_the_installed_command_knows_its_version(call):
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, f"koodrive, version {__version__}\n")


def test_help_names_every_command_and_exit_code(invoke):
    text = invoke("--help").stdout
    for word in ("backup", "demo", "devices", "doctor", "emulator", "files", "records", "scopes"):
        assert f"  {word} " in text
    assert "130 for Ctrl-C, 143 for SIGTERM" in " ".join(text.split())


@pytest.mark.parametrize("command", ["backup", "demo", "doctor", "emulator", "files", "records"])
def test_wrong_usage_has_the_exit_code_of_click(invoke, command):
    assert invoke(command, "--nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError("disk"), 1),
        (InvalidArgument("size"), 2),
        (ConfigurationError("missing"), 3),
        (LockLost("1@100", "late"), 4),
    ],
)
def test_exit_codes_say_whose_fault_it_was(error, code):
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    ("text", "size"),
    [("7", 7), ("64M", 64 * 2**20), ("1.5G", 3 * 2**29), ("2 kB", 2000), ("8mib", 8 * 2**20)],
)
def test_sizes_have_units(text, size):
    assert SizeType().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1e9", "9" * 500])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(click.BadParameter):
        SizeType().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "-1", "some", "9" * 5000])
def test_what_is_no_number_of_connections_is_refused(text):
    with pytest.raises(click.BadParameter):
        ConnectionsType().convert(text, None, None)


def test_numbers_read_well():
    assert [size_text(size) for size in (0, 999, 1500, 2_000_000, 3 * 10**15)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.0 MB",
        "3000.0 TB",
    ]
    assert speed_text(3_000_000, 2) == "1.5 MB/s"
    assert speed_text(3_000, 2) == "1.5 kB/s"
    assert (count_text(1, "file"), count_text(1234, "file")) == ("1 file", "1,234 files")


def test_names_are_printed_in_one_line():
    assert printable("名 字.txt") == "名 字.txt"
    assert printable("a\nb\x1b[0m\udcff") == r"a\nb\x1b[0m\udcff"


def test_errors_of_the_system_are_told_without_their_number():
    assert reason(FileNotFoundError(2, "No such file", "a\nb")) == r"a\nb: No such file"
    assert reason(ValueError("two\nlines")) == r"two\nlines"
    assert reason(ValueError()) == "ValueError"


def test_a_machine_is_the_same_in_every_run():
    assert this_machine() == this_machine()
    assert len(this_machine().code) == 32
    assert this_machine(code="mine", name="№ 1").name == "_ 1"
    assert this_machine(name="  ").name == "device"


@pytest.fixture
def no_machine_id(monkeypatch, tmp_path):
    """This machine has nothing that would tell it from another one, as in a small container."""
    image = tmp_path / "machine-id"
    image.write_text("uninitialized\n")
    monkeypatch.setattr(machine, "_MACHINE_ID_FILES", (image, tmp_path / "none"))
    monkeypatch.setattr(uuid, "getnode", lambda: 1 << 40)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows always has an id")
@pytest.mark.usefixtures("no_machine_id")
def test_a_machine_without_an_id_can_be_given_one(invoke, koodrive_environment, tmp_path):
    del koodrive_environment
    folder = tmp_path / "given"  # the emulator writes beside it meanwhile
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    assert invoke("demo", folder).exit_code == 0
    assert invoke("config", "explain").exit_code == 0
    done = invoke("backup", folder)
    assert done.exit_code == 2
    (option,) = re.findall("--[a-z-]+code", done.stderr)
    assert "KOODRIVE_MACHINE_CODE" in done.stderr
    assert invoke("backup", folder, option, "container7").exit_code == 0


def test_debug_leaves_the_log_as_it_was(invoke):
    logger = logging.getLogger("koodrive_async")
    before = logger.level, logger.handlers[:]
    invoke("--debug", "journal")
    assert (logger.level, logger.handlers[:]) == before
