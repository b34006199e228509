"""``koodrive backup --dry-run`` says what a backup would do, and does nothing."""

from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

import anyio
import pytest

from koodrive_async import path_from_text
from koodrive_async.cli.dry_run import Rehearsal
from koodrive_async.cli.output import Bare


def rows(output):
    return [line.split("\t") for line in output.splitlines()]


@pytest.mark.usefixtures("no_settings")
def test_every_file_has_its_size_and_parts_and_no_credentials_are_needed(invoke, tree):
    done = invoke("backup", tree, "--dry-run")
    assert (done.exit_code, done.stderr) == (0, "")
    *files, link, left_out, plan = rows(done.stdout)
    assert sorted(files, key=lambda row: row[3]) == [
        ["upload", "7000", "1", "2024/01/IMG_0001.jpg"],
        ["upload", "8000", "1", "2024/02/IMG_0001.jpg"],
        ["upload", "0", "1", "empty.txt"],
        ["upload", str(9 * 2**20 + 1), "2", "large.bin"],
        ["upload", "6", "1", "文档/说明.txt"],
    ]
    assert left_out == ["left out", "1 symbolic link"]
    assert link == ["leave out", "link", "symbolic link"]
    assert plan == ["plan", "5 files, 9.5 MB, 6 parts; nothing was sent"]


@pytest.mark.usefixtures("environment")
def test_neither_the_service_nor_the_journal_hears_of_it(
    invoke, tree, koodrive_emulator, monkeypatch, tmp_path
):
    monkeypatch.setenv("KOODRIVE_JOURNAL", str(tmp_path / "journal.db"))
    assert invoke("backup", tree, "--dry-run", "--resume").exit_code == 0
    assert koodrive_emulator.seen.count() == 0
    assert not (tmp_path / "journal.db").exists()


@pytest.mark.usefixtures("no_settings")
def test_what_rules_leave_out_is_counted_and_not_planned(invoke, tree):
    (tree / ".koodriveignore").write_text("/2024/01/\n")
    done = invoke("backup", tree, "--dry-run", "--exclude", "*.bin", "--include", "*.jpg")
    assert rows(done.stdout) == [
        ["upload", "8000", "1", "2024/02/IMG_0001.jpg"],
        ["leave out", ".koodriveignore", "excluded file"],
        ["leave out", "2024/01", "excluded folder"],
        ["leave out", "empty.txt", "excluded file"],
        ["leave out", "large.bin", "excluded file"],
        ["leave out", "link", "excluded file"],
        ["leave out", "文档/说明.txt", "excluded file"],
        ["left out", "5 excluded files, 1 excluded folder"],
        ["plan", "1 file, 8.0 kB, 1 part; nothing was sent"],
    ]


@pytest.mark.usefixtures("environment")
def test_the_plan_is_what_a_backup_does(invoke, tree):
    options = (tree, "--exclude", "2024/", "--include", "*.txt")
    planned = rows(invoke("backup", "--dry-run", *options).stdout)
    backed_up = rows(invoke("backup", *options).stdout)
    assert {(row[1], row[3]) for row in planned if len(row) == 4} == {
        (row[1], row[4]) for row in backed_up if len(row) == 5
    }
    assert [row for row in planned if row[0] == "left out"] == [
        row for row in backed_up if row[0] == "left out"
    ]


@pytest.mark.usefixtures("no_settings")
def test_a_single_file_can_be_planned(invoke, tree):
    done = invoke("backup", tree / "large.bin", "--dry-run")
    assert rows(done.stdout) == [
        ["upload", str(9 * 2**20 + 1), "2", "large.bin"],
        ["plan", "1 file, 9.4 MB, 2 parts; nothing was sent"],
    ]


@pytest.mark.usefixtures("no_settings")
def test_what_could_not_be_backed_up_is_named_and_has_an_exit_code(invoke, tmp_path):
    (tmp_path / "fine").write_bytes(b"x")
    with (tmp_path / "too large").open("wb") as file:
        file.truncate(200 * 10**9 + 1)
    done = invoke("backup", tmp_path, "--dry-run")
    assert done.exit_code == 1
    failed, error = done.stderr.splitlines()
    assert failed.startswith(f"would fail: {tmp_path / 'too large'}: ")
    assert error == "error: 1 file could not be backed up"
    assert rows(done.stdout) == [
        ["upload", "1", "1", "fine"],
        ["plan", "1 file, 1 B, 1 part; nothing was sent"],
    ]


@pytest.mark.usefixtures("no_settings")
def test_a_file_that_may_not_be_read_would_fail(invoke, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"x")
    # the tests may run as root, who may read everything
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("secret"))
    done = invoke("backup", tmp_path, "--dry-run")
    assert done.exit_code == 1
    assert f"would fail: {tmp_path / 'secret'}: Permission denied" in done.stderr


@pytest.mark.usefixtures("no_settings")
@pytest.mark.skipif(os.name == "nt", reason="there are none")
def test_every_kind_that_is_left_out_is_told(call, tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        (root / "link").symlink_to("nowhere")
        (root / "other link").symlink_to(root)
        done = call("backup", root, "--dry-run")
    assert rows(done.stdout)[:-1] == [
        ["leave out", "link", "symbolic link"],
        ["leave out", "other link", "symbolic link"],
        ["leave out", "pipe", "FIFO"],
        ["leave out", "socket", "socket"],
        ["left out", "2 symbolic links, 1 FIFO, 1 socket"],
    ]
    assert done.stderr == f"warning: nothing to back up in {root}\n"


@pytest.mark.usefixtures("no_settings")
def test_in_json_each_line_is_an_object(invoke, tree):
    done = invoke("backup", tree, "--dry-run", "--json")
    *files, end = map(json.loads, done.stdout.splitlines())
    assert {file["event"] for file in files} == {"planned"}
    assert {"path": "empty.txt", "action": "upload", "size": 0, "parts": 1} in [
        {key: value for key, value in file.items() if key != "event"} for file in files
    ]
    assert {"event": "planned", "path": "link", "action": "leave out", "why": "symbolic link"} in (
        files
    )
    assert end == {
        "event": "done",
        "dry_run": True,
        "files": 5,
        "size": 9 * 2**20 + 1 + 15_006,
        "parts": 6,
        "failed": 0,
        "left_out": {
            "excluded_files": 0,
            "excluded_folders": 0,
            "symbolic_links": 1,
            "fifos": 0,
            "sockets": 0,
            "devices": 0,
        },
    }


@pytest.mark.usefixtures("no_settings")
def test_quiet_says_nothing_but_what_would_fail(invoke, tree):
    done = invoke("backup", tree, "--dry-run", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_very_many_files_are_looked_at_in_bunches(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("koodrive_async.cli.dry_run._BUNCH", 3)
    for number in range(10):
        (tmp_path / str(number)).write_bytes(b"x" * number)
    rehearsal = Rehearsal(path=tmp_path, is_file=False, rules=None)

    async def rehearse():
        await rehearsal.run(Bare(), as_json=False)

    anyio.run(rehearse)
    assert [row[3] for row in rows(capsys.readouterr().out)] == [str(each) for each in range(10)]
    assert (rehearsal.files, rehearsal.size, rehearsal.parts) == (10, 45, 10)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.skipif(os.name == "nt", reason="there is none")
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_is_neither_file_nor_folder_is_refused(invoke, options):
    done = invoke("backup", os.devnull, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    told = f"error: {os.devnull} is a device: only files and folders are backed up; hint: "
    assert done.stderr.startswith(told)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.skipif(os.name == "nt", reason="there it cannot be removed")
def test_a_folder_that_cannot_be_looked_into_is_named_itself(invoke, tree, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", refuse)
        done = invoke("backup", tree, "--dry-run")
    assert (done.exit_code, done.stderr) == (1, f"error: {tree}: Permission denied\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = invoke("backup", ".", "--dry-run")
    assert done.exit_code == 2
    assert "error: .: the working folder of the command has been removed" in done.stderr
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("environment")
@pytest.mark.skipif(os.name == "nt", reason="there a backslash is no part of a name")
def test_fields_can_be_taken_apart_again(call, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    name = "new\nline, back\\nslash, tab\tand \x1b"
    (root / name).touch()
    for options in ((), ("--dry-run",)):
        (row, *_) = rows(call("backup", root, *options).stdout)
        # the text of the path, in which a backslash is two, and each of them two in a field
        assert row[-1] == r"new\nline, back\\\\nslash, tab\tand \x1b"
        text = row[-1].encode("latin-1").decode("unicode-escape")
        assert path_from_text(text) == name


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("left_out", [(), ("--exclude", "*")])
def test_nothing_to_back_up_is_a_warning_also_when_quiet(invoke, tmp_path, options, left_out):
    root = tmp_path / "empty"
    root.mkdir()
    if left_out:
        (root / "a.txt").write_text("a")
    done = invoke("backup", root, "--quiet", *options, *left_out)
    # the summary of what was sent, and nothing of what would be
    assert (done.exit_code, done.stdout[:5]) == (0, "" if options else "done\t")
    assert done.stderr == f"warning: nothing to back up in {root}\n"
    done = invoke("backup", root, "--json", *options, *left_out)
    assert json.loads(done.stderr) == {"warning": {"message": f"nothing to back up in {root}"}}


@pytest.mark.usefixtures("environment")
def test_a_pattern_that_matches_nothing_is_a_warning(invoke, tree):
    patterns = ("--exclude", "film.mp4", "--exclude", "*.tmp", "--exclude", "empty.txt")
    done = invoke("backup", tree, *patterns, "--dry-run")
    assert done.stderr == (
        "warning: --exclude film.mp4 matched nothing\nwarning: --exclude '*.tmp' matched nothing\n"
    )
    # another day there may be some
    done = invoke("backup", tree, *patterns)
    assert done.stderr == "warning: --exclude film.mp4 matched nothing\n"
