"""The fixtures in a test run of somebody else's project."""

from __future__ import annotations

import subprocess
import sys

import pytest

CONFTEST = 'pytest_plugins = ["koodrive_async.testing.fixtures"]\n'


@pytest.fixture
def project(tmp_path):
    """Run tests of a project with nothing of ours in it but the fixtures."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def run(tests, *options):
        (tmp_path / "test_it.py").write_text(tests)
        # none of the plugins of this project's own tests
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-p", "no:randomly", "-p", "no:socket", *options],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=40,
        )
        return done.stdout + done.stderr

    return run


def test_a_users_tests_back_up_to_an_emulator_with_any_async_plugin_or_none(project):
    out = project("""
import asyncio
import pytest
from koodrive_async import KooDrive, Module
from koodrive_async.testing import connect

async def my_backup(drive):
    device = await drive.devices.bind("my_machine", name="mine", os="any")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        return await session.upload(b"hello", name="hello.txt")

def test_without_a_plugin(koodrive_emulator):
    async def run():
        async with connect(koodrive_emulator) as drive:
            await my_backup(drive)
    asyncio.run(run())
    assert koodrive_emulator.seen.count("files.complete", status=200) == 1

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(koodrive_emulator, anyio_backend):
    async with connect(koodrive_emulator) as drive:
        receipt = await my_backup(drive)
    assert receipt.outcome == "uploaded"

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_from_env(koodrive_environment, anyio_backend):
    async with KooDrive.from_env() as drive:
        assert await drive.devices.list() == ()
""")
    assert "3 passed" in out


def test_every_test_has_a_service_of_its_own_and_leaves_no_thread(project):
    out = project("""
import asyncio
import threading
import pytest
from koodrive_async.testing import connect

@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [t for t in threading.enumerate() if t.name == "koodrive-emulator"]

@pytest.mark.parametrize("name", ["first", "second"])
def test_alone(no_thread_is_left, koodrive_emulator, name):
    async def run():
        async with connect(koodrive_emulator) as drive:
            assert await drive.devices.list() == ()
            await drive.devices.bind(name)
    asyncio.run(run())
""")
    assert "2 passed" in out


def test_the_environment_is_as_before_when_a_test_is_over(project, monkeypatch):
    monkeypatch.setenv("KOODRIVE_APP_ID", "somebody")
    monkeypatch.setenv("KOODRIVE_APP_SECRET", "something")
    monkeypatch.delenv("KOODRIVE_ENDPOINT", raising=False)
    out = project("""
import os
from koodrive_async.config import read_environment

def test_inside(koodrive_environment):
    assert "KOODRIVE_APP_ID" not in os.environ
    found = read_environment()
    assert found.endpoint == koodrive_environment["KOODRIVE_ENDPOINT"]

def test_after():
    assert os.environ["KOODRIVE_APP_ID"] == "somebody"
    assert "KOODRIVE_ENDPOINT" not in os.environ
""")
    assert "2 passed" in out


def test_retries_do_not_make_tests_wait(project):
    out = project("""
import asyncio
from koodrive_async import RetryPolicy
from koodrive_async.emulator import Fault
from koodrive_async.testing import INSTANT_RETRIES, connect

class NoWaiting:
    def time(self):
        return 1_700_000_000.0

    async def sleep(self, seconds):
        assert seconds == 0.0

def test_it(koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "devices.list", status=503, times=3))
    async def run():
        async with connect(koodrive_emulator, clock=NoWaiting()) as drive:
            assert drive.retry == INSTANT_RETRIES
            assert INSTANT_RETRIES == RetryPolicy(base_delay=0.0, per_second=None, outage=0)
            return await drive.devices.list()
    assert asyncio.run(run()) == ()
    assert koodrive_emulator.seen.count("devices.list", status=503) == 3
""")
    assert "1 passed" in out


def test_a_user_chooses_the_dialect_of_the_service(project):
    out = project("""
import pytest
from koodrive_async.emulator import Dialect

def test_default(koodrive_emulator):
    assert koodrive_emulator.dialect == Dialect()

@pytest.mark.parametrize("koodrive_dialect", Dialect.deviations()[:2], ids=str)
def test_parametrized(koodrive_emulator, koodrive_dialect):
    assert koodrive_emulator.dialect == koodrive_dialect != Dialect()

class TestOverridden:
    @pytest.fixture
    def koodrive_dialect(self):
        return Dialect(url_life="60")

    def test_it(self, koodrive_emulator):
        assert koodrive_emulator.dialect.url_life == "60"
""")
    assert "4 passed" in out


def test_a_dialect_that_this_machine_cannot_play_is_skipped_with_the_reason(project):
    out = project(
        """
import socket
import pytest
from koodrive_async.emulator import Dialect

def not_known(*arguments, **more):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

@pytest.fixture(autouse=True)
def no_names(monkeypatch, koodrive_dialect):
    if koodrive_dialect.url_host != "address":
        monkeypatch.setattr(socket, "getaddrinfo", not_known)

@pytest.mark.parametrize(
    "koodrive_dialect", [each for each in Dialect.deviations() if "url_" in str(each)], ids=str
)
def test_it(koodrive_emulator):
    assert koodrive_emulator.dialect.url_life == "60"
""",
        "-rs",
        "-k",
        "url_life or url_scheme or url_host",
    )
    assert "1 passed, 4 skipped" in out
    for scheme in ("http", "https"):
        assert f"url_scheme={scheme} needs TLS: override koodrive_ssl_context" in out
    assert "url_host=name needs a machine that resolves 'localhost' to 127.0.0.1" in out
    assert "url_host=final-dot needs a machine that resolves 'localhost.' to 127.0.0.1" in out
