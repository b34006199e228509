"""A client: made from settings or the environment, entered once, closed without a trace."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from koodrive_async import (
    AppSignature,
    BackupRecord,
    BearerToken,
    BoundDevice,
    ClientClosed,
    ConfigurationError,
    InvalidArgument,
    KooDrive,
    KooDriveError,
    Limits,
    Module,
    NewBackupFile,
    RetryPolicy,
    Timeouts,
)
from tests.interface.scripted import LOCK, TOKEN, USER, client_of, silence

pytestmark = pytest.mark.anyio

DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
BASE = {"KOODRIVE_ENDPOINT": "https://host.example", "KOODRIVE_USER_ID": USER}
WITH_TOKEN = {**BASE, "KOODRIVE_TOKEN": TOKEN}
WITH_SECRET = {**BASE, "KOODRIVE_APP_ID": "app", "KOODRIVE_APP_SECRET": "secret"}


def open_sockets():
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # what listed the folder is closed by now
            count += "socket" in str(link.readlink())
    return count


# --- in and out --------------------------------------------------------------------------------


async def test_a_call_before_the_client_is_open_is_refused(scripted):
    client = client_of(scripted)
    with pytest.raises(ClientClosed, match="async with"):
        await client.devices.list()
    assert scripted.connections == 0


async def test_a_call_after_the_client_was_left_is_refused(scripted):
    async with client_of(scripted) as client:
        pass
    with pytest.raises(ClientClosed):
        await client.devices.list()
    with pytest.raises(ClientClosed):
        await client.records.list("100").first()
    with pytest.raises(ClientClosed):
        async with client.locks.hold("100"):
            pass
    assert scripted.connections == 0


async def test_a_closed_client_asks_for_neither_token_nor_proof(scripted):
    asked: list[None] = []

    async def ask(*_):
        asked.append(None)
        return TOKEN

    client = client_of(scripted, auth=BearerToken(ask))
    file = NewBackupFile(file_name="a", sha256=DIGEST, length=1, proof_code=ask)
    with pytest.raises(ClientClosed):
        await client.files.create("1", file, lock_id=LOCK)
    assert asked == []


async def test_a_client_is_entered_once(scripted):
    client = client_of(scripted)
    async with client:
        with pytest.raises(ClientClosed, match="once"):
            await client.__aenter__()
        scripted.replies({"code": 0})
        await client.devices.list()
    with pytest.raises(ClientClosed, match="once"):
        await client.__aenter__()


async def test_leaving_a_client_closes_its_connections(scripted):
    gc.collect()
    before, tasks = open_sockets(), asyncio.all_tasks()
    scripted.replies({"code": 0})
    async with client_of(scripted) as client:
        await client.devices.list()
        assert open_sockets() > before
    await scripted.ended()
    assert open_sockets() == before
    gc.collect()  # whatever was left open warns here, and warnings are errors
    left = {task for task in asyncio.all_tasks() - tasks if "_serve" not in repr(task)}
    assert left == set()


async def test_a_cancellation_while_a_client_is_left_leaves_nothing_behind(scripted):
    client = await client_of(scripted).__aenter__()
    means = client._uploader._means
    session = client._http._door.sessions
    assert means is not None
    assert session is not None
    began, let_go = threading.Event(), threading.Event()

    def work():
        began.set()
        let_go.wait(30)

    await means.short_work.run(str)
    working = asyncio.create_task(means.threads.run(work))
    await asyncio.to_thread(began.wait, 30)
    leaving = asyncio.create_task(client.__aexit__(None, None, None))
    for _ in range(3):
        await asyncio.sleep(0)
    leaving.cancel()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await working
    assert not any(thread.is_alive() for thread in means.threads._threads)
    assert not any(thread.is_alive() for thread in means.short_work._threads)
    assert session.closed


def test_a_client_that_is_never_left_does_not_keep_the_process_from_ending():
    program = """
import asyncio
import warnings
from koodrive_async import BearerToken, KooDrive

async def main():
    client = KooDrive("http://127.0.0.1:9", auth=BearerToken("t"), user_id="u")
    await client.__aenter__()
    means = client._uploader._means
    await means.threads.run(str)
    await means.short_work.run(str)

warnings.simplefilter("ignore")
asyncio.run(main())
print("over")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=30, check=True
    )
    assert ended.stdout.strip() == b"over"


async def test_connections_are_kept_and_used_again(scripted):
    scripted.replies(*[{"code": 0}] * 5)
    async with client_of(scripted) as client:
        for _ in range(5):
            await client.devices.list()
    assert scripted.connections == 1


async def test_leaving_a_client_ends_the_calls_that_are_running(scripted):
    scripted.otherwise = lambda _: silence
    async with client_of(scripted, retry=RetryPolicy(attempts=1)) as client:
        call = asyncio.create_task(client.devices.list())
        await scripted.arrived.wait()
    with pytest.raises(KooDriveError):
        await call


async def test_a_client_that_is_never_entered_leaves_nothing_behind(scripted):
    before = open_sockets()
    client_of(scripted)
    gc.collect()
    assert open_sockets() == before


async def test_a_client_made_outside_of_a_loop_works_inside(scripted):
    client = await asyncio.to_thread(client_of, scripted)
    scripted.replies({"code": 0})
    async with client:
        await client.devices.list()


async def test_clients_do_not_share_what_they_know(scripted):
    one, other = client_of(scripted), client_of(scripted)
    async with one:
        pass
    scripted.replies({"code": 0})
    async with other:
        await other.devices.list()


async def test_credentials_of_the_environment_are_not_used(scripted, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    scripted.replies({"code": 0})
    async with client_of(scripted) as client:
        await client.devices.list()
    assert scripted.request.headers["Authorization"] == TOKEN


# --- endpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "host.example",
        "ftp://host.example",
        "https://",
        "https:///path",
        "https://host.example?a=b",
        "https://host.example/#part",
        "https://user:password@host.example",
        "https://token@host.example",
        "https://host.example:99999",
        "https://host.example:port",
        "https://[::1",
    ],
)
def test_an_endpoint_that_is_no_base_url_is_refused(endpoint):
    with pytest.raises(ConfigurationError, match="https://host") as refusal:
        KooDrive(endpoint, auth=BearerToken("t"), user_id="u")
    assert "password" not in str(refusal.value).replace("a user or password", "")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://intl.myhuaweicloud-koodrive.com", "intl.myhuaweicloud-koodrive.com"),
        ("https://Host.example:443/", "host.example"),
        ("http://host.example:80", "host.example"),
        ("https://host.example:8443", "host.example:8443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://höst.example", "xn--hst-sna.example"),
    ],
)
def test_the_signed_host_is_the_one_that_is_sent(endpoint, host):
    client = KooDrive(
        endpoint, auth=BearerToken("t"), user_id="u", allow_plain_http=("host.example",)
    )
    assert client._http._host == host


# --- the environment ---------------------------------------------------------------------------


async def test_a_token_comes_from_the_environment(scripted):
    scripted.replies({"code": 0})
    environ = {**WITH_TOKEN, "KOODRIVE_ENDPOINT": scripted.url}
    async with KooDrive.from_env(environ) as client:
        await client.devices.list()
    assert scripted.request.headers["Authorization"] == TOKEN
    assert scripted.request.headers["X-User-Id"] == USER


async def test_an_app_signature_comes_from_the_environment(scripted):
    scripted.replies({"code": 0})
    environ = {**WITH_SECRET, "KOODRIVE_ENDPOINT": scripted.url}
    async with KooDrive.from_env(environ) as client:
        await client.devices.list()
    assert scripted.request.headers["Authorization"].startswith("HMAC-SHA256 AppId=app,")


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n\n"])
async def test_values_of_the_environment_have_no_space_around_them(scripted, end):
    # as a file has them that ends with a new line
    scripted.replies({"code": 0})
    environ = {**WITH_TOKEN, "KOODRIVE_ENDPOINT": scripted.url}
    environ = {name: f" {value}{end}" for name, value in environ.items()}
    async with KooDrive.from_env(environ | {"KOODRIVE_APP_SECRET": end}) as client:
        await client.devices.list()
    assert scripted.request.headers["Authorization"] == TOKEN
    assert scripted.request.headers["X-User-Id"] == USER


async def test_the_environment_of_the_process_is_read(koodrive_environment):
    async with KooDrive.from_env() as client:
        assert await client.devices.list() == ()
    assert client.endpoint == koodrive_environment["KOODRIVE_ENDPOINT"]


def test_settings_go_with_the_environment():
    limits, timeouts, retry = (
        Limits(connections=2),
        Timeouts(answer=3),
        RetryPolicy(attempts=4, outage=0),
    )
    client = KooDrive.from_env(WITH_TOKEN, limits=limits, timeouts=timeouts, retry=retry)
    assert (client.limits, client.timeouts, client.retry) == (limits, timeouts, retry)


def test_everything_that_is_missing_is_listed_at_once():
    with pytest.raises(ConfigurationError) as caught:
        KooDrive.from_env({})
    for name in ("ENDPOINT", "USER_ID", "TOKEN", "APP_ID", "APP_SECRET"):
        assert f"KOODRIVE_{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (WITH_TOKEN, ["KOODRIVE_ENDPOINT"]),
        (WITH_TOKEN, ["KOODRIVE_USER_ID"]),
        (WITH_SECRET, ["KOODRIVE_APP_SECRET"]),
        (WITH_SECRET, ["KOODRIVE_APP_ID"]),
        (WITH_SECRET, ["KOODRIVE_ENDPOINT", "KOODRIVE_APP_ID"]),
    ],
)
@pytest.mark.parametrize("blank", [None, "", "  "])
def test_what_is_missing_or_blank_is_listed(given, missing, blank):
    environ = {name: value for name, value in given.items() if name not in missing}
    if blank is not None:
        environ |= dict.fromkeys(missing, blank)
    with pytest.raises(ConfigurationError) as caught:
        KooDrive.from_env(environ)
    named, _, advice = str(caught.value).partition("environment: ")[2].partition("; ")
    assert "koodrive emulator" in advice
    listed = set(re.findall(r"(?:^|, )(\w+)", named))
    assert listed == set(missing)


@pytest.mark.parametrize("more", [["KOODRIVE_APP_ID", "KOODRIVE_APP_SECRET"], ["KOODRIVE_APP_ID"]])
def test_two_ways_to_sign_in_are_refused(more):
    environ = WITH_TOKEN | {name: WITH_SECRET[name] for name in more}
    with pytest.raises(ConfigurationError, match="one way to sign in") as caught:
        KooDrive.from_env(environ)
    assert TOKEN not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_blanks_around_values_are_taken_off():
    environ = {name: f" {value}\n" for name, value in WITH_TOKEN.items()}
    assert KooDrive.from_env(environ).endpoint == "https://host.example"


def test_other_variables_are_not_looked_at():
    environ = {**WITH_TOKEN, "KOODRIVE_COLOUR": "red", "TOKEN": "x"}
    assert KooDrive.from_env(environ).endpoint == "https://host.example"


def test_settings_are_values():
    for kind in (Limits, Timeouts, RetryPolicy):
        assert kind() == kind()
        assert hash(kind()) == hash(kind())
        assert repr(kind()).startswith(f"{kind.__name__}(")
    with pytest.raises(AttributeError):
        Limits().connections = 3  # type: ignore[misc]  # that is what is tested
    assert BearerToken("a") == BearerToken("a")
    assert AppSignature(app_id="a", app_secret="b") == AppSignature(app_id="a", app_secret="b")


async def test_a_client_logs_nothing_when_all_is_well(scripted, caplog):
    caplog.set_level(logging.INFO, logger="koodrive_async")
    scripted.replies({"code": 0})
    async with client_of(scripted) as client:
        await client.devices.list()
    assert caplog.records == []


async def test_a_plain_with_is_told_what_to_use(scripted):
    with pytest.raises(TypeError, match=r"async with.*koodrive_async.sync"), client_of(scripted):
        pass


async def test_an_id_that_is_none_is_refused_before_anything_is_sent(scripted):
    client = client_of(scripted)
    device: Any = BoundDevice(device_id="1")
    record: Any = BackupRecord(record_id="2")
    with pytest.raises(InvalidArgument, match=r"device_id must be an id, such as device.device_id"):
        client.backup(device, Module.FOLDER)
    with pytest.raises(InvalidArgument, match=r"resume must be an id, such as record.record_id"):
        client.backup("1", Module.FOLDER, resume=record)
    with pytest.raises(InvalidArgument, match="not ''"):
        client.backup("", Module.FOLDER)
