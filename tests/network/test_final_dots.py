"""A host written with a final dot: its certificate has none, and what is signed keeps it."""

from __future__ import annotations

import socket
import ssl

import pytest

from koodrive_async import AppSignature, KooDrive, UntrustedCertificate
from tests.interface.scripted import Scripted
from tests.network.forward_proxy import ForwardProxy
from tests.upload.raw_server import open_lane, put, serving

pytestmark = pytest.mark.anyio

NAME = "drive.example."


@pytest.fixture
def trusting(ca_file):
    return ssl.create_default_context(cafile=ca_file)


@pytest.fixture(params=["straight", "through a proxy"])
async def proxy(request, monkeypatch):
    """Lead the name here: by what looks names up, or by a proxy; returns its URL, or None."""
    if request.param != "straight":
        async with ForwardProxy(known={NAME: "127.0.0.1"}) as running:
            yield running.url
        return
    look_up = socket.getaddrinfo

    def known(host, *more, **named):
        return look_up("127.0.0.1" if host == NAME else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    yield None


def asked_for(context):
    """Return what the names in TLS greetings are noted in."""
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    return names


@pytest.fixture
def own_tls(server_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_certificate.configure_cert(context)
    return context


async def test_a_part_goes_to_a_host_with_a_final_dot(own_tls, trusting, proxy):
    names = asked_for(own_tls)
    async with serving(tls=own_tls) as server, open_lane(tls=trusting, proxy=proxy) as lane:
        await put(lane, f"https://{NAME}:{server.port}/x?signed")
    (request,) = server.requests
    assert request.headers["host"] == f"{NAME}:{server.port}"
    assert names == ["drive.example"]


async def test_a_call_goes_to_a_host_with_a_final_dot(own_tls, trusting, proxy):
    names = asked_for(own_tls)
    async with Scripted(tls=own_tls) as server:
        server.replies({"code": 0})
        endpoint = f"https://{NAME}:{server.port}"
        auth = AppSignature(app_id="a", app_secret="s")
        settings = {"auth": auth, "user_id": "u", "tls": trusting, "journal": None}
        async with KooDrive(endpoint, proxy=proxy, **settings) as drive:
            await drive.devices.list()
    assert server.request.headers["Host"] == f"{NAME}:{server.port}"
    assert set(names) == {"drive.example"}


async def test_a_certificate_of_another_name_stays_untrusted(authority, trusting, proxy):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(other)
    async with serving(tls=other) as server, open_lane(tls=trusting, proxy=proxy) as lane:
        with pytest.raises(UntrustedCertificate):
            await put(lane, f"https://{NAME}:{server.port}/x")
