"""The second server and its stores, as fixtures."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from koodrive_async import BearerToken, KooDrive
from koodrive_async.testing import INSTANT_RETRIES
from tests.second_server.front import Front
from tests.second_server.stores import Stores

VERIFYING = ("seaweedfs", "rclone")
"""Stores that refuse forged signatures."""


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    running = Stores(tmp_path_factory.mktemp("stores"))
    yield running
    running.close()


@pytest.fixture(params=[*VERIFYING, "nginx"])
def store(request, stores):
    """Each store in turn; one that is not installed is passed over."""
    try:
        return stores.get(request.param)
    except LookupError as missing:
        pytest.skip(f"{missing}: no test against {request.param}")


@pytest.fixture(params=VERIFYING)
def strict_store(request, stores):
    """Each store that verifies signatures."""
    try:
        return stores.get(request.param)
    except LookupError as missing:
        pytest.skip(f"{missing}: no test against {request.param}")


@pytest.fixture
def any_store(stores):
    """Return the quickest of the stores that are installed, for what does not depend on it."""
    for name in ("rclone", "nginx", "seaweedfs"):
        try:
            return stores.get(name)
        except LookupError:
            continue
    pytest.skip("no object store is installed")


@pytest.fixture
def serve():
    """Return a function that starts a second server in front of a store."""
    with ExitStack() as stack:
        yield lambda store, choices=None: stack.enter_context(Front(store, choices))


@pytest.fixture
def client(tmp_path):
    """Return a function that makes a client of a second server; all of a test share a journal."""

    def make(front, **settings):
        settings.setdefault("auth", BearerToken(front.token))
        settings.setdefault("retry", INSTANT_RETRIES)
        settings.setdefault("journal", tmp_path / "state" / "journal.db")
        return KooDrive(front.url, user_id=front.user_id, proxy=None, **settings)

    return make
