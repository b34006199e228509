"""The command group: what all commands share, and how their failures end."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from typing import Any

import click

from koodrive_async import __version__
from koodrive_async.cli.backup import backup
from koodrive_async.cli.demo import demo
from koodrive_async.cli.doctor import doctor
from koodrive_async.cli.emulator import emulator
from koodrive_async.cli.exits import exit_code_of
from koodrive_async.cli.interruption import Interrupted, interruptible
from koodrive_async.cli.journal import journal
from koodrive_async.cli.listings import devices, files, records, scopes
from koodrive_async.cli.wording import reason

_LOG = "koodrive_async"


class _Commands(click.Group):
    """A group whose commands fail with one line and a documented exit code."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        # so that ``koodrive backup --debug`` works as well as ``koodrive --debug backup``
        cmd.params.append(_debug_option())
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        with interruptible():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as interrupted:
            click.echo("interrupted", err=True)
            raise click.exceptions.Exit(interrupted.exit_code) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            # click knows what to do with these; the last is a reader such as ``head`` that has left
            raise
        except Exception as error:  # noqa: BLE001 - the end of the line: it becomes an exit code
            if ctx.meta.get(_LOG):
                traceback.print_exception(error)
            click.echo(f"error: {reason(error)}", err=True)
            raise click.exceptions.Exit(exit_code_of(error)) from None


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_debug,
        help="Log what happens, and show where an error came from.",
    )


def _debug(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    # one dictionary is shared by the contexts of group and command
    if not wanted or ctx.meta.get(_LOG):
        return
    ctx.meta[_LOG] = True
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger(_LOG)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    ctx.call_on_close(lambda: logger.removeHandler(handler))


@click.group(
    cls=_Commands,
    params=[_debug_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all went well, 1 something failed (files are named), 2 wrong usage, "
    "3 settings are missing or wrong, 4 the service refused or did not answer; when a signal "
    "interrupts it, 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP.",
)
@click.version_option(__version__, prog_name="koodrive")
def koodrive() -> None:
    """Back up to Huawei Cloud KooDrive.

    All commands but demo, journal and emulator take the service from the environment:
    KOODRIVE_ENDPOINT, KOODRIVE_USER_ID, and KOODRIVE_TOKEN or both of KOODRIVE_APP_ID and
    KOODRIVE_APP_SECRET.
    """
    for stream in (sys.stdout, sys.stderr):
        # a file name that the terminal's encoding lacks must not end a backup
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


for _command in (demo, backup, records, files, devices, scopes, journal, doctor, emulator):
    koodrive.add_command(_command)
