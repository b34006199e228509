"""Bars on pseudo-terminals: some that somebody reads, and some that stand still."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from koodrive_async import PartRejected
from koodrive_async.sinks import RichSink, TqdmSink, show
from koodrive_async.upload.events import FileFinished

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A terminal of which somebody reads what is written, or nobody."""

    def __init__(self):
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 120))
        self.stream = os.fdopen(theirs, "w")
        self._read = b""
        self._wanted = threading.Event()
        self._reader = threading.Thread(target=self._read_all, daemon=True)

    def read(self):
        """Begin to read."""
        self._reader.start()

    def _read_all(self):
        with suppress(OSError):  # how Linux says that the other side is closed
            while data := os.read(self.ours, 65536):
                self._read += data

    def text(self):
        """Return everything that was written, and close the terminal."""
        self.stream.close()
        if self._reader.ident is not None:
            self._reader.join(20)
        return self._read.decode()

    def stop(self):
        """Do what Ctrl-S does."""
        termios.tcflow(self.stream.fileno(), termios.TCOOFF)

    def go_on(self):
        """Do what Ctrl-Q does."""
        termios.tcflow(self.stream.fileno(), termios.TCOON)


def painters():
    return [thread for thread in threading.enumerate() if thread.name == "koodrive painter"]


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    if not made.stream.closed:
        made.go_on()
        for thread in painters():
            thread.join(20)
        made.text()
    os.close(made.ours)


@pytest.fixture
def console(terminal, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def make(width=90, height=24):
        return Console(file=terminal.stream, width=width, height=height, highlight=False)

    return make


def told(story, sink):
    for event in story.taken():
        sink.update(event)


def last_line(text):
    return text.rstrip().splitlines()[-1].rpartition("\x1b[2K")[2]


def test_bars_make_room_for_one_line_in_the_end(terminal, console, story):
    terminal.read()
    with RichSink(console()) as sink:
        story.finished("a", 5000)
        told(story, sink)
    text = terminal.text()
    for word in ("hash", "upload", HIDE, SHOW):
        assert word in text
    assert last_line(text).startswith("done: 1 file, 5.0 kB in ")
    assert text.index(SHOW) < text.index("done: ")


def test_a_failure_stays_above_the_bars(terminal, console, story):
    terminal.read()
    error = PartRejected(part_number=1, status=403, code=None, msg="[red]no[/red]")
    with RichSink(console()) as sink:
        story.failed("evil\x1b[2J", error)
        told(story, sink)
    text = terminal.text()
    assert r"failed: evil\x1b[2J: part 1 was refused: HTTP 403: [red]no[/red]" in text
    assert "; 1 file failed" in last_line(text)


def test_a_run_that_an_exception_ends_was_stopped(terminal, console):
    terminal.read()
    with pytest.raises(KeyboardInterrupt), RichSink(console()):
        raise KeyboardInterrupt
    assert last_line(terminal.text()).startswith("stopped: 0 files")


def test_large_files_have_lines_when_they_take_their_time(terminal, console, story, monkeypatch):
    monkeypatch.setattr("koodrive_async.sinks.terminal._WORTH_A_LINE", 0)
    terminal.read()
    with RichSink(console()) as sink:
        for number in range(20):
            story.begun(f"file {number:02}", number * 1000)
        told(story, sink)
        names = [file.name for file in sink._bars().files]
    assert names == [f"file {number}" for number in range(12, 20)]
    assert "0 files done, 20 under way" in terminal.text()


@pytest.mark.parametrize(("height", "count"), [(24, 8), (8, 4), (4, 0), (1, 0)])
def test_a_low_terminal_shows_fewer_files(console, story, monkeypatch, height, count):
    monkeypatch.setattr("koodrive_async.sinks.terminal._WORTH_A_LINE", 0)
    sink = RichSink(console(height=height))
    for number in range(20):
        story.begun(f"file {number}")
    told(story, sink)
    assert len(sink._bars().files) == count


def test_anywhere_but_on_a_terminal_there_is_only_the_line_at_the_end(story, capsys):
    with RichSink() as sink:
        story.finished("a")
        told(story, sink)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("done: 1 file")
    assert len(err.splitlines()) == 1


def test_a_dumb_terminal_gets_no_bars(terminal, console, story, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    terminal.read()
    with RichSink(console()) as sink:
        story.finished("a")
        told(story, sink)
    assert "\x1b" not in terminal.text()


def test_it_may_be_used_again_and_again_for_other_sessions(terminal, console, story):
    terminal.read()
    sink = RichSink(console())
    for _ in range(3):
        with sink:
            story.finished("a")
            told(story, sink)
    text = terminal.text()
    assert [f"done: {count} file" in text for count in (1, 2, 3)] == [True] * 3


# --- terminals that stand still ----------------------------------------------------------------


@pytest.fixture
def bars(terminal, console):
    """Return each kind of bars, drawn on the terminal."""

    def make(kind):
        return RichSink(console()) if kind is RichSink else TqdmSink(terminal.stream)

    return make


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [RichSink, TqdmSink])
async def test_a_terminal_that_was_stopped_stops_no_backup(
    session, terminal, bars, kind, monkeypatch
):
    monkeypatch.setattr("koodrive_async.sinks.counting.PATIENCE", 0.05)
    terminal.read()
    terminal.stop()
    async with show(session, bars(kind)):
        for number in range(20):
            await session.upload(b"some", name=f"file {number}")
    assert session.totals.done == 20


@pytest.mark.parametrize("kind", [RichSink, TqdmSink])
def test_a_terminal_that_goes_on_shows_the_end(terminal, bars, kind, story, monkeypatch):
    monkeypatch.setattr("koodrive_async.sinks.counting.PATIENCE", 0.05)
    terminal.read()
    terminal.stop()
    with bars(kind) as sink:
        story.finished("a")
        told(story, sink)
    assert painters()
    terminal.go_on()
    for thread in painters():
        thread.join(20)
    assert "1 file" in terminal.text()


@pytest.mark.parametrize("kind", [RichSink, TqdmSink])
def test_a_terminal_that_is_gone_stops_nothing(terminal, bars, kind, story):
    terminal.read()
    sink = bars(kind)
    terminal.text()
    with sink:
        story.finished("a")
        events = story.taken()
        for event in events:
            sink.update(event)
    assert isinstance(events[-1], FileFinished)
    assert not painters()


def test_tqdm_shows_two_bars(terminal, story):
    terminal.read()
    with TqdmSink(terminal.stream, total=8000) as sink:
        story.finished("a", 4000)
        told(story, sink)
    lines = terminal.text().replace("\x1b[A", "").split("\r")
    assert any("hash" in line and "50%" in line for line in lines)
    assert any("upload" in line and "4.00k/8.00k" in line for line in lines)
    assert any("1 file done" in line for line in lines)


# --- what the program prints meanwhile ---------------------------------------------------------

PRINTING = """
import sys
from koodrive_async.sinks import RichSink
from tests.sinks.story import Story
story = Story()
with RichSink() as sink:
    story.finished("a")
    for event in story.taken():
        sink.update(event)
    print("printed by the program")
    assert sys.stdout.isatty() == sys.__stdout__.isatty()
    assert (sys.stdout.encoding, sys.stdout.buffer, sys.stdout.fileno()) == (
        sys.__stdout__.encoding, sys.__stdout__.buffer, sys.__stdout__.fileno()
    )
assert sys.stdout is sys.__stdout__
print("printed afterwards")
"""


@pytest.fixture
def printing(terminal):
    """Run a program that prints, on the terminal."""

    def run(**streams):
        streams = {"stdin": terminal.stream, "stdout": terminal.stream} | streams
        subprocess.run(
            [sys.executable, "-c", PRINTING],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"TERM": "xterm-256color"},
            stderr=terminal.stream,
            check=True,
            timeout=40,
            **streams,
        )

    return run


def test_what_the_program_prints_goes_above_the_bars(terminal, printing):
    terminal.read()
    printing()
    lines = [line.rpartition("\x1b[2K")[2].strip() for line in terminal.text().splitlines()]
    assert "printed by the program" in lines
    assert lines[-2].startswith("done: 1 file")
    assert lines[-1] == "printed afterwards"


def test_what_it_writes_to_a_file_goes_there(terminal, printing, tmp_path):
    terminal.read()
    with (tmp_path / "log").open("w") as log:
        printing(stdout=log)
    assert (tmp_path / "log").read_text() == "printed by the program\nprinted afterwards\n"
    assert "printed" not in terminal.text()
