"""``koodrive backup``: back up a folder or a file to the service in the environment."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import attrs
import click

from koodrive_async.cli.exits import ExitCode
from koodrive_async.cli.interruption import Interrupted, LastWords
from koodrive_async.cli.machine import this_machine
from koodrive_async.cli.options import ConnectionsType, SizeType, module_option
from koodrive_async.cli.progress import Screen
from koodrive_async.cli.report import Report
from koodrive_async.cli.resuming import RepeatableCommand, called_again, named
from koodrive_async.cli.running import run
from koodrive_async.cli.uploading import Tally, upload_path
from koodrive_async.cli.wording import count_text, printable
from koodrive_async.client import KooDrive
from koodrive_async.config import Limits, Timeouts
from koodrive_async.errors import InvalidArgument, KooDriveError
from koodrive_async.tasks import task_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from koodrive_async.backup import BackupSession
    from koodrive_async.cli.machine import Machine
    from koodrive_async.models import Module

_JOURNAL_LOG: Final = "koodrive_async.upload.journal_file"

_CLEANUP: Final = 0.5
"""Seconds for giving the lock back; there is one for everything, ``interruption.PATIENCE``."""


@attrs.define(kw_only=True)
class _Job:
    """What to back up and how; and, once known, the device and the record.

    :ivar resumes: Whether to look for a record to go on with.
    :ivar wanted: The record to go on with, when it was named.
    :ivar again: Returns the command as it was given, with more options.
    :ivar forgetful: Whether there is no journal that would know the record by its path.
    """

    path: Path
    root: str
    is_file: bool
    module: Module
    machine: Machine
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    resumes: bool
    wanted: str | None
    again: Callable[..., str]
    forgetful: bool = False
    device_id: str | None = None
    record_id: str | None = None


@click.command(cls=RepeatableCommand)
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
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the unfinished record that an interrupted backup of PATH has left; begin a "
    "new one when there is none.",
)
@click.option("--record", "wanted", metavar="RECORD", help="Go on with this unfinished record.")
@click.option(
    "--journal",
    metavar="FILE|off",
    default="auto",
    help="Where to note what --resume needs; by default what KOODRIVE_JOURNAL says, or a file in "
    "the place that the system has for such state.",
)
@click.option(
    "--verify", is_flag=True, help="Hash every part once more while it is sent, and compare."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=0.0,
    help="How long to wait for a lock that somebody else holds; not at all by default.",
)
@click.pass_context
def backup(
    ctx: click.Context,
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
    resume: bool,
    wanted: str | None,
    journal: str,
    verify: bool,
    wait: float,
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
        root=os.path.abspath(path),  # noqa: PTH100 - links are not followed, as in the journal
        is_file=is_file,
        module=module,
        machine=this_machine(machine_code, device_name),
        include=include,
        exclude=exclude,
        resumes=resume,
        wanted=wanted,
        again=partial(called_again, ctx),
    )
    drive = KooDrive.from_env(
        limits=_limits(connections, memory, bandwidth),
        timeouts=Timeouts(cleanup=_CLEANUP, lock=wait),
        journal=_journal(journal),
        verify_parts=verify,
    )
    tally = Tally()
    last_words = LastWords(lambda: f"interrupted: {_so_far(job, tally)}")
    began = time.perf_counter()
    try:
        with _telling_of_the_journal(), Screen(tally.hashing, tally.sending) as screen:
            run(partial(_back_up, drive, job, tally, screen), last_words)
    except Interrupted as interrupted:
        last_words.end(interrupted.number)
    except Exception:
        if job.record_id is not None:
            click.echo(f"stopped: {_so_far(job, tally)}", err=True)
        raise
    click.echo(f"device\t{job.device_id}\nrecord\t{job.record_id}")
    click.echo(f"done\t{tally.summary(time.perf_counter() - began)}")
    if tally.failed:
        click.echo(f"error: {count_text(tally.failed, 'file')} not backed up", err=True)
        raise click.exceptions.Exit(ExitCode.FAILED)


@contextmanager
def _telling_of_the_journal() -> Iterator[None]:
    """Say afterwards what was wrong with the journal: nobody would look into a log for it."""
    heard: list[logging.LogRecord] = []
    logger = logging.getLogger(_JOURNAL_LOG)
    handler = logging.Handler(logging.WARNING)
    handler.emit = heard.append  # type: ignore[assignment]  # all that this one does
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        for record in heard:
            click.echo(f"warning: {printable(record.getMessage())}", err=True)


def _journal(given: str) -> str | None:
    if not given.strip():
        raise InvalidArgument("--journal must name a file, or be off")
    return None if given.lower() == "off" else given


def _limits(connections: int | Literal["auto"], memory: int, bandwidth: int | None) -> Limits:
    if bandwidth == 0:
        raise InvalidArgument("--bandwidth must be at least one byte per second")
    try:
        return Limits(connections=connections, memory=memory, bandwidth=bandwidth)
    except ValueError:
        raise InvalidArgument(f"--memory must be at least 4 MiB, not {memory} bytes") from None


async def _back_up(drive: KooDrive, job: _Job, tally: Tally, screen: Screen) -> None:
    report = Report(screen, drive.limits.files_in_flight)
    async with drive:
        machine = job.machine
        device = await drive.devices.bind(machine.code, machine.name, machine.os)
        job.device_id = device.device_id
        job.forgetful = drive.journal_path is None
        record_id = await _record_to_resume(drive, device.device_id, job, screen)
        try:
            async with drive.backup(
                device.device_id, job.module, resume=record_id, root=job.root
            ) as session:
                job.record_id = session.record.record_id
                await _upload(session, job, tally, screen, report)
        except KooDriveError as error:
            await report.tell_withheld(error)
            raise
        await report.tell_withheld()


async def _record_to_resume(
    drive: KooDrive, device_id: str, job: _Job, screen: Screen
) -> str | None:
    if job.wanted is not None:
        await screen.line(f"resume\trecord {job.wanted}")
        return job.wanted
    if not job.resumes:
        return None
    found = await drive.find_unfinished(device_id, job.module, root=job.root)
    which = named(found) if found else "no unfinished record: a new one is begun"
    await screen.line(f"resume\t{which}")
    if found is not None:
        job.record_id = found.record_id
    return job.record_id


async def _upload(
    session: BackupSession, job: _Job, tally: Tally, screen: Screen, report: Report
) -> None:
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
            await report.tell(outcome)
        group.cancel_scope.cancel()


def _so_far(job: _Job, tally: Tally) -> str:
    if job.record_id is None:
        return "nothing was backed up"
    return (
        f"{count_text(tally.files, 'file')} backed up, record {job.record_id} is unfinished; "
        f"go on with: {_command_to_go_on(job, job.record_id)}"
    )


def _command_to_go_on(job: _Job, record_id: str) -> str:
    if job.wanted or job.resumes:
        return job.again()
    return job.again("--record", record_id) if job.forgetful else job.again("--resume")
