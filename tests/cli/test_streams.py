"""Standard streams that are closed or full, and terminals that want no colour."""

from __future__ import annotations

import os
import sys

import pytest

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
    assert done.stderr.startswith("error: nobody can be asked")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device")  # noqa: PTH110 - of a device
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("arguments", ["--help", "--version", "devices --help", "config path"])
def test_a_full_disk_is_one_line(call, arguments):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = call(*arguments.split(), stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


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
        talking.wait_for("error: the input has ended")
