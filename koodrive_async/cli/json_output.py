"""JSON, for programs that run the command.

A listing that may be long, and a backup, write one object on each line; everything else writes one
object. Times are texts of ISO 8601 in UTC, sizes are bytes, and what is not known is null. What
ends a command is one object on standard error.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from koodrive_async.cli.wording import hint, reason

if TYPE_CHECKING:
    from collections.abc import Iterable

_JSON: Final = "koodrive_async.json"


def json_option(command: Any) -> Any:
    """Give a command ``--json``, as its argument ``as_json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=_note_json,
        help="Write JSON, errors too.",
    )(command)


def wants_json(ctx: click.Context) -> bool:
    """Say whether the command that runs, or was to run, was given ``--json``."""
    return bool(ctx.meta.get(_JSON))


def note_json(ctx: click.Context, arguments: Iterable[str]) -> None:
    """Remember whether arguments ask for JSON, also where they turn out to be wrong."""
    if "--json" in takewhile(lambda argument: argument != "--", arguments):
        ctx.meta[_JSON] = True


def _note_json(ctx: click.Context, _: click.Parameter, wanted: bool) -> bool:
    if wanted:
        ctx.meta[_JSON] = True
    return wanted


def json_text(value: object) -> str:
    """Return a value as JSON in one line, of ASCII alone: no terminal or pipe can spoil it."""
    return json.dumps(value, default=_plain, allow_nan=False)


def write_json(value: object) -> None:
    """Write one JSON object to standard output."""
    click.echo(json_text(value))


def error_object(error: BaseException) -> dict[str, object]:
    """Return what went wrong for :func:`json_text`; what an error does not have is null."""
    return {
        "type": type(error).__name__,
        "message": reason(error),
        "hint": hint(error),
        "code": getattr(error, "code", None) or None,
        "status": getattr(error, "status", None),
        "trace_id": getattr(error, "trace_id", None),
    }


class Failed(click.ClickException):
    """The command has done what it could, and something of it failed."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to standard error, as every other error is written."""
        click.echo(error_text(self, as_json=False), file=file, err=file is None)


def error_text(error: BaseException, *, as_json: bool) -> str:
    """Return the line on standard error that says what ended a command."""
    if as_json:
        return json_text({"error": error_object(error)})
    advice = hint(error)
    return f"error: {reason(error)}" + (f"; hint: {advice}" if advice else "")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None)
        return f"{moment.isoformat(timespec='milliseconds')}Z"
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
