"""``koodrive delete``: remove records, such as those that interrupted backups have left."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.asking import agrees, somebody_is_there
from koodrive_async.cli.json_output import Failed, json_option, write_json
from koodrive_async.cli.options import SecondsType
from koodrive_async.cli.output import name_of, quiet_option
from koodrive_async.cli.own_records import find_saved, forget_saved
from koodrive_async.cli.resuming import named
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import connect
from koodrive_async.cli.wording import count_text, printable, reason
from koodrive_async.config import Timeouts
from koodrive_async.errors import KooDriveError, LockLost, LockRefused
from koodrive_async.models import Module, RecordStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from koodrive_async.client import KooDrive
    from koodrive_async.models import BackupRecord

_NOTHING: Final = "nothing was deleted"


@click.command()
@click.argument("record_ids", metavar="RECORD...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--completed", is_flag=True, help="Delete records that are completed, too: backups with files."
)
@click.option(
    "--wait",
    type=SecondsType(),
    metavar="SECONDS",
    default=0.0,
    help="How long to wait for a backup lock that another client holds; not at all by default.",
)
@quiet_option
@json_option
def delete(
    *,
    record_ids: tuple[str, ...],
    yes: bool,
    completed: bool,
    wait: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Delete each RECORD with the files that are in it.

    Without --yes it asks first, on a terminal. Records that are completed are refused without
    --completed, and so are records that a process of this machine is writing. The ids that were
    deleted have a line each. With --json one object: deleted, a list of ids, and failed, a list of
    record_id, message.
    """
    wanted = tuple(dict.fromkeys(record_ids))
    drive = connect()
    records, journal = run(partial(_look, drive, wanted))
    for record in records:
        _check(record, completed=completed)
    saved = find_saved(journal, drive.endpoint, wanted)
    if not yes:
        _confirm(records)
    drive = connect(timeouts=Timeouts(lock=wait))
    deleted, failed = run(partial(_delete, drive, records))
    forget_saved(journal, [saved[each] for each in deleted if each in saved])
    if as_json and not quiet:
        write_json(
            {
                "deleted": deleted,
                "failed": [{"record_id": each, "message": why} for each, why in failed.items()],
            }
        )
    elif not quiet:
        click.echo("".join(f"{printable(each)}\n" for each in deleted), nl=False)
    if failed:
        for each, why in () if as_json and not quiet else failed.items():
            click.echo(f"failed: {printable(each)}: {why}", err=True)
        raise Failed(f"{count_text(len(failed), 'record')} not deleted")


async def _look(
    drive: KooDrive, record_ids: Sequence[str]
) -> tuple[list[BackupRecord], Path | None]:
    async with drive:
        return [await drive.records.get(each) for each in record_ids], drive.journal_path


def _check(record: BackupRecord, *, completed: bool) -> None:
    if not isinstance(record.module, Module):
        raise Failed(f"{named(record)}, is of an unknown module: {record.module!r}")
    if record.status is not RecordStatus.NEW and not completed:
        raise Failed(
            f"{named(record)}, is {name_of(record.status)}",
            hint="--completed deletes it, with all its files",
        )


def _confirm(records: Sequence[BackupRecord]) -> None:
    if not somebody_is_there():
        raise click.UsageError("this is no terminal to ask on: --yes deletes without a question")
    for record in records:
        status = "unfinished" if record.status is RecordStatus.NEW else name_of(record.status)
        click.echo(f"{named(record)}, {status}", err=True)
    count = count_text(len(records), "record")
    if not agrees(f"Delete {count} and every file there for good?", otherwise=_NOTHING):
        raise Failed(_NOTHING)


async def _delete(
    drive: KooDrive, records: Sequence[BackupRecord]
) -> tuple[list[str], dict[str, str]]:
    deleted: list[str] = []
    failed: dict[str, str] = {}
    async with drive:
        for module in dict.fromkeys(record.module for record in records):
            assert module is not None  # noqa: S101 - checked
            ids = [record.record_id for record in records if record.module == module]
            async with drive.locks.hold(module) as lock:
                for each in ids:
                    try:
                        await lock.run(
                            lambda each=each: drive.records.delete(each, lock_id=lock.lock_id)  # type: ignore[misc]  # bound now, not later
                        )
                    except (LockLost, LockRefused):
                        raise
                    except KooDriveError as error:
                        failed[each] = reason(error)
                    else:
                        deleted.append(each)
    return deleted, failed
