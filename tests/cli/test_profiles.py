from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from koodrive_async.cli.known_settings import BACKUP, SettingsError
from koodrive_async.cli.profiles import config_path, read_profiles
from koodrive_async.emulator import Fault


@pytest.fixture
def write_config():
    """Write the configuration file that the environment names."""
    file = config_path()

    def write(text):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.fixture
def profiles(environment, write_config, monkeypatch):
    """Two profiles of the emulator; the environment has nothing but a token."""
    endpoint, user_id = environment["KOODRIVE_ENDPOINT"], environment["KOODRIVE_USER_ID"]
    for name in ("KOODRIVE_ENDPOINT", "KOODRIVE_USER_ID", "KOODRIVE_JOURNAL"):
        monkeypatch.delenv(name)
    return write_config(
        f"""
        default = "home"

        [profiles.home]
        endpoint = "{endpoint}"
        user_id = "{user_id}"
        device_name = "home"
        journal = "off"

        [profiles.work]
        endpoint = "{endpoint}"
        user_id = "{user_id}"
        device_name = "work"
        machine_code = "work"
        exclude = ["*.jpg", "large.bin"]
        journal = "state/journal.db"
        """
    )


def names(listed):
    return [line.split("\t")[1] for line in listed.stdout.splitlines()]


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize(
    ("variable", "before", "behind", "chosen"),
    [
        (None, (), (), "home"),
        ("work", (), (), "work"),
        ("work", ("--profile", "home"), (), "home"),
        ("home", (), ("--profile", "work"), "work"),
        (None, ("--profile", "home"), ("--profile", "work"), "work"),
    ],
)
def test_the_profile_nearest_to_the_command_is_used(
    invoke, tree, monkeypatch, variable, before, behind, chosen
):
    if variable is not None:
        monkeypatch.setenv("KOODRIVE_PROFILE", variable)
    done = invoke(*before, "backup", *behind, tree)
    assert done.exit_code == 0, done.output
    assert names(invoke("devices")) == [chosen]


@pytest.mark.usefixtures("profiles")
def test_options_take_what_the_profile_says(invoke, tree):
    done = invoke("--profile", "work", "backup", tree)
    assert done.exit_code == 0, done.output
    assert "3 files, " not in done.stdout
    assert "done\t2 files, " in done.stdout


@pytest.mark.usefixtures("profiles")
def test_an_argument_goes_before_the_environment_and_that_before_the_profile(
    invoke, tree, monkeypatch
):
    monkeypatch.setenv("KOODRIVE_DEVICE_NAME", "variable")
    assert invoke("backup", tree).exit_code == 0
    assert names(invoke("devices")) == ["variable"]
    assert invoke("backup", tree, "--device-name", "argument").exit_code == 0
    assert names(invoke("devices")) == ["argument"]
    assert invoke("--profile", "work", "backup", tree).exit_code == 0
    assert set(names(invoke("devices"))) == {"argument", "work"}


@pytest.mark.usefixtures("profiles")
def test_patterns_add_up(invoke, tree, monkeypatch):
    monkeypatch.setenv("KOODRIVE_EXCLUDE", "empty.*")
    done = invoke("--profile", "work", "backup", "--dry-run", tree)
    assert "plan\t1 file, " in done.stdout
    done = invoke("--profile", "work", "backup", "--dry-run", "--exclude", "!large.bin", tree)
    assert "plan\t2 files, " in done.stdout


def test_a_file_with_patterns_that_is_gone_is_named(invoke, write_config, tree):
    file = write_config("[profiles.a]\nexclude_from = ['gone']\n")
    done = invoke("--profile", "a", "backup", "--dry-run", tree)
    assert done.exit_code == 3
    gone = file.parent / "gone"
    assert f"error: {gone}: No such file or directory, named by a in {file}; " in done.stderr


@pytest.mark.usefixtures("profiles")
def test_what_a_profile_leaves_out_of_folders_does_not_concern_a_file(invoke, tree):
    done = invoke("backup", "--profile", "work", tree / "large.bin")
    assert done.exit_code == 0, done.output
    assert "done\t1 file, " in done.stdout


def test_files_that_a_profile_names_are_relative_to_its_own(invoke, profiles, tree):
    assert invoke("--profile", "work", "backup", tree).exit_code == 0
    journal = profiles.parent / "state" / "journal.db"
    assert journal.exists()
    shown = invoke("journal", "--profile", "work")
    assert shown.exit_code == 0, shown.output
    assert str(journal) in shown.output


def test_options_in_front_go_before_everything(invoke, profiles, monkeypatch):
    monkeypatch.setenv("KOODRIVE_USER_ID", "somebody")
    assert invoke("devices").exit_code == 4
    user_id = read_profiles(profiles).choose("home", "").values["user_id"]
    assert invoke("--user-id", user_id, "devices").exit_code == 0


@pytest.mark.usefixtures("profiles")
def test_the_command_that_goes_on_names_the_profile(invoke, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "files.create", status=400, code="13000311"))
    done = invoke("--profile", "work", "backup", tree)
    assert done.exit_code == 4
    assert "go on with: koodrive --profile work backup --resume " in done.stderr


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "colour = 1",
            "has an unknown key 'colour': allowed are endpoint, user_id, app_id, proxy",
        ),
        (
            "memory = 'much'",
            "memory must be a size such as \"64M\", or a number of bytes, not 'much'",
        ),
        ("memory = true", "memory must be a size"),
        ("memory = -1", "memory must be at least 4 MiB, not -1"),
        ("bandwidth = 0", "bandwidth must be at least one byte per second, not 0"),
        ("machine_code = 'a b'", "machine_code must be 1 to 64 letters, digits and underscores"),
        ("endpoint = 'host'", "endpoint must be a URL such as https://host, not 'host'"),
        ("memory = 1.5", "memory must be a size"),
        ("connections = 0", 'connections must be a number from 1, or "auto", not 0'),
        ("connections = []", 'connections must be a number from 1, or "auto", not list'),
        ("module = 'music'", "module must be one of folder, album, address_book, not 'music'"),
        ("user_id = 7", "user_id must be a KooDrive user id, as text, not 7"),
        ("endpoint = ''", "endpoint must be a URL"),
        ("exclude = '*.tmp'", "exclude must be a list of patterns, not '*.tmp'"),
        ("exclude = [1]", "exclude must be a list of patterns"),
        ("verify = 'yes'", "verify must be true or false, not 'yes'"),
        ("wait = -1", "wait must be seconds from 0, or a time such as 5m, not -1"),
        ("wait = inf", "wait must be seconds from 0"),
        ("journal = ' '", 'journal must be a file, or "off"'),
        ("credentials = 'pocket'", "credentials must be one of keyring, file, not 'pocket'"),
    ],
)
def test_what_is_not_allowed_is_told_with_file_and_key(invoke, write_config, line, told):
    file = write_config(f"default = 'a'\n[profiles.a]\n{line}\n")
    done = invoke("devices")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {file}: [profiles.a] {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default = 'a'", "default must be the name of a profile in this file, not 'a'"),
        ("colour = 'red'", "unknown key 'colour': allowed are default and [profiles.NAME]"),
        ("profiles = 1", "profiles must be tables such as [profiles.work]"),
        ("[profiles]\na = 1", "profiles must be tables such as [profiles.work]"),
        ("[profiles.a]\nx = = 1", "Invalid value (at line 2, column 5)"),
    ],
)
def test_a_file_that_is_wrong_altogether(invoke, write_config, text, told):
    file = write_config(text)
    done = invoke("devices")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {file}: {told}")


@pytest.mark.usefixtures("no_settings")
def test_a_secret_in_the_file_is_refused_and_not_shown(invoke, write_config):
    write_config("default = 'a'\n[profiles.a]\ntoken = 'Bearer+secret'\n")
    done = invoke("devices")
    assert done.exit_code == 3
    assert "secrets do not belong in this file" in done.stderr
    assert "koodrive login --profile a" in done.stderr
    assert "Bearer" not in done.output


@pytest.mark.usefixtures("profiles")
def test_a_profile_that_is_not_there(invoke):
    done = invoke("devices", "--profile", "moon")
    assert done.exit_code == 3
    assert "no profile 'moon', named by --profile: it has home, work" in done.stderr


@pytest.mark.parametrize("setting", BACKUP, ids=lambda setting: setting.name)
@pytest.mark.usefixtures("profiles")
def test_every_setting_of_backups_is_an_option_of_backup(invoke, setting):
    assert setting.option in invoke("backup", "--help").stdout


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("KOODRIVE_MEMORY", "much", "KOODRIVE_MEMORY must be a size"),
        ("KOODRIVE_VERIFY", "maybe", "KOODRIVE_VERIFY must be true or false, not 'maybe'"),
        ("KOODRIVE_WAIT", "long", "KOODRIVE_WAIT must be seconds from 0, or a time"),
        ("KOODRIVE_WAIT", "nan", "KOODRIVE_WAIT must be seconds from 0, or a time"),
        ("KOODRIVE_MEMORY", "1M", "KOODRIVE_MEMORY must be at least 4 MiB, not '1M'"),
        ("KOODRIVE_BANDWIDTH", "0", "KOODRIVE_BANDWIDTH must be at least one byte per second"),
        ("KOODRIVE_MACHINE_CODE", "a-b", "KOODRIVE_MACHINE_CODE must be 1 to 64 letters"),
        ("KOODRIVE_ENDPOINT", "host", "KOODRIVE_ENDPOINT must be a URL such as https://host, not"),
        ("KOODRIVE_ENDPOINT", "http://[", "KOODRIVE_ENDPOINT must be a URL such as https://host"),
        ("KOODRIVE_USER_ID", "a\nb", "the user id has characters that cannot stand in a header: K"),
        ("KOODRIVE_TOKEN", "a\nb", "the token has characters that cannot stand in a header: KOOD"),
    ],
)
def test_a_variable_that_is_not_allowed(invoke, tree, monkeypatch, variable, value, told):
    monkeypatch.setenv(variable, value)
    done = invoke("backup", tree)
    assert done.exit_code == 3
    assert done.stderr.startswith(f"error: {told}")


def test_a_profile_can_be_made_the_default_and_comments_stay(invoke, profiles):
    profiles.write_text("# mine\n" + profiles.read_text() + "# the end\n")
    before = profiles.read_text()
    done = invoke("config", "use", "work")
    assert done.exit_code == 0, done.output
    assert profiles.read_text() == before.replace('default = "home"', 'default = "work"')
    rows = [line.split("\t")[:2] for line in invoke("config", "list").stdout.splitlines()]
    assert rows == [["home", "-"], ["work", "default"]]
    assert invoke("config", "use", "moon").exit_code == 3


def test_a_configuration_file_that_is_a_link_stays_one(invoke, profiles):
    real = profiles.rename(profiles.with_name("real.toml"))
    profiles.symlink_to(real)
    assert invoke("config", "use", "work").exit_code == 0
    assert profiles.is_symlink()
    assert read_profiles(real).default == "work"


def test_the_path_of_the_file_is_where_the_system_has_such_files(invoke, monkeypatch, tmp_path):
    assert invoke("config", "path").stdout == f"{tmp_path / 'config' / 'config.toml'}\n"
    monkeypatch.delenv("KOODRIVE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = Path(invoke("config", "path").stdout.strip())
    assert (path.parent.name, path.name) == ("koodrive", "config.toml")


def test_errors_about_settings_pickle():
    error = pickle.loads(pickle.dumps(SettingsError("a", hint="b")))
    assert isinstance(error, SettingsError)
    assert (str(error), error.hint) == ("a", "b")


@pytest.mark.usefixtures("environment")
def test_a_file_that_begins_with_a_mark_of_its_encoding(invoke):
    config_path().parent.mkdir(exist_ok=True)
    config_path().write_text("[profiles.work]\nmodule = 'album'\n", encoding="utf-8-sig")
    assert invoke("config", "use", "work").exit_code == 0
    assert invoke("devices").exit_code == 0


@pytest.mark.usefixtures("environment")
def test_a_password_in_an_endpoint_is_refused_and_not_shown(invoke, monkeypatch):
    url = "https://me:pa55word@host.example"
    for arguments in (("--endpoint", url, "devices"), ("config", "explain", "--endpoint", url)):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert "pa55word" not in done.output
    monkeypatch.setenv("KOODRIVE_ENDPOINT", url)
    for command in ("devices", "doctor"):
        done = invoke(command)
        assert "KOODRIVE_ENDPOINT must be a URL such as https://host" in done.output
        assert "pa55word" not in done.output
