"""Credentials go to the service that they were given for, whatever the command."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click
import pytest
from click.testing import CliRunner

from koodrive_async.cli.app import koodrive
from koodrive_async.cli.credentials import Credentials, same_service, vault_of
from koodrive_async.cli.known_settings import SettingsError
from koodrive_async.cli.profiles import config_path
from koodrive_async.cli.settings import read_settings

OPTIONS = {"module": "folder", "memory": "16M", "journal": "off", "wait": 0}
"""Settings that commands have as options: they make a profile reach into a command."""

SPECIAL = {
    ("backup",): ("file",),
    ("completion",): ("bash",),
    ("config", "use"): ("other",),
    ("demo",): ("file",),
    ("emulator",): ("--", sys.executable, "-c", ""),
    ("login",): ("--token-stdin", "--keep", "file"),
    ("scopes", "add"): ("1", "/photos"),
}
"""Arguments of commands that a number would not do for."""


class Stranger:
    """Another service: it notes every request, and takes none of them."""

    def __init__(self):
        self.requests: list[str] = []
        self.redirects_to = ""
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length).decode()
                stranger.requests.append(f"{self.requestline}\n{self.headers}{body}")
                self.send_response(307 if stranger.redirects_to else 401)
                if stranger.redirects_to:
                    self.send_header("Location", stranger.redirects_to + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - as the server calls them

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def saw(self, *secrets):
        return [secret for secret in secrets if any(secret in each for each in self.requests)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a file, in which the commands run."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_bytes(b"file")
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def no_keyring(no_settings, monkeypatch):  # noqa: ARG001 - a profile is all that there is
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture
def stranger():
    with Stranger().running() as running:
        yield running


@pytest.fixture
def write_profile():
    def write(**values):
        config_path().parent.mkdir(exist_ok=True)
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        config_path().write_text(f"[profiles.other]\n{lines}")
        return config_path()

    return write


def all_commands():
    """Return the names of every command, such as ``("config", "list")``, by its parameters."""
    return dict(sorted(_below(koodrive, click.Context(koodrive), ())))


def _below(group, ctx, path):
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from _below(command, ctx, (*path, name))
        else:
            yield (*path, name), command.params


def arguments_of(path):
    """Return the least that a command takes: a value for all that is required."""
    if path in SPECIAL:
        return SPECIAL[path]
    values = []
    for param in all_commands()[path]:
        if param.required:
            values += ["1"] if isinstance(param, click.Argument) else [param.opts[0], "1"]
    return tuple(values)


def run_all(*before, given="typed-for-this-once", prepare=lambda: None):
    """Run every command, each with ``before`` in front, and with a secret on standard input."""
    for path in all_commands():
        prepare()
        arguments = [*before, *path, *arguments_of(path)]
        done = CliRunner().invoke(koodrive, arguments, input=given)
        assert "Traceback" not in done.output, arguments
        assert done.exception is None or isinstance(done.exception, SystemExit), arguments


def in_environment(monkeypatch, **values):
    for name in ("ENDPOINT", "USER_ID", "TOKEN", "APP_ID", "APP_SECRET"):
        monkeypatch.delenv(f"KOODRIVE_{name}", raising=False)
    for name, value in values.items():
        monkeypatch.setenv(f"KOODRIVE_{name.upper()}", value)


def of_environment(emulator, way):
    """Return what the environment of an emulator has, with one of the two ways to sign in."""
    place = {"endpoint": emulator.url, "user_id": emulator.user_id}
    if way == "token":
        return place | {"token": emulator.token}
    return place | {"app_id": emulator.app_id, "app_secret": emulator.app_secret}


def secrets_of(emulator):
    return emulator.token, emulator.app_id, emulator.app_secret, emulator.user_id


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("chosen_by", "way", "more"),
    [
        ("--profile", "token", {}),
        ("--profile", "token", {"user_id": "4711", **OPTIONS}),
        ("--profile", "app", {"user_id": "4711", "app_id": "other", **OPTIONS}),
        ("variable", "token", {"user_id": "4711", **OPTIONS}),
        ("default", "app", {"user_id": "4711", **OPTIONS}),
    ],
)
def test_credentials_of_the_environment_reach_no_service_of_a_profile(
    koodrive_emulator, stranger, write_profile, monkeypatch, chosen_by, way, more
):
    in_environment(monkeypatch, **of_environment(koodrive_emulator, way))
    write_profile(endpoint=stranger.url, **more)
    if chosen_by == "variable":
        monkeypatch.setenv("KOODRIVE_PROFILE", "other")
    elif chosen_by == "default":
        config_path().write_text("default = 'other'\n" + config_path().read_text())
    run_all(*(("--profile", "other") if chosen_by == "--profile" else ()))
    assert stranger.saw(*secrets_of(koodrive_emulator)) == []
    if chosen_by == "--profile" and more:
        assert stranger.saw("typed-for-this-once")  # by login, for which it was typed


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("way", ["token", "app"])
@pytest.mark.parametrize("chosen_by", ["--profile", "variable", "--endpoint"])
def test_credentials_without_an_endpoint_are_for_the_default_profile_alone(
    koodrive_emulator, stranger, monkeypatch, way, chosen_by
):
    given = of_environment(koodrive_emulator, way)
    del given["endpoint"], given["user_id"]
    in_environment(monkeypatch, **given)
    config_path().parent.mkdir(exist_ok=True)

    def write_both():  # before each command: some choose another default
        config_path().write_text(
            f"default = 'home'\n[profiles.home]\nendpoint = '{koodrive_emulator.url}'\n"
            f"user_id = '{koodrive_emulator.user_id}'\n"
            f"[profiles.other]\nendpoint = '{stranger.url}'\nuser_id = '4711'\n"
        )

    write_both()
    assert CliRunner().invoke(koodrive, ["devices"]).exit_code == 0
    before: tuple[str, ...] = ()
    if chosen_by == "variable":
        monkeypatch.setenv("KOODRIVE_PROFILE", "other")
    else:
        before = (chosen_by, "other" if chosen_by == "--profile" else stranger.url)
    run_all(*before, prepare=write_both)
    assert stranger.saw(*secrets_of(koodrive_emulator)) == []
    write_both()
    if chosen_by == "--endpoint":
        before = (*before, "--user-id", "4711")
    done = CliRunner().invoke(koodrive, [*before, "devices"])
    assert done.exit_code == 3
    variable = "KOODRIVE_TOKEN" if way == "token" else "KOODRIVE_APP_SECRET"
    assert done.stderr.startswith(
        f"error: {variable} of the environment names no endpoint, so it goes with "
        f"{koodrive_emulator.url} of the default profile home, and endpoint is {stranger.url} ("
    )
    assert "hint: set KOODRIVE_ENDPOINT too" in done.stderr
    # which is how it is allowed
    monkeypatch.setenv("KOODRIVE_ENDPOINT", stranger.url)
    monkeypatch.setenv("KOODRIVE_USER_ID", "4711")
    CliRunner().invoke(koodrive, ["devices"])
    assert stranger.requests


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("way", ["token", "app"])
def test_credentials_of_the_environment_reach_no_endpoint_that_is_typed(
    koodrive_emulator, stranger, monkeypatch, way
):
    in_environment(monkeypatch, **of_environment(koodrive_emulator, way))
    run_all("--endpoint", stranger.url)
    assert stranger.saw(*secrets_of(koodrive_emulator)) == []
    done = CliRunner().invoke(koodrive, ["devices", "--endpoint", stranger.url])
    assert done.exit_code == 3
    variable = "KOODRIVE_TOKEN" if way == "token" else "KOODRIVE_APP_SECRET"
    assert done.stderr.startswith(
        f"error: --endpoint is {stranger.url}, and {variable} of the environment goes with "
        f"KOODRIVE_ENDPOINT={koodrive_emulator.url}; hint: "
    )


@pytest.mark.usefixtures("no_keyring")
@pytest.mark.parametrize("way", ["token", "session"])
@pytest.mark.parametrize("named_by", ["variable", "--endpoint"])
def test_credentials_that_are_kept_reach_no_other_service(
    koodrive_emulator, stranger, monkeypatch, way, named_by
):
    kept = sign_in(koodrive_emulator, way)
    in_environment(monkeypatch, **({"endpoint": stranger.url} if named_by == "variable" else {}))
    before = () if named_by == "variable" else ("--endpoint", stranger.url)
    commands = [path for path in all_commands() if path not in {("login",), ("logout",)}]
    for path in commands:
        done = CliRunner().invoke(koodrive, [*before, *path, *arguments_of(path)])
        assert "Traceback" not in done.output, path
    assert stranger.requests == []
    assert CliRunner().invoke(koodrive, [*before, "devices"]).exit_code == 3
    if named_by == "--endpoint":
        return
    # those of the environment go with its endpoint, and those that are kept stay at home
    in_environment(monkeypatch, endpoint=stranger.url, user_id="4711", token="Bearer+of-there")
    for path in commands:
        CliRunner().invoke(koodrive, [*path, *arguments_of(path)])
    assert stranger.saw(*kept) == []
    assert stranger.saw("Bearer+of-there", "4711") == ["Bearer+of-there", "4711"]


@pytest.mark.usefixtures("environment")
def test_a_user_of_a_profile_is_none_of_another_service(
    invoke, koodrive_emulator, stranger, write_profile, monkeypatch
):
    in_environment(monkeypatch, endpoint=stranger.url, token="Bearer+of-there")
    file = write_profile(endpoint=koodrive_emulator.url, user_id=koodrive_emulator.user_id)
    config_path().write_text("default = 'other'\n" + config_path().read_text())
    done = invoke("devices")
    assert done.exit_code == 3
    assert f"(other in {file}) goes with {koodrive_emulator.url}, and endpoint is" in done.stderr
    # nor is it offered to somebody who signs in elsewhere
    done = CliRunner().invoke(koodrive, ["login", "--token-stdin"], input="b")
    assert (done.exit_code, "--user-id must be given" in done.stderr) == (2, True)
    assert stranger.requests == []


@pytest.mark.usefixtures("environment")
def test_no_credentials_follow_a_redirect(stranger, monkeypatch):
    with Stranger().running() as first:
        first.redirects_to = stranger.url
        in_environment(monkeypatch, endpoint=first.url, user_id="4711", token="Bearer+first")
        run_all()
        assert first.saw("Bearer+first")
    assert stranger.requests == []


@pytest.mark.usefixtures("environment")
def test_a_command_under_the_emulator_has_the_credentials_of_the_emulator_alone(
    call, koodrive_emulator, stranger, write_profile, monkeypatch
):
    in_environment(
        monkeypatch,
        **(of_environment(koodrive_emulator, "token") | of_environment(koodrive_emulator, "app")),
    )
    monkeypatch.setenv("KOODRIVE_PROFILE", "other")
    write_profile(endpoint=stranger.url, user_id="4711", app_id="other")
    koodrive_emulator.seen.clear()
    look = (
        "import os, subprocess; print(os.environ); "
        "raise SystemExit(subprocess.run(['koodrive', 'devices', '--json']).returncode)"
    )
    done = call("emulator", "--", sys.executable, "-c", look)
    assert done.returncode == 0, done.stderr
    for secret in (koodrive_emulator.token, koodrive_emulator.app_secret):
        assert secret not in done.stdout
    assert koodrive_emulator.seen.count() == 0
    assert stranger.requests == []


@pytest.mark.usefixtures("environment")
def test_completion_asks_no_service(koodrive_emulator, stranger, write_profile):
    write_profile(endpoint=stranger.url, user_id="4711")
    koodrive_emulator.seen.clear()
    for path in all_commands():
        for words in (("--profile", "other", *path, ""), (*path, "--profile", "o"), (*path, "--")):
            line = {"COMP_WORDS": " ".join(("koodrive", *words)), "COMP_CWORD": str(len(words))}
            done = CliRunner().invoke(
                koodrive, env={"_KOODRIVE_COMPLETE": "bash_complete", **line}, prog_name="koodrive"
            )
            assert done.exit_code == 0, done.output
    assert koodrive_emulator.seen.count() == 0
    assert stranger.requests == []


@pytest.mark.usefixtures("environment")
def test_a_value_is_what_its_origin_says_for_every_command(monkeypatch, write_profile):
    # a password is refused where it is typed alone, and a file is blamed on what names it
    write_profile(module="folder")
    monkeypatch.setenv("KOODRIVE_PROXY", "http://me:pa55word@127.0.0.1:9")
    monkeypatch.setenv("KOODRIVE_CA_FILE", "/no/such.pem")
    blamed = set()
    for path in all_commands():
        done = CliRunner().invoke(koodrive, [*path, *arguments_of(path)], input="Bearer+x")
        assert "pa55word" not in done.output, path
        assert "never an argument" not in done.output, path
        assert "--ca-file'" not in done.output, path
        if "No such file" in done.output:
            assert (
                "/no/such.pem: No such file or directory, named by KOODRIVE_CA_FILE" in done.output
            )
            blamed.add(path[0])
    assert blamed >= {"backup", "devices", "doctor", "files", "login", "records", "scopes"}


def sign_in(emulator, way):
    """Sign in with a token or an account; return what is secret of that."""
    options: tuple[str, ...] = ("--endpoint", emulator.url, "--keep", "file")
    if way == "token":
        given = emulator.token
        options += ("--token-stdin", "--user-id", emulator.user_id)
    else:
        given = emulator.password
        options += ("--password-stdin", "--account", emulator.account, "--agent-name", "any")
    done = CliRunner().invoke(koodrive, ["login", *options], input=given)
    assert done.exit_code == 0, done.output
    (kept,) = config_path().parent.glob("*.credentials/*.json")
    found = json.loads(kept.read_text())
    return [found[name] for name in ("token", "refresh_token", "user_id") if name in found]


# --- the matrix: where the service is named, and where the credentials are from ------------------

HOME, AWAY = "https://home.example", "https://away.example"


def access_of(monkeypatch, *, typed=None, environment=None, profile=None, kept=None, chosen=None):
    """Return what these origins say together; ``kept`` are the credentials of the profile."""
    in_environment(monkeypatch, **(environment or {}))
    config_path().parent.mkdir(exist_ok=True)
    if profile is not None:
        values = profile | ({"credentials": "file"} if kept else {})
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        config_path().write_text(f"default = 'p'\n[profiles.p]\n{lines}")
    if kept is not None:
        vault_of("file", config_path(), "p").write(Credentials(**kept))
    return read_settings(typed or {}, chosen).access()


KEPT = {"endpoint": HOME, "user_id": "1", "token": "Bearer+kept"}
GIVEN = {"endpoint": HOME, "user_id": "1", "token": "Bearer+given"}
SIGNED = {"endpoint": HOME, "user_id": "1", "app_id": "a", "app_secret": "s"}
PROFILE = {"endpoint": HOME, "user_id": "1"}


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("place", [HOME, AWAY], ids=["same", "other"])
@pytest.mark.parametrize(
    "origins",
    [
        lambda url: {"typed": {"endpoint": url}, "environment": GIVEN},
        lambda url: {"typed": {"endpoint": url}, "environment": SIGNED},
        lambda url: {"typed": {"endpoint": url}, "environment": GIVEN, "profile": PROFILE},
        lambda url: {"profile": PROFILE | {"endpoint": url}, "environment": GIVEN, "chosen": "p"},
        lambda url: {"profile": PROFILE | {"endpoint": url}, "environment": SIGNED, "chosen": "p"},
        lambda url: {"profile": {"endpoint": url}, "environment": GIVEN, "chosen": "p"},
        lambda url: {"typed": {"endpoint": url}, "profile": PROFILE, "kept": KEPT},
        lambda url: {"typed": {"endpoint": url}, "profile": PROFILE, "kept": KEPT, "chosen": "p"},
        lambda url: {"environment": {"endpoint": url}, "profile": PROFILE, "kept": KEPT},
        lambda url: {"profile": PROFILE | {"endpoint": url}, "kept": KEPT},
        lambda url: {"profile": PROFILE | {"endpoint": url}, "kept": KEPT, "chosen": "p"},
    ],
)
def test_credentials_are_used_for_the_endpoint_of_their_origin_alone(monkeypatch, origins, place):
    if place == HOME:
        assert access_of(monkeypatch, **origins(place)).endpoint == HOME
        return
    with pytest.raises(SettingsError) as refusal:
        access_of(monkeypatch, **origins(place))
    assert HOME in str(refusal.value)
    assert "Bearer" not in str(refusal.value)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("origins", "user"),
    [
        # a user that is typed for the same service discloses nothing
        ({"typed": {"user_id": "2"}, "environment": GIVEN}, "2"),
        ({"typed": {"user_id": "2"}, "profile": PROFILE, "kept": KEPT}, None),
        ({"environment": {"user_id": "2"}, "profile": PROFILE, "kept": KEPT}, None),
        ({"profile": PROFILE | {"user_id": "2"}, "environment": GIVEN, "chosen": "p"}, None),
        ({"profile": PROFILE | {"user_id": "2"}, "kept": KEPT}, None),
        # the environment is whole: the profile adds nothing to it
        ({"profile": {"endpoint": AWAY, "user_id": "2"}, "environment": GIVEN}, "1"),
        ({"profile": {"endpoint": AWAY, "user_id": "2"}, "kept": KEPT, "environment": GIVEN}, "1"),
        # a profile that is typed and has credentials is whole, too
        (
            {
                "profile": PROFILE,
                "kept": KEPT,
                "environment": GIVEN | {"endpoint": AWAY},
                "chosen": "p",
            },
            "1",
        ),
        # what the environment leaves open is for others to say
        ({"profile": PROFILE, "environment": {"token": "Bearer+given"}}, "1"),
        ({"typed": {"endpoint": AWAY, "user_id": "3"}, "environment": {"token": "Bearer+x"}}, "3"),
    ],
)
def test_credentials_are_used_for_the_user_of_their_origin_alone(monkeypatch, origins, user):
    if user is None:
        with pytest.raises(SettingsError):
            access_of(monkeypatch, **origins)
    else:
        assert access_of(monkeypatch, **origins).user_id == user


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://HOME.example", True),
        ("HTTPS://home.example:443/", True),
        ("http://home.example", False),
        ("https://home.example:8443", False),
        ("https://home.example/base", False),
        ("https://home.example.evil", False),
        ("https://xhome.example", False),
        ("https://home.example.", False),
        ("https://[", False),
    ],
)
def test_an_endpoint_is_compared_by_what_is_connected_to(other, same):
    assert same_service(HOME, other) is same
    assert same_service(other, HOME) is same
    assert same_service(other, other)
