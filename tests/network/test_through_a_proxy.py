"""Calls and parts go through the proxy, all of them, and as they would without it."""

from __future__ import annotations

import socket
import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from koodrive_async import BearerToken, KooDrive, Tls
from koodrive_async.testing import connect
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.tls import tls_contexts
from koodrive_async.upload import lane as lane_module
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.sockets import PatientSocket
from koodrive_async.upload.source import open_source
from tests.network.forward_proxy import ForwardProxy
from tests.network.through import MIB, completed, upload
from tests.sample import sample
from tests.upload.raw_server import open_lane, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[
        False,
        pytest.param(True, marks=pytest.mark.skipif(sys.platform == "win32", reason="no uvloop")),
    ],
    ids=["asyncio", "uvloop"],
)
def anyio_backend(request):
    return ("asyncio", {"use_uvloop": request.param})


one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])

PAIR = "me@corp:pa55/word"
IN_A_URL = "me%40corp:pa55%2Fword"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "source.bin"
    file.write_bytes(sample(12 * MIB + 3))
    return file


async def test_with_tls_everything_goes_through_tunnels(secure_emulator, ca_file, proxy, path):
    async with connect(secure_emulator, tls=Tls(ca_file=ca_file), proxy=proxy.url) as drive:
        await upload(drive, path, b"abc")
    assert completed(secure_emulator) == [True, True]
    assert secure_emulator.seen.count("part.put", status=200) == 4
    places = {url.partition("://")[2] for url in (secure_emulator.url, secure_emulator.object_url)}
    assert set(proxy.tunnels) == places
    assert {asked.method for asked in proxy.asked} == {"CONNECT"}
    assert proxy.tunnelled > 12 * MIB
    # and nothing of the calls but where they go to
    assert {name for asked in proxy.asked for name in asked.headers} == {"Host", "User-Agent"}
    assert all(asked.headers["Host"] == asked.target for asked in proxy.asked)


async def test_without_tls_requests_go_to_the_proxy_in_absolute_form(
    koodrive_emulator, proxy, path
):
    async with connect(koodrive_emulator, proxy=proxy.url) as drive:
        await upload(drive, path, b"abc")
    assert completed(koodrive_emulator) == [True, True]
    seen = koodrive_emulator.seen.requests()
    sites = {"part.put": koodrive_emulator.object_url}
    through = [(asked.method, asked.target) for asked in proxy.asked]
    # byte for byte, signatures included
    assert sorted(through) == sorted(
        (each.method, sites.get(each.route, koodrive_emulator.url) + each.raw_path) for each in seen
    )
    assert len(koodrive_emulator.seen.requests("part.put")) == 4
    assert not proxy.tunnels


@pytest.mark.parametrize("secure", [True, False])
async def test_connections_through_a_proxy_are_used_again(
    koodrive_emulator, secure_emulator, ca_file, proxy, secure
):
    emulator = secure_emulator if secure else koodrive_emulator
    async with connect(emulator, tls=Tls(ca_file=ca_file), proxy=proxy.url) as drive:
        await upload(drive, *(b"%d" % number for number in range(5)))
    assert emulator.seen.count("part.put") == 5
    # renewing the lock beside other calls may take one more
    assert proxy.connections in {2, 3}


@pytest.mark.parametrize("secure", [True, False])
async def test_user_and_password_go_to_the_proxy_and_no_further(
    koodrive_emulator, secure_emulator, ca_file, secure, caplog
):
    caplog.set_level("DEBUG")
    emulator = secure_emulator if secure else koodrive_emulator
    async with ForwardProxy(pair=PAIR) as proxy:
        url = proxy.url.replace("://", f"://{IN_A_URL}@")
        async with connect(emulator, tls=Tls(ca_file=ca_file), proxy=url) as drive:
            await upload(drive, b"abc")
            shown = repr(drive)
    assert completed(emulator) == [True]
    for asked in proxy.asked:
        assert asked.headers["Proxy-Authorization"].startswith("Basic ")
        if secure or asked.method == "PUT":
            assert "Authorization" not in asked.headers
    for each in emulator.seen.requests():
        assert "Proxy-Authorization" not in each.headers
    for each in emulator.seen.requests("part.put"):
        assert "Authorization" not in each.headers
    secret = proxy.asked[0].headers["Proxy-Authorization"].partition(" ")[2]
    for text in (shown, caplog.text):
        assert secret not in text
        assert "pa55" not in text


async def test_the_environment_names_it(secure_emulator, ca_file, proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with KooDrive.from_env(secure_emulator.environment(), journal=None) as drive:
        await upload(drive, b"abc")
    assert len(set(proxy.tunnels)) == 2


async def test_what_no_proxy_names_goes_directly(koodrive_emulator, proxy, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", koodrive_emulator.object_url.partition("://")[2])
    async with connect(koodrive_emulator, proxy="env") as drive:
        await upload(drive, b"abc")
    assert koodrive_emulator.seen.count("part.put", status=200) == 1
    assert {asked.method for asked in proxy.asked} >= {"POST"}
    assert not any(asked.target.startswith(koodrive_emulator.object_url) for asked in proxy.asked)


async def test_none_goes_past_what_the_environment_names(koodrive_emulator, proxy, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    async with connect(koodrive_emulator, proxy=None) as drive:
        await upload(drive, b"abc")
    assert not proxy.connections


async def test_names_are_looked_up_by_the_proxy(secure_emulator, ca_file, monkeypatch):
    """Behind some proxies nothing else can: here the name leads to a host that nobody knows."""

    def only_addresses(host, *arguments, **named):
        if not host.replace(".", "").isdecimal():
            raise AssertionError(host)
        return ask(host, *arguments, **named)

    ask = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", only_addresses)
    port = secure_emulator.url.rpartition(":")[2]
    async with ForwardProxy(known={"drive.example": "127.0.0.1"}) as proxy:
        drive = KooDrive(
            f"https://drive.example:{port}",
            auth=BearerToken(secure_emulator.token),
            user_id=secure_emulator.user_id,
            journal=None,
            tls=Tls(ca_file=ca_file),
            proxy=proxy.url,
        )
        async with drive:
            await drive.devices.list()
    assert proxy.tunnels == [f"drive.example:{port}"]


@one_loop
async def test_another_proxy_than_our_own_carries_it_too(
    secure_emulator, koodrive_emulator, ca_file, tmp_path
):
    """This one is not written by us: proxy.py, in a process of its own."""
    async with independent_proxy(tmp_path, PAIR) as port:
        url = f"http://{IN_A_URL}@127.0.0.1:{port}"
        for emulator in (secure_emulator, koodrive_emulator):
            async with connect(emulator, tls=Tls(ca_file=ca_file), proxy=url) as drive:
                await upload(drive, sample(12 * MIB), b"abc")
            assert completed(emulator) == [True, True]


@pytest.mark.parametrize(
    ("secure", "proxied", "by_the_kernel"),
    [(False, False, True), (False, True, True), (True, False, False), (True, True, False)],
)
@one_loop  # parts are sent in threads
async def test_the_kernel_sends_files_wherever_they_travel_as_they_are(
    server_tls, ca_file, proxy, path, monkeypatch, secure, proxied, by_the_kernel
):
    class Counting(PatientSocket):
        def send_file(self, *arguments):
            sent.append(super().send_file(*arguments))
            return sent[-1]

    sent: list[int | None] = []
    monkeypatch.setattr(lane_module, "PatientSocket", Counting)
    tls = (await tls_contexts(Tls(ca_file=ca_file))).parts
    pool = ThreadPool(1)
    async with (
        serving(tls=server_tls if secure else None) as server,
        open_lane(tls=tls, proxy=proxy.url if proxied else None) as lane,
        open_source(path, pool, MemoryBudget(MIB)) as content,
    ):
        await lane.send(PlannedPart(1, 0, 12 * MIB), content, server.url)
        assert server.requests[0].body == path.read_bytes()[: 12 * MIB]
    await pool.aclose()
    assert bool(proxy.connections) == proxied
    assert (sum(size or 0 for size in sent) == 12 * MIB) == by_the_kernel


@asynccontextmanager
async def independent_proxy(folder, pair):
    """Run proxy.py, and give its port."""
    port_file = folder / "port"
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"]
    command += ["--port-file", str(port_file), "--basic-auth", pair, "--num-workers", "1"]
    command += ["--num-acceptors", "1", "--data-dir", str(folder), "--log-level", "e"]
    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        try:
            while not (port_file.exists() and port_file.read_text().strip()):
                assert process.returncode is None
                await anyio.sleep(0.02)
            yield int(port_file.read_text())
        finally:
            process.terminate()
