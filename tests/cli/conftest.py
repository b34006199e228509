"""The command, run in this process or in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from koodrive_async.cli.app import koodrive

COMMAND = str(Path(sysconfig.get_path("scripts")) / "koodrive")
SECONDS = 40


def _as_from_a_shell(prepare=None):
    # under nohup, and in a job started with "&", the tests ignore them, and a child inherits that
    reset_signals()
    if prepare is not None:
        prepare()


def reset_signals():
    """Let signals end this process, as they end one that a person starts in a terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def invoke():
    """Run the command in this process, where blocking calls on its event loop are errors."""

    def run(*arguments):
        return CliRunner().invoke(koodrive, [str(argument) for argument in arguments])

    return run


@pytest.fixture(autouse=True)
def buffered_streams(monkeypatch):
    """A child's streams are buffered, as they are for users, whatever those of the tests are."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def environment(koodrive_environment, monkeypatch):
    """An emulator is in the environment, for this process and its children."""
    # a child must not be told to draw or to colour
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return koodrive_environment


@pytest.fixture
def kept_journal(environment, monkeypatch, tmp_path):
    """A journal is in the environment as well."""
    assert environment["KOODRIVE_JOURNAL"] == "off"
    path = tmp_path / "state" / "journal.db"
    monkeypatch.setenv("KOODRIVE_JOURNAL", str(path))
    return path


@pytest.fixture
def no_settings(monkeypatch):
    # the file that is named has no profiles: it is not there
    for name in {name for name in os.environ if name.startswith("KOODRIVE_")} - {"KOODRIVE_CONFIG"}:
        monkeypatch.delenv(name)


@pytest.fixture
def start():
    """Start the command in a process of its own, with pipes; it is gone when the block ends."""

    @contextmanager
    def started(*arguments, preexec_fn=None, **options):
        settings: dict[str, Any] = {
            "preexec_fn": partial(_as_from_a_shell, preexec_fn) if os.name == "posix" else None,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "encoding": "utf-8",
        }
        command = [COMMAND, *map(str, arguments)]
        with subprocess.Popen(command, **(settings | options)) as process:
            try:
                yield process
            finally:
                process.kill()

    return started


@pytest.fixture
def call(start):
    """Run the command in a process of its own to its end."""

    def run(*arguments, **options):
        with start(*arguments, **options) as process:
            out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture
def tree(tmp_path):
    """A folder with all that is awkward: no bytes, Chinese, one name twice, a link, two parts."""
    root = tmp_path / "tree"
    for name, content in {
        "empty.txt": b"",
        "2024/01/IMG_0001.jpg": b"january" * 1000,
        "2024/02/IMG_0001.jpg": b"february" * 1000,
        "文档/说明.txt": "备份".encode(),
        "large.bin": os.urandom(9 * 2**20 + 1),
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (root / "link").symlink_to("empty.txt")
    return root
