"""Small tables for notebooks: :func:`card` for one value, :func:`listing` for many.

Everything shown is text that somebody else may have chosen: it is escaped here and nowhere else.
Colours are those of the page, so that the tables can be read in light and in dark themes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs

from koodrive_async.wording import printable, shortened, size_text

if TYPE_CHECKING:
    from datetime import datetime

ROWS_SHOWN: Final = 20
"""Rows of a listing; of more it says how many."""

_LONGEST: Final = 80
_DIGEST: Final = 12
_CELL: Final = "text-align:left;vertical-align:top"
_NUMBER: Final = "text-align:right;vertical-align:top;white-space:nowrap"
_CODE: Final = "font-family:monospace;background:none;color:inherit;white-space:nowrap"
_TABLE: Final = '<table style="color:inherit">'
_CAPTION: Final = "text-align:left;caption-side:top;color:inherit"


@attrs.frozen
class Cell:
    """One value in a table.

    :param text: What is read.
    :param title: What is read when the pointer rests on it.
    :param code: Whether it is an id or the like, in letters of one width.
    :param number: Whether it stands to the right, for comparing.
    :param detail: Whether only a card has it, and a listing has no column for it.
    """

    text: str
    title: str | None = None
    code: bool = attrs.field(default=False, kw_only=True)
    number: bool = attrs.field(default=False, kw_only=True)
    detail: bool = attrs.field(default=False, kw_only=True)


Cells = Mapping[str, Cell | None]
"""Cells by the heading over or beside them; None where there is no value."""


@runtime_checkable
class Row(Protocol):
    """What can be a row of a listing."""

    def _html_row_(self) -> Cells: ...


def card(caption: str, cells: Cells, *, below: str = "") -> str:
    """Return a table with a line for each value that is there.

    :param below: HTML to stand under it.
    """
    lines = [
        f'<tr><th scope="row" style="{_CELL}">{escape(name)}</th>{_td(cell, _CELL)}</tr>'
        for name, cell in cells.items()
        if cell is not None
    ]
    return f"{_TABLE}{_caption(caption)}<tbody>{''.join(lines)}</tbody></table>{below}"


def listing(caption: str, items: Sequence[object], *, more: str = "") -> str:
    """Return a table with a row for each of the first items.

    :param items: All of them; those that are no :class:`Row` are shown as their ``repr``.
    :param more: A remark to stand under the rows.
    """
    rows = [_row_of(item) for item in items[:ROWS_SHOWN]]
    names = [name for name in dict.fromkeys(chain(*rows)) if _has_column(name, rows)]
    heads = "".join(
        f'<th scope="col" style="{_style_of_column(name, rows)}">{escape(name)}</th>'
        for name in names
    )
    body = "".join(
        f"<tr>{''.join(_td(row.get(name), _style(row.get(name))) for name in names)}</tr>"
        for row in rows
    )
    left = len(items) - len(rows)
    remarks = [f"… and {left:,} more"] if left else []
    remarks += [more] if more else []
    foot = "".join(f"<div>{escape(remark)}</div>" for remark in remarks)
    head = f"<thead><tr>{heads}</tr></thead>" if names else ""
    return f"{_TABLE}{_caption(caption)}{head}<tbody>{body}</tbody></table>{foot}"


# --- cells -------------------------------------------------------------------------------------


def text(value: object) -> Cell | None:
    """Return a cell with some text."""
    if value is None:
        return None
    shown = printable(str(value))
    return Cell(shortened(shown, _LONGEST), shown if len(shown) > _LONGEST else None)


def code(value: object) -> Cell | None:
    """Return a cell with an id."""
    cell = text(value)
    return None if cell is None else attrs.evolve(cell, code=True)


def detail(cell: Cell | None) -> Cell | None:
    """Return a cell that listings leave out."""
    return None if cell is None else attrs.evolve(cell, detail=True)


def number(value: float | None) -> Cell | None:
    """Return a cell with a number."""
    return None if value is None else Cell(f"{value:,}", number=True)


def seconds(value: float | None) -> Cell | None:
    """Return a cell with a time that passed."""
    return None if value is None else Cell(f"{value:.2f} s", f"{value!r} seconds", number=True)


def size(value: int | None) -> Cell | None:
    """Return a cell with a number of bytes, the exact one in its title."""
    return None if value is None else Cell(size_text(value), f"{value:,} bytes", number=True)


def moment(value: datetime | None) -> Cell | None:
    """Return a cell with a point in time."""
    if value is None:
        return None
    # not strftime, which writes the year 1 as systems please
    shown = f"{value.replace(tzinfo=None).isoformat(' ', 'seconds')} {value.tzname() or ''}"
    return Cell(shown.rstrip(), value.isoformat())


def digest(value: str | None) -> Cell | None:
    """Return a cell with the beginning of a digest, all of it in its title."""
    if value is None:
        return None
    whole = printable(value)
    return Cell(f"{whole[:_DIGEST]}…" if len(whole) > _DIGEST else whole, whole, code=True)


def name_of(value: object) -> Cell | None:
    """Return a cell with the name of a member of an enumeration, or with what is none."""
    found = getattr(value, "name", None)
    return text(value) if found is None else text(str(found).lower().replace("_", " "))


# --- tables ------------------------------------------------------------------------------------


def _row_of(item: object) -> Cells:
    return item._html_row_() if isinstance(item, Row) else {"": code(repr(item))}


def _has_column(name: str, rows: Sequence[Cells]) -> bool:
    cells = (row.get(name) for row in rows)
    return any(cell is not None and not cell.detail for cell in cells)


def _caption(caption: str) -> str:
    return f'<caption style="{_CAPTION}"><strong>{escape(printable(caption))}</strong></caption>'


def _style_of_column(name: str, rows: Sequence[Cells]) -> str:
    return _style(next((cell for row in rows if (cell := row.get(name)) is not None), None))


def _style(cell: Cell | None) -> str:
    return _NUMBER if cell is not None and cell.number else _CELL


def _td(cell: Cell | None, style: str) -> str:
    if cell is None:
        return f'<td style="{style}"></td>'
    title = "" if cell.title is None else f' title="{escape(cell.title)}"'
    shown = escape(cell.text)
    if cell.code:
        shown = f'<code style="{_CODE}">{shown}</code>'
    return f'<td style="{style}"{title}>{shown}</td>'
