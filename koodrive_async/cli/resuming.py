"""Saying how an interrupted backup goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from koodrive_async.cli.choosing import given_in_front
from koodrive_async.cli.known_settings import SETTINGS, Source
from koodrive_async.cli.settings import current
from koodrive_async.cli.shell import command_line
from koodrive_async.cli.wording import moment_text, printable
from koodrive_async.config import is_off
from koodrive_async.upload.journal import AUTO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from koodrive_async.models import BackupRecord

_ARGUMENTS: Final = "koodrive_async.arguments"
_IN_FRONT_TOO: Final = {"quiet": "--quiet", "as_json": "--json"}


def named(record: BackupRecord) -> str:
    """Name a record that a backup goes on with."""
    text = f"record {printable(record.record_id)}"
    if record.create_time is None:
        return text
    return f"{text}, begun {moment_text(record.create_time)}"


class RepeatableCommand(click.Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@attrs.frozen(kw_only=True)
class Repetition:
    """A command as it was called, for a shell in any folder.

    :ivar front: The words up to the name of the command.
    :ivar options: The options that were typed, with their values.
    :ivar operands: The arguments behind the options, as absolute paths.
    """

    front: Sequence[str]
    options: Sequence[str]
    operands: Sequence[str]

    def line(self, *more: str) -> str:
        """Return the command line, on one line and quoted for the shell.

        :param more: Options to add.
        """
        words = (*self.front, *more, *self.options, *self.operands)
        return command_line(words, getattr(sys.stderr, "encoding", None) or "utf-8")


def called_again(ctx: click.Context) -> Repetition:
    """Return how a :class:`RepeatableCommand` was called. It looks at the working folder.

    It has every option that was typed, in front of the command or behind it. It names files by
    absolute paths, also those of relative paths in the environment. Options take no secrets, so
    it has none.
    """
    typed, _, order = ctx.command.make_parser(ctx).parse_args(list(ctx.meta[_ARGUMENTS]))
    options: list[str] = []
    operands: list[str] = []
    for param in dict.fromkeys(order):
        if param.name not in typed or typed[param.name] is None:
            continue
        if isinstance(param, click.Option):
            options += _option_words(param, typed[param.name])
        else:
            given = typed[param.name]
            operands += map(_absolute, given if isinstance(given, tuple) else (given,))
    options += [
        option
        for name, option in _IN_FRONT_TOO.items()
        if ctx.params.get(name) and name not in typed
    ]
    options += _of_environment({*typed, *_names_in_front(ctx)})
    front = ("koodrive", *_in_front(ctx), ctx.command.name or "")
    return Repetition(front=front, options=options, operands=operands)


def _option_words(option: click.Option, given: object) -> Iterator[str]:
    name = max(option.opts, key=len)
    if option.is_flag:
        yield name
        return
    for value in given if isinstance(given, list | tuple) else [given]:
        yield from _pair(name, _located(option.name or "", str(value)))


def _pair(name: str, value: str) -> tuple[str, ...]:
    # what begins with a dash looks like an option, to a reader at least
    return (f"{name}={value}",) if value.startswith("-") else (name, value)


def _in_front(ctx: click.Context) -> Iterator[str]:
    words = iter(given_in_front(ctx))
    for name, value in zip(words, words, strict=True):
        yield from _pair(name, _located(_name_of(name), value))


def _names_in_front(ctx: click.Context) -> Iterator[str]:
    return map(_name_of, given_in_front(ctx)[::2])


def _name_of(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _of_environment(typed: set[str]) -> Iterator[str]:
    """Return options for files that the environment names relative to the working folder.

    Patterns add up, so that a file of those would count twice: it is left to the environment.
    """
    values: Mapping[str, object] = {
        name: value.value
        for name, value in current().values.items()
        if value.source is Source.ENVIRONMENT and name in {"journal", "ca_file"}
    }
    for name, value in values.items():
        text = os.environ.get(SETTINGS[name].variable, "").strip()
        if name not in typed and not is_off(text) and text != AUTO and not _is_absolute(text):
            yield from (SETTINGS[name].option, str(value))


def _is_absolute(text: str) -> bool:
    return text.startswith("~") or Path(text).is_absolute()


def _located(name: str, value: str) -> str:
    setting = SETTINGS.get(name)
    if setting is None or not setting.is_file or is_off(value) or value == AUTO:
        return value
    # settings expand "~" to the home folder, also when the line is pasted
    return value if value.startswith("~") and not setting.takes_many else _absolute(value)


def _absolute(path: str) -> str:
    # "a/../b" stays: where "a" is a link, it is another place than "b"
    return str(Path(path).absolute())
