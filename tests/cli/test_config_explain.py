from __future__ import annotations

import json
from pathlib import Path

import pytest

from koodrive_async.cli.known_settings import SETTINGS
from koodrive_async.cli.profiles import config_path
from koodrive_async.cli.settings import read_settings


@pytest.fixture
def profile(environment):
    file = config_path()
    file.parent.mkdir()
    file.write_text(
        f"""
        [profiles.work]
        endpoint = "{environment["KOODRIVE_ENDPOINT"]}"
        memory = "64M"
        connections = 8
        exclude = ["*.tmp", "*.log"]
        verify = true
        """
    )
    return f"work in {file}"


@pytest.fixture
def explained(invoke):
    """Return what is explained as JSON."""

    def explain(*arguments):
        done = invoke("config", "explain", "--json", *arguments)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return explain


def test_each_value_has_its_source(explained, profile, environment, monkeypatch):
    monkeypatch.setenv("KOODRIVE_CONNECTIONS", "4")
    monkeypatch.setenv("KOODRIVE_PROFILE", "work")
    found = explained("--exclude", "a", "--exclude", "b", "--wait", "1.5")
    assert (found["profile"], found["chosen_by"]) == ("work", "KOODRIVE_PROFILE")
    settings = found["settings"]
    assert settings["memory"] == {"value": 64 * 2**20, "source": "profile", "where": profile}
    assert settings["verify"] == {"value": True, "source": "profile", "where": profile}
    assert settings["connections"] == {
        "value": 4,
        "source": "environment",
        "where": "KOODRIVE_CONNECTIONS",
    }
    assert settings["endpoint"] == {
        "value": environment["KOODRIVE_ENDPOINT"],
        "source": "environment",
        "where": "KOODRIVE_ENDPOINT",
    }
    assert settings["exclude"] == {
        "value": ["*.tmp", "*.log", "a", "b"],
        "source": "argument",
        "where": f"--exclude; {profile}",
    }
    assert settings["wait"] == {"value": 1.5, "source": "argument", "where": "--wait"}
    assert settings["module"] == {"value": "folder", "source": "default", "where": None}
    assert settings["credentials"] == {
        "value": "a token",
        "source": "environment",
        "where": "KOODRIVE_TOKEN",
    }


def test_a_profile_that_is_typed_goes_before_the_environment(explained, profile, monkeypatch):
    monkeypatch.setenv("KOODRIVE_CONNECTIONS", "4")
    monkeypatch.setenv("KOODRIVE_BANDWIDTH", "4")
    monkeypatch.setenv("KOODRIVE_EXCLUDE", "a")
    settings = explained("--profile", "work", "--memory", "16M")["settings"]
    assert settings["connections"] == {"value": 8, "source": "profile", "where": profile}
    assert settings["endpoint"]["source"] == "profile"
    assert settings["memory"]["source"] == "argument"
    assert settings["bandwidth"]["source"] == "environment"  # the profile does not say
    assert settings["exclude"] == {
        "value": ["a", "*.tmp", "*.log"],
        "source": "profile",
        "where": f"{profile}; KOODRIVE_EXCLUDE",
    }


@pytest.mark.parametrize(
    ("argument", "variable", "profile_too", "source"),
    [
        (True, True, True, "argument"),
        (True, False, False, "argument"),
        (False, True, True, "environment"),
        (False, False, True, "profile"),
        (False, False, False, "default"),
    ],
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("module", "album"),
        ("connections", "3"),
        ("memory", "16M"),
        ("bandwidth", "1M"),
        ("journal", "off"),
        ("device_name", "mine"),
        ("machine_code", "mine"),
        ("include", "*.jpg"),
        ("exclude", "*.tmp"),
        ("exclude_from", "/rules"),
        ("wait", "2"),
        ("proxy", "none"),
        ("proxy", "http://proxy.example:3128"),
        ("ca_file", "/ca.pem"),
        ("client_cert", "/me.pem"),
        ("client_key", "/me.key"),
    ],
)
@pytest.mark.usefixtures("no_settings")
def test_the_order_is_the_same_for_every_setting(
    explained, monkeypatch, name, text, argument, variable, profile_too, source
):
    for each in ("ENDPOINT", "USER_ID", "TOKEN"):  # nobody is asked: any will do
        monkeypatch.setenv(f"KOODRIVE_{each}", "https://host.example")
    arguments = []
    if argument:
        arguments = [f"--{name.replace('_', '-')}", text]
    if variable:
        monkeypatch.setenv(f"KOODRIVE_{name.upper()}", text)
    if profile_too:
        value = 2 if name == "wait" else [text] if "clude" in name else text
        config_path().parent.mkdir()
        config_path().write_text(f"default = 'a'\n[profiles.a]\n{name} = {json.dumps(value)}\n")
    found = explained(*arguments)["settings"][name]
    assert found["source"] == source


@pytest.mark.usefixtures("environment")
def test_defaults_have_their_types(explained, invoke, monkeypatch, tmp_path):
    monkeypatch.delenv("KOODRIVE_JOURNAL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    values = {name: each["value"] for name, each in explained()["settings"].items()}
    assert isinstance(values["memory"], int)
    assert Path(values["journal"]).name == "journal.db"
    assert len(values["machine_code"]) == 32
    assert values["device_name"]
    assert (values["bandwidth"], values["exclude"], values["verify"]) == (None, [], False)
    assert (values["wait"], values["app_id"], values["connections"]) == (0.0, None, "auto")
    shown = invoke("config", "explain").stdout
    assert f"journal\t{values['journal']}\tdefault\t-\n" in shown
    assert "bandwidth\tno limit\tdefault\t-\n" in shown
    assert "verify\tfalse\tdefault\t-\n" in shown


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    "text", ["[profiles.work", "default = 'work'\n[profiles.work]\nmemory = 'much'\n"]
)
def test_a_file_that_is_wrong_hides_nothing_else(invoke, text):
    config_path().parent.mkdir()
    config_path().write_text(text)
    done = invoke("config", "explain", "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["profile"] is None
    assert found["settings"]["endpoint"]["source"] == "environment"
    assert str(config_path()) in json.loads(done.stderr)["error"]["message"]


def test_one_wrong_profile_leaves_the_others_alone(explained, profile):
    with config_path().open("a") as file:
        file.write("[profiles.broken]\nmemory = 'much'\n")
    assert explained("--profile", "work")["settings"]["memory"]["where"] == profile


def test_the_same_in_lines(invoke, profile):
    done = invoke("config", "explain", "--profile", "work")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["memory", str(64 * 2**20), "profile", profile] in rows
    assert ["exclude", "*.tmp, *.log", "profile", profile] in rows
    assert ["module", "folder", "default", "-"] in rows
    assert done.stderr.startswith("profile work (")


def test_no_secret_is_shown(invoke, koodrive_emulator, monkeypatch, environment):
    for done in (invoke("config", "explain"), invoke("--debug", "config", "explain", "--json")):
        assert environment["KOODRIVE_TOKEN"] not in done.output
    monkeypatch.delenv("KOODRIVE_TOKEN")
    monkeypatch.setenv("KOODRIVE_APP_ID", koodrive_emulator.app_id)
    monkeypatch.setenv("KOODRIVE_APP_SECRET", koodrive_emulator.app_secret)
    done = invoke("config", "explain")
    assert done.exit_code == 0
    assert "credentials\tan app signature\tenvironment\tKOODRIVE_APP_SECRET" in done.stdout
    assert koodrive_emulator.app_secret not in done.output


@pytest.mark.usefixtures("no_settings")
def test_what_is_missing_is_told_after_what_there_is(invoke, monkeypatch):
    monkeypatch.setenv("KOODRIVE_ENDPOINT", "https://host.example")
    done = invoke("config", "explain")
    assert done.exit_code == 3
    assert "user_id\t-\tmissing\t-" in done.stdout
    assert "credentials\t-\tmissing\t-" in done.stdout
    assert "error: not set in the environment: KOODRIVE_USER_ID, KOODRIVE_TOKEN (or" in done.stderr
    done = invoke("config", "explain", "--json")
    assert json.loads(done.stdout)["settings"]["user_id"]["source"] == "missing"
    assert json.loads(done.stderr)["error"]["type"] == "SettingsError"


@pytest.mark.usefixtures("environment")
def test_two_ways_to_sign_in_are_one_too_many(invoke, monkeypatch):
    monkeypatch.setenv("KOODRIVE_APP_SECRET", "secret")
    done = invoke("config", "explain")
    assert done.exit_code == 3
    assert "are both set" in done.stderr
    assert "hint: keep one way to sign in" in done.stderr


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("KOODRIVE_APP_ID", "KOODRIVE_APP_SECRET (goes with KOODRIVE_APP_ID)"),
        ("KOODRIVE_APP_SECRET", "KOODRIVE_APP_ID (goes with KOODRIVE_APP_SECRET)"),
    ],
)
def test_half_a_signature(invoke, monkeypatch, given, missing):
    monkeypatch.setenv(given, "half")
    assert missing in invoke("devices").stderr


@pytest.mark.usefixtures("environment")
def test_an_argument_that_is_not_allowed_is_wrong_usage(invoke):
    done = invoke("config", "explain", "--memory", "much")
    assert done.exit_code == 2
    assert "--memory" in done.stderr
    assert "it must be a size" in done.stderr


SAMPLES = {
    "endpoint": "https://host.example",
    "user_id": "4711",
    "app_id": "app",
    "proxy": "NONE",
    "ca_file": "/ca.pem",
    "client_cert": "/me.pem",
    "client_key": "/me.key",
    "truststore": "TRUE",
    "allow_plain_http": "a.example,10.1.2.3:80",
    "allow_plain_part_urls": "store.example",
    "module": "Album",
    "connections": "AUTO",
    "memory": "16m",
    "bandwidth": "1M",
    "journal": "OFF",
    "device_name": "mine",
    "machine_code": "mine",
    "include": "*.jpg",
    "exclude": "*.tmp",
    "exclude_from": "/rules",
    "verify": "Yes",
    "wait": "5M",
    "outage": "2H",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_variable_has_no_space_around_its_value_and_words_have_no_case(name):
    variable, sample = SETTINGS[name].variable, SAMPLES[name]
    has_case = name in {
        "module",
        "connections",
        "memory",
        "journal",
        "verify",
        "wait",
        "outage",
        "truststore",
    }
    plain = sample.lower() if has_case or name == "proxy" else sample
    expected = read_settings({}, environ={variable: plain}).values[name]
    assert expected.given
    for text in (f" {sample}\n", f"{sample}\r\n", f"{plain}\n"):
        assert read_settings({}, environ={variable: text}).values[name] == expected
    for text in ("", " ", "\n"):
        assert not read_settings({}, environ={variable: text}).values[name].given


@pytest.mark.parametrize("text", ["OFF\n", " off ", "False", "none"])
@pytest.mark.usefixtures("environment")
def test_a_journal_that_is_off_is_no_file(invoke, monkeypatch, tree, tmp_path, text):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    monkeypatch.setenv("KOODRIVE_JOURNAL", text)
    assert invoke("backup", tree).exit_code == 0
    monkeypatch.delenv("KOODRIVE_JOURNAL")
    assert invoke("backup", tree, "--journal", text).exit_code == 0
    assert set(tmp_path.iterdir()) == before
