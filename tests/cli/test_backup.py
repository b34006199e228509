from __future__ import annotations

import errno
import hashlib
import os

import anyio
import pytest

from koodrive_async import Module, RecordStatus
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect

FILES = 5


def by_path(output):
    rows = [line.split("\t") for line in output.splitlines()]
    return {row[4]: row for row in rows if len(row) == 5}


def facts(output):
    return dict(line.split("\t") for line in output.splitlines() if line.count("\t") == 1)


@pytest.mark.usefixtures("environment")
def test_backup_in_a_pipe_has_a_line_for_each_file_and_no_control_characters(call, tree):
    done = call("backup", tree)
    assert (done.returncode, done.stderr) == (0, "")
    files = by_path(done.stdout)
    assert set(files) == {
        "empty.txt",
        "2024/01/IMG_0001.jpg",
        "2024/02/IMG_0001.jpg",
        "文档/说明.txt",
        "large.bin",
    }
    digest = hashlib.sha256((tree / "large.bin").read_bytes()).hexdigest()
    assert files["large.bin"][:3] == ["uploaded", str(9 * 2**20 + 1), digest]
    assert facts(done.stdout)["record"].isdigit()
    assert facts(done.stdout)["done"].startswith(f"{FILES} files, ")
    assert done.stdout.translate({9: None, 10: None}).isprintable()


@pytest.mark.usefixtures("environment")
def test_the_record_is_complete_and_has_the_files(invoke, tree, koodrive_emulator):
    done = invoke("backup", tree, "--module", "album")

    async def look():
        async with connect(koodrive_emulator) as drive:
            record = await drive.records.get(facts(done.stdout)["record"])
            return record, await drive.files.list(record.record_id).collect()

    record, listed = anyio.run(look)
    assert record.status is RecordStatus.COMPLETED
    assert record.module is Module.ALBUM
    assert {file.description for file in listed} == set(by_path(done.stdout))


@pytest.mark.usefixtures("environment")
def test_backup_takes_a_single_file(invoke, tree):
    done = invoke("backup", tree / "empty.txt")
    assert done.exit_code == 0, done.output
    assert set(by_path(done.stdout)) == {"empty.txt"}


@pytest.mark.usefixtures("environment")
def test_include_and_exclude_choose_files(invoke, tree):
    done = invoke("backup", tree, "--include", "*.jpg", "--include", "*.bin", "--exclude", "02")
    assert set(by_path(done.stdout)) == {"2024/01/IMG_0001.jpg", "large.bin"}


@pytest.mark.usefixtures("environment")
def test_patterns_are_those_of_a_gitignore(invoke, tree, tmp_path):
    (tmp_path / "more").write_text("*.txt\n!empty.txt\n")
    (tree / ".koodriveignore").write_text("# large things\n*.bin\n")
    done = invoke("backup", tree, "--exclude-from", tmp_path / "more", "--exclude", "/2024/*1/")
    assert set(by_path(done.stdout)) == {"2024/02/IMG_0001.jpg", "empty.txt", ".koodriveignore"}
    assert facts(done.stdout)["left out"] == (
        "2 excluded files, 1 excluded folder, 1 symbolic link"
    )


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    "options", [["--include", "*"], ["--exclude", "*"], ["--exclude-from", __file__]]
)
def test_patterns_make_no_sense_for_a_single_file(invoke, tree, options):
    assert invoke("backup", tree / "empty.txt", *options).exit_code == 2


@pytest.mark.usefixtures("environment")
def test_patterns_of_a_profile_do_not_keep_a_single_file_from_being_backed_up(
    invoke, tree, monkeypatch
):
    monkeypatch.setenv("KOODRIVE_EXCLUDE", "*.txt")
    assert set(by_path(invoke("backup", tree / "empty.txt").stdout)) == {"empty.txt"}
    assert "empty.txt" not in by_path(invoke("backup", tree).stdout)


@pytest.mark.usefixtures("environment")
def test_what_is_no_file_is_counted_in_one_line(call, tree):
    os.mkfifo(tree / "pipe")
    (tree / "second").symlink_to("pipe")
    done = call("backup", tree)
    assert facts(done.stdout)["left out"] == "2 symbolic links, 1 FIFO"
    assert len(by_path(done.stdout)) == FILES


@pytest.mark.usefixtures("environment")
def test_quiet_leaves_the_summary_for_a_log(call, tree):
    done = call("backup", tree, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"done\t{FILES} files, ")


@pytest.mark.usefixtures("environment")
def test_quiet_still_names_what_failed(call, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=400, code="13000308", msg="no", times=1)
    )
    done = call("backup", tree, "-q")
    assert done.returncode == 1
    assert done.stdout.startswith(f"done\t{FILES - 1} files, ")
    failed, error = done.stderr.splitlines()
    assert failed.startswith(f"failed: {tree}")
    assert error == "error: 1 file not backed up"


@pytest.mark.usefixtures("environment")
def test_a_folder_that_cannot_be_read_is_named_once(invoke, tree, monkeypatch):
    # folders are opened from the folder above, by their names
    opened = os.open

    def refuse(path, *args, **options):
        if path == "01":
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    done = invoke("backup", tree)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == f"failed: {tree / '2024' / '01'}: Permission denied"


@pytest.mark.usefixtures("environment")
def test_a_machine_keeps_its_code_and_a_name_the_service_allows(invoke, tree, koodrive_emulator):
    for name in ("书房 PC/№1 with a name that is too long for a device", "other"):
        assert invoke("backup", tree / "empty.txt", "--device-name", name).exit_code == 0
    assert koodrive_emulator.seen.count("devices.bind", status=200) == 2
    (device,) = invoke("devices").stdout.splitlines()
    assert device.split("\t")[1] == "other"


@pytest.mark.usefixtures("environment")
def test_the_machine_code_can_be_given(invoke, tree):
    invoke("backup", tree / "empty.txt", "--machine-code", "Lab_7", "--device-name", "PC ü/1")
    (device,) = invoke("devices").stdout.splitlines()
    assert device.split("\t")[1:4:2] == ["PC __1", "Lab_7"]


@pytest.mark.usefixtures("environment")
def test_failed_files_are_named_and_the_others_go_on(invoke, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=400, code="13000308", msg="no", times=1)
    )
    done = invoke("backup", tree)
    assert done.exit_code == 1
    assert len(by_path(done.stdout)) == FILES - 1
    failed, error = done.stderr.splitlines()
    assert failed.startswith(f"failed: {tree}")
    assert error == "error: 1 file not backed up"


@pytest.mark.usefixtures("environment")
def test_a_name_cannot_forge_lines_or_control_the_terminal(invoke, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "a\tb\nrecord\t1\x1b[31m").write_bytes(b"x")
    done = invoke("backup", folder)
    assert done.exit_code == 0, done.output
    assert set(by_path(done.stdout)) == {r"a\tb\nrecord\t1\x1b[31m"}


@pytest.mark.usefixtures("no_settings")
def test_missing_settings_have_an_exit_code_of_their_own(invoke, tree):
    done = invoke("backup", tree)
    assert done.exit_code == 3
    assert done.stderr.startswith("error: not set in the environment: KOODRIVE_ENDPOINT, ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("environment")
def test_a_refused_token_is_one_line_without_traceback(invoke, tree, monkeypatch):
    monkeypatch.setenv("KOODRIVE_TOKEN", "Bearer+nobody")
    done = invoke("backup", tree)
    assert done.exit_code == 4
    assert done.stderr.startswith("error: GET /koodrive/ose/v1/backup/device: HTTP 401")
    assert done.stderr.count("\n") == 1
    assert "nobody" not in done.stderr


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("where", ["before", "behind"])
def test_debug_shows_where_an_error_came_from(invoke, tree, monkeypatch, where):
    monkeypatch.setenv("KOODRIVE_TOKEN", "Bearer+nobody")
    arguments = ["backup", tree]
    arguments.insert(0 if where == "before" else 2, "--debug")
    done = invoke(*arguments)
    assert done.exit_code == 4
    assert "Traceback" in done.stderr
    assert "nobody" not in done.stderr


@pytest.mark.usefixtures("environment")
def test_what_has_been_done_is_told_when_the_service_gives_out(invoke, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=400, code="13000311", msg="full")
    )
    done = invoke("backup", tree)
    assert done.exit_code == 4
    # every file met it: it is told once
    stopped, error = done.stderr.splitlines()
    assert stopped.startswith("stopped: 0 files backed up, record ")
    assert error.startswith("error: ")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("size", "code"), [("64M", 0), ("4mib", 0), ("8000000", 0), ("1M", 2), ("many", 2)]
)
def test_memory_is_a_size(invoke, tree, size, code):
    assert invoke("backup", tree / "empty.txt", "--memory", size).exit_code == code


@pytest.mark.usefixtures("environment")
def test_what_is_given_is_taken_or_said_in_its_own_words(invoke, tree):
    file = tree / "empty.txt"
    done = invoke("backup", file, "--machine-code", "no-hyphens")
    assert done.exit_code == 2
    assert "error: --machine-code must be 1 to 64 letters, digits and underscores" in done.stderr
    done = invoke("backup", file, "--wait", "soon")
    assert done.exit_code == 2
    assert "'soon' is not a time such as 30 (seconds), 5m or 1h" in done.stderr
    done = invoke("backup", file, "--device-name", "Büro", "--wait", "5m")
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: the device is called 'B_ro', in the characters")
    assert "MB/s" not in done.stdout  # nothing was sent
    done = invoke("backup", file, "--dry-run", "--resume")
    assert done.stderr.startswith("warning: --dry-run looks at neither the service nor")


@pytest.mark.parametrize("command", ["backup", "demo"])
@pytest.mark.parametrize("kind", ["loop", "long", "behind a file"])
def test_a_path_that_cannot_be_looked_at_is_not_called_missing(invoke, tmp_path, command, kind):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path, number = {
        "loop": (tmp_path / "loop", errno.ELOOP),
        "long": (tmp_path / ("x" * 300), errno.ENAMETOOLONG),
        "behind a file": (tmp_path / "file" / "x", errno.ENOTDIR),
    }[kind]
    done = invoke(command, path)
    assert done.exit_code == 2
    assert f"{path}: {os.strerror(number)}" in done.stderr


def test_a_missing_path_is_called_missing(invoke, tmp_path):
    done = invoke("backup", tmp_path / "missing")
    assert done.exit_code == 2
    assert "does not exist" in done.stderr
