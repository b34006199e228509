"""A user without a home folder, as in a minimal container, and other places that are not there."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest
from click.testing import CliRunner

from koodrive_async import KooDrive
from koodrive_async.cli.app import koodrive
from koodrive_async.cli.known_settings import SETTINGS
from koodrive_async.cli.profiles import config_path
from koodrive_async.cli.settings import read_settings
from koodrive_async.errors import ConfigurationError
from koodrive_async.upload.journal import default_path
from tests.cli.test_audience import all_commands, arguments_of

if sys.platform == "win32":
    pytest.skip("every user has a home folder", allow_module_level=True)

NO_ENTRY = """
import pwd

def no_entry(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = no_entry
"""
HOMES = ("HOME", "KOODRIVE_CONFIG", "KOODRIVE_JOURNAL")
WITHOUT = (
    "warning: this user has no home folder, so there is no profile, nor a journal; "
    "KOODRIVE_CONFIG and KOODRIVE_JOURNAL may name a file\n"
)


def no_entry(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")


@pytest.fixture
def no_home(environment, monkeypatch):  # noqa: ARG001 - its variables come first
    for name in (*HOMES, "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that the commands run in."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "file").write_bytes(b"file")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("no_home")
def test_a_backup_goes_on_without_profile_and_journal_and_says_so_once(
    call, here, tmp_path, monkeypatch
):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_ENTRY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    done = call("backup", "file")
    assert done.returncode == 0, done.stderr
    assert done.stderr == WITHOUT
    assert [file.name for file in here.iterdir()] == ["file"]


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("as_json", [False, True])
def test_every_command_goes_on_without_a_home_folder(here, as_json):
    wants_a_file = {("config", "path"), ("config", "use"), ("login",), ("logout",)}
    needs_none = {("completion",), ("demo",), ("emulator",)}
    for path in all_commands():
        arguments = [*path, *arguments_of(path)]
        if as_json and path != ("completion",):
            arguments.insert(0, "--json")
        done = CliRunner().invoke(koodrive, arguments, input="Bearer+x")
        assert done.exception is None or isinstance(done.exception, SystemExit), path
        assert "Traceback" not in done.output, path
        times = done.stderr.count("no home folder")
        if path in wants_a_file:
            assert (done.exit_code, times) == (3, 1), path
            assert "KOODRIVE_CONFIG names one" in done.stderr, path
        else:
            # nothing that they need is missing; the ids in the arguments are of nothing
            assert done.exit_code in {0, 4}, (path, done.output)
            assert times == (0 if path in needs_none else 1), path
        if as_json and path not in needs_none:
            assert all(json.loads(line) for line in done.stderr.splitlines())
    assert [file.name for file in here.iterdir()] == ["file"]


@pytest.mark.usefixtures("no_home")
def test_variables_may_name_the_files_that_no_home_folder_has(invoke, tmp_path, monkeypatch, here):
    monkeypatch.setenv("KOODRIVE_JOURNAL", str(tmp_path / "journal.db"))
    done = invoke("backup", here)
    assert (done.exit_code, (tmp_path / "journal.db").exists()) == (0, True)
    assert done.stderr == WITHOUT.replace(", nor a journal", "").replace(
        " and KOODRIVE_JOURNAL", ""
    )
    monkeypatch.setenv("KOODRIVE_CONFIG", str(tmp_path / "config.toml"))
    assert invoke("devices").stderr == ""
    monkeypatch.delenv("KOODRIVE_JOURNAL")
    done = invoke("backup", here)
    assert (done.exit_code, done.stderr.count("no home folder")) == (0, 1)


@pytest.mark.anyio
@pytest.mark.usefixtures("no_home")
async def test_a_client_without_a_home_folder_keeps_no_journal_and_says_so_once(
    caplog, monkeypatch
):
    caplog.set_level(logging.WARNING, "koodrive_async")
    for setting in ("auto", "~/mine.db"):
        monkeypatch.setenv("KOODRIVE_JOURNAL", setting)
        caplog.clear()
        async with KooDrive.from_env() as drive:
            assert drive.journal_path is None
            await drive.devices.list()
        assert [record.message for record in caplog.records] == [
            (
                "no journal is kept: this user has no home folder; KOODRIVE_JOURNAL may name a "
                "file, or be off"
            )
        ]


def test_the_home_folder_of_no_user_is_no_place_for_a_journal(monkeypatch):
    monkeypatch.setenv("KOODRIVE_JOURNAL", "~no-such-user/journal.db")
    assert default_path() is None


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("variable", ["KOODRIVE_CONFIG", "KOODRIVE_JOURNAL", "KOODRIVE_CA_FILE"])
def test_the_home_folder_of_no_user_is_one_line(invoke, monkeypatch, variable):
    monkeypatch.setenv(variable, "~no-such-user/file")
    done = invoke("devices")
    assert done.exit_code == 3
    assert variable in done.stderr
    assert "~no-such-user/file" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("relative", [False, True])
def test_every_command_runs_in_a_folder_that_has_been_removed(here, monkeypatch, relative):
    if relative:
        monkeypatch.setenv("KOODRIVE_CA_FILE", "ca.pem")
    (here / "file").unlink()
    here.rmdir()
    for path in all_commands():
        if path in {("config", "use"), ("login",), ("logout",)}:
            continue  # there is no profile
        done = CliRunner().invoke(koodrive, [*path, *arguments_of(path)])
        assert done.exception is None or isinstance(done.exception, SystemExit), path
        assert "Traceback" not in done.output, path
        if relative and "KOODRIVE_CA_FILE" in done.output:
            assert "KOODRIVE_CA_FILE=ca.pem: the working folder that this is" in done.output
        elif path in {("backup",), ("demo",)}:
            assert done.exit_code in {1, 2}
            assert "'file' does not exist" in done.stderr or "has been removed" in done.stderr
        else:
            assert done.exit_code in {0, 4} or path == ("journal",), (path, done.output)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[profiles.a]\n".encode("utf-16"), "it is not UTF-8"),
        ("[profiles.ä]\n".encode("latin-1"), "it is not UTF-8"),
        (b"\x00\x00", "Invalid"),
        (b"a = " + b"[" * 20_000, ""),
        (b"profiles = []", "profiles must be tables"),
        (b"default = ['a']\n[profiles.a]", "default must be the name"),
        (b"[profiles.a]\na = 1\n[profiles.a]", ""),
        (b"default = 'a'\n[profiles.a]\nmemory = 1979-05-27\n", "memory must be a size"),
    ],
)
def test_a_configuration_file_that_is_none_is_one_line_for_every_command(content, told):
    config_path().parent.mkdir()
    config_path().write_bytes(content)
    for arguments in (["devices"], ["records"], ["doctor"], ["config", "list"], ["logout"]):
        done = CliRunner().invoke(koodrive, arguments)
        if arguments[0] in {"config", "logout"} and b"1979" in content:
            continue  # they look at no setting
        assert done.exit_code == (1 if arguments == ["doctor"] else 3), done.output
        assert f"{config_path()}: " in done.output
        assert told in done.output
        assert "Traceback" not in done.output


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("kind", ["folder", "below a file", "circle of links"])
def test_a_configuration_file_that_cannot_be_read_is_one_line(invoke, monkeypatch, tmp_path, kind):
    file = tmp_path / "config.toml"
    if kind == "folder":
        file.mkdir()
    elif kind == "circle of links":
        file.symlink_to(file)
    else:
        (tmp_path / "plain").write_text("")
        file = tmp_path / "plain" / "config.toml"
    monkeypatch.setenv("KOODRIVE_CONFIG", str(file))
    done = invoke("devices")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {file}: ")
    assert done.stderr.count("\n") == 1


ODD = (
    *("true", "0", "-1", "1.5", "nan", "inf", "[]", "[1]", "{}", "1979-05-27", "07:32:00"),
    *("''", "' '", '"a\\u0000b"', "'~no-such-user/x'", "'@'", "'http://['", "99999999999999999999"),
)


@pytest.mark.parametrize("key", [*SETTINGS, "credentials", "colour", "token"])
def test_a_value_of_an_odd_type_is_taken_or_refused_in_one_line(key):
    config_path().parent.mkdir()
    for odd in ODD:
        config_path().write_text(f"[profiles.a]\n{key} = {odd}\n")
        said = said_of("a", key)
        assert len(said.splitlines()) <= 1, odd
        assert said.startswith((f"{config_path()}: [profiles.a] ", "is ")), odd


def said_of(profile, key):
    try:
        settings = read_settings({}, profile, environ={})
    except ConfigurationError as error:
        return str(error)
    return f"is {settings.values[key].text}"
