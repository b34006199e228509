"""Credentials and content travel without TLS on this machine only, or where a host is named."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
import yarl
from aiohttp import web

from koodrive_async import BearerToken, ConfigurationError, KooDrive, PartRejected, Timeouts, Tls
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.dialing import Dialer
from koodrive_async.transport.plain_http import PlainHttp, is_loopback, plain_hosts
from koodrive_async.transport.proxy import Proxies, Proxy
from koodrive_async.upload.lane import ThreadLane
from tests.interface.scripted import TLS, Scripted, answer, client_of
from tests.network.forward_proxy import ForwardProxy
from tests.network.through import completed, upload
from tests.upload.raw_server import put

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"KOODRIVE_USER_ID": "u", "KOODRIVE_TOKEN": "secret-token"}


def client(endpoint, **settings):
    return KooDrive(endpoint, auth=BearerToken("secret-token"), user_id="u", **settings)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://drive.example",
        "http://drive.example:8080/base",
        "http://10.0.0.1",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://notlocalhost",
        "http://[2001:db8::1]",
        "http://0.0.0.0",
    ],
)
def test_no_credentials_go_to_another_machine_without_tls(endpoint):
    with pytest.raises(ConfigurationError, match="allow_plain_http") as refusal:
        client(endpoint)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:80",
        "http://LOCALHOST.",
        "http://emulator.localhost",
        "http://127.0.0.1",
        "http://127.8.9.1:99",
        "http://[::1]:1",
        "https://drive.example",
    ],
)
def test_this_machine_and_tls_need_no_name(endpoint):
    assert client(endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    ("endpoint", "names", "is_allowed"),
    [
        ("http://drive.example", ("drive.example",), True),
        ("http://Drive.Example.:8080", ["other", "drive.example"], True),
        ("http://drive.example", ("Drive.Example.",), True),
        ("http://drive.example:8080", ("drive.example:8080",), True),
        ("http://drive.example", ("drive.example:80",), True),
        ("http://drive.example", ("drive.example:8080",), False),
        ("http://[2001:db8::1]:8080", ("2001:db8::1",), True),
        ("http://[2001:db8::1]", ("[2001:DB8::1]",), True),
        ("http://a.drive.example", ("drive.example",), False),
        ("http://drive.example", (), False),
    ],
)
def test_a_host_is_allowed_by_its_own_name(endpoint, names, is_allowed):
    if is_allowed:
        client(endpoint, allow_plain_http=names)
        return
    with pytest.raises(ConfigurationError):
        client(endpoint, allow_plain_http=names)


@pytest.mark.parametrize("setting", ["allow_plain_http", "allow_plain_part_urls"])
@pytest.mark.parametrize("hosts", ["drive.example", b"drive.example", ("http://a",), ("*",), (1,)])
def test_what_is_no_sequence_of_hosts_is_refused(setting, hosts):
    with pytest.raises(ConfigurationError, match=setting):
        client("https://drive.example", **{setting: hosts})


def test_the_environment_names_hosts_and_arguments_come_first():
    plain = ENVIRONMENT | {"KOODRIVE_ENDPOINT": "http://b.example"}
    with pytest.raises(ConfigurationError):
        KooDrive.from_env(plain)
    named = plain | {"KOODRIVE_ALLOW_PLAIN_HTTP": "a.example, b.example,"}
    assert KooDrive.from_env(named).endpoint == "http://b.example"
    with pytest.raises(ConfigurationError):
        KooDrive.from_env(named, allow_plain_http=())


async def test_a_proxy_on_another_machine_gets_no_credentials_for_this_one():
    async with (
        Scripted() as server,
        client_of(server, proxy="http://proxy.example:3128") as drive,
    ):
        with pytest.raises(ConfigurationError, match=r"proxy\.example:3128"):
            await drive.devices.list()
    assert not server.requests


NAMED_HOST = "gateway.example"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_a_host_that_is_named_allows_no_proxy_of_the_environment(monkeypatch, variable):
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, "http://proxy.invalid:3128")
    async with client(f"http://{NAMED_HOST}", allow_plain_http=(NAMED_HOST,)) as drive:
        with pytest.raises(ConfigurationError, match=variable) as refusal:
            await drive.devices.list()
    assert "proxy.invalid:3128" in str(refusal.value)
    assert f"allow_plain_http=('{NAMED_HOST}', 'proxy.invalid')" in str(refusal.value)


@pytest.mark.parametrize(
    ("host", "names", "is_allowed"),
    [
        ("127.0.0.1", (), True),
        ("localhost.", (), True),
        ("proxy.example", ("proxy.example",), True),
        ("proxy.example", ("proxy.example:3128",), True),
        ("proxy.example", ("proxy.example:80",), False),
        ("proxy.example", (NAMED_HOST,), False),
    ],
)
@pytest.mark.parametrize("to", [NAMED_HOST, "127.0.0.1"])
def test_a_proxy_gets_credentials_in_the_clear_by_its_own_name(host, names, is_allowed, to):
    plain = PlainHttp(services=plain_hosts("allow_plain_http", names))
    proxy = Proxy.of(f"http://{host}:3128")
    if is_allowed:
        plain.check_way(to, proxy)
        return
    with pytest.raises(ConfigurationError):
        plain.check_way(to, proxy)


# --- links -------------------------------------------------------------------------------------


@asynccontextmanager
async def lane_of(plain, proxy=None):
    pool = ThreadPool(1)
    lane = ThreadLane(pool, TLS, Timeouts(), None, dialer=Dialer(Proxies(proxy)), plain=plain)
    try:
        yield lane
    finally:
        await lane.aclose()
        await pool.aclose()


async def test_a_part_is_not_sent_in_the_clear_for_a_service_with_tls():
    async with ForwardProxy() as proxy:
        async with lane_of(PlainHttp(), proxy.url) as lane:
            with pytest.raises(ConfigurationError, match="part 1") as refusal:
                await put(lane, "http://store.example/x?X-Amz-Signature=secret")
        assert proxy.connections == 0
    assert "allow_plain_part_urls=('store.example',)" in str(refusal.value)
    assert "secret" not in str(refusal.value)


@asynccontextmanager
async def leading_to(host, emulator, server_tls):
    """Serve an emulator over TLS, with every link of its answers leading to ``host``."""

    async def forward(request):
        url = yarl.URL(emulator.url + request.raw_path, encoded=True)
        async with http.request(
            request.method, url, headers=request.headers, data=await request.read() or None
        ) as response:
            text = await response.text()
        text = text.replace("http://127.0.0.1:", f"http://{host}:")
        return web.json_response(json.loads(text), status=response.status)

    runner = web.ServerRunner(web.Server(forward))
    await runner.setup()
    async with aiohttp.ClientSession() as http:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls).start()
        try:
            yield f"https://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def account(emulator):
    return {"auth": BearerToken(emulator.token), "user_id": emulator.user_id, "journal": None}


async def test_http_links_of_an_https_service_are_refused_unless_their_host_is_named(
    koodrive_emulator, server_tls, ca_file
):
    files = koodrive_emulator
    settings = account(files) | {"tls": Tls(ca_file=ca_file)}
    async with (
        leading_to("store.invalid", files, server_tls) as endpoint,
        KooDrive(endpoint, **settings) as drive,
    ):
        with pytest.raises(ConfigurationError, match=r"store\.invalid"):
            await upload(drive, b"abc")
    assert completed(files) == [False]
    assert files.seen.count("part.put") == 0
    # a name of this machine: the part goes there, where its signature is found to be for another
    async with (
        leading_to("localhost", files, server_tls) as endpoint,
        KooDrive(endpoint, **settings) as drive,
    ):
        with pytest.raises(PartRejected, match="SignatureDoesNotMatch"):
            await upload(drive, b"abc")


async def test_a_part_goes_in_the_clear_to_a_host_that_is_named():
    allowed = PlainHttp(stores=frozenset({"store.example"}))
    async with (
        Scripted() as store,
        ForwardProxy(known={"store.example": "127.0.0.1"}) as proxy,
        lane_of(allowed, proxy.url) as lane,
    ):
        store.replies(answer(""))
        await put(lane, f"http://store.example:{store.host.partition(':')[2]}/x")
        assert store.request.body == b"abc"


async def test_a_download_link_without_tls_is_refused_unless_its_host_is_named(
    koodrive_emulator, server_tls, ca_file
):
    emulator = koodrive_emulator
    settings = account(emulator) | {"tls": Tls(ca_file=ca_file)}
    async with leading_to("store.invalid", emulator, server_tls) as endpoint:
        plain = KooDrive(emulator.url, **account(emulator))
        async with plain:
            await upload(plain, b"abc")
        (file,) = emulator.files()
        asked = (emulator.container_id, [file.file_id])
        async with KooDrive(endpoint, **settings) as drive:
            with pytest.raises(ConfigurationError, match="allow_plain_part_urls"):
                await drive.files.download_urls(*asked)
        async with KooDrive(
            endpoint, allow_plain_part_urls=("store.invalid",), **settings
        ) as drive:
            (link,) = await drive.files.download_urls(*asked)
    assert link.url is not None
    assert link.url.startswith("http://store.invalid:")


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost.", True), ("::ffff:10.0.0.1", False)],
)
def test_loopback_is_told_from_the_text_alone(host, is_here):
    assert is_loopback(host) is is_here
