"""What all tests share."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from koodrive_async.hashing import backend
from koodrive_async.testing import connect

pytest_plugins = ["koodrive_async.testing.fixtures"]

# The choice is made once in a process: before a test sets the variable that forces it for another.
backend()

# Hundreds of tests start Python, which would compile all modules each time if it kept none.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Every client reads the certificates of all authorities it trusts. The system's are some 150, which
# takes longer than most tests do; one is enough where no server has a certificate of theirs.
AUTHORITIES = os.environ.get("SSL_CERT_FILE")
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))


def pytest_collection_finish():
    """Leave what was collected out of garbage collections: some tests ask for hundreds of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def blocking_calls_fail():
    """Turn a blocking call of ours on a running event loop into an error.

    The emulator has a thread and a loop of its own, where it may block.
    """
    with blockbuster_ctx("koodrive_async", excluded_modules=["koodrive_async.emulator"]) as fence:
        yield fence


@pytest.fixture
def systems_authorities(monkeypatch):
    """Trust the authorities that the system does, or whoever runs the tests."""
    if AUTHORITIES is None:
        monkeypatch.delenv("SSL_CERT_FILE")
    else:
        monkeypatch.setenv("SSL_CERT_FILE", AUTHORITIES)


@pytest.fixture(autouse=True)
def environment_as_before():
    """Undo what code under test does to the environment, such as an example of a page."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@pytest.fixture(autouse=True)
def no_journal_of_ours(monkeypatch, tmp_path):
    """Keep tests away from the journal and the profiles of whoever runs them."""
    monkeypatch.setenv("KOODRIVE_JOURNAL", "off")
    monkeypatch.setenv("KOODRIVE_CONFIG", str(tmp_path / "config" / "config.toml"))


@pytest.fixture(autouse=True)
def no_proxies_of_ours(monkeypatch):
    """Keep tests away from the proxies of whoever runs them."""
    for name in tuple(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
async def drive(koodrive_emulator, tmp_path):
    async with connect(koodrive_emulator, journal=tmp_path / "state" / "journal.db") as client:
        yield client


@pytest.fixture
async def device_id(drive):
    return (await drive.devices.bind("testmachine", name="test", os="linux")).device_id
