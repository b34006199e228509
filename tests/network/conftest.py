"""Certificates, an emulator with TLS, and a proxy."""

from __future__ import annotations

import ssl

import pytest
import trustme

from koodrive_async.emulator import Emulator
from tests.network.forward_proxy import ForwardProxy


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_certificate(authority):
    return authority.issue_cert("127.0.0.1", "::1", "drive.example")


@pytest.fixture(scope="session")
def server_tls(server_certificate):
    """Return what a server on loopback speaks TLS with."""
    return serving_as(server_certificate)


@pytest.fixture
def secure_emulator(tmp_path, server_tls):
    with Emulator(tmp_path / "secure", ssl_context=server_tls) as emulator:
        yield emulator


@pytest.fixture
async def proxy():
    async with ForwardProxy() as running:
        yield running


def serving_as(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
