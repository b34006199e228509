"""The pytest fixtures: ``pytest_plugins = ["koodrive_async.testing.fixtures"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from koodrive_async.emulator import Dialect, Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def koodrive_dialect() -> Dialect:
    """Return the dialect of :func:`koodrive_emulator`; override it, or parametrize it."""
    return Dialect()


@pytest.fixture
def koodrive_emulator(tmp_path: Path, koodrive_dialect: Dialect) -> Iterator[Emulator]:
    """Return an emulator that runs for one test, with its state in a temporary directory."""
    with Emulator(tmp_path / "koodrive", dialect=koodrive_dialect) as emulator:
        yield emulator


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
