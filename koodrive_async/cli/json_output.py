"""JSON, for programs that run the command.

A listing that may be long, and a backup, write one object on each line; everything else writes one
object. Times are texts of ISO 8601 in UTC, sizes are bytes, and what is not known is null. What
ends a command is one object on standard error.
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from koodrive_async.cli.wording import hint, in_zone, reason
from koodrive_async.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ZERO: Final = "+00:00"
_JSON: Final = "koodrive_async.json"
_JSON_IN_FRONT: Final = "koodrive_async.json_in_front"


def json_in_front() -> click.Option:
    """Return the option ``--json`` that stands in front of a command."""

    def note(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            ctx.meta[_JSON_IN_FRONT] = True

    return click.Option(
        ["--json"], is_flag=True, expose_value=False, callback=note, help="Write JSON, errors too."
    )


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
    return bool(ctx.meta.get(_JSON) or ctx.meta.get(_JSON_IN_FRONT))


def asks_for_json(arguments: Iterable[str]) -> bool:
    """Say whether arguments ask for JSON, also where they turn out to be wrong."""
    return any(
        argument == "--json" or argument.startswith("--json=")
        for argument in takewhile(lambda argument: argument != "--", arguments)
    )


def note_json(ctx: click.Context) -> None:
    """Remember that JSON is wanted."""
    ctx.meta[_JSON] = True


def _note_json(ctx: click.Context, _: click.Parameter, wanted: bool) -> bool:
    wanted = wanted or bool(ctx.meta.get(_JSON_IN_FRONT))
    if wanted:
        note_json(ctx)
    return wanted


def json_text(value: object) -> str:
    """Return a value as JSON in one line, of ASCII alone: no terminal or pipe can spoil it."""
    return json.dumps(value, default=_plain, allow_nan=False)


def write_json(value: object) -> None:
    """Write one JSON object to standard output."""
    click.echo(json_text(value))


def write_done(facts: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Write what a command has done to standard output, as one object or in words."""
    click.echo(json_text(facts) if as_json else text)


def write_warning(text: str, *, as_json: bool) -> None:
    """Write what somebody should know, although the command goes on, to standard error."""
    said = json_text({"warning": {"message": text}}) if as_json else f"warning: {text}"
    click.echo(said, err=True)


def error_object(error: BaseException, command: str | None = None) -> dict[str, object]:
    """Return what went wrong for :func:`json_text`; what an error does not have is null.

    :param command: What was called, when it may have been called wrongly.
    """
    return {
        "type": type(error).__name__,
        "message": reason(error),
        "hint": _advice(error, command),
        "code": getattr(error, "code", None) or None,
        "status": getattr(error, "status", None),
        "trace_id": getattr(error, "trace_id", None),
    }


class Failed(click.ClickException):
    """The command has done what it could, and something of it failed.

    :ivar hint: What to do.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def error_text(error: BaseException, *, as_json: bool, command: str | None = None) -> str:
    """Return the line on standard error that says what ended a command.

    :param command: What was called.
    """
    if as_json:
        return json_text({"error": error_object(error, command)})
    advice = _advice(error, command)
    return f"error: {reason(error)}" + (f"; hint: {advice}" if advice else "")


def _advice(error: BaseException, command: str | None) -> str | None:
    if (advice := hint(error)) is not None:
        return advice
    wrong = isinstance(error, click.UsageError | InvalidArgument)
    return f"see {command} --help" if wrong and command else None


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        text = in_zone(value).isoformat(timespec="milliseconds")
        return f"{text[: -len(_ZERO)]}Z" if text.endswith(_ZERO) else text
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
