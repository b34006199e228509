"""The way to the service: proxies and certificates, as arguments, variables and in profiles."""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio.from_thread
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from koodrive_async.cli.app import koodrive
from koodrive_async.cli.emulator import environment_of
from koodrive_async.cli.profiles import config_path
from koodrive_async.emulator import Emulator
from tests.cli.test_audience import all_commands, arguments_of
from tests.network.conftest import (  # noqa: F401 - fixtures
    authority,
    ca_file,
    secure_emulator,
    server_certificate,
    server_tls,
    serving_as,
)
from tests.network.forward_proxy import ForwardProxy

PASSWORD = "pa55word"
PLAIN = "koodrive.example"


@pytest.fixture
def proxy():
    """A proxy in a thread of its own, for commands that have an event loop themselves."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(ForwardProxy(pair=f"me:{PASSWORD}")) as running,
    ):
        yield running


@pytest.fixture
def with_password(proxy):
    return proxy.url.replace("//", f"//me:{PASSWORD}@")


def asked_for(emulator, proxy):
    """Return what the proxy was asked for on behalf of this emulator.

    A client of another test that looks for a server that is gone may come upon the same port.
    """
    return [each for each in list(proxy.asked) if each.target.startswith(f"{emulator.url}/")]


def write_profile(text):
    config_path().parent.mkdir(exist_ok=True)
    config_path().write_text(f"default = 'work'\n[profiles.work]\n{text}\n")


@pytest.mark.usefixtures("environment")
def test_calls_go_through_the_proxy_of_the_variable(
    invoke, proxy, with_password, koodrive_emulator, monkeypatch
):
    monkeypatch.setenv("KOODRIVE_PROXY", with_password)
    done = invoke("devices")
    assert done.exit_code == 0, done.output
    assert len(asked_for(koodrive_emulator, proxy)) == 1


@pytest.mark.usefixtures("environment")
def test_an_argument_goes_before_the_variable_and_none_is_no_proxy(
    invoke, proxy, with_password, koodrive_emulator, monkeypatch
):
    monkeypatch.setenv("KOODRIVE_PROXY", with_password)
    assert invoke("--proxy", "none", "devices").exit_code == 0
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert invoke("--proxy", "none", "devices").exit_code == 0
    assert asked_for(koodrive_emulator, proxy) == []


@pytest.mark.usefixtures("environment")
def test_a_refusing_proxy_is_one_line_with_a_hint(invoke, proxy):
    done = invoke("--proxy", proxy.url, "devices")
    assert done.exit_code == 4
    assert "asks for a user and a password" in done.stderr
    assert "hint: koodrive --proxy none" in done.stderr
    assert done.stderr.count("\n") == 1


def test_login_goes_through_the_proxy_and_the_profile_keeps_it(
    invoke, proxy, koodrive_emulator, monkeypatch, tmp_path, call
):
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", f"//me:{PASSWORD}@"))
    given = ("--endpoint", koodrive_emulator.url, "--user-id", koodrive_emulator.user_id)
    options = (*given, "--token-stdin", "--keep", "file")
    token = tmp_path / "token"
    token.write_text(koodrive_emulator.token)
    with token.open() as stdin:
        done = call("login", *options, stdin=stdin, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert len(asked_for(koodrive_emulator, proxy)) == 1
    with token.open() as stdin:
        done = call("login", *options, "--proxy", "none", stdin=stdin, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert 'proxy = "none"' in config_path().read_text()
    assert invoke("devices").exit_code == 0
    assert len(asked_for(koodrive_emulator, proxy)) == 1


def test_a_password_is_shown_nowhere(invoke, environment, with_password, proxy, monkeypatch):
    monkeypatch.setenv("KOODRIVE_PROXY", with_password)
    shown = with_password.replace(f"me:{PASSWORD}", "***")
    found = json.loads(invoke("config", "explain", "--json").stdout)["settings"]["proxy"]
    assert found == {"value": shown, "source": "environment", "where": "KOODRIVE_PROXY"}
    for command in (("config", "explain"), ("doctor",), ("--debug", "doctor", "--json")):
        done = invoke(*command)
        assert done.exit_code == 0, done.output
        assert shown in done.stdout
        assert PASSWORD not in done.output
    assert f"through the proxy {proxy.name}; http: no certificates" in invoke("doctor").stdout
    assert environment["KOODRIVE_TOKEN"] not in done.output


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    "url",
    [
        f"socks5://me:{PASSWORD}@proxy.example:1080",
        f"https://me:{PASSWORD}@proxy.example:3128",
        f"http://me:{PASSWORD}/@proxy.example",
        f"ftp://{PASSWORD}",
    ],
)
def test_a_proxy_that_cannot_be_used_is_not_shown_either(invoke, monkeypatch, url):
    write_profile(f"proxy = '{url}'")
    done = invoke("devices")
    assert done.exit_code == 3
    assert "[profiles.work] proxy must be the URL of an HTTP proxy" in done.stderr
    assert PASSWORD not in done.output
    config_path().unlink()
    done = invoke("--proxy", url, "devices")
    assert done.exit_code == 2
    assert PASSWORD not in done.output
    monkeypatch.setenv("KOODRIVE_PROXY", url)
    done = invoke("devices")
    assert done.exit_code == 3
    assert "KOODRIVE_PROXY must be the URL of an HTTP proxy" in done.stderr
    assert PASSWORD not in done.output


@pytest.mark.usefixtures("environment")
def test_a_password_is_neither_an_argument_nor_in_a_profile(invoke, with_password):
    done = invoke("--proxy", with_password, "devices")
    assert done.exit_code == 2
    assert "KOODRIVE_PROXY may have it" in done.stderr
    assert invoke("config", "explain", "--proxy", with_password).exit_code == 2
    write_profile(f"proxy = '{with_password}'")
    done = invoke("devices")
    assert done.exit_code == 3
    assert "secrets do not belong in this file" in done.stderr
    assert PASSWORD not in done.output


def test_certificates_of_an_authority_of_ones_own(
    invoke,
    monkeypatch,
    secure_emulator,  # noqa: F811 - a fixture
    ca_file,  # noqa: F811 - a fixture
):
    for name, value in secure_emulator.environment().items():
        monkeypatch.setenv(name, value)
    done = invoke("devices")
    assert done.exit_code == 4
    assert "hint: koodrive --ca-file FILE" in done.stderr
    assert invoke("--ca-file", ca_file, "devices").exit_code == 0
    write_profile(f"ca_file = '{os.path.relpath(ca_file, config_path().parent)}'")
    done = invoke("doctor")
    assert done.exit_code == 0, done.output
    assert "no proxy; certificates of " in done.stdout
    assert ca_file.name in done.stdout


@pytest.fixture
def strict_emulator(tmp_path, authority, server_certificate):  # noqa: F811 - fixtures
    """One that wants to see a certificate of its clients."""
    context = serving_as(server_certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with Emulator(tmp_path / "strict", ssl_context=context) as emulator:
        yield emulator


def test_a_client_certificate_with_a_locked_key(
    invoke,
    monkeypatch,
    tmp_path,
    strict_emulator,
    authority,  # noqa: F811 - a fixture
    ca_file,  # noqa: F811 - a fixture
):
    mine = authority.issue_cert("me@host.example")
    key = load_pem_private_key(mine.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode())
    )
    (tmp_path / "me.key").write_bytes(locked)
    chain = b"".join(pem.bytes() for pem in mine.cert_chain_pems)
    (tmp_path / "me.pem").write_bytes(chain)
    for name, value in strict_emulator.environment().items():
        monkeypatch.setenv(name, value)
    files = {
        "ca_file": ca_file,
        "client_cert": tmp_path / "me.pem",
        "client_key": tmp_path / "me.key",
    }
    write_profile("\n".join(f"{name} = '{file}'" for name, file in files.items()))
    done = invoke("devices")
    assert done.exit_code == 3
    assert "me.key" in done.stderr
    monkeypatch.setenv("KOODRIVE_KEY_PASSWORD", PASSWORD)
    done = invoke("devices")
    assert done.exit_code == 0, done.output
    assert PASSWORD not in invoke("config", "explain").output


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"KOODRIVE_CA_FILE": "/no/such.pem"}, "/no/such.pem: No such file or directory, named by"),
        ({"KOODRIVE_CLIENT_KEY": "me.key"}, "goes with a client_cert"),
        ({"KOODRIVE_CA_FILE": "a", "KOODRIVE_TRUSTSTORE": "yes"}, "both say whom to trust"),
        ({"KOODRIVE_TRUSTSTORE": "perhaps"}, "KOODRIVE_TRUSTSTORE must be true or false"),
    ],
)
def test_what_does_not_fit_is_one_line(invoke, monkeypatch, variables, told):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = invoke("devices")
    assert done.exit_code == 3
    assert told in done.stderr
    assert "; hint: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("environment")
def test_doctor_names_the_proxy_of_the_environment(invoke, proxy, with_password, monkeypatch):
    monkeypatch.setenv("http_proxy", with_password)
    done = invoke("doctor")
    assert f"through the proxy {proxy.name}, which HTTP_PROXY names; " in done.stdout
    assert PASSWORD not in done.output
    monkeypatch.setenv("http_proxy", "socks5://proxy.example:1080")
    done = invoke("doctor")
    assert done.exit_code == 1
    assert "failed  network" in done.stdout


@pytest.mark.usefixtures("environment")
def test_the_demo_stays_on_this_machine(invoke, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert invoke("demo").exit_code == 0


# --- without TLS --------------------------------------------------------------------------------


@pytest.fixture
def plain(environment, koodrive_emulator, monkeypatch):  # noqa: ARG001 - its variables come first
    """The emulator under the name of another machine, which a proxy alone knows."""
    known = ForwardProxy(known={PLAIN: "127.0.0.1"})
    endpoint = koodrive_emulator.url.replace("127.0.0.1", PLAIN)
    monkeypatch.setenv("KOODRIVE_ENDPOINT", endpoint)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(known) as running,
    ):
        monkeypatch.setenv("KOODRIVE_PROXY", running.url)
        yield endpoint


def test_no_command_sends_credentials_to_another_machine_without_tls(
    plain, koodrive_emulator, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"file")
    koodrive_emulator.seen.clear()
    refused = set()
    for path in all_commands():
        arguments = [*path, *arguments_of(path)]
        done = CliRunner().invoke(koodrive, arguments, input=koodrive_emulator.token)
        assert koodrive_emulator.token not in done.output
        if "would carry the credentials without TLS" in done.output:
            refused.add(path[0])
            assert done.exit_code == (1 if path == ("doctor",) else 3), path
            assert f"hint: koodrive --allow-plain-http {PLAIN} allows it" in done.output
    assert refused >= {"backup", "devices", "doctor", "files", "login", "records", "scopes"}
    assert koodrive_emulator.seen.count() == 0
    assert plain.startswith("http://")


@pytest.mark.usefixtures("plain")
def test_a_host_without_tls_is_allowed_by_name(invoke, monkeypatch):
    assert invoke("--allow-plain-http", PLAIN, "devices").exit_code == 0
    assert (
        invoke("devices", "--allow-plain-http", "a.example", "--allow-plain-http", PLAIN).exit_code
        == 0
    )
    assert invoke("devices", "--allow-plain-http", "other.example").exit_code == 3
    monkeypatch.setenv("KOODRIVE_ALLOW_PLAIN_HTTP", f" a.example, {PLAIN}\n")
    assert invoke("devices").exit_code == 0
    monkeypatch.delenv("KOODRIVE_ALLOW_PLAIN_HTTP")
    write_profile(f"allow_plain_http = ['{PLAIN}']")
    assert invoke("devices").exit_code == 0
    found = json.loads(invoke("config", "explain", "--json").stdout)["settings"]
    assert found["allow_plain_http"]["value"] == [PLAIN]
    assert found["allow_plain_part_urls"]["value"] == []


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("wrong", ["http://host", "*", "user@host", "host/path"])
def test_what_is_no_host_is_refused_by_name(invoke, monkeypatch, wrong):
    done = invoke("--allow-plain-http", wrong, "devices")
    assert (done.exit_code, "'--allow-plain-http': it must be a list of hosts" in done.stderr) == (
        2,
        True,
    )
    monkeypatch.setenv("KOODRIVE_ALLOW_PLAIN_PART_URLS", wrong)
    done = invoke("devices")
    assert done.exit_code == 3
    assert done.stderr.startswith("error: KOODRIVE_ALLOW_PLAIN_PART_URLS must be a list of hosts")


def test_login_keeps_the_hosts_that_it_was_allowed(invoke, koodrive_emulator, plain, monkeypatch):
    for name in ("ENDPOINT", "USER_ID", "TOKEN"):
        monkeypatch.delenv(f"KOODRIVE_{name}")
    options = ("--endpoint", plain, "--user-id", koodrive_emulator.user_id, "--token-stdin")
    login = ["login", *options, "--keep", "file", "--allow-plain-http", PLAIN]
    done = CliRunner().invoke(koodrive, login, input=koodrive_emulator.token)
    assert done.exit_code == 0, done.output
    assert f'allow_plain_http = ["{PLAIN}"]' in config_path().read_text()
    assert invoke("devices").exit_code == 0


@pytest.mark.parametrize(
    ("host", "allowed"), [("127.0.0.1", None), ("localhost", None), ("10.1.2.3", "10.1.2.3")]
)
def test_an_emulator_on_an_address_of_the_network_is_allowed_to_its_command(host, allowed):
    service: Any = SimpleNamespace(url=f"http://{host}:8080", environment=dict)
    assert environment_of(service, Path()).get("KOODRIVE_ALLOW_PLAIN_HTTP") == allowed
