"""What goes into a file has no escape sequences and no carriage returns, whatever is forced."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from rich.console import Console

from koodrive_async import PartRejected
from koodrive_async.sinks import PlainSink, RichSink, Sink, TqdmSink

FORCING = [
    {},
    {"FORCE_COLOR": "1"},
    {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "CLICOLOR_FORCE": "1"},
]

PROGRAM = """
import asyncio, sys
from koodrive_async import KooDrive, Module
from koodrive_async.sinks import {sink}, show

async def main():
    async with KooDrive.from_env() as drive:
        device = await drive.devices.bind("file")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            async with show(session, {make}):
                await session.upload(b"some bytes", name="a.txt")
                print("what the program prints")

asyncio.run(main())
"""


@pytest.fixture(params=FORCING, ids=lambda each: "+".join(each) or "nothing")
def forced(request, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


def run(story, sink: Sink, end: Exception | None = None):
    error = PartRejected(part_number=1, status=403, code=None, msg="\x1b[31mno\r")
    with suppress(LookupError), sink:
        story.finished("a", 5000)
        story.failed("evil\x1b[2J\r.txt", error)
        for event in story.taken():
            sink.update(event)
        if end is not None:
            raise end


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("where", ["file", "text"])
@pytest.mark.parametrize(
    "make",
    [
        lambda stream: RichSink(Console(file=stream)),
        lambda stream: RichSink(Console(file=stream, force_terminal=True)),
        TqdmSink,
        lambda stream: PlainSink(stream, stream),
    ],
    ids=["rich", "rich that is forced", "tqdm", "plain"],
)
@pytest.mark.parametrize(
    ("end", "last"), [(None, "done"), (LookupError("\x1b[31mover\r"), "stopped")]
)
def test_a_file_gets_lines_only(story, tmp_path, make, where, end, last):
    path = tmp_path / "log.txt"
    with (
        path.open("w+", encoding="utf-8", newline="")
        if where == "file"
        else io.StringIO() as stream
    ):
        run(story, make(stream), end)
        stream.seek(0)
        text = stream.read()
    assert "\x1b" not in text
    assert "\r" not in text
    assert re.findall(r"^(done|stopped)\b", text, re.MULTILINE) == [last], text


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(("sink", "make"), [("RichSink", "RichSink()"), ("TqdmSink", "TqdmSink()")])
def test_standard_error_that_is_a_file_gets_a_line(koodrive_environment, tmp_path, sink, make):
    with (tmp_path / "err").open("w+b") as errors:
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(sink=sink, make=make)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | koodrive_environment | {"KOODRIVE_JOURNAL": "off"},
            check=True,
            timeout=60,
        )
        errors.seek(0)
        text = errors.read()
    assert text.startswith(b"done: 1 file, 10 B in ")
    assert text.count(b"\n") == 1
    assert b"\x1b" not in text
    assert b"\r" not in text


def test_a_stream_that_is_closed_is_no_terminal(story):
    stream = io.StringIO()
    stream.close()
    run(story, TqdmSink(stream))  # and fails at nothing
