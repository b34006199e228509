"""Saying how an interrupted backup goes on."""

from __future__ import annotations

import shlex
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import click

from koodrive_async.cli.choosing import given_in_front

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    given: Sequence[Any] = ctx.meta[_ARGUMENTS]
    # in front: what follows a "--" is no option
    return shlex.join(("koodrive", *given_in_front(ctx), ctx.command.name or "", *more, *given))
