"""Bars as text for a terminal, however narrow it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from rich.cells import cell_len
from rich.text import Text

from koodrive_async.wording import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

_LABEL: Final = 8
_NARROWEST_BAR: Final = 10
_WIDEST_BAR: Final = 40
_BAR_OF_A_FILE: Final = 12
_GAP: Final = "  "


@attrs.frozen(kw_only=True)
class Bar:
    """One bar over many files.

    :ivar label: What is being done.
    :ivar done: Bytes.
    :ivar total: Bytes, or None where that is not known.
    :ivar speed: Bytes per second, or None before anything moved.
    :ivar left: Time left, in words.
    :ivar note: What else there is to say.
    """

    label: str
    done: int
    total: int | None
    speed: float | None = None
    left: str = ""
    note: str = ""


@attrs.frozen
class FileBar:
    """One file on its way; its name is printable."""

    name: str
    doing: str
    done: int
    total: int


@attrs.frozen(kw_only=True)
class Bars:
    """What is drawn at one time: bars, a line below them, and files below that."""

    bars: Sequence[Bar]
    line: str = ""
    files: Sequence[FileBar] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = _Pen(options.max_width, console)
        for bar in self.bars:
            yield pen.bar(bar)
        if self.line:
            yield pen.line(self.line)
        for file in self.files:
            yield pen.file(file)


class _Pen:
    """Draws lines that fit.

    :param width: Columns.
    """

    def __init__(self, width: int, console: Console) -> None:
        self._width = width
        self._has_colour = not console.no_color and console.color_system is not None
        # where only colour would tell them apart, what is still to come stays empty
        self._full, self._empty = ("━", "━") if "utf" in console.encoding.lower() else ("=", "-")
        if not self._has_colour:
            self._empty = " "

    def bar(self, bar: Bar) -> Text:
        """Draw a bar with as many of its numbers as there is room for."""
        label = f"{bar.label:<{_LABEL}}"
        columns = list(_columns(bar))
        while columns and self._room(label, columns) < _NARROWEST_BAR:
            columns.remove(max(columns))  # the least important one
        line = Text(label)
        room = self._room(label, columns)
        if room >= _NARROWEST_BAR:
            line.append_text(self._stroke(bar.done, bar.total, min(room, _WIDEST_BAR)))
        for _, text, style in columns:
            line.append(_GAP)
            line.append(text, style)
        return self.cut(line)

    def line(self, text: str) -> Text:
        """Draw a line of words; what failed is what to look at."""
        line = Text(text)
        line.highlight_regex(r"[\d,]+ failed", "red")
        return self.cut(line)

    def file(self, file: FileBar) -> Text:
        """Draw a file: its name gets what is left over."""
        share = f"{_GAP}{_percent(file.done, file.total):>4}{_GAP}{file.doing:<7}"
        room = self._width - len(_GAP) - len(share)
        line = Text(_GAP, "dim")
        if room >= 3 * _BAR_OF_A_FILE:
            room -= _BAR_OF_A_FILE + len(_GAP)
            line.append(_end_of(file.name, room) + _GAP)
            line.append_text(self._stroke(file.done, file.total, _BAR_OF_A_FILE))
        else:
            line.append(_end_of(file.name, max(room, 1)))
        line.append(share)
        return self.cut(line)

    def cut(self, line: Text) -> Text:
        """Keep a line from taking two."""
        line.no_wrap = True
        line.truncate(self._width, overflow="ellipsis")
        return line

    def _room(self, label: str, columns: Sequence[tuple[int, str, str]]) -> int:
        return self._width - len(label) - sum(len(_GAP) + len(text) for _, text, _ in columns)

    def _stroke(self, done: int, total: int | None, width: int) -> Text:
        full = min(done * width // total, width) if total else 0
        style = "bar.finished" if full == width else "bar.complete"
        stroke = Text(self._full * full, style)
        stroke.append(self._empty * (width - full), "bar.back")
        return stroke


def _columns(bar: Bar) -> Iterator[tuple[int, str, str]]:
    """Give the numbers of a bar from left to right, each with its rank: the last goes first."""
    if bar.total:
        yield 0, f"{_percent(bar.done, bar.total):>4}", "progress.percentage"
        yield 2, f"{size_text(bar.done):>8} of {size_text(bar.total)}", "progress.download"
    else:
        yield 0, f"{size_text(bar.done):>8}", "progress.download"
    if bar.speed is not None:
        yield 3, f"{size_text(bar.speed) + '/s':>10}", "progress.data.speed"
    if bar.left:
        yield 1, f"{bar.left:>7}", "progress.remaining"
    if bar.note:
        yield 4, bar.note, ""


def _percent(done: int, total: int) -> str:
    return f"{done * 100 // total}%" if total else ""


def _end_of(name: str, width: int) -> str:
    """Return a name in exactly so many columns; of a long path the end says most."""
    if cell_len(name) > width:
        kept = name[-width:]
        while cell_len(kept) > width - 1:
            kept = kept[1:]
        name = f"…{kept}"
    return name + " " * (width - cell_len(name))
