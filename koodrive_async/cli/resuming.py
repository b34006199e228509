"""Saying how an interrupted backup goes on."""

from __future__ import annotations

import shlex
from datetime import UTC
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.choosing import given_in_front

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from koodrive_async.models import BackupRecord

_ARGUMENTS: Final = "koodrive_async.arguments"


def named(record: BackupRecord) -> str:
    """Name a record that a backup goes on with."""
    begun = record.create_time and record.create_time.astimezone(UTC).isoformat(timespec="seconds")
    return f"record {record.record_id}" + (f", begun {begun}" if begun else "")


class RepeatableCommand(click.Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


def called_again(ctx: click.Context, *more: str) -> str:
    """Return the command line of a :class:`RepeatableCommand`, for a shell.

    :param more: Options to add.
    """
    given = _from_anywhere(ctx.meta[_ARGUMENTS], ctx.params.get("path"))
    # in front: what follows a "--" is no option
    return shlex.join(("koodrive", *given_in_front(ctx), ctx.command.name or "", *more, *given))


def _from_anywhere(given: Sequence[str], path: Path | None) -> Sequence[str]:
    """Return arguments with the path from the root on, so that the line can be typed anywhere."""
    if path is None or given.count(str(path)) != 1:
        return given  # the same word may be the value of an option
    return [str(path.absolute()) if each == str(path) else each for each in given]
