"""What the journal of this machine knows of records: which process writes them, which were left.

One journal has the records of every service that this user backs up to, emulators included, which
may number their records and devices alike: each question is about one service.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.cli.wording import printable
from koodrive_async.errors import RecordInUse
from koodrive_async.upload.journal_locks import RecordLocks, locks_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from koodrive_async.models import Module
    from koodrive_async.upload.journal_entries import SavedRecord
    from koodrive_async.upload.journal_store import JournalStore

ANOTHER_CLIENT: Final = "another client holds it, or has left it behind"
"""The text for a holder that is not known."""


@attrs.frozen
class Holder:
    """A process of this machine that writes a record.

    :ivar pid: Its id; None where the system does not say.
    :ivar root: The folder or file that it backs up; None where the journal has no note of that.
    """

    pid: int | None
    root: str | None

    def __str__(self) -> str:
        process = "another process" if self.pid is None else f"process {self.pid}"
        what = "" if self.root is None else f" {printable(self.root)}"
        return f"{process} of this machine is backing up{what}"


def find_holder(
    journal: Path | None, endpoint: str, device_id: str | None, module: Module
) -> Holder | None:
    """Return the process of this machine that writes a record of a device. It blocks.

    :param journal: The journal that both have.
    :param endpoint: The service that the device is bound to.
    :param device_id: Device ids are those of one user, whose lock it is.
    :returns: None when there is no such process: another machine holds the lock, or a process
        that has another journal.
    """
    if journal is None or device_id is None:
        return None
    locks = RecordLocks(locks_of(journal))
    for record in _records(journal, endpoint, device_id, module):
        if locks.is_taken(record.account, record.record_id):
            return Holder(locks.process_at(record.account, record.record_id), record.root)
    return None


def find_in_use(journal: Path | None, endpoint: str) -> frozenset[str]:
    """Return the ids of the records that processes of this machine are writing. It blocks.

    :param journal: The journal that they have.
    :param endpoint: The service that the ids are of.
    """
    if journal is None:
        return frozenset()
    locks = RecordLocks(locks_of(journal))
    return frozenset(
        each.record_id
        for each in _records_of(journal, endpoint)
        if locks.is_taken(each.account, each.record_id)
    )


def find_left(
    journal: Path | None, endpoint: str, device_id: str, module: Module, root: str
) -> list[SavedRecord]:
    """Return the unfinished records of a folder that no process is writing. It blocks.

    The service may have ended or deleted them meanwhile.
    """
    if journal is None:
        return []
    locks = RecordLocks(locks_of(journal))
    return [
        record
        for record in _records(journal, endpoint, device_id, module)
        if record.root == root and not locks.is_taken(record.account, record.record_id)
    ]


def find_saved(
    journal: Path | None, endpoint: str, record_ids: Iterable[str]
) -> dict[str, SavedRecord]:
    """Return what the journal has of records, by their ids. It blocks.

    :param endpoint: The service that the ids are of.
    :raises RecordInUse: A process of this machine is writing one of them.
    """
    if journal is None:
        return {}
    locks = RecordLocks(locks_of(journal))
    saved = {each.record_id: each for each in _records_of(journal, endpoint)}
    found = {each: saved[each] for each in record_ids if each in saved}
    for each in found.values():
        if locks.is_taken(each.account, each.record_id):
            raise RecordInUse(each.record_id)
    return found


def forget_saved(journal: Path | None, records: Iterable[SavedRecord]) -> None:
    """Forget records that are gone, if the journal can be written. It blocks."""
    if journal is None or not journal.exists():
        return
    locks = RecordLocks(locks_of(journal))
    with suppress(*_unusable()), _transaction(journal) as store:
        for each in records:
            store.forget_record(each.account, each.record_id)
            locks.remove(each.account, each.record_id)


def _records(journal: Path, endpoint: str, device_id: str, module: Module) -> list[SavedRecord]:
    return [
        each
        for each in _records_of(journal, endpoint)
        if (each.device_id, each.module) == (device_id, module.value)
    ]


def _records_of(journal: Path, endpoint: str) -> list[SavedRecord]:
    service = f"@{endpoint.rstrip('/')}"
    return [each for each in _all_records(journal) if each.account.endswith(service)]


def _all_records(journal: Path) -> list[SavedRecord]:
    with suppress(*_unusable()):
        if journal.exists():
            with _transaction(journal) as store:
                return [each.record for each in store.overview()]
    return []


def _transaction(journal: Path) -> AbstractContextManager[JournalStore]:
    from koodrive_async.upload.journal_file import transaction  # noqa: PLC0415 - with SQLite

    return transaction(journal)


def _unusable() -> tuple[type[Exception], ...]:
    import sqlite3  # noqa: PLC0415 - only here

    from koodrive_async.upload.journal_file import Unusable  # noqa: PLC0415 - with SQLite

    return OSError, NotImplementedError, sqlite3.Error, Unusable
