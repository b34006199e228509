""":class:`NotebookSink`: a table below the cell of a notebook."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Final

from koodrive_async.extras import needed
from koodrive_async.sinks.counting import DrawnSink
from koodrive_async.sinks.standing import name_in, reason_of, words_of
from koodrive_async.wording import count_text, shortened, size_text, time_text

with needed("NotebookSink", "IPython", "notebook"):
    from IPython.display import DisplayHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from koodrive_async.sinks.painter import Picture
    from koodrive_async.sinks.standing import Pass, Standing
    from koodrive_async.upload.events import FileFailed

_EVERY: Final = 0.25
_MOST_FILES: Final = 8
_MOST_FAILURES: Final = 20
_WORTH_A_LINE: Final = 1.0
_LONGEST_NAME: Final = 80
_LONGEST_REASON: Final = 300
_TO_GO_ON: Final = "the record is unfinished: go on with resume= (docs/how-to/resuming.md)"


class NotebookSink(DrawnSink):
    """Shows a table below the cell: how far all is, and the largest files on their way.

    It is plain HTML, drawn at most four times a second, so that it needs no widgets, works in every
    front end, and is there when the saved notebook is opened again. At the end it says what became
    of everything, with the files that failed.

    :param total: Bytes that there are to back up, for the time left.
    """

    def __init__(self, *, total: int | None = None) -> None:
        super().__init__(_CellView(self._page), every=_EVERY, total=total)
        self._ended: float | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin to draw."""
        self._ended = None
        super().start()

    def close(self, error: BaseException | None = None) -> None:
        """Leave a table of what became of everything."""
        self._error = error
        self._ended = time.monotonic()
        super().close(error)

    def _page(self) -> tuple[str, str]:
        """Return what there is to see, as HTML and as text."""
        standing = self._look()
        if self._ended is None:
            return running_page(standing, time.monotonic()), standing.progress()
        seconds = self._ended - standing.began
        page = ended_page(standing, seconds, self._error)
        return page, ended_text(standing, seconds, self._error)


class _CellView:
    """The place below a cell; the same in all drawings."""

    def __init__(self, page: Callable[[], tuple[str, str]]) -> None:
        self._page = page
        self._handle: DisplayHandle | None = None
        self._shown: str | None = None

    def begin(self) -> None:
        """Make the place."""
        self._handle = None
        self._shown = None
        self.draw()

    def draw(self) -> None:
        """Fill the place, if there is anything new."""
        page, text = self._page()
        if page == self._shown:
            return
        self._shown = page
        both = {"text/html": page, "text/plain": text}
        if self._handle is None:
            self._handle = DisplayHandle()  # type: ignore[no-untyped-call]  # IPython has no types
            self._handle.display(both, raw=True)  # type: ignore[no-untyped-call]  # the same
        else:
            self._handle.update(both, raw=True)  # type: ignore[no-untyped-call]  # the same

    def end(self) -> None:
        """Fill the place for good."""
        self.draw()


def running_page(standing: Standing, now: float) -> str:
    """Return a table of how far all is.

    :param now: Seconds of :func:`time.monotonic`.
    """
    rows = [_row(each.phase.value, *_numbers(standing, each)) for each in standing.passes]
    rows += [
        _row(
            _name(file.name),
            _bar(file.done, file.total, dim=True),
            _percent(file.done, file.total),
            size_text(file.total) if file.total else "",
            "",
            file.doing,
        )
        for file in standing.largest(_MOST_FILES, now - _WORTH_A_LINE)
    ]
    passed = time_text(now - standing.began)
    return _table(f"{standing.files_text()}, {passed}", rows)


def ended_page(standing: Standing, seconds: float, error: BaseException | None) -> str:
    """Return a table of what became of everything.

    :param seconds: How long it took.
    :param error: What the backup ended with.
    """
    totals = standing.totals
    facts = {
        "files": f"{totals.done:,}",
        "size": size_text(standing.size),
        "time": f"{seconds:.2f} s",
    }
    if speed := standing.speed(seconds):
        facts["speed"] = speed
    seldom = {
        "there already": standing.there,
        "not sent, the service had the bytes": standing.rapid,
        "parts sent again": totals.retries,
        "failed": totals.failed,
        "cancelled": totals.cancelled,
        "still under way": standing.under_way(),
    }
    facts |= {name: f"{count:,}" for name, count in seldom.items() if count}
    title = f"{count_text(totals.done, 'file')} backed up"
    if totals.failed:
        title += f", {totals.failed:,} failed"
    if error is not None:
        title += f", then {_end(error)}"
    names = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in facts)
    values = "".join(f'<td style="{_CELL}">{escape(value)}</td>' for value in facts.values())
    rows = [f"<tr>{names}</tr>", f"<tr>{values}</tr>"]
    advice = f"<div>{escape(_TO_GO_ON)}</div>" if error is not None else ""
    return _table(title, rows) + advice + _failures(standing)


def ended_text(standing: Standing, seconds: float, error: BaseException | None) -> str:
    """Return the same in a line, for front ends without HTML."""
    summary = standing.summary(seconds)
    return summary if error is None else f"{_end(error)}: {summary}; {_TO_GO_ON}"


def _failures(standing: Standing) -> str:
    failures = list(standing.failures)
    if not failures:
        return ""
    rows = [_failure(each) for each in failures[:_MOST_FAILURES]]
    more = standing.totals.failed - len(rows)
    table = _table("failed", rows)
    return table + (f"<div>… and {more:,} more</div>" if more > 0 else "")


def _failure(event: FileFailed) -> str:
    why = _why(type(event.failure.error).__name__, reason_of(event))
    return _row(_name(name_in(event)), escape(why))


def _end(error: BaseException) -> str:
    """Return what ended the backup; a cancellation and Ctrl-C are no errors."""
    if not isinstance(error, Exception):
        return "interrupted"
    return f"stopped by {_why(type(error).__name__, words_of(error))}"


def _why(kind: str, words: str) -> str:
    return shortened(f"{kind}: {words}", _LONGEST_REASON)


def _numbers(standing: Standing, each: Pass) -> Iterator[str]:
    total = standing.expected
    yield _bar(each.done, total)
    yield _percent(each.done, total)
    yield f"{size_text(each.done)} of {size_text(total)}" if total else size_text(each.done)
    yield "" if each.per_second is None else f"{size_text(each.per_second)}/s"
    left = standing.time_left(each)
    yield f"{left} left" if left else ""


# --- HTML --------------------------------------------------------------------------------------

# Colours are those of the page, in light and in dark themes.
_CELL: Final = "text-align:left;vertical-align:top;white-space:nowrap"
_TEXT: Final = "text-align:left;vertical-align:top;overflow-wrap:anywhere"
_HEAD: Final = f"{_TEXT};font-weight:normal"
_CAPTION: Final = "text-align:left;caption-side:top;color:inherit;padding:0.3em 0"


def _table(caption: str, rows: Iterable[str]) -> str:
    return (
        f'<table><caption style="{_CAPTION}"><strong>{escape(caption)}</strong></caption>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(head: str, *cells: str) -> str:
    """Return a row of what is HTML already."""
    style = _CELL if len(cells) > 1 else _TEXT
    data = "".join(f'<td style="{style}">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row" style="{_HEAD}">{head}</th>{data}</tr>'


def _name(name: str) -> str:
    """Return a name, which may be written from right to left without turning its row around."""
    shown = name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
    return f'<bdi title="{escape(name)}">{escape(shown)}</bdi>'


def _bar(done: int, total: int, *, dim: bool = False) -> str:
    share = min(done / total, 1.0) * 100 if total else 0.0
    return (
        '<div style="width:12em;height:0.6em;margin-top:0.35em;border:1px solid currentColor;'
        f'opacity:{0.5 if dim else 0.9}">'
        f'<div style="width:{share:.1f}%;height:100%;background-color:currentColor"></div></div>'
    )


def _percent(done: int, total: int) -> str:
    return f"{done * 100 // total} %" if total else ""


if TYPE_CHECKING:
    _: type[Picture] = _CellView
