"""The line that goes on with an interrupted backup, pasted into a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from koodrive_async.cli.shell import command_line, quoted, quoted_for_windows
from koodrive_async.emulator import Fault
from tests.cli.conftest import COMMAND, SECONDS
from tests.cli.interrupted import assert_is_backed_up

BASH = shutil.which("bash") or ""
in_bash = pytest.mark.skipif(not BASH, reason="there is no bash")
FULL = Fault("error", "files.create", status=400, code="13000311", msg="full")
MARK = "; go on with: "

WORDS = [
    "plain/name-1.2_3",
    "",
    "two  words ",
    "it's",
    'say "hello"',
    "$HOME `id` $(id) ${x}",
    "back\\slash\\",
    "-rf",
    "=zsh",
    "~root",
    "#!bang!",
    "* ? [a] {b,c} ; & | < > ( )",
    "two\nlines\r\n",
    "\x1b]0;title\x07\x1b[2J\t\x7f",
    "文档/说明",
    "invisible\u200b\u202e\u2028\xa0\u3000",
    os.fsdecode(b"\xe9t\xe9-\xff1"),
    "\x1b7 it's \\n !",
]


def pasted(line, **options):
    """Run a line as if it had been pasted into a terminal."""
    command = [os.fsencode(BASH), b"--norc", b"-c", os.fsencode(line)]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, **options)


@in_bash
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "no such encoding"])
def test_words_come_out_of_bash_as_they_went_in(encoding):
    line = command_line(["printf", "%s\\0", *WORDS], encoding)
    assert line.isprintable()
    if encoding in {"ascii", "latin-1"}:
        line.encode(encoding)
    assert pasted(line).stdout == b"".join(os.fsencode(word) + b"\0" for word in WORDS)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("/home/anna/photos", "/home/anna/photos"),
        ("it's", "'it'\"'\"'s'"),
        ("a b", "'a b'"),
        ("文", "'文'"),
        ("a\nb", "$'a\\012b'"),
        ("\udcff", "$'\\377'"),
    ],
)
def test_the_plain_form_is_chosen_where_it_works(word, text):
    assert quoted(word) == text


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (r"C:\Users\anna", r"C:\Users\anna"),
        ("C:\\My Photos\\", '"C:\\My Photos\\\\"'),
        ("a&b", '"a&b"'),
        ('say "x"', r'"say \"x\""'),
        ("", '""'),
    ],
)
def test_windows_has_a_quoting_of_its_own(word, text):
    assert quoted_for_windows(word) == text


@in_bash
@pytest.mark.skipif(sys.platform != "linux", reason="others have names in Unicode alone")
@pytest.mark.parametrize(
    ("name", "journal"),
    [
        (b'-x it\'s $HOME "q" `id`!', "state"),
        (b"\x1b[31mred\n\xff\xe9\x80", "off"),
        ("文档 1".encode(), "state"),
    ],
)
def test_the_line_works_when_it_is_pasted_elsewhere(
    call, tmp_path, environment, koodrive_emulator, name, journal
):
    work = tmp_path / "work"
    root = work / os.fsdecode(name)
    root.mkdir(parents=True)
    (root / "keep.txt").write_text("keep")
    (root / "draft.tmp").write_text("draft")
    (root / "note.bak").write_text("note")
    (work / "rules").write_text("*.bak\n")
    koodrive_emulator.faults.add(FULL)
    typed = ["--exclude", "*.tmp", "--exclude-from", "rules", "--journal", journal]
    stopped = call("backup", *typed, "--quiet", "--", Path(root.name), cwd=work)
    assert stopped.returncode == 4
    told, _ = stopped.stderr.splitlines()
    assert told.isprintable()
    line = told.partition(MARK)[2]
    assert environment["KOODRIVE_TOKEN"] not in line
    koodrive_emulator.faults.clear()
    path = os.pathsep.join((str(Path(COMMAND).parent), os.environ["PATH"]))
    done = pasted(line, cwd="/", env=os.environ | {"PATH": path})
    assert (done.returncode, done.stderr) == (0, b"")
    (record,) = koodrive_emulator.records()
    assert record.status == 1
    (file,) = koodrive_emulator.files()
    assert file.description == "keep.txt"


@pytest.mark.usefixtures("environment")
def test_without_a_journal_that_can_be_written_the_record_is_named(
    invoke, tree, tmp_path, koodrive_emulator
):
    (tmp_path / "file").touch()
    journal = tmp_path / "file" / "journal.db"  # as in a container whose disk is read-only
    koodrive_emulator.faults.add(FULL)
    done = invoke("backup", tree, "--journal", journal)
    (record,) = koodrive_emulator.records()
    assert done.exit_code == 4
    warning, stopped, _ = done.stderr.splitlines()
    told = f"going on without the journal {journal}: {tmp_path / 'file'}: File exists"
    assert warning == f"warning: {told}"
    assert (
        f"{MARK}koodrive backup --record {record.record_id} --journal {journal} {tree}" in stopped
    )
    koodrive_emulator.faults.clear()
    done = invoke("backup", tree, "--record", record.record_id, "--journal", journal)
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert_is_backed_up(koodrive_emulator, tree)


@in_bash
def test_everything_that_was_typed_is_typed_again(
    call, tree, tmp_path, environment, koodrive_emulator, monkeypatch
):
    koodrive_emulator.faults.add(FULL)
    monkeypatch.setenv("KOODRIVE_JOURNAL", "state/journal.db")  # relative to where it was typed
    url, user = environment["KOODRIVE_ENDPOINT"], environment["KOODRIVE_USER_ID"]
    front = ["--endpoint", url, "--user-id", user, "--json"]
    behind = ["--module=folder", "--device-name", "my box", "--include=-x", "--wait", "1", "-q"]
    behind += ["--include", "*.bin"]
    done = call(*front, "backup", tree.name, *behind, cwd=tree.parent)
    assert done.returncode == 4
    assert f"koodrive --endpoint {url} --user-id {user} backup --resume --module folder " in (
        done.stderr
    )
    assert (
        f"--device-name 'my box' --include=-x --include '*.bin' --wait 1 --quiet --json "
        f"--journal {tmp_path}/state/journal.db {tree}"
    ) in done.stderr


@pytest.mark.usefixtures("environment")
def test_the_command_to_go_on_can_be_typed_anywhere(invoke, tree, koodrive_emulator, monkeypatch):
    koodrive_emulator.faults.add(FULL)
    monkeypatch.chdir(tree.parent)
    # the path is also the value of an option
    done = invoke("backup", tree.name, "--device-name", tree.name)
    assert f"{MARK}koodrive backup --record " in done.stderr
    assert f" --device-name {tree.name} {tree}\n" in done.stderr
    koodrive_emulator.faults.clear()
    assert invoke("backup", "--resume", tree).exit_code == 0
    assert_is_backed_up(koodrive_emulator, tree)
