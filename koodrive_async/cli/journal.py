"""``koodrive journal``: what this machine has begun to back up and not finished."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from koodrive_async.cli.listings import write_rows
from koodrive_async.cli.wording import count_text, printable, size_text
from koodrive_async.errors import ConfigurationError, RecordInUse
from koodrive_async.upload.journal import SETTING, default_path
from koodrive_async.upload.journal_locks import RecordLocks, locks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.upload.journal_store import JournalStore, Overview

_HEADER = (
    "RECORD",
    "STATE",
    "BEGUN",
    "AGE",
    "FILES",
    "COMPLETED",
    "PARTS",
    "DEVICE",
    "MODULE",
    "ACCOUNT",
    "ROOT",
)


@click.command()
@click.option(
    "--path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Another journal than that of this user, which {SETTING} may name.",
)
@click.option("--prune", is_flag=True, help="Forget what is older than --older-than.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    default=30.0,
    show_default=True,
    help="Records not gone on with, and hashes not used, for so many days.",
)
@click.option("--forget", metavar="RECORD", help="Forget one record with its uploads.")
def journal(path: Path | None, prune: bool, older_than: float, forget: str | None) -> None:
    """Show the backups of this machine that were begun and not finished.

    Anywhere but on a terminal: record id, "unfinished" or "in use" by a process, time it was begun,
    age, files begun, files completed, parts that have arrived of the others, device id, module,
    account and folder, separated by tabs; a dash stands for what is not known. The size of the
    journal goes to standard error.
    """
    path = path or default_path()
    if path is None:
        raise ConfigurationError(f"{SETTING} says that no journal is kept; --path names one")
    if not path.exists():
        click.echo(f"no journal at {printable(str(path))}", err=True)
        return
    locks = RecordLocks(locks_of(path.absolute()))
    with _opened(path) as store:
        if forget is not None:
            _forget(store, locks, forget)
        if prune:
            _prune(store, locks, older_than)
        if forget is None and not prune:
            write_rows(_HEADER, [_row(each, locks) for each in store.overview()])
        hashes = store.hashes.count()
    size = size_text(sum(file.stat().st_size for file in _files(path)))
    click.echo(f"{printable(str(path))}: {size}, {_hashes_text(hashes)}", err=True)


@contextmanager
def _opened(path: Path) -> Iterator[JournalStore]:
    import sqlite3  # noqa: PLC0415 - only here

    from koodrive_async.upload.journal_file import (  # noqa: PLC0415 - the same
        Unusable,
        transaction,
    )

    try:
        with transaction(path) as store:
            yield store
    except (sqlite3.Error, Unusable) as error:
        raise click.ClickException(f"{printable(str(path))}: {error}") from error


def _forget(store: JournalStore, locks: RecordLocks, record_id: str) -> None:
    found = [each for each in store.overview() if each.record.record_id == record_id]
    if not found:
        raise click.ClickException(f"record {printable(record_id)} is not in the journal")
    for each in found:
        account = each.record.account
        try:
            locks.take(account, record_id)
        except RecordInUse as error:
            raise click.ClickException(str(error)) from error
        store.forget_record(account, record_id)
        locks.remove(account, record_id)
        click.echo(f"forgot record {record_id} with {count_text(each.files, 'file')}")


def _prune(store: JournalStore, locks: RecordLocks, days: float) -> None:
    records, hashes = len(store.overview()), store.hashes.count()
    store.hashes.prune(days)
    store.prune_records(days, locks.is_taken)
    records, hashes = records - len(store.overview()), hashes - store.hashes.count()
    click.echo(f"forgot {count_text(records, 'record')} and {_hashes_text(hashes)}")


def _row(each: Overview, locks: RecordLocks) -> tuple[object, ...]:
    record = each.record
    return (
        record.record_id,
        "in use" if locks.is_taken(record.account, record.record_id) else "unfinished",
        datetime.fromtimestamp(record.begun, UTC),
        _age_text(time.time() - record.begun),
        each.files,
        each.completed,
        each.parts,
        record.device_id,
        record.module,
        record.account,
        record.root,
    )


def _age_text(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} seconds"


def _hashes_text(count: int) -> str:
    return f"{count:,} hash{'' if count == 1 else 'es'}"


def _files(path: Path) -> list[Path]:
    files = (path.with_name(path.name + suffix) for suffix in ("", "-wal"))
    return [file for file in files if file.exists()]
