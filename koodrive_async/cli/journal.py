"""``koodrive journal``: what this machine has begun to back up and not finished."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from koodrive_async.cli.json_output import Failed, json_option, write_json
from koodrive_async.cli.output import Field, as_object, name_of, quiet_option, write_items
from koodrive_async.cli.settings import current
from koodrive_async.cli.wording import count_text, printable, size_text
from koodrive_async.config import is_off
from koodrive_async.errors import ConfigurationError, RecordInUse
from koodrive_async.models import Module
from koodrive_async.upload.journal import AUTO, SETTING, default_path
from koodrive_async.upload.journal_locks import RecordLocks, locks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from koodrive_async.upload.journal_store import JournalStore, Overview


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
@quiet_option
@json_option
def journal(
    *,
    path: Path | None,
    prune: bool,
    older_than: float,
    forget: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Show the backups of this machine that were begun and not finished.

    Anywhere but on a terminal: record id, "unfinished" or "in use" by a process, time it was begun,
    age, files begun, files completed, parts that have arrived of the others, device id, module,
    account and folder, separated by tabs; a dash stands for what is not known. The size of the
    journal goes to standard error.

    With --json one object: path, size, hashes, records (record_id, state, begun, files, completed,
    parts, device_id, module, account, root), and forgotten (records, hashes) with --prune or
    --forget.
    """
    path = path or _path()
    if path is None or not path.exists():
        if as_json and not quiet:
            write_json({"path": path, "size": 0, "hashes": 0, "records": []})
        elif path is not None and not quiet:
            click.echo(f"no journal at {printable(str(path))}", err=True)
        return
    locks = RecordLocks(locks_of(path.absolute()))
    told: list[str] = []
    with _opened(path) as store:
        before = _Held.of(store)
        if forget is not None:
            told += _forget(store, locks, forget)
        if prune:
            told.append(_prune(store, locks, older_than))
        found, held = list(store.overview()), _Held.of(store)
    if quiet:
        return
    size = sum(file.stat().st_size for file in _files(path))
    if as_json:
        records = [as_object(_fields(locks), each) for each in found]
        facts = {"path": path, "size": size, "hashes": held.hashes, "records": records}
        write_json(facts | ({"forgotten": attrs.asdict(before - held)} if told else {}))
        return
    if told:
        click.echo("\n".join(told))
    elif found:
        write_items(_fields(locks), found, as_json=False)
    where = f"{printable(str(path))}: {size_text(size)}, {_hashes_text(held.hashes)}"
    click.echo(where, err=True)


def _path() -> Path | None:
    """Return the journal of this user; None without a home folder, which a message has said."""
    settings = current()
    if settings.journal == AUTO:
        return default_path()
    if is_off(settings.journal):
        where = settings.values["journal"].where or SETTING
        raise ConfigurationError(f"{where} says that no journal is kept; --path names one")
    return Path(settings.journal)


@attrs.frozen
class _Held:
    """How much a journal holds."""

    records: int
    hashes: int

    @classmethod
    def of(cls, store: JournalStore) -> _Held:
        return cls(len(store.overview()), store.hashes.count())

    def __sub__(self, other: _Held) -> _Held:
        return _Held(self.records - other.records, self.hashes - other.hashes)


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
        raise Failed(f"{printable(str(path))}: {error}") from error


def _forget(store: JournalStore, locks: RecordLocks, record_id: str) -> list[str]:
    found = [each for each in store.overview() if each.record.record_id == record_id]
    if not found:
        raise Failed(
            f"record {printable(record_id)} is not in the journal",
            hint="koodrive journal lists those that are",
        )
    for each in found:
        account = each.record.account
        try:
            locks.take(account, record_id)
        except RecordInUse as error:
            raise Failed(str(error)) from error
        store.forget_record(account, record_id)
        locks.remove(account, record_id)
    return [f"forgot record {record_id} with {count_text(each.files, 'file')}" for each in found]


def _prune(store: JournalStore, locks: RecordLocks, days: float) -> str:
    before = _Held.of(store)
    store.hashes.prune(days)
    store.prune_records(days, locks.is_taken)
    gone = before - _Held.of(store)
    return f"forgot {count_text(gone.records, 'record')} and {_hashes_text(gone.hashes)}"


def _fields(locks: RecordLocks) -> Sequence[Field[Overview]]:
    def state(each: Overview) -> str:
        taken = locks.is_taken(each.record.account, each.record.record_id)
        return "in use" if taken else "unfinished"

    def begun(each: Overview) -> datetime | None:
        try:
            return datetime.fromtimestamp(each.record.begun, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    def age(each: Overview) -> str:
        return _age_text(time.time() - each.record.begun)

    return (
        Field("record_id", "RECORD", lambda each: each.record.record_id),
        Field("state", "STATE", state),
        Field("begun", "BEGUN", begun),
        Field(None, "AGE", age),
        Field("files", "FILES", lambda each: each.files),
        Field("completed", "COMPLETED", lambda each: each.completed),
        Field("parts", "PARTS", lambda each: each.parts),
        Field("device_id", "DEVICE", lambda each: each.record.device_id),
        Field("module", "MODULE", lambda each: _module_name(each.record.module)),
        Field("account", "ACCOUNT", lambda each: each.record.account, spare=True),
        Field("root", "ROOT", lambda each: each.record.root, folds=True),
    )


def _module_name(code: str) -> object:
    try:
        return name_of(Module(code))
    except ValueError:
        return code


def _age_text(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return count_text(round(max(seconds, 0)), "second")


def _hashes_text(count: int) -> str:
    return f"{count:,} hash{'' if count == 1 else 'es'}"


def _files(path: Path) -> list[Path]:
    files = (path.with_name(path.name + suffix) for suffix in ("", "-wal"))
    return [file for file in files if file.exists()]
