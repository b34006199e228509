"""``koodrive backup``: back up a folder or a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import click
from click.core import ParameterSource

from koodrive_async.cli.dry_run import Rehearsal
from koodrive_async.cli.interruption import Interrupted, LastWords
from koodrive_async.cli.job import Job
from koodrive_async.cli.json_output import (
    Failed,
    error_object,
    json_option,
    json_text,
    write_json,
    write_warning,
)
from koodrive_async.cli.machine import this_machine
from koodrive_async.cli.options import (
    ConnectionsType,
    ExistingPath,
    SecondsType,
    SizeType,
    module_option,
)
from koodrive_async.cli.output import Bare, quiet_option_of
from koodrive_async.cli.own_records import ANOTHER_CLIENT, find_holder
from koodrive_async.cli.progress import Screen
from koodrive_async.cli.report import JsonLines, Lines
from koodrive_async.cli.resuming import RepeatableCommand, called_again
from koodrive_async.cli.rules import left_out_text, read_rules
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import connect, current
from koodrive_async.cli.waiting import telling_of_the_lock
from koodrive_async.cli.wording import ADRIFT, HELD, count_text, printable, reason
from koodrive_async.config import Limits, RetryPolicy, Timeouts, is_off
from koodrive_async.errors import InvalidArgument, LockRefused
from koodrive_async.upload.journal import AUTO
from koodrive_async.upload.tree import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from koodrive_async.cli.machine import Machine
    from koodrive_async.cli.output import Display
    from koodrive_async.cli.own_records import Holder
    from koodrive_async.cli.rules import Rules
    from koodrive_async.models import Module

_JOURNAL_LOG: Final = "koodrive_async.upload.journal_file"

_CLEANUP: Final = 0.5
"""Seconds for giving the lock back; there is one for everything, ``interruption.PATIENCE``."""


@click.command(cls=RepeatableCommand)
@click.argument("path", type=ExistingPath(readable=False))
@module_option("What the backup is of.")
@click.option("--device-name", metavar="NAME", help="Name of this machine; the host's by default.")
@click.option(
    "--machine-code",
    metavar="CODE",
    help="What identifies this machine: 1 to 64 letters, digits and underscores. By default it is "
    "derived from the machine id.",
)
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    help="Take these files only, such as '*.jpg' or /photos/.",
)
@click.option(
    "--exclude",
    metavar="PATTERN",
    multiple=True,
    help="Leave these files and folders out, such as '*.tmp' or node_modules/.",
)
@click.option(
    "--exclude-from",
    type=ExistingPath(dir_okay=False),
    metavar="FILE",
    multiple=True,
    help="Leave out what the lines of FILE say, one pattern on each.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be done and do nothing; neither the service nor credentials are needed.",
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
    type=SecondsType(),
    metavar="SECONDS",
    default=0.0,
    help="How long to wait for a backup lock that another client holds, such as 30 or 5m; not at "
    "all by default.",
)
@click.option(
    "--outage",
    type=SecondsType(),
    metavar="SECONDS",
    default=RetryPolicy().outage,
    show_default="15m",
    help="How long to wait while the service or the object store cannot be reached, such as 2h; 0 "
    "for not at all.",
)
@quiet_option_of("Write nothing but errors and, anywhere but on a terminal, the summary.")
@json_option
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
    exclude_from: tuple[Path, ...],
    dry_run: bool,
    connections: int | Literal["auto"],
    memory: int,
    bandwidth: int | None,
    resume: bool,
    wanted: str | None,
    journal: str,
    verify: bool,
    wait: float,
    outage: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Back up PATH, a folder or a file.

    Anywhere but on a terminal each file has a line on standard output: outcome, bytes, SHA-256,
    file id and path, separated by tabs; with --dry-run: upload, bytes, parts and path, or leave
    out, path and why. Files that fail are named on standard error, and the others go on.

    Patterns mean what they mean in a .gitignore, and the last one that matches decides: the file
    .koodriveignore in PATH comes first, then --exclude-from, then --exclude. What is not taken by
    any --include is left out as well. Those of a profile or of the environment hold too, and come
    before all others. Folders that are left out are not looked into, and symbolic links, FIFOs,
    sockets and devices are never backed up.

    With --json each line is an object whose "event" is begun (device_id, record_id, resumed),
    progress (once a second), finished (path, receipt), failed (path, error), or at the end done,
    with the totals; with --dry-run planned (path, action, size, parts, why), failed or done. What
    it waits for is said on standard error.
    """
    root = _root(path)
    is_file = not path.is_dir()
    rules = None
    if is_file:
        _refuse_what_is_no_file(path)
        _refuse_patterns(ctx)
    else:
        rules = read_rules(
            path,
            include=include,
            exclude=exclude,
            exclude_from=exclude_from,
            standing=current().patterns(),
        )
    if dry_run:
        goes_on = resume or wanted is not None
        _rehearse(path, is_file, rules, goes_on=goes_on, quiet=quiet, as_json=as_json)
        return
    job = Job(
        path=path,
        root=root,
        is_file=is_file,
        module=module,
        machine=_machine(machine_code, device_name, silent=quiet, as_json=as_json),
        rules=rules,
        resumes=resume,
        wanted=wanted,
        again=called_again(ctx).line,
    )
    display = _display(job, quiet=quiet, as_json=as_json)
    say, show = _voices(display)
    drive = connect(
        limits=_limits(connections, memory, bandwidth),
        timeouts=Timeouts(cleanup=_CLEANUP, lock=wait),
        retry=RetryPolicy(outage=outage),
        journal=_journal(journal),
        verify_parts=verify,
        say=say,
    )
    last_words = LastWords(partial(_interrupted_text, job, as_json=as_json))
    began = time.perf_counter()
    try:
        with (
            _telling_of_the_journal(job, as_json=as_json),
            display,
            telling_of_the_lock(
                ctx,
                say,
                show=show,
                who=lambda: str(_holder(job) or ANOTHER_CLIENT),
            ),
        ):
            voice = JsonLines(display) if as_json else Lines(display)
            run(partial(job.run, drive, display, voice), last_words)
    except Interrupted as interrupted:
        last_words.end(interrupted.number)
    except Exception as error:
        if isinstance(error, LockRefused) and (holder := _holder(job)) is not None:
            ctx.meta[HELD] = f"{holder}; --wait SECONDS waits for it"
        if job.record_id is not None:
            click.echo(_stopped_text(job, as_json=as_json), err=True)
        raise
    _write_end(job, time.perf_counter() - began, quiet=quiet, as_json=as_json)
    _warn(path, rules, job.tally.files + job.tally.failed, as_json=as_json)
    if job.left:
        write_warning(_left_text(job.left, path), as_json=as_json)
    if job.tally.failed:
        raise Failed(f"{count_text(job.tally.failed, 'file')} not backed up")


def _holder(job: Job) -> Holder | None:
    return find_holder(job.journal, job.endpoint, job.device_id, job.module)


def _left_text(left: Sequence[str], path: Path) -> str:
    records = count_text(len(left), "unfinished record")
    return (
        f"{records} of earlier runs of {printable(str(path))}: {printable(' '.join(left))}; "
        "--resume continues the newest, koodrive delete RECORD... deletes those that are not wanted"
    )


def _root(path: Path) -> str:
    try:
        return os.path.abspath(path)  # noqa: PTH100 - links are not followed, as in the journal
    except FileNotFoundError:
        raise click.UsageError(f"{printable(str(path))}: {ADRIFT}") from None


def _refuse_what_is_no_file(path: Path) -> None:
    if not path.is_file():
        kind = kind_of(path.stat().st_mode)
        raise click.UsageError(f"{path} is a {kind}: only files and folders are backed up")


def _refuse_patterns(ctx: click.Context) -> None:
    # those of a profile are for folders, whatever is backed up today
    for name in ("include", "exclude", "exclude_from"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError("--include and --exclude are for folders")


def _machine(code: str | None, name: str | None, *, silent: bool, as_json: bool) -> Machine:
    machine = this_machine(code, name)
    if name and machine.name != name and not silent:
        told = f"the device is called {machine.name!r}, in the characters that KooDrive takes"
        write_warning(told, as_json=as_json)
    return machine


def _rehearse(
    path: Path, is_file: bool, rules: Rules | None, *, goes_on: bool, quiet: bool, as_json: bool
) -> None:
    if goes_on and not quiet:
        told = "--dry-run looks at neither the service nor the journal: it plans every file"
        write_warning(told, as_json=as_json)
    rehearsal = Rehearsal(path=path, is_file=is_file, rules=rules)
    run(partial(rehearsal.run, Bare(silent=quiet), as_json=as_json))
    if as_json and not quiet:
        write_json(rehearsal.facts())
    elif not quiet:
        _write_left_out(left_out_text(rehearsal.left_out))
        click.echo(f"plan\t{rehearsal.summary()}; nothing was sent")
    found = rehearsal.files + rehearsal.failed
    _warn(path, rules, found, as_json=as_json, wild_too=True)
    if rehearsal.failed:
        raise Failed(f"{count_text(rehearsal.failed, 'file')} could not be backed up")


def _warn(
    path: Path, rules: Rules | None, found: int, *, as_json: bool, wild_too: bool = False
) -> None:
    warnings = rules.warnings(wild_too=wild_too) if rules is not None else []
    if not found:
        warnings.append(f"nothing to back up in {printable(str(path))}")
    for warning in warnings:
        write_warning(warning, as_json=as_json)


def _display(job: Job, *, quiet: bool, as_json: bool) -> Display:
    if quiet or as_json:
        return Bare(silent=quiet)
    return Screen(job.tally.hashing, job.tally.sending)


def _voices(display: Display) -> tuple[Callable[[str], object] | None, Callable[[str], object]]:
    """Return two ways to say what is waited for: once, and as a line that stays for a while."""
    if isinstance(display, Screen):
        return display.remark, display.status
    return None, lambda _: None


def _write_end(job: Job, seconds: float, *, quiet: bool, as_json: bool) -> None:
    if quiet and sys.stdout.isatty():
        return
    if as_json:
        write_json(job.summary(seconds))
        return
    if not quiet:
        click.echo(f"device\t{job.device_id}\nrecord\t{job.record_id}")
        _write_left_out(left_out_text(job.left_out))
    click.echo(f"done\t{job.tally.summary(seconds)}")


def _write_left_out(text: str | None) -> None:
    if text is not None:
        click.echo(f"left out\t{text}")


def _interrupted_text(job: Job, *, as_json: bool) -> str:
    if not as_json:
        return f"interrupted: {job.so_far()}"
    error = error_object(KeyboardInterrupt()) | {"type": "Interrupted"}
    return json_text({"error": error, "so_far": job.so_far_facts()})


def _stopped_text(job: Job, *, as_json: bool) -> str:
    if as_json:
        return json_text({"so_far": job.so_far_facts()})
    return f"stopped: {job.so_far()}"


@contextmanager
def _telling_of_the_journal(job: Job, *, as_json: bool) -> Iterator[None]:
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
        job.forgetful = job.forgetful or bool(heard)
        for record in heard:
            write_warning(_without_number(record), as_json=as_json)


def _without_number(record: logging.LogRecord) -> str:
    """Return what was logged, with an error of the system in its words alone."""
    words = printable(record.getMessage())
    error = record.args[-1] if isinstance(record.args, tuple) and record.args else None
    if isinstance(error, OSError):
        return words.replace(printable(str(error)), reason(error))
    return words


def _journal(given: str) -> str | None:
    if not given.strip():
        raise InvalidArgument("--journal must name a file, or be off")
    if is_off(given):
        return None
    return AUTO if given.strip().lower() == AUTO else given


def _limits(connections: int | Literal["auto"], memory: int, bandwidth: int | None) -> Limits:
    if bandwidth == 0:
        raise InvalidArgument("--bandwidth must be at least one byte per second")
    try:
        return Limits(connections=connections, memory=memory, bandwidth=bandwidth)
    except ValueError:
        raise InvalidArgument(f"--memory must be at least 4 MiB, not {memory} bytes") from None
