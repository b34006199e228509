"""``koodrive emulator``: a KooDrive on this machine, by hand."""

from __future__ import annotations

import os
import shlex
import tempfile
import textwrap
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

import anyio
import click
import yarl
from anyio import to_thread

from koodrive_async.cli.child import run_child
from koodrive_async.cli.json_output import json_option, write_json
from koodrive_async.cli.known_settings import NO_PROXY_AT_ALL
from koodrive_async.cli.output import quiet_option
from koodrive_async.cli.running import run
from koodrive_async.emulator import Dialect, Emulator, Faults
from koodrive_async.transport.plain_http import is_loopback
from koodrive_async.upload.journal import SETTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.fault import Kind

_DAY: Final = 86400.0

FAULT_KINDS: Final[Mapping[Kind, str]] = {
    "latency": "every answer comes late: latency=0.02 (seconds)",
    "bandwidth": "each connection is slow: bandwidth=1000000 (bytes a second)",
    "total-bandwidth": "all uploads together are: total-bandwidth=5000000:part.put",
    "error": "the service refuses: error=503:files.complete:rate=0.1",
    "early-answer": "it refuses, and reads no body: early-answer=503:part.put",
    "throttle": "HTTP 429: throttle=1:part.put:times=3 (seconds to wait)",
    "reset": "the connection is cut: reset=middle:part.put:times=1",
    "silence": "it takes the body and never answers: silence=after:part.put",
    "lost-answer": "it acts, its answer is lost: lost-answer:files.create",
    "half-answer": "it acts, and half of the answer comes",
    "headers-only": "it acts, and only the head of the answer comes",
    "trickle": "it answers a byte each second: trickle=1:files.create",
    "garbage": "it acts, and answers bytes that are no HTTP",
    "close": "it answers with Connection: close",
    "corrupt": "it stores a byte wrongly: corrupt:part.put:times=1",
    "lost-upload": "it forgets the upload: lost-upload:files.complete:times=1",
    "expired-url": "a presigned URL is too old: expired-url:part.put:times=1",
    "expired-lock": "the lock runs out: expired-lock:files.create:times=1",
    "expired-token": "the token runs out: expired-token:records.list:times=1",
}

_ABOUT_FAULTS: Final = (
    "\b\nFaults are kind[=value][:call][:option=value,...]. Options of all kinds are\n"
    "rate=0.1, times=3 and after=4; a call is one such as part.put or files.*\n"
    + "\n".join(f"  {kind:<15}  {text}" for kind, text in FAULT_KINDS.items())
)


_ONLY_PYTHON: Final[Mapping[str, str]] = {
    "url_scheme": " (only Python can play it: Emulator(ssl_context=...))",
}
"""What is said of questions that the command cannot play, by their names."""

_ABOUT_DIALECTS: Final = "\b\nDialects are NAME=VALUE, the first value is the default:\n" + (
    "\n".join(
        textwrap.fill(
            f"{name}: {', '.join(choices)}{_ONLY_PYTHON.get(name, '')}",
            width=78,
            initial_indent="  ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )
        for name, choices in Dialect.choices().items()
    )
)


@click.command(
    epilog=f"{_ABOUT_FAULTS}\n\n{_ABOUT_DIALECTS}",
    # what follows COMMAND is its own
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the interface.")
@click.option(
    "--object-port", type=click.IntRange(0, 65535), default=0, help="Port of the object store."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where state, contents and credentials live on; a temporary directory by default.",
)
@click.option(
    "--fault",
    "rules",
    metavar="SPEC",
    multiple=True,
    help="Something that goes wrong, such as reset=middle:part.put:times=1; the kinds are listed "
    "below. May be given several times.",
)
@click.option(
    "--dialect",
    "dialects",
    metavar="NAME=VALUE",
    multiple=True,
    help="An answer to one of the questions that the reference leaves open, such as "
    "lost_lock=423-13000901; they are listed below. May be given several times.",
)
@click.option(
    "--lock-seconds", type=float, default=600.0, show_default=True, help="Life of a lock."
)
@click.option(
    "--url-seconds",
    type=float,
    help="Life of a presigned URL; that of the dialect, 3600, by default.",
)
@click.option(
    "--token-seconds",
    type=float,
    default=_DAY,
    show_default=True,
    help="Life of an idle token; 1200 as the service has it.",
)
@quiet_option
@json_option
def emulator(
    *,
    command: tuple[str, ...],
    port: int,
    object_port: int,
    host: str,
    directory: Path | None,
    rules: tuple[str, ...],
    dialects: tuple[str, ...],
    lock_seconds: float,
    url_seconds: float | None,
    token_seconds: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a KooDrive on this machine, for as long as COMMAND runs, or until Ctrl-C.

    COMMAND finds it by its environment: koodrive emulator -- bash opens a shell in which all other
    commands work, koodrive emulator -- pytest runs tests. The exit code is that of COMMAND.

    Without COMMAND it writes only the variables that point a client at it, as a shell sets them,
    to standard output; with --json one object: url, directory, environment. No proxy is in between,
    and the journal of clients is in the directory, unless KOODRIVE_JOURNAL names another one.
    An app and an account to sign in with are in credentials.json of the directory.
    """
    with ExitStack() as stack:
        where = directory or Path(stack.enter_context(_temporary_directory()))
        service = Emulator(
            where,
            host=host,
            port=port,
            object_port=object_port,
            faults=faults_of(rules),
            lock_seconds=lock_seconds,
            url_seconds=url_seconds,
            token_seconds=token_seconds,
            dialect=dialect_of(dialects),
        )
        stack.enter_context(service)
        if command:
            if not (quiet or as_json):
                told = f"emulator: {service.url} serves what is in {where} to {command[0]}"
                click.echo(told, err=True)
            code = run_child(command, environment_of(service, where))
            raise click.exceptions.Exit(code)
        try:
            run(partial(_serve, service, where, quiet=quiet, as_json=as_json))
        except KeyboardInterrupt:
            if not (quiet or as_json):
                click.echo("emulator: stopped", err=True)


async def _serve(service: Emulator, where: Path, *, quiet: bool, as_json: bool) -> None:
    await to_thread.run_sync(partial(_announce, service, where, quiet=quiet, as_json=as_json))
    await anyio.sleep_forever()


def _announce(service: Emulator, where: Path, *, quiet: bool, as_json: bool) -> None:
    environment = environment_of(service, where)
    if as_json:
        write_json({"url": service.url, "directory": where.absolute(), "environment": environment})
    else:
        lines = (f"export {name}={shlex.quote(value)}" for name, value in environment.items())
        # in one piece: whoever reads it reads all of it, or nothing
        click.echo("\n".join(lines))
    if not (quiet or as_json):
        told = f"emulator: {service.url} serves what is in {where}; Ctrl-C stops it"
        click.echo(told, err=True)


def environment_of(service: Emulator, where: Path) -> dict[str, str]:
    """Return the variables that point a client at an emulator, past the proxies that there are.

    :param where: The directory of the emulator, which the journal is in, too: the user's own one
        would keep records of an emulator that is gone. A journal that the environment names stays.
    """
    # of a profile, too, the proxy leads elsewhere
    found = service.environment() | {"KOODRIVE_PROXY": NO_PROXY_AT_ALL}
    if not os.environ.get(SETTING, "").strip():
        found[SETTING] = str((where / "journal.db").absolute())
    url = yarl.URL(service.url)
    host = url.host or ""
    if not is_loopback(host):
        found["KOODRIVE_ALLOW_PLAIN_HTTP"] = host
    if {url.scheme, "all"} & getproxies().keys() and not proxy_bypass(host):
        # clients in other programs have this alone; who looks at both prefers small letters
        name = "no_proxy" if "no_proxy" in os.environ else "NO_PROXY"
        found[name] = ",".join(filter(None, (os.environ.get(name), host)))
    return found


def faults_of(rules: tuple[str, ...]) -> Faults:
    """Return the faults that ``--fault`` asks for.

    :raises click.BadParameter: One does not follow the grammar.
    """
    try:
        return Faults.parse(rules)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None


def dialect_of(settings: tuple[str, ...]) -> Dialect:
    """Return the dialect that ``--dialect`` asks for.

    :raises click.BadParameter: A name or a value does not exist, or cannot be had by the command.
    """
    try:
        dialect = Dialect.parse(settings)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--dialect") from None
    if not _ONLY_PYTHON.keys().isdisjoint(
        setting.partition("=")[0] for setting in dialect.settings
    ):
        raise click.BadParameter(
            "url_scheme needs a certificate, which Emulator(ssl_context=...) takes",
            param_hint="--dialect",
        )
    return dialect


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="koodrive-emulator-")
