"""The command group: what all commands share, and how their failures end."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import click
from click.exceptions import Exit, NoArgsIsHelpError

from koodrive_async import __version__
from koodrive_async.cli.choosing import hidden_options, options_of_all, profile_option
from koodrive_async.cli.exits import exit_code_of
from koodrive_async.cli.interruption import Interrupted, interruptible
from koodrive_async.cli.json_output import (
    asks_for_json,
    error_text,
    json_in_front,
    note_json,
    wants_json,
)
from koodrive_async.cli.output import quiet_in_front

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_LOG: Final = "koodrive_async"
_RUNNING: Final = "koodrive_async.running"

_COMMANDS: Final = {
    "backup": ("backup", "Back up PATH, a folder or a file."),
    "completion": ("completion", "Print the script that completes command lines in SHELL."),
    "config": ("config", "Look at the settings, and the profiles that they come from."),
    "delete": ("deleting", "Delete each RECORD with the files that are in it."),
    "demo": ("demo", "Back up PATH to an emulator on this machine, and compare every byte."),
    "devices": ("listings", "List the devices of the user."),
    "doctor": ("doctor", "Check this machine, the settings and the service."),
    "emulator": ("emulator", "Run a KooDrive on this machine."),
    "files": ("listings", "List the files of RECORD."),
    "journal": ("journal", "Show the backups of this machine that were not finished."),
    "login": ("login", "Ask for the service and the credentials, and keep them."),
    "logout": ("login", "Forget the credentials of a profile."),
    "records": ("listings", "List backup records, newest first."),
    "scopes": ("scopes", "List, add and remove the backup scopes of a device."),
}
"""The commands: the module, which is loaded when one is wanted, and what the help says of it."""

_WITHOUT_SETTINGS: Final = frozenset({"completion", "demo", "emulator"})

for _package in ("pathspec", "rich", "tomlkit"):
    # said at once, and not by the one command that happens to need it
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)


class _Commands(click.Group):
    """A group whose commands fail with one line and a documented exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # of an unknown one click tells what it may have been, out of those that are loaded
        for name in (cmd_name,) if cmd_name in _COMMANDS else _COMMANDS:
            if name not in self.commands:
                module = import_module(f"koodrive_async.cli.{_COMMANDS[name][0]}")
                self.add_command(getattr(module, name), name)
        return super().get_command(ctx, cmd_name)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click gives it
        formatter: click.HelpFormatter,
    ) -> None:
        # in whole sentences, and without loading what takes most of a second
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - for completion only

        return [
            CompletionItem(name, help=summary)
            for name, (_, summary) in _COMMANDS.items()
            if name.startswith(incomplete)
        ] + click.Command.shell_complete(self, ctx, incomplete)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        _equip(cmd, profile=(name or cmd.name) not in _WITHOUT_SETTINGS)
        super().add_command(cmd, name)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        as_json = asks_for_json(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except (click.ClickException, OSError) as error:
            # what stands in front of a command is read here; the help, too, may find a full disk
            if _is_for_click(error):
                raise
            raise _told(error, as_json=as_json) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for name in getattr(ctx, "_protected_args", ()):
            # here, where a signal ends the process at once: not in the middle of an import
            self.get_command(ctx, name)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        with interruptible():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        if asks_for_json(ctx.args):
            note_json(ctx)
        try:
            return super().invoke(ctx)
        except Interrupted as interrupted:
            said = error_text(interrupted, as_json=True) if wants_json(ctx) else interrupted.words
            click.echo(said, err=True)
            raise Exit(interrupted.exit_code) from None
        except Exception as error:
            if isinstance(error, NoArgsIsHelpError) and wants_json(ctx):
                missing = click.UsageError("Missing command.", error.ctx)
                raise _told(missing, as_json=True) from None
            if _is_for_click(error):
                raise
            if ctx.meta.get(_LOG) and not isinstance(error, click.ClickException):
                traceback.print_exception(error)
            raise _told(error, as_json=wants_json(ctx), command=ctx.meta.get(_RUNNING)) from None


def _is_for_click(error: Exception) -> bool:
    """Say whether click knows what to do: to show help, to end, or that a reader has left."""
    return isinstance(error, NoArgsIsHelpError | Exit | BrokenPipeError)


def _told(error: Exception, *, as_json: bool, command: str | None = None) -> Exit:
    click.echo(error_text(error, as_json=as_json, command=command), err=True)
    return Exit(error.exit_code if isinstance(error, click.ClickException) else exit_code_of(error))


def _equip(command: click.Command, *, profile: bool) -> None:
    """Let options of all commands stand behind a command as well as in front of it."""
    if profile:
        command.params.append(profile_option())
        taken = {option for param in command.params for option in param.opts}
        command.params.extend(
            option for option in hidden_options() if taken.isdisjoint(option.opts)
        )
    command.params.append(_debug_option())
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _equip(below, profile=profile)


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_debug,
        help="Log what happens, and show where an error came from.",
    )


def _debug(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    # one dictionary is shared by the contexts of group and command, which comes later
    ctx.meta[_RUNNING] = ctx.command_path
    if not wanted or ctx.meta.get(_LOG):
        return
    ctx.meta[_LOG] = True
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger(_LOG)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    ctx.call_on_close(lambda: logger.removeHandler(handler))
    ctx.call_on_close(lambda: logger.setLevel(before))


@click.group(
    cls=_Commands,
    params=[*options_of_all(), quiet_in_front(), json_in_front(), _debug_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all went well, 1 something failed (files are named), 2 wrong usage, "
    "3 settings are missing or wrong, 4 the service refused or did not answer; when a signal "
    "interrupts it, 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP.",
)
@click.version_option(__version__, prog_name="koodrive")
def koodrive() -> None:
    """Back up to Huawei Cloud KooDrive.

    Begin with koodrive login, which asks for the service and the credentials and keeps them in a
    profile. The environment goes before a profile: KOODRIVE_ENDPOINT, KOODRIVE_USER_ID, and
    KOODRIVE_TOKEN or both of KOODRIVE_APP_ID and KOODRIVE_APP_SECRET; KOODRIVE_PROFILE names
    a profile; a profile that is typed goes before them. koodrive config explain says what holds. To
    try without an account: koodrive emulator -- bash.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        click.get_current_context().color = False
    for stream in (sys.stdout, sys.stderr):
        # a file name that the terminal's encoding lacks must not end a backup
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
