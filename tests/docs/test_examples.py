"""Every example of the documentation runs, and does what the page says."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
from contextlib import contextmanager

import pytest

from koodrive_async.testing import connect
from tests.docs.pages import DOCS, pages
from tests.docs.running import PageRun

FOLDER = {
    "photos/2026/beach.jpg": b"waves " * 2000,
    "photos/2026/hills.jpg": b"grass " * 3000,
    "photos/cat.jpg": b"meow " * 1000,
    "photos/draft.tmp": b"not yet",
    "film.mp4": b"frame after frame, " * 1_000_000,
}
"""What every reader has at hand."""

MIB = 2**20


pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all(shutil.which(command) for command in ("bash", "curl")),
        reason="the examples are typed into bash, with curl",
    ),
]


@pytest.fixture(autouse=True)
def log_as_it_was():
    """Undo what a page says of the log."""
    logger = logging.getLogger("koodrive_async")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.mark.parametrize("name", pages())
def test_the_examples_of_a_page_run(
    name, tmp_path, monkeypatch, koodrive_emulator, blocking_calls_fail
):
    blocking_calls_fail.deactivate()  # examples may block: they are alone in their loop
    folder = tmp_path / "reader"
    text = (DOCS / name).read_text(encoding="utf-8")
    for file, content in FOLDER.items():
        if len(content) > MIB and file not in text:
            continue  # most pages do without the large one
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    monkeypatch.chdir(folder)
    point_to(koodrive_emulator if "tutorial" not in name else None, tmp_path, monkeypatch)
    client = connect(koodrive_emulator, journal=tmp_path / "drive.db")
    with asyncio.Runner() as loop, opened(client, loop) as drive:
        names = {"__name__": "__main__"}
        if "tutorial" not in name:
            device = loop.run(drive.devices.bind("readers_machine", name="reader", os="any"))
            names |= {"drive": drive, "device_id": device.device_id}
        page = PageRun(name, folder, environment=os.environ, port=free_port(), names=names)
        page.follow(loop)


@contextmanager
def opened(client, loop):
    loop.run(client.__aenter__())
    try:
        yield client
    finally:
        loop.run(client.__aexit__(None, None, None))


def point_to(emulator, folder, monkeypatch):
    """Set the variables of a reader: of one who has an account, or of one who begins."""
    for name in [name for name in os.environ if name.startswith("KOODRIVE_")]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        "HOME": str(folder / "home"),
        "XDG_CONFIG_HOME": str(folder / "home/.config"),
        "XDG_STATE_HOME": str(folder / "home/.local/state"),
        "KOODRIVE_JOURNAL": str(folder / "journal.db"),
        "COLUMNS": "80",
        "TERM": "dumb",
        **(emulator.environment() if emulator else {}),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
