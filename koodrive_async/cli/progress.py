"""What a command shows while it works: bars on a terminal, lines anywhere else."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import attrs
import click
from anyio import to_thread
from rich.console import Console, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.progress import TaskID


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
        self._bars: _Bars | None = None
        if sys.stderr.isatty():
            console = Console(stderr=True, highlight=False)
            if not console.is_dumb_terminal:
                self._bars = _Bars(meters, console)

    @property
    def has_bars(self) -> bool:
        """Whether a person is watching."""
        return self._bars is not None

    @property
    def wants_lines(self) -> bool:
        """Whether each finished file should have a line: unless a person watches bars instead."""
        return self._bars is None or not sys.stdout.isatty()

    async def line(self, text: str, *, err: bool = False) -> None:
        """Write a line, in a worker thread: a pipe's reader may take its time.

        :param text: One line; standard output unless ``err``.

        Cancellation does not wait for that reader.
        """
        await to_thread.run_sync(self._write, text, err, abandon_on_cancel=True)

    def _write(self, text: str, err: bool) -> None:
        if self._bars is not None and (err or sys.stdout.isatty()):
            self._bars.console.print(Text.from_ansi(text), soft_wrap=True)
        else:
            click.echo(text, err=err)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            with suppress(OSError):  # the terminal may have gone
                self._bars.stop()


class _Bars(Progress):
    """Draws meters; looks at them only when it is about to draw."""

    def __init__(self, meters: Iterable[Meter], console: Console) -> None:
        self._meters: list[tuple[TaskID, Meter]] = []
        super().__init__(
            TextColumn("{task.description:<8}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[files]:,} files"),
            console=console,
            transient=True,
            # standard output may be a file, which bars have no business with
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._meters = [
            (self.add_task(meter.label, total=None, visible=False, files=0), meter)
            for meter in meters
        ]

    def get_renderables(self) -> Iterable[RenderableType]:
        for task_id, meter in self._meters:
            self.update(
                task_id,
                completed=meter.done,
                total=meter.total,
                files=meter.files,
                visible=meter.started,
            )
        return super().get_renderables()
