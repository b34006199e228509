"""The example's service in a process of its own, and a browser to look at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest

from koodrive_async.emulator import Emulator

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECONDS = 30


@attrs.frozen
class Service:
    """The service.

    :ivar spool: The folder of its temporary files.
    :ivar log: Lines that it has written.
    :ivar reading: Writes them down, until the service has ended.
    """

    url: str
    process: subprocess.Popen[str]
    spool: Path
    log: list[str]
    reading: threading.Thread

    def tell_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self):
        return self.process.wait(SECONDS)

    def open_spools(self):
        """Temporary files that it has open: they have no name."""
        links = []
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                links.append(str(descriptor.readlink()))
            except FileNotFoundError:
                continue
        return [link for link in links if link.startswith(str(self.spool))]

    def peak_memory(self):
        """Most bytes it ever had in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(kilobytes) * 1024


@pytest.fixture(scope="module")
def anyio_backend():
    """One event loop for all tests of a file, which share a browser."""
    return "asyncio"


@pytest.fixture
def serve(koodrive_environment, tmp_path):
    """Run the service with some settings; it is gone when the block ends."""
    return partial(serving, koodrive_environment, tmp_path)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("koodrive")) as running:
        yield running


@pytest.fixture(scope="module")
def plain(emulator, tmp_path_factory):
    """A service without any settings, for all tests that need none."""
    environment = emulator.environment() | {"KOODRIVE_JOURNAL": "off"}
    with serving(environment, tmp_path_factory.mktemp("service")) as service:
        yield service


@contextmanager
def serving(environment, folder, *, port=0, **settings):
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    variables = {f"WEB_SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
    given = os.environ | environment | variables | {"TMPDIR": str(spool)}
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.web_service", "--port", str(port)],
        cwd=ROOT,
        env={name: value for name, value in given.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    log: list[str] = []
    with process:
        try:
            url = url_in(process.stderr, log)
            # so that it never waits for us
            reading = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
            reading.start()
            yield Service(url, process, spool, log, reading)
        finally:
            process.kill()
            sys.stdout.writelines(log)  # for the report of a test that failed


def url_in(lines, log):
    """Return where it listens."""
    for line in lines:
        log.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            return found[1]
    raise AssertionError("".join(log))


@pytest.fixture(scope="module")
async def chromium():
    """Return a browser for the tests of a file; they are skipped where there is none."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no browser is installed: apt-get install chromium")
    async with playwright.async_playwright() as running:
        browser = await running.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        await browser.close()
