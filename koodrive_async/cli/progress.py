"""What a command shows while it works: bars on a terminal, lines anywhere else."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import attrs
import click
from anyio import to_thread
from rich.console import Console

from koodrive_async.sinks.bars import Bar, Bars
from koodrive_async.sinks.painter import Painter
from koodrive_async.sinks.standing import Speed
from koodrive_async.sinks.terminal import LiveView
from koodrive_async.wording import count_text, time_text

if TYPE_CHECKING:
    from types import TracebackType

_EVERY: Final = 0.2

_STATUS_FOR: Final = 8.0
"""Seconds: a wait is shown again before that."""


@attrs.define(kw_only=True)
class Meter:
    """How far one kind of work has come: plain numbers, written by the event loop.

    :ivar label: What is being done.
    :ivar started: Whether there is anything to show.
    :ivar done: Bytes.
    :ivar total: Bytes, or None while unknown.
    :ivar files: Files done.
    """

    label: str
    started: bool = False
    done: int = 0
    total: int | None = None
    files: int = 0


class Screen:
    """The terminal of one command, used inside ``with`` around the event loop.

    Bars go to standard error when that is a terminal. They are drawn by a thread of their own that
    only reads the meters: a terminal that has been stopped with Ctrl-S stops no backup.

    :param meters: What to draw, from top to bottom.
    """

    def __init__(self, *meters: Meter) -> None:
        self._view: LiveView | None = None
        self._meters = _Meters(meters)
        if sys.stderr.isatty():
            view = LiveView(Console(stderr=True, highlight=False), self._meters.look)
            if view.is_possible:
                self._view = view
                self._painter = Painter(view, every=_EVERY)

    @property
    def has_bars(self) -> bool:
        """Whether a person is watching."""
        return self._view is not None

    @property
    def wants_lines(self) -> bool:
        """Whether each finished file should have a line: unless a person watches bars instead."""
        return self._view is None or not sys.stdout.isatty()

    async def line(self, text: str, *, err: bool = False) -> None:
        """Write a line: above the bars, or in a worker thread, for a reader may take its time.

        :param text: One line; standard output unless ``err``.

        Cancellation does not wait for that reader.
        """
        if self._view is not None and (err or sys.stdout.isatty()):
            self._view.say(text)
        else:
            write = partial(click.echo, text, err=err)
            await to_thread.run_sync(write, abandon_on_cancel=True)

    def remark(self, text: str) -> None:
        """Write a line to standard error. It may block, but for the bars."""
        if self._view is not None:
            self._view.say(text)
        else:
            click.echo(text, err=True)

    def status(self, text: str) -> None:
        """Show a line below the bars, for some seconds; to a person only."""
        self._meters.status = text, time.monotonic() + _STATUS_FOR

    def __enter__(self) -> Self:
        if self._view is not None:
            self._painter.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._view is not None:
            self._painter.close(patience=None)  # what comes next is written to the same terminal


class _Meters:
    """Meters as bars, with their speeds; looked at by the thread that draws.

    :ivar status: A line below them, and the time until which it holds.
    """

    def __init__(self, meters: tuple[Meter, ...]) -> None:
        self._meters = [(meter, Speed()) for meter in meters]
        self.status: tuple[str, float] = "", 0.0

    def look(self) -> Bars:
        line, until = self.status
        return Bars(
            bars=[_bar(meter, speed) for meter, speed in self._meters if meter.started],
            line=line if time.monotonic() < until else "",
        )


def _bar(meter: Meter, speed: Speed) -> Bar:
    speed.add(time.monotonic(), meter.done)
    left = ""
    if meter.total and speed.per_second:
        left = time_text(max(meter.total - meter.done, 0) / speed.per_second)
    return Bar(
        label=meter.label,
        done=meter.done,
        total=meter.total,
        speed=speed.per_second,
        left=left,
        note=count_text(meter.files, "file"),
    )
