"""``--json``: what programs read, errors too."""

from __future__ import annotations

import json
import re
import signal
import sys

import anyio
import click
import pytest
from click.testing import CliRunner

from koodrive_async import Module
from koodrive_async.cli.app import koodrive
from koodrive_async.cli.profiles import config_path
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from tests.cli.test_audience import all_commands, arguments_of

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
REFUSED = Fault("error", "files.create", status=400, code="13000308", msg="no", times=1)


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def error_in(done):
    """The only line on standard error; it says nothing but what ended the command."""
    (line,) = lines(done.stderr)
    assert set(line) == {"error"}
    assert set(line["error"]) == {"type", "message", "hint", "code", "status", "trace_id"}
    return line["error"]


@pytest.fixture
def known(koodrive_emulator):
    """A device, two records, and a file in the newer one."""

    async def make():
        async with connect(koodrive_emulator) as drive:
            device = await drive.devices.bind("testmachine", name="test", os="linux")
            async with drive.locks.hold(Module.FOLDER) as lock:
                await drive.records.create(device.device_id, Module.FOLDER, lock_id=lock.lock_id)
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"hello", name="文.txt", description="a/文.txt")
            return device.device_id, session.record.record_id

    return anyio.run(make)


@pytest.mark.usefixtures("environment")
def test_records_and_files_are_an_object_on_each_line(invoke, known):
    device_id, record_id = known
    newer, older = lines(invoke("records", "--json", "--device", device_id).stdout)
    assert list(newer) == [
        "record_id",
        "status",
        "created",
        "ended",
        "device_id",
        "module",
        "properties",
        "in_use",
    ]
    assert (newer["record_id"], newer["status"], newer["module"]) == (
        record_id,
        "completed",
        "folder",
    )
    assert TIME.fullmatch(newer["created"])
    assert (older["status"], older["ended"]) == ("unfinished", None)
    (file,) = lines(invoke("files", record_id, "--json").stdout)
    assert TIME.fullmatch(file.pop("created"))
    assert file.pop("file_id")
    assert file == {
        "size": 5,
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "path": "a/文.txt",
        "name": "文.txt",
    }


@pytest.mark.usefixtures("environment")
def test_devices_are_one_object(invoke, known):
    (found,) = lines(invoke("devices", "--json").stdout)
    (device,) = found["devices"]
    assert TIME.fullmatch(device.pop("created"))
    assert device == {
        "device_id": known[0],
        "name": "test",
        "os": "linux",
        "machine_code": "testmachine",
    }


@pytest.mark.usefixtures("environment")
def test_json_is_ascii_and_has_no_colours(call, known, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = call("files", known[1], "--json", encoding="ascii", errors="strict")
    assert "\\u6587" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.usefixtures("environment")
def test_nothing_is_no_line(invoke):
    done = invoke("records", "--json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert lines(invoke("devices", "--json").stdout) == [{"devices": []}]


@pytest.mark.usefixtures("environment")
def test_a_backup_tells_of_its_record_each_file_and_the_end(call, tree, koodrive_emulator):
    koodrive_emulator.faults.add(REFUSED)
    done = call("backup", tree, "--json", "--exclude", "*.bin")
    begun, *files, end = lines(done.stdout)
    (record,) = koodrive_emulator.records()
    facts = {
        "path": str(tree),
        "module": "folder",
        "device_id": begun["device_id"],
        "record_id": record.record_id,
        "resumed": False,
    }
    assert begun == {"event": "begun", **facts}
    assert {file["path"] for file in files} == {
        "empty.txt",
        "2024/01/IMG_0001.jpg",
        "2024/02/IMG_0001.jpg",
        "文档/说明.txt",
    }
    (failed,) = [file for file in files if file["event"] == "failed"]
    assert failed["error"]["code"] == "13000308"
    assert failed["error"]["status"] == 400
    finished = [file for file in files if file["event"] == "finished"]
    assert len(finished) == 3
    assert {"outcome", "sha256", "size", "file_id", "parts", "retries", "seconds"} <= set(
        finished[0]["receipt"]
    )
    assert end["event"] == "done"
    assert facts.items() <= end.items()
    assert (end["files"], end["failed"]) == (3, 1)
    assert end["left_out"]["excluded_files"] == 1
    assert end["left_out"]["symbolic_links"] == 1
    assert done.returncode == 1
    assert error_in(done)["message"] == "1 file not backed up"


@pytest.mark.usefixtures("environment")
def test_progress_is_told_between_the_files_and_never_after_the_end(invoke, tree, monkeypatch):
    monkeypatch.setattr("koodrive_async.cli.job.PROGRESS_EVERY", 0.0)
    events = lines(invoke("backup", tree, "--json").stdout)
    progress = [event for event in events if event["event"] == "progress"]
    assert set(progress[0]) == {
        "event",
        "files",
        "done",
        "failed",
        "cancelled",
        "sent",
        "size",
        "hashed",
        "uploaded",
        "retries",
        "expected",
    }
    assert [event["uploaded"] for event in progress] == sorted(
        event["uploaded"] for event in progress
    )
    assert progress[-1]["expected"] in {None, 9 * 2**20 + 1 + 15_006}
    assert events[-1]["event"] == "done"
    quiet = invoke("backup", tree, "--json", "--quiet")
    assert (json.loads(quiet.stdout)["event"], quiet.stderr) == ("done", "")


@pytest.mark.usefixtures("environment")
def test_progress_is_told_also_when_nothing_moves(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("latency", "files.create", seconds=60))
    with start("backup", tree, "--json") as process:
        told = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [event["event"] for event in told] == ["begun", "progress", "progress"]


@pytest.mark.usefixtures("environment")
def test_quiet_leaves_errors_only(call, tree, koodrive_emulator):
    koodrive_emulator.faults.add(REFUSED)
    done = call("backup", tree, "--json", "--quiet")
    assert (done.returncode, json.loads(done.stdout)["failed"]) == (1, 1)
    failed, end = lines(done.stderr)
    assert failed["event"] == "failed"
    assert end["error"]["type"] == "Failed"


@pytest.mark.usefixtures("environment")
def test_what_stops_a_backup_comes_with_how_far_it_got(invoke, tree, koodrive_emulator):
    full = Fault("error", "files.create", status=400, code="13000311", msg="full", after=2)
    koodrive_emulator.faults.add(full)
    done = invoke("backup", tree, "--json")
    assert done.exit_code == 4
    so_far, end = lines(done.stderr)
    (record,) = koodrive_emulator.records()
    assert so_far["so_far"] == {
        "device_id": so_far["so_far"]["device_id"],
        "record_id": record.record_id,
        "files": 2,
        "there_already": 0,
        "failed": so_far["so_far"]["failed"],
        "go_on_with": f"koodrive backup --record {record.record_id} --json {tree}",
    }
    assert end["error"]["type"] == "InsufficientSpace"


@pytest.mark.usefixtures("environment")
def test_an_interrupted_backup_says_so_in_one_object(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "files.complete", moment="after"))
    with start("backup", tree, "--json") as process:
        begun = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    (line,) = lines(err)
    assert process.returncode == 143
    assert line["error"]["type"] == "Interrupted"
    assert line["so_far"]["record_id"] == begun["record_id"]
    assert "koodrive backup" in line["so_far"]["go_on_with"]


@pytest.mark.usefixtures("environment")
def test_a_listing_that_is_interrupted_says_so(start, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "devices.list", moment="after"))
    with start("devices", "--json") as process:
        assert koodrive_emulator.seen.wait_active("devices.list")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    (line,) = lines(err)
    assert (process.returncode, out) == (130, "")
    assert (line["error"]["type"], line["error"]["message"]) == ("Interrupted", "interrupted")


@pytest.mark.usefixtures("environment")
def test_an_error_of_the_service_has_its_code_status_and_trace_id(invoke):
    done = invoke("files", "12345", "--json")
    assert (done.exit_code, done.stdout) == (4, "")
    error = error_in(done)
    assert error["type"] == "NotFound"
    assert error["status"] == 400
    assert error["code"].isdecimal()
    assert error["trace_id"] in error["message"]
    assert error["hint"]


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["devices", "--json"], 3, "SettingsError"),
        (["files", "--json"], 2, "MissingParameter"),
        (["files", "1", "--json", "--nonsense"], 2, "NoSuchOption"),
        (["backup", "no such folder", "--json"], 2, "BadParameter"),
        (["scopes", "add", "1", "--json"], 2, "UsageError"),
    ],
)
def test_wrong_usage_and_settings_are_objects_too(call, arguments, code, kind, monkeypatch):
    monkeypatch.setenv("KOODRIVE_CONFIG", "/nonexistent/config.toml")
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    error = error_in(done)
    assert error["type"] == kind
    assert error["hint"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("files", "--nonsense"), "No such option '--nonsense'; hint: see koodrive files --help"),
        (("files",), "Missing argument 'RECORD'; hint: see koodrive files --help"),
        (("--nonsense", "files"), "No such option '--nonsense'; hint: see koodrive --help"),
        (("bakup",), "No such command 'bakup'. Did you mean 'backup'?; hint: see koodrive --help"),
    ],
)
def test_wrong_usage_is_one_line_or_one_object(invoke, arguments, told):
    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {told}\n"
    done = invoke(*arguments, "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    error = json.loads(done.stderr)["error"]
    assert f"{error['message']}; hint: {error['hint']}" == told


def test_the_demo_is_one_object(invoke, tree):
    done = invoke("demo", tree, "--json")
    (found,) = lines(done.stdout)
    assert done.exit_code == 0
    assert found["device_id"].isdecimal()
    assert found["record_id"].isdecimal()
    assert (found["files"], found["equal"], found["differences"]) == (5, 5, [])


def test_the_demo_names_what_is_not_equal(invoke, tree):
    done = invoke("demo", tree, "--json", "--fault", "error=400:files.create:times=1,code=13000308")
    (found,) = lines(done.stdout)
    assert done.exit_code == 1
    assert found["equal"] == 4
    (difference,) = found["differences"]
    assert difference["path"]
    assert "not backed up" in difference["problem"]
    assert error_in(done)["message"] == "1 of 5 files not equal"


@pytest.mark.usefixtures("no_settings")
def test_signing_in_and_out_and_choosing_are_objects(call, koodrive_emulator, tmp_path):
    token = tmp_path / "token"
    token.write_text(koodrive_emulator.token)
    where = ("--endpoint", koodrive_emulator.url, "--user-id", koodrive_emulator.user_id)
    file = str(config_path())
    with token.open() as stdin:
        done = call("login", *where, "--token-stdin", "--keep", "file", "--json", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found.pop("credentials").endswith("default.json")
    assert found == {
        "profile": "default",
        "file": file,
        "endpoint": koodrive_emulator.url,
        "user_id": koodrive_emulator.user_id,
    }
    for arguments, expected in {
        ("config", "path"): {"file": file},
        ("config", "use", "default"): {"file": file, "default": "default"},
        ("logout",): {"profile": "default", "forgotten": True},
    }.items():
        done = call(*arguments, "--json")
        assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, expected, "")
    done = call("logout", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("no_settings")
def test_warnings_of_signing_in_are_objects(call, koodrive_emulator, tmp_path, monkeypatch):
    monkeypatch.setenv("KOODRIVE_TOKEN", "another")
    token = tmp_path / "token"
    token.write_text(koodrive_emulator.token)
    where = ("--endpoint", koodrive_emulator.url, "--user-id", koodrive_emulator.user_id)
    with token.open() as stdin:
        done = call("login", *where, "--token-stdin", "--keep", "file", "--json", stdin=stdin)
    assert done.returncode == 0
    assert json.loads(done.stderr)["warning"]["message"].startswith("KOODRIVE_TOKEN is set")


@pytest.mark.usefixtures("environment")
def test_options_of_all_commands_stand_in_front_or_behind(invoke, tree, koodrive_emulator):
    assert json.loads(invoke("--json", "devices").stdout) == {"devices": []}
    assert invoke("--quiet", "backup", tree).output.startswith("done\t")
    assert json.loads(invoke("--json", "devices").stdout)["devices"]
    place = ("--endpoint", koodrive_emulator.url.replace("127.0.0.1", "localhost"))
    shown = invoke("--profile", "", *place, "config", "explain", "--json").stdout
    assert invoke("config", "explain", "--json", *place).stdout == shown
    done = invoke("devices", "--endpoint", "http://user@host")
    assert (done.exit_code, done.stdout) == (2, "")
    assert invoke("devices", *place).exit_code == 0
    assert "--endpoint" not in invoke("devices", "--help").stdout


def bad_calls():
    """Return calls that no command takes: of each command and group, with the names of both."""
    yield "no command", ()
    for path in all_commands():
        good = arguments_of(path)
        if path in {("emulator",), ("completion",)}:
            good = ()  # what follows is another command's; a script is no JSON
        else:
            yield (
                "one more",
                (*path, *good, *["one-more"] * (path != ("scopes", "add")), "--nonsense"),
            )
        yield "no such option", (*path, "--nonsense", *good)
        yield "flag with a value", (*path, *good, "--debug=1")
        for param in all_commands()[path]:
            if not isinstance(param, click.Option) or param.is_flag:
                continue
            yield "option without a value", (*path, *good, param.opts[0])
            if not isinstance(param.type, click.types.StringParamType | click.Path):
                yield "value that is none", (*path, param.opts[0], "nonsense", *good)
            elif isinstance(param.type, click.Path) and param.type.exists:
                yield "file that is none", (*path, param.opts[0], "/no/such", *good)
        if any(param.required for param in all_commands()[path]):
            yield "argument missing", path
    groups = {path[:1] for path in all_commands() if len(path) > 1}
    for group in groups | {()}:
        yield "no such command", (*group, "nonsense")
        yield "no such option", (*group, "--nonsense")
    for group in groups:
        yield "no command", group


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("front", [True, False], ids=["in front", "behind"])
def test_whatever_is_wrong_with_a_call_is_one_object(
    koodrive_emulator, tmp_path, monkeypatch, front
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"file")
    koodrive_emulator.seen.clear()
    for why, call in bad_calls():
        arguments = ["--json", *call] if front else [*call, "--json"]
        if not front and why in {"option without a value", "no command"}:
            continue  # it would be the value, or is an option that groups do not have
        done = CliRunner().invoke(koodrive, arguments)
        assert done.exit_code == 2, (why, arguments, done.output)
        assert done.stdout == "", (why, arguments)
        error = error_in(done)
        assert error["message"], (why, arguments)
        assert (error["hint"] or "").startswith("see koodrive "), (why, arguments, error)
    assert koodrive_emulator.seen.count() == 0


@pytest.mark.usefixtures("no_settings")
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_the_end_of_input_at_a_question_is_one_object(start):
    from tests.cli.talking import talk  # noqa: PLC0415 - not everywhere

    with talk(start, "login", "--json") as talking:
        talking.wait_for("[token]: ")
        talking.type("\x04")
        assert talking.end() == 1, talking.written
    last = talking.written.splitlines()[-1]
    assert json.loads(last[last.index("{") :])["error"]["message"] == "the input has ended"
