"""``koodrive emulator``: a KooDrive on this machine, by hand."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
import click
from anyio import to_thread

from koodrive_async.cli.running import run
from koodrive_async.emulator import Emulator, Faults


@click.command()
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
    help="Something that goes wrong, such as latency=0.02, error=503:files.complete:rate=0.1 or "
    "reset=middle:part.put:times=1. May be given several times.",
)
@click.option(
    "--lock-seconds", type=float, default=600.0, show_default=True, help="Life of a lock."
)
@click.option(
    "--url-seconds", type=float, default=3600.0, show_default=True, help="Life of a presigned URL."
)
@click.option(
    "--token-seconds", type=float, default=1200.0, show_default=True, help="Life of an idle token."
)
def emulator(
    *,
    port: int,
    object_port: int,
    host: str,
    directory: Path | None,
    rules: tuple[str, ...],
    lock_seconds: float,
    url_seconds: float,
    token_seconds: float,
) -> None:
    """Run a KooDrive on this machine until Ctrl-C.

    On standard output it writes only the variables that point a client at it, as a shell sets
    them: run koodrive emulator > emulator.env & and then . ./emulator.env
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
        )
        stack.enter_context(service)
        try:
            run(partial(_serve, service, where))
        except KeyboardInterrupt:
            click.echo("emulator: stopped", err=True)


async def _serve(service: Emulator, where: Path) -> None:
    await to_thread.run_sync(_announce, service, where)
    await anyio.sleep_forever()


def _announce(service: Emulator, where: Path) -> None:
    for name, value in service.environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(
        f"emulator: {service.url} serves what is in {where}; Ctrl-C stops it",
        err=True,
    )


def faults_of(rules: tuple[str, ...]) -> Faults:
    """Return the faults that ``--fault`` asks for.

    :raises click.BadParameter: One does not follow the grammar.
    """
    try:
        return Faults.parse(rules)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="koodrive-emulator-")
