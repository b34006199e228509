"""IPv6 addresses, which have brackets in URLs and none elsewhere."""

from __future__ import annotations

import pytest

from koodrive_async import Tls
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from tests.network.forward_proxy import ForwardProxy
from tests.network.through import MIB, completed, upload

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def emulator(request, tmp_path, server_tls):
    context = server_tls if request.param else None
    with Emulator(tmp_path / "six", host="::1", ssl_context=context) as running:
        yield running


async def test_calls_and_parts_go_to_ipv6_addresses(emulator, ca_file):
    assert "://[::1]:" in emulator.url
    assert "://[::1]:" in emulator.object_url
    async with connect(emulator, tls=Tls(ca_file=ca_file)) as drive:
        await upload(drive, bytes(6 * MIB), b"abc")
    assert completed(emulator) == [True, True]
    hosts = {each.headers["Host"] for each in emulator.seen.requests()}
    assert hosts == {url.partition("://")[2] for url in (emulator.url, emulator.object_url)}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_proxy_leads_to_ipv6_addresses_and_may_have_one(emulator, ca_file, host):
    async with (
        ForwardProxy(host=host) as proxy,
        connect(emulator, tls=Tls(ca_file=ca_file), proxy=proxy.url) as drive,
    ):
        await upload(drive, b"abc")
    assert completed(emulator) == [True]
    assert proxy.connections >= 2
    assert all("[::1]:" in asked.target for asked in proxy.asked)


async def test_an_ipv6_address_in_no_proxy_is_connected_to_directly(
    emulator, ca_file, proxy, monkeypatch
):
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "::1")
    async with connect(emulator, tls=Tls(ca_file=ca_file), proxy="env") as drive:
        await upload(drive, b"abc")
    assert not proxy.connections
