from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import aiohttp
import pytest

from koodrive_async.emulator import Emulator, Fault

pytestmark = pytest.mark.anyio


def threads():
    return {thread for thread in threading.enumerate() if thread.name == "koodrive-emulator"}


def open_files(directory):
    """The files and sockets of this process that an emulator of a directory could have opened."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith((str(directory), "socket:", "anon_inode:[eventpoll]")):
            found.append(target)
    return sorted(found)


async def work(emulator, new_wire, data, **session_options):
    async with aiohttp.ClientSession(**session_options) as session:
        wire = new_wire(emulator, session)
        lock = await wire.lock()
        record = await wire.record(lock)
        path = f"/backup/record/{record}/file"
        created = await wire.call("POST", path, wire.new_file(data), lock=lock)
        part = created.json["multiParts"][0]
        assert (await wire.put(part["uploadUrl"], data[:128])).status == 200


async def test_nothing_is_left_after_stopping(new_emulator, new_wire, data, directory):
    gc.collect()
    before, tasks = open_files(directory), asyncio.all_tasks()
    async with new_emulator() as emulator:
        await work(emulator, new_wire, data)
        assert threads()
    assert threads() == set()
    assert asyncio.all_tasks() == tasks
    gc.collect()
    assert open_files(directory) == before


def test_it_works_without_an_event_loop(new_emulator):
    emulator = new_emulator()
    with emulator:
        host, _, port = emulator.url.removeprefix("http://").partition(":")
        socket.create_connection((host, int(port))).close()
    assert threads() == set()
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.url
    emulator.stop()


def test_it_cannot_be_started_twice(new_emulator):
    with new_emulator() as emulator:
        with pytest.raises(RuntimeError, match="running already"):
            emulator.start()
        assert emulator.url


@pytest.mark.parametrize("which", ["port", "object_port"])
async def test_a_port_in_use_is_a_clear_error_and_leaves_nothing(new_emulator, directory, which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = open_files(directory)
        port = taken.getsockname()[1]
        for start in (
            new_emulator(**{which: port}).start,
            new_emulator(**{which: port}).__aenter__,
        ):
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                await asyncio.to_thread(start) if "start" in start.__name__ else await start()
        gc.collect()
        assert threads() == set()
        assert open_files(directory) == before


def test_a_directory_belongs_to_one_emulator_of_a_process_at_a_time(new_emulator):
    with new_emulator(), pytest.raises(RuntimeError, match=r"stop that one, or.*Emulator.running"):
        new_emulator().start()
    with new_emulator() as emulator:
        assert emulator.url


def test_a_directory_belongs_to_one_process_at_a_time(new_emulator, directory):
    with new_emulator():
        pass
    with contextlib.closing(sqlite3.connect(directory / "state.sqlite")) as another:
        another.execute("PRAGMA locking_mode = EXCLUSIVE")
        another.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="in use by another emulator"):
            new_emulator().start()
    assert threads() == set()


def test_the_emulator_of_a_directory_is_there_however_often_it_is_asked_for(directory):
    first = Emulator.running(directory)
    try:
        assert Emulator.running(str(directory)) is first
        assert first.url
    finally:
        first.stop()
    again = Emulator.running(directory)
    try:
        assert again is not first
        assert again.url
    finally:
        again.stop()
    assert threads() == set()


def test_it_listens_where_it_did_the_last_time(new_emulator):
    with new_emulator() as emulator:
        before = emulator.url, emulator.object_url
    with new_emulator() as emulator:
        assert (emulator.url, emulator.object_url) == before


def test_it_listens_elsewhere_when_that_is_taken_or_unknown(new_emulator, directory):
    with new_emulator() as emulator:
        before = emulator.url
    port = int(before.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), new_emulator() as emulator:
        assert emulator.url != before
    for nonsense in ("", "[]", '{"interface": 99999999, "objects": "x"}'):
        (directory / "ports.json").write_text(nonsense)
        with new_emulator() as emulator:
            assert emulator.url


def test_a_state_that_is_none_is_a_clear_error(new_emulator, directory):
    directory.mkdir()
    (directory / "state.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match="cannot be used"):
        new_emulator().start()
    assert threads() == set()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Emulator(tmp_path / "file" / "below").start()
    assert threads() == set()


def test_there_must_be_a_user_and_a_container(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        Emulator(tmp_path, users=())
    with pytest.raises(ValueError, match="at least one"):
        Emulator(tmp_path, containers=())


async def test_cancelling_the_start_leaves_nothing(new_emulator, directory):
    before = open_files(directory)
    emulator = new_emulator()
    starting = asyncio.ensure_future(emulator.__aenter__())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert threads() == set()
    assert open_files(directory) == before


async def test_cancelling_the_stop_sees_it_through(new_emulator):
    emulator = await new_emulator().__aenter__()
    stopping = asyncio.ensure_future(emulator.__aexit__(None, None, None))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert threads() == set()


async def test_stopping_does_not_wait_for_a_request_in_flight(new_emulator, new_wire):
    async with aiohttp.ClientSession() as session:
        async with new_emulator() as emulator:
            emulator.faults.add(Fault("latency", "devices.list", seconds=3600))
            wire = new_wire(emulator, session)
            waiting = asyncio.ensure_future(wire.call("GET", "/backup/device"))
            await asyncio.to_thread(emulator.seen.wait_active, "devices.list")
        with pytest.raises(aiohttp.ClientError):
            await waiting
    assert threads() == set()


async def test_an_upload_goes_on_after_a_restart(new_emulator, new_wire, data):
    async with aiohttp.ClientSession() as session:
        async with new_emulator() as emulator:
            wire = new_wire(emulator, session)
            lock = await wire.lock()
            record = await wire.record(lock)
            path = f"/backup/record/{record}/file"
            body = wire.new_file(data)
            created = (await wire.call("POST", path, body, lock=lock)).json
            first = created["multiParts"][0]
            await wire.put(first["uploadUrl"], data[:128])
            known = (emulator.token, emulator.accounts, emulator.app_id, emulator.app_secret)
        async with new_emulator() as emulator:
            wire = new_wire(emulator, session)
            assert known == (
                emulator.token,
                emulator.accounts,
                emulator.app_id,
                emulator.app_secret,
            )
            fresh = await wire.part_urls(created["fileId"], created["multiParts"][1:])
            for part in fresh.json["multiParts"]:
                piece = data[part["partOffset"] :][: part["partSize"]]
                assert (await wire.put(part["uploadUrl"], piece)).status == 200
            assert (await wire.complete(created["fileId"])).status == 200
            answer = await wire.call("PATCH", f"/backup/record/{record}", {}, lock=lock)
            assert answer.status == 200
        emulator = new_emulator()
        for _ in range(2):  # the same object can be started again as well
            async with emulator:
                wire = new_wire(emulator, session)
                url = await wire.download_url(created["fileId"])
                assert (await wire.get(url)).body == data


async def test_urls_hold_across_a_restart_on_the_same_port(new_emulator, new_wire, data):
    async with aiohttp.ClientSession() as session:
        async with new_emulator() as emulator:
            wire = new_wire(emulator, session)
            created = (await wire.call("POST", "/files/create", wire.new_file(data))).json
            port = int(emulator.object_url.rpartition(":")[2])
        async with new_emulator(object_port=port) as emulator:
            url = created["multiParts"][0]["uploadUrl"]
            assert (await new_wire(emulator, session).put(url, data[:128])).status == 200


async def test_credentials_have_their_forms_and_are_private(emulator, directory):
    assert emulator.token.startswith("Bearer+")
    assert int(emulator.token.removeprefix("Bearer+"), 16)
    assert emulator.user_id.isdecimal()
    assert len(emulator.user_id) == 19
    assert len(emulator.app_id) == 64
    assert int(emulator.app_id, 16)
    assert emulator.container_id == "IAAFfyRNd07vFgAAA1395638440594444417"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


async def test_no_secret_is_in_a_repr_or_in_the_state(emulator, wire, directory):
    await wire.device()
    account = emulator.accounts[0]
    shown = f"{emulator!r} {emulator.accounts!r} {emulator.seen!r} {list(emulator.seen)!r}"
    stored = b"".join(path.read_bytes() for path in directory.glob("state.sqlite*"))
    for secret in (account.token, account.password, emulator.app_secret):
        assert secret not in shown
        assert secret.encode() not in stored


async def test_a_shell_gets_the_environment_of_a_client(emulator):
    assert emulator.environment() == {
        "KOODRIVE_ENDPOINT": emulator.url,
        "KOODRIVE_USER_ID": emulator.user_id,
        "KOODRIVE_TOKEN": emulator.token,
    }


async def test_a_wildcard_host_is_named_by_its_loopback_address(new_emulator, new_wire):
    async with new_emulator(host="0.0.0.0") as emulator, aiohttp.ClientSession() as session:
        assert emulator.url.startswith("http://127.0.0.1:")
        answer = await new_wire(emulator, session).call("GET", "/backup/device")
        assert answer.status == 200


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate with its key, for the name 127.0.0.1."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with the openssl command")
    path = tmp_path / "certificate.pem"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=koodrive"
    )
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run([openssl, *words.split(), *more], check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


async def test_an_ipv6_address_is_written_in_brackets(new_emulator, new_wire, data):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with new_emulator(host="::1") as emulator:
        assert emulator.url.startswith("http://[::1]:")
        await work(emulator, new_wire, data)


async def test_with_a_context_both_sites_speak_https(
    new_emulator, new_wire, certificate, data, directory
):
    gc.collect()
    before = open_files(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with new_emulator(ssl_context=context) as emulator:
        assert emulator.url.startswith("https://")
        assert emulator.object_url.startswith("https://")
        trust = ssl.create_default_context(cafile=certificate)
        await work(emulator, new_wire, data, connector=aiohttp.TCPConnector(ssl=trust))
    gc.collect()
    assert open_files(directory) == before


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"directory": "state", "users": ()}, "<Emulator 'state', stopped>"),
        ({"directory": "state", "users": "u"}, "<Emulator 'state', stopped>"),
        ({"directory": None}, "<Emulator, not made>"),
    ],
)
def test_an_emulator_that_could_not_be_made_has_a_repr(arguments, shown):
    emulator = Emulator.__new__(Emulator)
    with pytest.raises((TypeError, ValueError)):
        Emulator.__init__(emulator, **arguments)
    assert repr(emulator) == shown
