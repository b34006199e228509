"""The pytest fixtures: ``pytest_plugins = ["koodrive_async.testing.fixtures"]``."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import pytest

from koodrive_async.emulator import Dialect, Emulator
from koodrive_async.emulator.run import HOST_NAMES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

_HERE: Final = "127.0.0.1"


@pytest.fixture
def koodrive_dialect() -> Dialect:
    """Return the dialect of :func:`koodrive_emulator`; override it, or parametrize it."""
    return Dialect()


@pytest.fixture
def koodrive_ssl_context() -> ssl.SSLContext | None:
    """Return None; override it with a context of a server, to have the emulator serve TLS."""
    return None


@pytest.fixture
def koodrive_emulator(
    tmp_path: Path, koodrive_dialect: Dialect, koodrive_ssl_context: ssl.SSLContext | None
) -> Iterator[Emulator]:
    """Return an emulator that runs for one test, with its state in a temporary directory.

    The test is skipped, with the reason, where this machine cannot play the dialect.
    """
    if (obstacle := _obstacle(koodrive_dialect, koodrive_ssl_context)) is not None:
        pytest.skip(obstacle)
    with Emulator(
        tmp_path / "koodrive", dialect=koodrive_dialect, ssl_context=koodrive_ssl_context
    ) as emulator:
        yield emulator


def _obstacle(dialect: Dialect, ssl_context: ssl.SSLContext | None) -> str | None:
    """Say why a dialect cannot be played here; None when it can."""
    if dialect.url_scheme != "same" and ssl_context is None:
        return f"url_scheme={dialect.url_scheme} needs TLS: override koodrive_ssl_context"
    name = HOST_NAMES.get(dialect.url_host)
    if name is not None and not _leads_here(name):
        return f"url_host={dialect.url_host} needs a machine that resolves {name!r} to {_HERE}"
    return None


def _leads_here(name: str) -> bool:
    """Return whether this machine resolves a name to the address of the emulator."""
    try:
        found = socket.getaddrinfo(name, None, family=socket.AF_INET)
    except OSError:
        return False
    return any(address[0] == _HERE for *_, address in found)


@pytest.fixture
def koodrive_environment(
    koodrive_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Point ``KooDrive.from_env()`` and the ``koodrive`` command at the emulator; returns how.

    They keep no journal, unless ``KOODRIVE_JOURNAL`` is set again.
    """
    environment = koodrive_emulator.environment() | {"KOODRIVE_JOURNAL": "off"}
    for name in ("KOODRIVE_APP_ID", "KOODRIVE_APP_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
