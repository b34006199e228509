"""What it costs to be shown: each sink with the events of many small files.

``python -m benchmarks.showing`` tells them 50,000 files as fast as they take them, and then lets
those that draw do so for a few seconds with 32 files under way. What an upload of a small file
costs besides, for comparison, is about 1,700 microseconds on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pty
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from koodrive_async.sinks import JsonSink, LoggingSink, PlainSink, RichSink, TqdmSink
from koodrive_async.upload import UploadItem, UploadReceipt
from koodrive_async.upload.watching import SessionWatch

if TYPE_CHECKING:
    from koodrive_async.sinks import Sink
    from koodrive_async.upload.events import Event
    from koodrive_async.upload.watching import FileWatch

SIZE = 8192
UNDER_WAY = 32
AT_A_TIME = 1000
SECONDS = 3.0


def main() -> None:
    """Measure every sink."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=50_000)
    files = parser.parse_args().files
    events = asyncio.run(events_of(files))
    print(f"{files:,} files of {SIZE:,} bytes, {len(events):,} events")
    print(f"{'sink':<14}{'us per event':>14}{'us per file':>13}{'drawing, % of a core':>23}")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device
        for sink in (
            LoggingSink(service_log()),
            PlainSink(nowhere, nowhere),
            JsonSink(nowhere),
            TqdmSink(terminal()),
            RichSink(Console(file=terminal(), width=100, height=24)),
        ):
            told, drawn = cost(sink, events)
            print(
                f"{type(sink).__name__:<14}{told / len(events) * 1e6:>14.2f}"
                f"{told / files * 1e6:>13.1f}{drawn * 100:>23.2f}"
            )


async def events_of(files: int) -> list[Event]:
    """Return what a session tells of small files, one after the other, and of some at the end."""
    watch = SessionWatch()
    events: list[Event] = []
    for first in range(0, files + UNDER_WAY, AT_A_TIME):
        heard = watch.events()
        for number in range(first, min(first + AT_A_TIME, files + UNDER_WAY)):
            name = f"IMG_{number:05}.jpg"
            item = UploadItem(source=name, name=name, description=f"photos/2024/{name}")
            file = watch.file(item, None)
            file.opened(SIZE)
            file.hashed_when_opened()
            if number < files:
                finish(file, name)
        heard.end()
        events += [event async for event in heard]
    return events


def finish(file: FileWatch, name: str) -> None:
    """Tell that a file has got there."""
    file.arrived(SIZE)
    file.completed()
    file.finished(
        UploadReceipt(
            outcome="uploaded",
            file_id="1234567890123456789",
            name=name,
            sha256="ab" * 32,
            size=SIZE,
            parts=1,
            retries=0,
            seconds=0.01,
        )
    )


def cost(sink: Sink, events: list[Event]) -> tuple[float, float]:
    """Return the seconds that telling takes, and the share of a core that drawing takes."""
    with sink:
        began = time.thread_time()
        for event in events:
            sink.update(event)
        told = time.thread_time() - began
        time.sleep(1)  # lines that wait are written
        before = time.process_time()
        time.sleep(SECONDS)
        drawn = (time.process_time() - before) / SECONDS
    return told, drawn


def service_log() -> logging.Logger:
    """Return a logger that writes every record."""
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(open(os.devnull, "w", encoding="utf-8")))  # noqa: PTH123, SIM115 - a device, to the end
    return logger


def terminal() -> TextIO:
    """Return a terminal that somebody reads."""
    ours, theirs = pty.openpty()

    def read() -> None:
        with suppress(OSError):
            while os.read(ours, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    return os.fdopen(theirs, "w")


if __name__ == "__main__":
    main()
