"""Timelines: where each bar of the picture stands. The picture itself is timeline_figure.py's."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.extras import needed
from koodrive_async.wording import count_text, printable, shortened, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.figure import Figure

    from koodrive_async.upload.trace import FileTrace, HashSpan, PartSpan

_FILES_WITH_A_ROW: Final = 12
_HASHED_SIDE_BY_SIDE: Final = 8
_CONNECTIONS_WITH_A_ROW: Final = 40
_NAME: Final = 24
_TITLE: Final = 70


class State(StrEnum):
    """What a bar tells, in the order of the legend."""

    FILE = "file"
    CANCELLED = "cancelled file"
    HASHING = "hashing"
    WAITING = "waiting for a turn"
    READING = "reading"
    SENDING = "sending"
    FAILED = "failed"
    PAUSING = "pause before the next try"


@attrs.frozen
class Bar:
    """One bar, in seconds from the beginning of the picture.

    :ivar row: From 0, at the top.
    """

    row: int
    began: float
    ended: float


@attrs.frozen(kw_only=True)
class Chart:
    """A picture before it is drawn.

    :ivar rows: Their labels.
    :ivar groups: Rows with which another kind of row begins.
    :ivar seconds: How long all of it took.
    """

    title: str
    subtitle: str
    rows: tuple[str, ...]
    groups: tuple[int, ...]
    bars: dict[State, list[Bar]]
    seconds: float


def draw_file(trace: FileTrace) -> Figure:
    """Draw what happened to a file.

    :raises ModuleNotFoundError: matplotlib is missing.
    """
    return _drawn(chart_of([trace], _name(trace, _TITLE)))


def draw_session(traces: Sequence[FileTrace]) -> Figure:
    """Draw what happened to the files of a session.

    :raises ModuleNotFoundError: matplotlib is missing.
    """
    what = _name(traces[0], _TITLE) if len(traces) == 1 else count_text(len(traces), "file")
    return _drawn(chart_of(traces, f"Backup of {what}"))


def _drawn(chart: Chart) -> Figure:
    with needed("a timeline", "matplotlib", "notebook"):
        from koodrive_async.upload.timeline_figure import draw  # noqa: PLC0415 - of an extra
    return draw(chart)


def chart_of(traces: Sequence[FileTrace], title: str) -> Chart:
    """Return where everything stands.

    :param traces: Of one file, or of all files of a session.
    """
    began = min((trace.began for trace in traces), default=0.0)
    layout = _Layout(began)
    layout.add_files(_with_a_row(traces))
    layout.add_hashing(traces)
    layout.add_parts(traces)
    return Chart(
        title=title,
        subtitle=_subtitle(traces),
        rows=tuple(layout.rows),
        groups=tuple(layout.groups),
        bars={state: layout.bars[state] for state in State if layout.bars[state]},
        seconds=max((trace.ended for trace in traces), default=began) - began,
    )


def merged(bars: Iterable[Bar], gap: float = 0.0) -> list[Bar]:
    """Return the bars of each row with those made one that overlap, or almost touch.

    :param gap: Seconds between two that are not seen.
    """
    joined: list[Bar] = []
    for bar in sorted(bars, key=lambda bar: (bar.row, bar.began)):
        last = joined[-1] if joined else None
        if last is None or last.row != bar.row or bar.began > last.ended + gap:
            joined.append(bar)
        elif bar.ended > last.ended:
            joined[-1] = Bar(bar.row, last.began, bar.ended)
    return joined


class _Layout:
    """Rows that are filled from the top.

    :param origin: The moment from which the picture counts.
    """

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self.rows: list[str] = []
        self.groups: list[int] = []
        self.bars: dict[State, list[Bar]] = defaultdict(list)

    def add_files(self, traces: Sequence[FileTrace]) -> None:
        """Give each file a row."""
        if not traces:
            return
        self._begin_group()
        for trace in sorted(traces, key=lambda trace: trace.began):
            row = self._new_row(_name(trace, _NAME))
            state = State.CANCELLED if trace.cancelled else State.FILE
            self._put(state, row, trace.began, trace.ended)

    def add_hashing(self, traces: Sequence[FileTrace]) -> None:
        """Give as many rows to hashing as files were hashed at a time."""
        spans = [trace.hashing for trace in traces if trace.hashing is not None]
        if not spans:
            return
        self._begin_group()
        in_order = sorted(spans, key=lambda span: (span.began, span.ended))
        lanes = list(_lanes((span.began, span.ended) for span in in_order))
        count = max(lanes) + 1
        if count > _HASHED_SIDE_BY_SIDE:
            first = self._new_row(f"hashing, {count} at a time")
            lanes = [0] * len(spans)
        else:
            first = self._new_rows(["hashing", *[""] * (count - 1)])
        for lane, span in zip(lanes, in_order, strict=True):
            self._put(State.WAITING, first + lane, span.queued, span.began)
            self._put(State.HASHING, first + lane, span.began, span.ended)

    def add_parts(self, traces: Sequence[FileTrace]) -> None:
        """Give a row to each connection, or to several that followed each other."""
        parts = [part for trace in traces for part in trace.parts]
        if not parts:
            return
        self._begin_group()
        rows = self._rows_of_connections(parts)
        for trace in traces:
            for attempts in _attempts(trace.parts):
                self._add_attempts(attempts, rows)

    def _add_attempts(self, attempts: Sequence[PartSpan], rows: dict[int | None, int]) -> None:
        before: PartSpan | None = None
        for part in attempts:
            row = rows[part.connection]
            if before is not None and before.error is not None:
                self._put(State.PAUSING, row, before.ended, part.queued)
            self._put(State.WAITING, row, part.queued, part.began)
            if part.error is None:
                self._put(State.SENDING, row, part.began, part.ended)
                self._put(State.READING, row, part.began, part.began + part.reading)
            else:
                self._put(State.FAILED, row, part.began, part.ended, always=True)
            before = part

    def _rows_of_connections(self, parts: Sequence[PartSpan]) -> dict[int | None, int]:
        lives: dict[int, tuple[float, float]] = {}
        for part in parts:
            if part.connection is not None:
                began, ended = lives.get(part.connection, (part.began, part.ended))
                lives[part.connection] = min(began, part.began), max(ended, part.ended)
        rows: dict[int | None, int] = {}
        if len(lives) <= _CONNECTIONS_WITH_A_ROW:
            for connection in sorted(lives):
                rows[connection] = self._new_row(f"connection {connection}")
        else:
            in_order = sorted(lives, key=lives.__getitem__)
            lanes = list(_lanes(lives.values()))
            first = self._new_rows([f"lane {lane + 1}" for lane in range(max(lanes) + 1)])
            rows |= {each: first + lane for each, lane in zip(in_order, lanes, strict=True)}
        if any(part.connection is None for part in parts):
            rows[None] = self._new_row("no connection")
        return rows

    def _begin_group(self) -> None:
        self.groups.append(len(self.rows))

    def _new_row(self, label: str) -> int:
        self.rows.append(label)
        return len(self.rows) - 1

    def _new_rows(self, labels: Sequence[str]) -> int:
        """Return the number of the first one."""
        self.rows += labels
        return len(self.rows) - len(labels)

    def _put(
        self, state: State, row: int, began: float, ended: float, *, always: bool = False
    ) -> None:
        if ended > began or always:
            self.bars[state].append(Bar(row, began - self._origin, ended - self._origin))


def _with_a_row(traces: Sequence[FileTrace]) -> Sequence[FileTrace]:
    """Return the files that have a row: a few, or of many those that were cancelled."""
    if 1 < len(traces) <= _FILES_WITH_A_ROW:
        return traces
    return [trace for trace in traces if trace.cancelled][-_FILES_WITH_A_ROW:]


def _name(trace: FileTrace, longest: int) -> str:
    return shortened(printable(trace.description or trace.name), longest)


def _lanes(spans: Iterable[tuple[float, float]]) -> Iterator[int]:
    """Return a lane for each span, in the order in which they begin; none overlap in a lane."""
    free_from: list[float] = []
    for began, ended in sorted(spans):
        lane = next((lane for lane, free in enumerate(free_from) if free <= began), None)
        if lane is None:
            lane = len(free_from)
            free_from.append(ended)
        free_from[lane] = ended
        yield lane


def _attempts(parts: Iterable[PartSpan]) -> Iterable[list[PartSpan]]:
    """Return the attempts of each part, one after the other."""
    found: dict[int, list[PartSpan]] = defaultdict(list)
    for part in sorted(parts, key=lambda part: part.queued):
        found[part.number].append(part)
    return found.values()


def _subtitle(traces: Sequence[FileTrace]) -> str:
    parts = [part for trace in traces for part in trace.parts]
    hashing = [trace.hashing for trace in traces if trace.hashing is not None]
    said = [f"hashed in {_time(_busy(hashing))}"] if hashing else []
    said += _about_parts(parts)
    if cancelled := sum(trace.cancelled for trace in traces):
        said.append(f"{count_text(cancelled, 'file')} cancelled")
    return "; ".join(said)


def _about_parts(parts: Sequence[PartSpan]) -> Iterator[str]:
    arrived = [part for part in parts if part.error is None]
    if not arrived:
        yield "nothing arrived" if parts else "nothing was sent"
        return
    size, spent = sum(part.size for part in arrived), _busy(parts)
    connections = len({part.connection for part in parts} - {None})
    yield (
        f"{size_text(size)} in {count_text(len(arrived), 'part')} over "
        f"{count_text(connections, 'connection')}, sent in {_time(spent)}, "
        f"{size_text(size / max(spent, 1e-6))}/s"
    )
    if failed := len(parts) - len(arrived):
        yield f"{count_text(failed, 'attempt')} in vain"


def _busy(spans: Iterable[HashSpan | PartSpan]) -> float:
    """Return the seconds in which there was at least one of them."""
    bars = merged(Bar(0, span.began, span.ended) for span in spans)
    return sum(bar.ended - bar.began for bar in bars)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
