"""A scripted server and clients of it; the emulator comes from the fixtures of all tests."""

from __future__ import annotations

import aiohttp
import pytest

from tests.interface.scripted import FakeClock, HeldClock, Scripted, client_of


@pytest.fixture
async def scripted():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def client(scripted):
    """Return a client of the scripted server, with a token."""
    async with client_of(scripted) as client:
        yield client


@pytest.fixture
def fake_clock():
    return FakeClock()


@pytest.fixture
def held_clock():
    return HeldClock()


@pytest.fixture
async def http():
    """Return a plain HTTP session, for what is behind presigned URLs."""
    async with aiohttp.ClientSession() as session:
        yield session
