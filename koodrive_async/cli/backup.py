"""``koodrive backup``: back up a folder or a file to the service in the environment."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import click

from koodrive_async.cli.exits import ExitCode
from koodrive_async.cli.machine import this_machine
from koodrive_async.cli.options import ConnectionsType, SizeType, module_option
from koodrive_async.cli.progress import Screen
from koodrive_async.cli.running import run
from koodrive_async.cli.uploading import Tally, upload_path
from koodrive_async.cli.wording import count_text, printable, reason
from koodrive_async.client import KooDrive
from koodrive_async.config import Limits
from koodrive_async.errors import InvalidArgument
from koodrive_async.tasks import task_group
from koodrive_async.upload import UploadReceipt

if TYPE_CHECKING:
    from koodrive_async.cli.machine import Machine
    from koodrive_async.models import Module
    from koodrive_async.upload import UploadFailure


@attrs.define(kw_only=True)
class _Job:
    """What to back up and how; and, once known, the device and the record."""

    path: Path
    is_file: bool
    module: Module
    machine: Machine
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    device_id: str | None = None
    record_id: str | None = None


@click.command()
@click.argument("path", type=click.Path(exists=True, readable=False, path_type=Path))
@module_option("What the backup is of.")
@click.option("--device-name", metavar="NAME", help="Name of this machine; the host's by default.")
@click.option(
    "--machine-code",
    metavar="CODE",
    help="What identifies this machine: 1 to 64 letters, digits and underscores. By default it is "
    "derived from the machine id.",
)
@click.option(
    "--include", metavar="PATTERN", multiple=True, help="Take these files only, such as '*.jpg'."
)
@click.option(
    "--exclude", metavar="PATTERN", multiple=True, help="Leave these files and folders out."
)
@click.option(
    "--connections",
    type=ConnectionsType(),
    default="auto",
    show_default=True,
    help="Parts sent at the same time: a number, or auto to let it find the best one.",
)
@click.option(
    "--memory",
    type=SizeType(),
    default=Limits().memory,
    show_default="32M, less in a small container",
    help="Memory for file content, such as 64M.",
)
@click.option(
    "--bandwidth",
    type=SizeType(),
    help="Bytes per second for all parts together, such as 2M; no limit by default.",
)
def backup(
    *,
    path: Path,
    module: Module,
    device_name: str | None,
    machine_code: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    connections: int | Literal["auto"],
    memory: int,
    bandwidth: int | None,
) -> None:
    """Back up PATH, a folder or a file.

    Anywhere but on a terminal each file has a line on standard output: outcome, bytes, SHA-256,
    file id and path, separated by tabs. Files that fail are named on standard error, and the
    others go on.
    """
    is_file = not path.is_dir()
    if is_file and (include or exclude):
        raise click.UsageError("--include and --exclude are for folders")
    job = _Job(
        path=path,
        is_file=is_file,
        module=module,
        machine=this_machine(machine_code, device_name),
        include=include,
        exclude=exclude,
    )
    drive = KooDrive.from_env(limits=_limits(connections, memory, bandwidth))
    tally = Tally()
    began = time.perf_counter()
    try:
        with Screen(tally.hashing, tally.sending) as screen:
            run(partial(_back_up, drive, job, tally, screen))
    except KeyboardInterrupt:
        click.echo(f"interrupted: {_so_far(job, tally)}", err=True)
        raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
    except Exception:
        if job.record_id is not None:
            click.echo(f"stopped: {_so_far(job, tally)}", err=True)
        raise
    click.echo(f"device\t{job.device_id}\nrecord\t{job.record_id}")
    click.echo(f"done\t{tally.summary(time.perf_counter() - began)}")
    if tally.failed:
        click.echo(f"error: {count_text(tally.failed, 'file')} not backed up", err=True)
        raise click.exceptions.Exit(ExitCode.FAILED)


def _limits(connections: int | Literal["auto"], memory: int, bandwidth: int | None) -> Limits:
    if bandwidth == 0:
        raise InvalidArgument("--bandwidth must be at least one byte per second")
    try:
        return Limits(connections=connections, memory=memory, bandwidth=bandwidth)
    except ValueError:
        raise InvalidArgument(f"--memory must be at least 4 MiB, not {memory} bytes") from None


async def _back_up(drive: KooDrive, job: _Job, tally: Tally, screen: Screen) -> None:
    async with drive:
        machine = job.machine
        device = await drive.devices.bind(machine.code, machine.name, machine.os)
        job.device_id = device.device_id
        async with drive.backup(device.device_id, job.module) as session:
            job.record_id = session.record.record_id
            async with task_group() as group:
                if screen.has_bars and not (job.include or job.exclude):
                    group.start_soon(tally.measure, job.path)
                async for outcome in upload_path(
                    session,
                    job.path,
                    tally,
                    is_file=job.is_file,
                    include=job.include,
                    exclude=job.exclude,
                ):
                    tally.add(outcome)
                    await _tell(screen, outcome)
                group.cancel_scope.cancel()


async def _tell(screen: Screen, outcome: UploadReceipt | UploadFailure) -> None:
    if not isinstance(outcome, UploadReceipt):
        where = printable(str(outcome.source))
        await screen.line(f"failed: {where}: {reason(outcome.error)}", err=True)
    elif screen.wants_lines:
        path = printable(outcome.description or outcome.name)
        await screen.line(
            f"{outcome.outcome}\t{outcome.size}\t{outcome.sha256}\t{outcome.file_id}\t{path}"
        )


def _so_far(job: _Job, tally: Tally) -> str:
    if job.record_id is None:
        return "nothing was backed up"
    return f"{count_text(tally.files, 'file')} backed up, record {job.record_id} is unfinished"
