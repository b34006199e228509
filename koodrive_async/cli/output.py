"""What a command writes: tables for people, lines of fields for a pipe, JSON on request."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

import attrs
import click
from anyio import to_thread

from koodrive_async.cli.json_output import json_text
from koodrive_async.cli.wording import in_zone, moment_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from rich.console import Console
    from rich.table import Table

T = TypeVar("T")

_QUIET: Final = "koodrive_async.quiet"
_NOTHING_BUT_ERRORS: Final = "Write nothing but errors, to standard error."
_NOTHING: Final = "-"
_NARROWEST: Final = 12
_BETWEEN: Final = 2


# --- listings ----------------------------------------------------------------------------------


@attrs.frozen
class Field(Generic[T]):
    """One fact of everything in a listing.

    :ivar key: What it is called in JSON; None when JSON says it otherwise.
    :ivar header: What its column is called; None when only JSON has it.
    :ivar folds: Whether it may take more than one line; an id may not, it is there to be copied.
    :ivar spare: Whether a narrow terminal may do without it.
    :ivar drops: Whether a table does without it when there is nothing in it.
    """

    key: str | None
    header: str | None
    get: Callable[[T], object]
    folds: bool = attrs.field(default=False, kw_only=True)
    spare: bool = attrs.field(default=False, kw_only=True)
    drops: bool = attrs.field(default=False, kw_only=True)


def as_object(fields: Sequence[Field[T]], item: T) -> dict[str, object]:
    """Return one item of a listing for :func:`json_text`."""
    return {field.key: field.get(item) for field in fields if field.key is not None}


def write_items(fields: Sequence[Field[T]], items: Iterable[T], *, as_json: bool) -> None:
    """Write a table on a terminal, fields separated by tabs anywhere else, or lines of JSON."""
    if as_json:
        lines = [json_text(as_object(fields, item)) for item in items]
        click.echo("".join(f"{line}\n" for line in lines), nl=False)
        return
    columns = [field for field in fields if field.header is not None]
    rows = [[field.get(item) for field in columns] for item in items]
    if not sys.stdout.isatty():
        lines = [row_text(*map(_in_full, row)) for row in rows]
        click.echo("".join(f"{line}\n" for line in lines), nl=False)
        return
    _write_table(columns, [[_in_short(cell) for cell in row] for row in rows])


def row_text(*fields: object) -> str:
    r"""Return fields separated by tabs.

    What is in a field is written as in a string of Python: a tab as ``\t``, a new line as ``\n``,
    what cannot be printed as ``\x1b`` or ``\u200b``, and a backslash as two.
    """
    return "\t".join(printable(str(field).replace("\\", "\\\\")) for field in fields)


def name_of(value: object) -> object:
    """Return the name of an enum's member as it is written; what the enum lacks stays as it is."""
    return value.name.lower() if isinstance(value, Enum) else value


def _in_full(cell: object) -> str:
    if cell is None:
        return _NOTHING
    if isinstance(cell, datetime):
        return moment_text(cell)
    return str(cell)


def _in_short(cell: object) -> str:
    if isinstance(cell, datetime):
        return in_zone(cell, None).replace(tzinfo=None).isoformat(" ", timespec="seconds")
    if isinstance(cell, str) and re.fullmatch("[0-9a-f]{64}", cell):
        return f"{cell[:12]}…"
    return printable(_in_full(cell))


def _write_table(columns: Sequence[Field[Any]], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - takes a while

    console = Console(highlight=False)
    widths = _widths(columns, rows)
    shown = [
        number
        for number, field in enumerate(columns)
        if not (field.drops and rows and all(row[number] == _NOTHING for row in rows))
    ]
    for number in reversed(shown):
        if _least_width(columns, widths, shown) > console.width and columns[number].spare:
            shown.remove(number)
    if _least_width(columns, widths, shown) > console.width:
        _write_blocks(console, columns, rows)
        return
    rows = [[row[number] for number in shown] for row in rows]
    console.print(_table([columns[number] for number in shown], rows))


def _write_blocks(
    console: Console, columns: Sequence[Field[Any]], rows: Sequence[Sequence[str]]
) -> None:
    """Write a block of lines for each row, where a line would have to be cut."""
    from rich.text import Text  # noqa: PLC0415 - takes a while

    labels = max(len(field.header or "") for field in columns)
    for number, row in enumerate(rows):
        if number:
            console.print()
        for field, cell in zip(columns, row, strict=True):
            console.print(Text(f"{field.header:<{labels}}  {cell}"), soft_wrap=True)


def _widths(columns: Sequence[Field[Any]], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len  # noqa: PLC0415 - takes a while

    return [
        max([len(field.header or ""), *(cell_len(row[number]) for row in rows)])
        for number, field in enumerate(columns)
    ]


def _least_width(columns: Sequence[Field[Any]], widths: Sequence[int], shown: Sequence[int]) -> int:
    return _BETWEEN * (len(shown) - 1) + sum(
        min(widths[number], _NARROWEST) if columns[number].folds else widths[number]
        for number in shown
    )


def _table(columns: Sequence[Field[Any]], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - takes a while
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0))
    for field in columns:
        table.add_column(
            field.header or "",
            overflow="fold",
            no_wrap=not field.folds,
            justify="right" if field.header == "BYTES" else "left",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


# --- where a command that works writes ----------------------------------------------------------


def quiet_option(command: Any) -> Any:
    """Give a command ``--quiet``, as its argument ``quiet``."""
    return quiet_option_of(_NOTHING_BUT_ERRORS)(command)


def quiet_option_of(purpose: str) -> Callable[[Any], Any]:
    """Return the option ``--quiet`` of a command that writes something in spite of it.

    :param purpose: The help text of the option.
    """
    return click.option(
        "--quiet",
        "-q",
        is_flag=True,
        callback=lambda ctx, _, wanted: wanted or bool(ctx.meta.get(_QUIET)),
        help=purpose,
    )


def quiet_in_front() -> click.Option:
    """Return the option ``--quiet`` that stands in front of a command."""

    def note(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        ctx.meta[_QUIET] = wanted

    return click.Option(
        ["--quiet", "-q"],
        is_flag=True,
        expose_value=False,
        callback=note,
        help=_NOTHING_BUT_ERRORS,
    )


class Display(Protocol):
    """Where a command that takes a while writes, used inside ``with`` around the event loop."""

    @property
    def has_bars(self) -> bool:
        """Whether a person is watching."""
        ...

    @property
    def wants_lines(self) -> bool:
        """Whether each finished file should have a line."""
        ...

    async def line(self, text: str, *, err: bool = False) -> None:
        """Write a line, without blocking the event loop."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Bare:
    """A display without bars, whatever it writes to.

    :param silent: Whether nothing comes through but what is for standard error.
    """

    has_bars = False

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self.wants_lines: bool = not silent

    async def line(self, text: str, *, err: bool = False) -> None:
        """Write a line, in a worker thread: a pipe's reader may take its time."""
        if err or not self._silent:
            await to_thread.run_sync(partial(click.echo, text, err=err), abandon_on_cancel=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """There is nothing to take off the screen."""
