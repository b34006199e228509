"""Whom a client trusts, whom it says it is, and to whom."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import os
import pickle
import socket
import ssl
import sys
import threading
import warnings
from contextlib import asynccontextmanager, closing, suppress

import anyio.to_thread
import pytest
import trustme
import truststore
from cryptography.hazmat.primitives import serialization

from koodrive_async import (
    BearerToken,
    ConfigurationError,
    ConnectionFailed,
    KooDrive,
    RetryPolicy,
    Tls,
    UntrustedCertificate,
)
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from koodrive_async.transport import tls as tls_module
from koodrive_async.transport.tls import tls_contexts
from tests.network.conftest import serving_as
from tests.network.through import completed, upload
from tests.upload.raw_server import open_lane, put, serving

pytestmark = pytest.mark.anyio

PASSWORD = "pa55word"
YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


@pytest.fixture(scope="module")
def ours(authority):
    return authority.issue_cert("laptop@host.example")


@pytest.fixture
def in_files(tmp_path):
    """Return a function that writes a certificate and its key, and returns the two paths."""

    def write(certificate, password=None):
        chain, key = tmp_path / "me.pem", tmp_path / "me.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        pem = certificate.private_key_pem.bytes()
        if password is not None:
            private = serialization.load_pem_private_key(pem, None)
            pem = private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password.encode()),
            )
        key.write_bytes(pem)
        return chain, key

    return write


# --- whom to trust -----------------------------------------------------------------------------


async def test_an_authority_of_ones_own_vouches_for_both_sites(secure_emulator, ca_file):
    async with connect(secure_emulator, tls=Tls(ca_file=ca_file)) as drive:
        await upload(drive, b"abc")
    assert completed(secure_emulator) == [True]


async def test_the_environment_may_name_an_authority(secure_emulator, ca_file, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with connect(secure_emulator) as drive:
        await upload(drive, b"abc")
    assert completed(secure_emulator) == [True]


def test_a_client_that_was_left_has_no_tls_connection(secure_emulator, ca_file):
    async def ask():
        async with connect(secure_emulator, tls=Tls(ca_file=ca_file)) as drive:
            await drive.devices.list()

    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            asyncio.run(ask())
            gc.collect()
    assert not [str(each.message) for each in seen if each.category is ResourceWarning]


def expired(authority):
    return authority.issue_cert("127.0.0.1", not_after=YESTERDAY)


def of_another_host(authority):
    return authority.issue_cert("example.org")


def of_another_authority(_):
    return trustme.CA().issue_cert("127.0.0.1")


@pytest.mark.parametrize(
    ("certificate", "problem"),
    [
        (expired, "certificate has expired"),
        (of_another_host, "IP address mismatch"),
        (of_another_authority, "unable to get local issuer certificate"),
    ],
)
@pytest.mark.parametrize("proxied", [True, False])
async def test_a_certificate_that_does_not_hold_is_refused_at_once_by_calls_and_parts(
    authority, ca_file, proxy, certificate, problem, proxied
):
    way = proxy.url if proxied else None
    tls = Tls(ca_file=ca_file)
    async with serving(tls=serving_as(certificate(authority))) as server:
        drive = KooDrive(
            server.url, auth=BearerToken("t"), user_id="u", tls=tls, proxy=way, journal=None
        )
        async with drive:
            with pytest.raises(UntrustedCertificate, match=problem) as error:
                await drive.devices.list()
        assert error.value.attempts == 1
        assert ("looks into TLS" in str(error.value)) == proxied
        async with open_lane(tls=(await tls_contexts(tls)).parts, proxy=way) as lane:
            with pytest.raises(UntrustedCertificate, match=problem) as error:
                await put(lane, server.url)
        assert ("looks into TLS" in str(error.value)) == proxied
        assert server.requests == []
    assert bool(proxy.connections) == proxied


# --- who we are --------------------------------------------------------------------------------


@asynccontextmanager
async def meeting(folder, authority, certificate, *, needed=ssl.CERT_OPTIONAL):
    """Have an emulator that asks for certificates; gives it and those it got, by site."""

    class Remembering(ssl.SSLObject):
        def do_handshake(self):
            super().do_handshake()
            got.append(self.getpeercert())

    got: list[object] = []
    context = serving_as(certificate)
    authority.configure_trust(context)
    context.verify_mode = needed
    context.sslobject_class = Remembering
    with Emulator(folder / "asking", ssl_context=context) as emulator:
        yield emulator, got


async def test_a_client_certificate_is_for_the_interface_only(
    tmp_path, authority, server_certificate, ours, ca_file, in_files
):
    chain, key = in_files(ours)
    tls = Tls(ca_file=ca_file, client_cert=chain, client_key=key)
    async with (
        meeting(tmp_path, authority, server_certificate) as (emulator, got),
        connect(emulator, tls=tls) as drive,
    ):
        await drive.devices.list()
        by_the_interface = list(got)
        await upload(drive, b"abc")
        by_both = list(got)
    assert by_the_interface
    assert all(by_the_interface)
    # there may be another connection for calls, and there is one for the part
    assert by_both.count(None) == 1
    assert emulator.seen.count("part.put", status=200) == 1


async def test_a_context_of_ones_own_serves_both_sites(
    tmp_path, authority, server_certificate, ours, ca_file, in_files
):
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(*in_files(ours))
    needed = ssl.CERT_REQUIRED
    async with meeting(tmp_path, authority, server_certificate, needed=needed) as (emulator, got):
        async with connect(emulator, tls=context) as drive:
            await upload(drive, b"abc")
        assert completed(emulator) == [True]
    assert all(got)


def refuse_one(listener, context):
    """Have a handshake fail, and read on, so that our side gets to hear why."""
    with closing(listener.accept()[0]) as conn:
        conn.settimeout(10)
        secure = context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
        with closing(secure), suppress(ssl.SSLError):
            try:
                secure.do_handshake()
            finally:
                while socket.socket.recv(secure, 1000):
                    pass


async def test_a_host_that_wants_a_certificate_is_told_from_one_that_fails(
    authority, server_certificate, ca_file
):
    context = serving_as(server_certificate)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = threading.Thread(target=refuse_one, args=(listener, context))
        server.start()
        drive = KooDrive(
            f"https://127.0.0.1:{listener.getsockname()[1]}",
            auth=BearerToken("t"),
            user_id="u",
            tls=Tls(ca_file=ca_file),
            retry=RetryPolicy(attempts=1),
            proxy=None,
            journal=None,
        )
        async with drive:
            with pytest.raises(ConnectionFailed, match=r"asks for a client certificate: Tls\("):
                await drive.devices.list()
        await anyio.to_thread.run_sync(server.join)


async def test_a_key_may_be_locked(
    tmp_path, authority, server_certificate, ours, ca_file, in_files
):
    chain, key = in_files(ours, PASSWORD)
    tls = Tls(ca_file=ca_file, client_cert=chain, client_key=key, key_password=PASSWORD)
    needed = ssl.CERT_REQUIRED
    async with (
        meeting(tmp_path, authority, server_certificate, needed=needed) as (emulator, _),
        connect(emulator, tls=tls) as drive,
    ):
        await drive.devices.list()


async def test_a_certificate_may_be_in_one_file_with_its_key(tmp_path, ours):
    path = tmp_path / "both.pem"
    ours.private_key_and_cert_chain_pem.write_to_path(str(path))
    contexts = await tls_contexts(Tls(client_cert=path))
    assert contexts.interface is not contexts.parts


async def test_without_a_certificate_one_context_serves_both(ca_file):
    contexts = await tls_contexts(Tls(ca_file=ca_file))
    assert contexts.interface is contexts.parts


# --- files that are wrong ----------------------------------------------------------------------


async def refused(match, **settings):
    drive = KooDrive(
        "https://host.example",
        auth=BearerToken("t"),
        user_id="u",
        journal=None,
        tls=Tls(**settings),
    )
    with pytest.raises(ConfigurationError, match=match) as error:
        async with drive:
            pass
    assert PASSWORD not in str(error.value)


async def test_a_file_that_is_not_there_is_named(tmp_path, ours, in_files):
    chain, _ = in_files(ours)
    gone = tmp_path / "gone.pem"
    await refused(r"Tls\(ca_file='.*gone\.pem'\): No such file", ca_file=gone)
    await refused(r"Tls\(client_cert='.*gone\.pem'\): No such file", client_cert=gone)
    await refused(
        r"Tls\(client_key='.*gone\.pem'\): No such file", client_cert=chain, client_key=gone
    )
    await refused(r"Tls\(ca_file='.*'\): Is a directory", ca_file=tmp_path)


async def test_a_file_with_something_else_in_it_is_named(tmp_path, ours, in_files):
    chain, _ = in_files(ours)
    other = tmp_path / "other.pem"
    other.write_text("no certificate")
    await refused(r"Tls\(ca_file='.*other\.pem'\): it holds no certificates", ca_file=other)
    await refused(r"Tls\(client_cert='.*other\.pem'\): it with its key", client_cert=other)
    await refused(r"other\.pem'\): it", client_cert=chain, client_key=other)


async def test_a_key_that_does_not_open_or_fit_is_named(tmp_path, authority, ours, in_files):
    stranger = tmp_path / "stranger.key"
    authority.issue_cert("a@host.example").private_key_pem.write_to_path(str(stranger))
    chain, key = in_files(ours, PASSWORD)
    await refused(r"me\.key'\): .*key_password", client_cert=chain, client_key=key)
    await refused(
        r"me\.key'\): .*key_password", client_cert=chain, client_key=key, key_password="wrong"
    )
    await refused(r"stranger\.key'\): .*MISMATCH", client_cert=chain, client_key=stranger)


@pytest.mark.parametrize(
    "settings",
    [
        {"ca_file": "a", "truststore": True},
        {"client_key": "a"},
        {"key_password": PASSWORD},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings):
    with pytest.raises(ConfigurationError, match="Tls: ") as error:
        Tls(**settings)
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize("tls", ["truststore", False])
async def test_what_says_nothing_about_tls_is_refused(tls):
    with pytest.raises(ConfigurationError, match="must be a Tls or an"):
        await tls_contexts(tls)


def test_the_settings_are_a_value_that_does_not_show_its_password():
    tls = Tls(client_cert="me.pem", key_password=PASSWORD)
    assert pickle.loads(pickle.dumps(tls)) == tls
    assert PASSWORD not in repr(tls)


# --- the system's own verifier -----------------------------------------------------------------


@pytest.fixture
def verifying_system(monkeypatch, blocking_calls_fail):
    """Have this system count among those that truststore is for.

    It works here as well, but reads all certificates for each connection, in the event loop.
    """
    monkeypatch.setattr(tls_module, "VERIFYING_SYSTEMS", {sys.platform})
    blocking_calls_fail.deactivate()


@pytest.mark.usefixtures("verifying_system")
async def test_the_verifier_of_the_system_can_be_asked(secure_emulator, ca_file, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with connect(secure_emulator, tls=Tls(truststore=True)) as drive:
        await upload(drive, b"abc", bytes(12 * 1024 * 1024))
    assert completed(secure_emulator) == [True, True]


@pytest.mark.usefixtures("verifying_system")
async def test_the_verifier_of_the_system_refuses_too(secure_emulator):
    tls = Tls(truststore=True)
    async with connect(secure_emulator, tls=tls) as drive:
        with pytest.raises(UntrustedCertificate):
            await drive.devices.list()
    async with open_lane(tls=(await tls_contexts(tls)).parts) as lane:
        with pytest.raises(UntrustedCertificate):
            await put(lane, secure_emulator.object_url)


@pytest.mark.usefixtures("verifying_system")
async def test_without_truststore_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "truststore", None)
    await refused(r"pip install 'koodrive-async\[truststore\]'", truststore=True)


@pytest.mark.usefixtures("verifying_system")
async def test_a_truststore_that_would_verify_too_early_is_refused(monkeypatch):
    monkeypatch.setattr(truststore, "__version__", "0.10.4")
    await refused(r"truststore 0\.10\.5 or newer", truststore=True)


async def test_where_openssl_is_the_verifier_truststore_is_not_needed(monkeypatch):
    monkeypatch.setattr(tls_module, "VERIFYING_SYSTEMS", frozenset[str]())
    monkeypatch.setitem(sys.modules, "truststore", None)
    assert (await tls_contexts(Tls(truststore=True))).parts.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("variable", "content"),
    [("SSL_CERT_FILE", None), ("SSL_CERT_FILE", "no certificate"), ("SSL_CERT_DIR", None)],
)
async def test_a_variable_that_names_no_certificates_is_an_error(
    monkeypatch, tmp_path, variable, content
):
    place = tmp_path / "gone"
    if content is not None:
        place.write_text(content)
    monkeypatch.setenv(variable, str(place))
    drive = KooDrive("https://127.0.0.1:9", auth=BearerToken("t"), user_id="u", journal=None)
    with pytest.raises(ConfigurationError, match=variable) as refusal:
        await drive.__aenter__()
    assert str(place) in str(refusal.value)


async def test_without_a_word_of_the_environment_the_systems_authorities_are_trusted(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    trusted = (await tls_contexts(None)).interface
    assert trusted.cert_store_stats() == ssl.create_default_context().cert_store_stats()
    assert trusted.verify_mode == ssl.CERT_REQUIRED


async def test_one_folder_of_several_is_enough(monkeypatch, tmp_path, secure_emulator, ca_file):
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'gone'}{os.pathsep}{tmp_path}")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with connect(secure_emulator) as drive:
        await drive.devices.list()
