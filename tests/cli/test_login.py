from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys

import keyring.core as keyring_core
import pytest
from click.testing import CliRunner
from keyring.backend import KeyringBackend

from koodrive_async.cli.app import koodrive
from koodrive_async.cli.profiles import config_path, read_profiles
from koodrive_async.emulator import Fault

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.cli.talking import talk

pytestmark = pytest.mark.usefixtures("signed_out")

SECONDS = 40


@pytest.fixture
def signed_out(environment, monkeypatch):
    """An emulator that the environment says nothing about; there is no keyring."""
    for name in ("KOODRIVE_ENDPOINT", "KOODRIVE_USER_ID", "KOODRIVE_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    return environment


@pytest.fixture
def give():
    """Run the command in this process, with a text on standard input."""

    def run(text, *arguments):
        return CliRunner().invoke(koodrive, [str(each) for each in arguments], input=text)

    return run


@pytest.fixture
def give_process(start):
    """Run the command in a process of its own, with a text on standard input."""

    def run(text, *arguments, **options):
        with start(*arguments, stdin=subprocess.PIPE, **options) as process:
            out, err = process.communicate(text, timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def where(koodrive_emulator):
    """The options that say which service, and who."""
    return ("--endpoint", koodrive_emulator.url, "--user-id", koodrive_emulator.user_id)


@pytest.fixture
def in_session(give, koodrive_emulator):
    """Somebody has signed in with an account, and the token is used up since."""
    done = give(
        koodrive_emulator.password,
        *("login", "--password-stdin", "--endpoint", koodrive_emulator.url),
        *("--account", koodrive_emulator.account, "--agent-name", "carrier"),
    )
    assert done.exit_code == 0, done.stderr
    spend_tokens(koodrive_emulator)
    return kept_file()


def kept_file(profile="default"):
    return config_path().parent / "config.credentials" / f"{profile}.json"


def spend_tokens(emulator):
    emulator._running.ask(lambda service: service.store.run("UPDATE tokens SET expires = 0"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# --- tokens and secrets ------------------------------------------------------------------------


def test_a_token_from_standard_input_is_kept_for_the_next_command(
    give_process, call, where, koodrive_emulator
):
    done = give_process(f"{koodrive_emulator.token}\n", "login", "--token-stdin", *where)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "accepted by the service: 0 bound devices\n"
    assert done.stdout.startswith(f"profile default in {config_path()}: user ")
    assert koodrive_emulator.token not in done.stdout + done.stderr + config_path().read_text()
    assert call("devices").returncode == 0


def test_only_the_owner_can_read_it_whatever_the_umask(give_process, where, koodrive_emulator):
    done = give_process(koodrive_emulator.token, "login", "--token-stdin", *where, umask=0)
    assert done.returncode == 0, done.stderr
    assert mode(kept_file()) == 0o600
    assert mode(kept_file().parent) == 0o700
    assert mode(config_path()) == 0o600
    assert mode(config_path().parent) == 0o700
    # nothing is left of how it came about
    assert {file.name for file in kept_file().parent.iterdir()} <= {"default.json", "default.lock"}


def test_a_file_that_others_can_read_is_refused(give, invoke, where, koodrive_emulator):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    kept_file().chmod(0o640)
    done = invoke("devices")
    assert done.exit_code == 3
    assert f"{kept_file()}: others can read these credentials; hint: chmod 600" in done.stderr


def test_a_terminal_is_asked_and_the_token_is_not_shown(start, invoke, koodrive_emulator):
    with talk(start, "login", "--profile", "work") as talking:
        talking.answer("Sign in with (token, app, account) [token]", "")
        talking.answer("Endpoint", koodrive_emulator.url)
        talking.answer("User id", koodrive_emulator.user_id)
        talking.answer("Token", koodrive_emulator.token)
        assert talking.end() == 0, talking.written
    assert koodrive_emulator.token not in talking.written
    assert read_profiles(config_path()).default == "work"
    assert invoke("devices").exit_code == 0


@pytest.mark.parametrize("question", ["Sign in with", "Token"])
def test_what_is_typed_and_no_text_is_refused_without_its_bytes(start, where, question):
    env = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    with talk(start, "login", *where, env=env) as talking:
        if question == "Token":
            talking.answer("Sign in with", "token")
        talking.answer(question, "secret\udcc3(")
        assert talking.end() == 2, talking.written
    assert "error: what was typed is no text in utf-8, the encoding that is set" in talking.written
    assert "0xc3" not in talking.written


def test_standard_input_that_is_no_text_is_refused_and_a_mark_of_its_order_ignored(
    start, where, koodrive_emulator
):
    env = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    given = {b"secret\xc3(": 2, b"\xef\xbb\xbf" + koodrive_emulator.token.encode(): 0}
    streams = {"stdin": subprocess.PIPE, "encoding": None, "env": env}
    for data, code in given.items():
        with start("login", "--token-stdin", *where, **streams) as process:
            _, said = process.communicate(data, timeout=20)
        assert process.returncode == code, said
        assert b"0xc3" not in said
        assert (b"standard input is no text in utf-8" in said) is bool(code)


def test_what_the_profile_has_is_offered(start, give, where, koodrive_emulator):
    give("Bearer+old", "login", "--token-stdin", "--no-check", *where)
    with talk(start, "login") as talking:
        talking.answer("Sign in with", "token")
        talking.answer(f"[{koodrive_emulator.url}]", "")
        talking.answer(f"[{koodrive_emulator.user_id}]", "")
        talking.answer("Token", koodrive_emulator.token)
        assert talking.end() == 0, talking.written


def test_an_app_signature(start, give, invoke, where, koodrive_emulator):
    with talk(start, "login", *where) as talking:
        talking.answer("Sign in with", "app")
        talking.answer("AppId", koodrive_emulator.app_id)
        talking.answer("App secret", koodrive_emulator.app_secret)
        assert talking.end() == 0, talking.written
    assert koodrive_emulator.app_secret not in talking.written + config_path().read_text()
    assert "an app signature" in invoke("config", "explain").stdout
    assert invoke("devices").exit_code == 0
    # from an app signature back to a token: nothing of the first is left
    assert give(koodrive_emulator.token, "login", "--token-stdin").exit_code == 0
    assert "app_id" not in config_path().read_text()
    assert invoke("devices").exit_code == 0


def test_wrong_credentials_are_not_kept(give, where):
    done = give("Bearer+nobody", "login", "--token-stdin", *where)
    assert done.exit_code == 4
    assert "HTTP 401" in done.stderr
    assert "nobody" not in done.stderr
    assert not config_path().exists()
    assert not kept_file().exists()


def test_what_is_wrong_with_a_token_is_said_where_it_can_be_mended(
    give, invoke, where, koodrive_emulator, monkeypatch
):
    done = give("nobody", "login", "--token-stdin", *where)
    assert done.stderr.endswith("hint: a token is the whole Authorization value: Bearer+...\n")
    done = give("Bearer+nobody", "login", "--token-stdin", *where)
    assert "hint: nothing was kept; see whether all of it is right" in done.stderr
    monkeypatch.setenv("KOODRIVE_ENDPOINT", koodrive_emulator.url)
    monkeypatch.setenv("KOODRIVE_USER_ID", koodrive_emulator.user_id)
    monkeypatch.setenv("KOODRIVE_TOKEN", "Bearer+nobody")
    told = "hint: renew what is in KOODRIVE_TOKEN; koodrive doctor checks it\n"
    assert invoke("devices").stderr.endswith(told)


def test_an_endpoint_is_looked_at_before_more_is_asked(start, koodrive_emulator):
    with talk(start, "login") as talking:
        talking.answer("Sign in with", "token")
        talking.answer("Endpoint", "nonsense")
        talking.wait_for("error: the endpoint must look like 'https://host', not 'nonsense'")
        talking.answer("Endpoint", koodrive_emulator.url)
        talking.wait_for("User id")


def test_nobody_is_asked_whether_they_are_right_with_no_check(give, koodrive_emulator):
    place = ("--endpoint", "http://127.0.0.1:9", "--user-id", "5")
    done = give("Bearer+nobody", "login", "--token-stdin", "--no-check", *place)
    assert done.exit_code == 0, done.stderr
    assert json.loads(kept_file().read_text())["token"] == "Bearer+nobody"
    assert koodrive_emulator.seen.count() == 0


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        ("", (), "--token-stdin, --app-secret-stdin or --password-stdin, --endpoint, --user-id"),
        ("x", ("--token-stdin",), "--endpoint, --user-id must be given"),
        ("", ("--app-id", "a", "--endpoint", "e", "--user-id", "u"), "--app-secret-stdin must be"),
        ("x", ("--password-stdin",), "--endpoint, --account, --agent-name must be given"),
        ("x", ("--password-stdin", "--token-stdin"), "one way to sign in is enough"),
        ("x", ("--app-id", "a", "--token-stdin"), "one way to sign in is enough: app or token"),
        (" \n", ("--token-stdin", "--endpoint", "e", "--user-id", "u"), "there is no token on"),
        ("a\nb", ("--token-stdin", "--endpoint", "e", "--user-id", "u"), "more than one line"),
    ],
)
def test_what_a_script_has_to_give(give, text, arguments, told):
    done = give(text, "login", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("token", ["two\u2028words", "bearer\x07", "ключ"])
def test_a_token_that_no_header_can_carry(give, where, token):
    done = give(token, "login", "--token-stdin", *where)
    assert done.exit_code in {2, 3}
    assert token not in done.stderr
    assert not kept_file().exists()


def test_ctrl_c_at_a_question_leaves_everything_as_it_was(start):
    with talk(start, "login") as talking:
        talking.wait_for("[token]: ")
        talking.process.send_signal(signal.SIGINT)
        # a signal that comes right before Python begins to read is looked at right after it
        talking.type("\n")
        assert talking.end() == 130, talking.written
    assert "interrupted" in talking.written
    assert not config_path().exists()


@pytest.mark.usefixtures("no_settings")
def test_a_device_is_not_replaced_by_a_file(give, monkeypatch, where):
    monkeypatch.setenv("KOODRIVE_CONFIG", os.devnull)
    done = give("Bearer+x", "login", "--token-stdin", "--no-check", *where)
    assert done.exit_code == 3
    assert f"{os.devnull}: it is no file" in done.stderr


def test_a_variable_that_goes_before_the_profile_is_pointed_out(
    give, monkeypatch, where, koodrive_emulator
):
    monkeypatch.setenv("KOODRIVE_TOKEN", "Bearer+other")
    done = give(koodrive_emulator.token, "login", "--token-stdin", *where)
    assert done.exit_code == 0, done.stderr
    assert "warning: KOODRIVE_TOKEN is set and goes before the profile" in done.stderr


@pytest.mark.parametrize("name", ["../up", "a b", "", "x" * 65])
def test_names_that_no_profile_can_have(give, where, name):
    done = give("x", "login", "--profile", name, "--token-stdin", "--no-check", *where)
    assert done.exit_code == (0 if not name else 2)


# --- kept for one service -----------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["endpoint", "user_id"])
def test_credentials_are_not_sent_to_another_service_or_as_another_user(
    give, invoke, where, koodrive_emulator, monkeypatch, setting
):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    koodrive_emulator.seen.clear()
    value = koodrive_emulator.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv(f"KOODRIVE_{setting.upper()}", value)
    done = invoke("devices")
    assert done.exit_code == 3
    assert f"{setting} is {value} (KOODRIVE_{setting.upper()})" in done.stderr
    assert koodrive_emulator.seen.count() == 0


def test_credentials_of_the_environment_go_before_those_that_are_kept(
    give, invoke, where, koodrive_emulator, monkeypatch
):
    give("Bearer+old", "login", "--token-stdin", "--no-check", *where)
    assert invoke("devices").exit_code == 4
    monkeypatch.setenv("KOODRIVE_TOKEN", koodrive_emulator.token)
    assert invoke("devices").exit_code == 0


def test_a_profile_that_is_typed_goes_before_the_environment_as_a_whole(
    give, invoke, where, koodrive_emulator, monkeypatch
):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    for name in ("ENDPOINT", "USER_ID", "APP_ID", "APP_SECRET"):
        monkeypatch.setenv(f"KOODRIVE_{name}", "https://other.example")
    assert "endpoint\thttps://other.example\t" in invoke("config", "explain").stdout
    done = invoke("devices", "--profile", "default")
    assert done.exit_code == 0, done.output
    assert "https://other.example" not in invoke("config", "explain", "--profile", "default").stdout


def test_credentials_of_the_environment_go_to_no_other_service(
    give, invoke, where, koodrive_emulator, monkeypatch
):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    invoke("logout")
    monkeypatch.setenv("KOODRIVE_TOKEN", koodrive_emulator.token)
    assert invoke("devices", "--profile", "default").exit_code == 0
    monkeypatch.setenv("KOODRIVE_ENDPOINT", "https://other.example")
    done = invoke("devices", "--profile", "default")
    assert done.exit_code == 3
    assert done.stderr == (
        "error: --profile default has no credentials, and those of the environment go with "
        "KOODRIVE_ENDPOINT=https://other.example; hint: koodrive login --profile default\n"
    )


def test_credentials_that_are_gone(give, invoke, where, koodrive_emulator):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    kept_file().unlink()
    done = invoke("devices")
    assert done.exit_code == 3
    assert "hint: koodrive login --profile default" in done.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"token": 1}', '{"endpoint": "e"}', "Bearer+secret"])
def test_credentials_that_are_none(give, invoke, where, koodrive_emulator, text):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    kept_file().write_text(text)
    done = invoke("devices")
    assert done.exit_code == 3
    assert "these are no credentials of this command" in done.stderr
    assert "secret" not in done.stderr


# --- sessions -----------------------------------------------------------------------------------


def test_an_account_signs_in_once_and_its_password_is_not_kept(start, invoke, koodrive_emulator):
    with talk(start, "login") as talking:
        talking.answer("Sign in with", "account")
        talking.answer("Endpoint", koodrive_emulator.url)
        talking.answer("Account", koodrive_emulator.account)
        talking.answer("Carrier", "carrier")
        talking.answer("Password", koodrive_emulator.password)
        assert talking.end() == 0, talking.written
    assert koodrive_emulator.password not in talking.written + kept_file().read_text()
    assert f"user {koodrive_emulator.user_id} at " in talking.written
    assert invoke("devices").exit_code == 0
    assert koodrive_emulator.seen.count("tokens.refresh") == 0


def test_a_wrong_password(give, koodrive_emulator):
    done = give(
        "wrong",
        *("login", "--password-stdin", "--endpoint", koodrive_emulator.url),
        *("--account", koodrive_emulator.account, "--agent-name", "carrier"),
    )
    assert done.exit_code == 4
    assert "The account or the password is wrong" in done.stderr
    assert not kept_file().exists()


def test_a_token_that_is_used_up_renews_itself_and_the_new_one_is_kept(
    call, in_session, koodrive_emulator
):
    before = json.loads(in_session.read_text())
    assert call("devices").returncode == 0
    after = json.loads(in_session.read_text())
    assert after["token"] != before["token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert mode(in_session) == 0o600
    assert call("devices").returncode == 0
    assert koodrive_emulator.seen.count("tokens.refresh") == 1


def test_a_backup_renews_its_token_on_the_way(invoke, in_session, tree, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=401, code="13000101", times=1)
    )
    done = invoke("backup", tree)
    assert done.exit_code == 0, done.stderr
    assert "done\t5 files, " in done.stdout
    assert koodrive_emulator.seen.count("tokens.refresh") == 2
    assert in_session.exists()


@pytest.mark.usefixtures("in_session")
def test_of_processes_that_renew_at_once_one_asks_the_service(start, koodrive_emulator):
    running = []
    with start("devices") as first, start("devices") as second, start("devices") as third:
        running = [first, second, third]
        ended = [process.communicate(timeout=SECONDS) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ended
    assert koodrive_emulator.seen.count("tokens.refresh", status=200) == 1
    assert koodrive_emulator.seen.count("tokens.refresh") == 1


def test_a_session_that_is_over(invoke, in_session):
    kept = json.loads(in_session.read_text())
    in_session.write_text(json.dumps(kept | {"refresh_token": "used-up"}))
    done = invoke("devices")
    assert done.exit_code == 3
    assert "the session of profile 'default' is over" in done.stderr
    assert "hint: koodrive login --profile default" in done.stderr
    assert "used-up" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_secret_gets_into_a_log(invoke, in_session, koodrive_emulator):
    before = json.loads(in_session.read_text())
    done = invoke("devices", "--debug")
    assert done.exit_code == 0, done.stderr
    after = json.loads(in_session.read_text())
    assert koodrive_emulator.seen.count("tokens.refresh") == 1
    for secret in (koodrive_emulator.password, *before.values(), *after.values()):
        if secret not in {koodrive_emulator.url, koodrive_emulator.user_id}:
            assert secret not in done.stderr + done.stdout


# --- keyrings -----------------------------------------------------------------------------------

KEYRING = """
import json, os, pathlib
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

class Keyring(KeyringBackend):
    priority = 5
    file = pathlib.Path(os.environ["TEST_KEYRING"])

    def all(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def get_password(self, service, username):
        return self.all().get(f"{service} {username}")

    def set_password(self, service, username, password):
        if os.environ.get("TEST_LOCKED"):
            raise KeyringLocked("locked")
        self.file.write_text(json.dumps(self.all() | {f"{service} {username}": password}))

    def delete_password(self, service, username):
        kept = self.all()
        if kept.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError("not there")
        self.file.write_text(json.dumps(kept))
"""


@pytest.fixture
def keyring(signed_out, monkeypatch, tmp_path):  # noqa: ARG001 - its variables come first
    """A keyring that really keeps, in a file of the test."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "keyring_of_a_test.py").write_text(KEYRING)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring_of_a_test.Keyring")
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring.json"))
    return tmp_path / "keyring.json"


def test_a_keyring_keeps_secrets_where_there_is_one(
    give_process, call, where, koodrive_emulator, keyring
):
    done = give_process(koodrive_emulator.token, "login", "--token-stdin", *where)
    assert done.returncode == 0, done.stderr
    assert "secrets in the keyring of the system" in done.stdout
    assert not kept_file().exists()
    assert koodrive_emulator.token in keyring.read_text()
    assert call("devices").returncode == 0
    assert "kept in the keyring of the system" in call("config", "explain").stdout
    assert call("logout").returncode == 0
    assert json.loads(keyring.read_text()) == {}


def test_what_moves_to_a_file_leaves_the_keyring(give_process, where, koodrive_emulator, keyring):
    give_process(koodrive_emulator.token, "login", "--token-stdin", *where)
    done = give_process(koodrive_emulator.token, "login", "--token-stdin", "--keep", "file")
    assert done.returncode == 0, done.stderr
    assert kept_file().exists()
    assert json.loads(keyring.read_text()) == {}


@pytest.mark.usefixtures("keyring")
def test_a_keyring_that_is_locked(give_process, where, koodrive_emulator, monkeypatch):
    monkeypatch.setenv("TEST_LOCKED", "1")
    done = give_process(
        koodrive_emulator.token, "login", "--token-stdin", "--keep", "keyring", *where
    )
    assert done.returncode == 3
    assert "KeyringLocked: locked; hint: unlock it" in done.stderr
    assert not config_path().exists()
    done = give_process(koodrive_emulator.token, "login", "--token-stdin", *where)
    assert done.returncode == 0
    assert "warning: the keyring of the system: KeyringLocked" in done.stderr
    assert kept_file().exists()


ODD_KEYRINGS = """
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 5

    def get_password(self, service, username):
        raise OSError("no bus")

    def set_password(self, service, username, password):
        pass

    def delete_password(self, service, username):
        raise OSError("no bus")

class Talkative(Keyring):
    def set_password(self, service, username, password):
        raise ValueError(f"cannot keep {password}")

class Forgetful(Keyring):
    def get_password(self, service, username):
        return None

class Mangling(Keyring):
    def get_password(self, service, username):
        return "{}"

class Unsure(Keyring):
    @property
    def priority(self):
        raise RuntimeError("no session")
"""


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("no.such.Backend", "ModuleNotFoundError: No module named 'no'"),
        ("json.NoSuchClass", "AttributeError: "),
        ("odd_keyrings.Keyring", "OSError"),
        ("odd_keyrings.Talkative", "ValueError"),
        ("odd_keyrings.Forgetful", "does not keep what it is given"),
        ("odd_keyrings.Mangling", "does not keep what it is given"),
        ("odd_keyrings.Unsure", "RuntimeError"),
        ("keyring.backends.null.Keyring", None),
        ("keyring.backends.fail.Keyring", None),
    ],
)
def test_a_keyring_that_does_not_keep_leaves_the_secrets_to_a_file(
    give, invoke, where, koodrive_emulator, monkeypatch, tmp_path, backend, told
):
    (tmp_path / "odd_keyrings.py").write_text(ODD_KEYRINGS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    # it is chosen again, as in a process of its own, and no test after this one has it
    monkeypatch.setattr(KeyringBackend, "_classes", set(KeyringBackend._classes))
    monkeypatch.setattr(keyring_core, "_keyring_backend", None)
    options = ("login", "--token-stdin", *where)
    done = give(koodrive_emulator.token, *options, "--keep", "keyring")
    assert done.exit_code == 3, done.output
    assert not config_path().exists()
    wrong = done.output
    done = give(koodrive_emulator.token, *options)
    assert done.exit_code == 0, done.output
    if told is not None:
        warning = f"warning: the keyring of the system(: |.*){re.escape(told)}.*"
        assert re.fullmatch(
            f"accepted by .*\n{warning}; a file keeps the secrets instead\n", done.stderr
        )
    else:
        assert "warning" not in done.stderr
    assert koodrive_emulator.token not in done.output + wrong
    assert kept_file().exists()
    assert invoke("devices").exit_code == 0


def test_a_chain_of_no_keyrings_keeps_nothing(give_process, where, koodrive_emulator, monkeypatch):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.chainer.ChainerBackend")
    options = ("login", "--token-stdin", "--no-check", *where)
    done = give_process(koodrive_emulator.token, *options, "--keep", "keyring")
    assert (done.returncode, config_path().exists()) == (3, False), done.stderr
    done = give_process(koodrive_emulator.token, *options)
    assert (done.returncode, kept_file().exists()) == (0, True), done.stderr


def test_signing_in_goes_on_where_the_keyring_of_before_has_gone(
    give_process, call, where, koodrive_emulator, monkeypatch, keyring
):
    give_process(koodrive_emulator.token, "login", "--token-stdin", *where)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no.such.Backend")
    done = call("devices")
    assert done.returncode == 3
    assert done.stderr.startswith("error: the keyring of the system: ModuleNotFoundError: ")
    done = give_process(koodrive_emulator.token, "login", "--token-stdin", *where)
    assert done.returncode == 0, done.stderr
    assert "warning: what was kept before could not be removed: " in done.stderr
    assert call("devices").returncode == 0
    assert keyring.exists()


def test_sessions_renew_in_a_keyring_as_well(give_process, call, koodrive_emulator, keyring):
    done = give_process(
        koodrive_emulator.password,
        *("login", "--password-stdin", "--endpoint", koodrive_emulator.url),
        *("--account", koodrive_emulator.account, "--agent-name", "carrier"),
    )
    assert done.returncode == 0, done.stderr
    before = keyring.read_text()
    spend_tokens(koodrive_emulator)
    assert call("devices").returncode == 0
    assert keyring.read_text() != before


def test_without_the_package_one_line_says_what_to_install(
    give_process, where, monkeypatch, tmp_path
):
    (tmp_path / "keyring.py").write_text("raise ModuleNotFoundError('keyring', name='keyring')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = give_process("x", "login", "--token-stdin", "--no-check", "--keep", "keyring", *where)
    assert done.returncode == 3
    assert "hint: pip install 'koodrive-async[keyring]'" in done.stderr
    assert give_process("x", "login", "--token-stdin", "--no-check", *where).returncode == 0


# --- forgetting ---------------------------------------------------------------------------------


def test_logout_forgets_the_secrets_and_keeps_the_rest(give, invoke, where, koodrive_emulator):
    give(koodrive_emulator.token, "login", "--token-stdin", *where)
    text = config_path().read_text()
    config_path().write_text(text + "# mine\nmemory = '64M'\n")
    done = invoke("logout")
    assert (done.exit_code, done.stdout) == (0, "profile default: signed out\n")
    assert not kept_file().exists()
    assert "# mine\nmemory = '64M'\n" in config_path().read_text()
    assert invoke("devices").exit_code == 3
    assert invoke("logout").stdout == "profile default: there were no credentials\n"
    assert invoke("logout", "--profile", "moon").exit_code == 3
