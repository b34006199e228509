from __future__ import annotations

import json
import time

import pytest

from koodrive_async.cli.profiles import config_path
from koodrive_async.emulator import Emulator


def verdicts(output):
    rows = [line.split(maxsplit=2) for line in output.splitlines() if "hint:" not in line]
    return {row[1]: row[0] for row in rows}


def test_all_is_well(invoke, environment):
    done = invoke("doctor")
    assert done.exit_code == 0, done.output
    assert set(verdicts(done.stdout).values()) == {"ok"}
    assert "B/s on one core" in done.stdout
    assert "agrees with the service's" in done.stdout
    assert f"{environment['KOODRIVE_ENDPOINT']}, signing in with a token" in done.stdout
    assert environment["KOODRIVE_TOKEN"] not in done.output


@pytest.mark.usefixtures("environment")
def test_an_app_signature_is_named_and_its_secret_is_not(invoke, koodrive_emulator, monkeypatch):
    monkeypatch.delenv("KOODRIVE_TOKEN")
    monkeypatch.setenv("KOODRIVE_APP_ID", koodrive_emulator.app_id)
    monkeypatch.setenv("KOODRIVE_APP_SECRET", koodrive_emulator.app_secret)
    done = invoke("doctor")
    assert done.exit_code == 0, done.output
    assert "signing in with an app signature" in done.stdout
    assert koodrive_emulator.app_secret not in done.output


@pytest.mark.usefixtures("no_settings")
def test_missing_settings_are_listed(invoke):
    done = invoke("doctor")
    assert done.exit_code == 1
    assert verdicts(done.stdout)["settings"] == "failed"
    assert "KOODRIVE_ENDPOINT, KOODRIVE_USER_ID" in done.stdout
    assert "hint: " in done.stdout


def test_the_profile_and_the_source_of_each_value_are_named(invoke, environment, monkeypatch):
    file = config_path()
    file.parent.mkdir()
    file.write_text(f"[profiles.work]\nendpoint = '{environment['KOODRIVE_ENDPOINT']}'\n")
    monkeypatch.delenv("KOODRIVE_ENDPOINT")
    done = invoke("doctor", "--profile", "work")
    assert done.exit_code == 0, done.output
    assert f"profile work ({file}), chosen by --profile" in done.stdout
    assert f"{environment['KOODRIVE_ENDPOINT']} (profile: work in {file})" in done.stdout
    assert "a token (environment: KOODRIVE_TOKEN)" in done.stdout
    assert environment["KOODRIVE_TOKEN"] not in done.output
    file.write_text("[profiles.work]\nmemory = 'much'\n")
    done = invoke("doctor", "--profile", "work")
    assert done.exit_code == 1
    assert verdicts(done.stdout)["settings"] == "failed"


@pytest.mark.usefixtures("environment")
def test_what_was_found_as_json(invoke):
    done = invoke("doctor", "--json")
    assert done.exit_code == 0, done.output
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["clock"]["ok"] is True
    assert found["service"]["hint"] is None


@pytest.mark.usefixtures("environment")
def test_a_refused_token_is_not_a_service_that_does_not_answer(invoke, monkeypatch):
    monkeypatch.setenv("KOODRIVE_TOKEN", "Bearer+nobody")
    done = invoke("doctor")
    assert done.exit_code == 1
    assert "ok      service" in done.stdout
    assert "failed  signing in" in done.stdout
    assert "nobody" not in done.output


@pytest.mark.usefixtures("environment")
def test_a_service_that_does_not_answer(invoke, monkeypatch):
    # the object store's site is no interface, and port 9 is nothing
    monkeypatch.setenv("KOODRIVE_ENDPOINT", "http://127.0.0.1:9")
    done = invoke("doctor")
    assert done.exit_code == 1
    assert verdicts(done.stdout)["service"] == "failed"
    assert "cannot connect to 127.0.0.1:9" in done.stdout


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("seconds", "side"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_off(invoke, monkeypatch, tmp_path, seconds, side):
    with Emulator(tmp_path / "late", clock=lambda: time.time() + seconds) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        done = invoke("doctor")
    assert done.exit_code == 1
    assert verdicts(done.stdout)["clock"] == "failed"
    assert f"s {side} this machine" in done.stdout


@pytest.mark.usefixtures("environment")
def test_slow_hashing_and_a_wrong_backend(call, monkeypatch):
    # chosen once in the life of a process: these have to be processes of their own
    monkeypatch.setenv("KOODRIVE_SHA256_BACKEND", "portable")
    slow = call("doctor")
    assert slow.returncode == 1
    assert "failed  sha-256       portable, " in slow.stdout
    monkeypatch.setenv("KOODRIVE_SHA256_BACKEND", "abacus")
    wrong = call("doctor")
    assert wrong.returncode == 1
    assert "abacus" in wrong.stdout
    assert "hint: unset KOODRIVE_SHA256_BACKEND" in wrong.stdout
