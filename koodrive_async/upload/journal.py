"""The journal of uploads: what makes an interrupted one go on where it was."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.config import is_off
from koodrive_async.errors import RecordInUse
from koodrive_async.upload.journal_entries import (
    FileIdentity,
    SavedHash,
    SavedLock,
    SavedRecord,
    SavedUpload,
    UploadKey,
    boot_id,
    identity_of_bytes,
)
from koodrive_async.upload.journal_locks import RecordLocks, key_of_lock, locks_of
from koodrive_async.upload.journal_thread import JournalThread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.upload.journal_store import JournalStore
    from koodrive_async.upload.receipt import Outcome

__all__ = [
    "FileIdentity",
    "Journal",
    "SavedHash",
    "SavedLock",
    "SavedRecord",
    "SavedUpload",
    "UploadKey",
    "boot_id",
    "default_path",
    "identity_of_bytes",
]

_log = logging.getLogger("koodrive_async.upload.journal_file")

AUTO: Final = "auto"
"""The value of a setting for the default place of the journal."""

SETTING: Final = "KOODRIVE_JOURNAL"
"""The environment variable that names the journal, or is ``off``."""

_FORGOTTEN_AT_ONCE: Final = 10_000
"""Uploads forgotten in one transaction: a fraction of a second."""


def default_path() -> Path | None:
    """Return where the journal of this user is; None when the environment turns it off.

    A user without a home folder, as in a minimal container, has no journal either: that is logged.
    """
    # a value that was read from a file ends with a new line
    setting = os.environ.get(SETTING, "").strip()
    if is_off(setting):
        return None
    try:
        if setting and setting.lower() != AUTO:
            return Path(setting).expanduser()
        from platformdirs import user_state_path  # noqa: PLC0415 - takes 20 ms

        folder = user_state_path("koodrive-async")
    except (RuntimeError, KeyError):
        folder = Path("~")
    if not folder.is_absolute():  # "~" stays as it is where there is no home folder
        _log.warning(
            "no journal is kept: this user has no home folder; %s may name a file, or be off",
            SETTING,
        )
        return None
    return folder / "journal.db"


def _absolute(path: Path) -> Path | None:
    try:
        return path.absolute()
    except OSError as error:  # it is relative, and the working folder was removed
        _log.warning("going on without the journal %s: %s", path, error)
        return None


class Journal:
    """What was begun and how far it got, in a file that outlives the process.

    It is kept in SQLite, by a thread of its own, and several processes may share one. Whatever
    happens to the file, uploads go on: a damaged journal is set aside and a new one begun; while
    there is no place to write, or another process does not let go of it, there is none. Both are
    logged once, as a warning. No token and no presigned URL is ever in it.

    Nothing is touched before the first call, and outside of :meth:`open` and :meth:`aclose` every
    call does nothing, as it does in a process that was forked from the one that opened it.

    :param path: The file, made when it is needed; None to keep nothing.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else _absolute(Path(path))
        self._thread: JournalThread | None = None

    @classmethod
    def off(cls) -> Journal:
        """Return a journal that keeps nothing."""
        return cls(None)

    @property
    def path(self) -> Path | None:
        """The file; None when nothing is kept."""
        return self._path

    async def open(self) -> None:
        """Take calls from now on."""
        if self._path is not None and self._thread is None:
            self._locks = RecordLocks(locks_of(self._path))
            self._records: dict[tuple[str, str], SavedRecord] = {}
            self._held: dict[tuple[str, str], str] = {}
            self._thread = JournalThread(self._path, self._records, self._held, self._locks)

    async def aclose(self) -> None:
        """See everything on the disk, leave all records, and take no more calls."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.aclose()

    # --- hashes --------------------------------------------------------------------------------

    async def hash_of(self, identity: FileIdentity) -> SavedHash | None:
        """Return how far this version of a file has been hashed."""
        if self._thread is None:
            return None
        return await self._thread.ask(lambda store: store.hashes.find(identity), None)

    def hashed_on(self, identity: FileIdentity, grid: int, start: int, midstates: bytes) -> None:
        """Note how hashing goes on; from any thread.

        :param start: Bytes that were hashed when this was last noted.
        :param midstates: Those of the grid points behind ``start``.
        """
        if self._thread is not None:
            self._thread.put(lambda store: store.hashes.go_on(identity, grid, start, midstates))

    async def hashed(self, identity: FileIdentity, fingerprint: Fingerprint) -> None:
        """Note the hash of a whole file; it is committed when this returns.

        It is not, when the file was changed a moment ago: another change might not show.
        """
        if self._thread is not None:
            saved = SavedHash.finished(identity, fingerprint)
            await self._thread.ask(lambda store: store.hashes.finish(saved), None)

    def forget_hash(self, identity: FileIdentity) -> None:
        """Forget how far this version of a file has been hashed."""
        if self._thread is not None:
            self._thread.put(lambda store: store.hashes.forget(identity))

    # --- records -------------------------------------------------------------------------------

    async def begin(self, record: SavedRecord) -> bool:
        """Begin a record, or go on with it, as the only one on this machine who does.

        :returns: Whether there was certainly no entry of it before.
        :raises RecordInUse: Somebody else is at it.
        """
        thread, account, record_id = self._thread, record.account, record.record_id
        if thread is None:
            return False

        def begin(store: JournalStore) -> tuple[SavedRecord | None]:
            before = store.record(account, record_id)
            store.begin(record)
            if before is None and record.lock_id is not None:
                store.note_lock(account, record_id, record.lock_id)
            records[account, record_id] = record
            return (before,)

        records, locks, holder = self._records, self._locks, object()
        try:
            await thread.ask_alone(partial(locks.take, account, record_id, holder))
            begun = await thread.ask(begin, None)
            if begun is None:
                # it is begun when there is a journal again
                thread.put_alone(partial(records.__setitem__, (account, record_id), record))
        except asyncio.CancelledError:
            thread.put_alone(partial(locks.give_back, account, record_id, holder))
            raise
        return begun == (None,)

    async def record(self, account: str, record_id: str) -> SavedRecord | None:
        """Return a record that was begun and not completed."""
        if self._thread is None:
            return None
        return await self._thread.ask(lambda store: store.record(account, record_id), None)

    async def unfinished(
        self, account: str, device_id: str | None = None, module: str | None = None
    ) -> tuple[SavedRecord, ...]:
        """Return the records that nobody on this machine is at, newest first."""
        if self._thread is None:
            return ()
        locks = self._locks

        def unfinished(store: JournalStore) -> tuple[SavedRecord, ...]:
            found = store.unfinished(account, device_id, module)
            return tuple(each for each in found if not locks.is_taken(account, each.record_id))

        return await self._thread.ask(unfinished, ())

    def note_lock(self, account: str, record_id: str, lock_id: str | None) -> None:
        """Note the backup lock that a record is written under."""
        if self._thread is None:
            return

        def note(store: JournalStore) -> None:
            if (record := records.get((account, record_id))) is not None:
                records[account, record_id] = attrs.evolve(record, lock_id=lock_id)
            store.note_lock(account, record_id, lock_id)

        records = self._records
        self._thread.put(note)

    async def leave(self, account: str, record_id: str) -> None:
        """Be done with a record, which stays unfinished; everything noted is committed."""
        if self._thread is not None:
            await self._thread.ask_alone(partial(self._leave, account, record_id))

    async def completed_record(self, account: str, record_id: str) -> None:
        """Be done with a record for good, and forget its uploads."""
        if (thread := self._thread) is None:
            return

        def forget_some(store: JournalStore) -> bool:
            return store.forget_some_uploads(account, record_id, _FORGOTTEN_AT_ONCE)

        while await thread.ask(forget_some, False):
            pass  # others may write in between
        thread.put(lambda store: store.forget_record(account, record_id))
        await thread.ask_alone(partial(self._leave, account, record_id, for_good=True))

    def _leave(self, account: str, record_id: str, *, for_good: bool = False) -> None:
        self._records.pop((account, record_id), None)
        if for_good:
            self._locks.remove(account, record_id)
        else:
            self._locks.give_back(account, record_id)

    # --- backup locks --------------------------------------------------------------------------

    def hold_lock(self, account: str, module: str, lock_id: str) -> None:
        """Note a backup lock that this process holds from now on."""
        if self._thread is None:
            return
        # this first: a note without it would be one of a process that may live
        self._thread.put_alone(partial(self._hold_lock, account, module, lock_id))
        self._thread.put(lambda store: store.hold_lock(account, module, lock_id))

    def _hold_lock(self, account: str, module: str, lock_id: str) -> None:
        self._held[account, lock_id] = module
        with suppress(RecordInUse):  # by this process, which has claimed it
            self._locks.take(account, key_of_lock(lock_id))

    async def committed(self) -> None:
        """Wait until everything noted so far is committed."""
        if self._thread is not None:
            await self._thread.ask(lambda _: None, None)

    def forget_lock(self, account: str, lock_id: str) -> None:
        """Forget a backup lock, which nothing holds any longer."""
        if self._thread is None:
            return
        self._thread.put(lambda store: store.forget_lock(account, lock_id))
        self._thread.put_alone(partial(self._drop_lock, account, lock_id, for_good=True))

    def leave_lock(self, account: str, lock_id: str) -> None:
        """Hold a backup lock no longer, which stays noted: it may be alive."""
        if self._thread is None:
            return

        def leave(store: JournalStore) -> None:
            if (module := held.get((account, lock_id))) is not None:
                store.move_lock(account, module, lock_id)

        held = self._held
        self._thread.put(leave)
        self._thread.put_alone(partial(self._drop_lock, account, lock_id))

    def _drop_lock(self, account: str, lock_id: str, *, for_good: bool = False) -> None:
        self._held.pop((account, lock_id), None)
        if for_good:
            self._locks.remove(account, key_of_lock(lock_id))
        else:
            self._locks.give_back(account, key_of_lock(lock_id))

    async def claim_lock(
        self,
        account: str,
        module: str,
        passed_over: Collection[str] = (),
        *,
        record_id: str | None = None,
    ) -> SavedLock | None:
        """Hold a backup lock that was left by a process which certainly has ended.

        Where that cannot be said of its process, a lock is left alone.

        :param module: Its locks come first; others are in the way where a service has one lock for
            all modules.
        :param passed_over: Ids of locks that are not wanted.
        :param record_id: Only the lock of this record, which this process has begun.
        :returns: One that nothing else gets from now on; None when there is none.
        """
        if self._thread is None:
            return None
        locks = self._locks
        claimed: list[SavedLock] = []

        def is_left(lock: SavedLock) -> bool:
            if lock.record_id is None:
                return locks.is_abandoned(account, key_of_lock(lock.lock_id))
            return record_id is not None or locks.is_abandoned(account, lock.record_id)

        def claim(store: JournalStore) -> SavedLock | None:
            noted = store.locks(account, module)
            if record_id is not None:
                saved = store.record(account, record_id)
                wanted = None if saved is None else saved.lock_id
                noted = [each for each in noted if each.lock_id == wanted]
            for left in noted:
                if left.lock_id in passed_over or not is_left(left):
                    continue
                with suppress(RecordInUse):
                    locks.take(account, key_of_lock(left.lock_id))
                    claimed.append(left)
                    self._held[account, left.lock_id] = left.module
                    store.move_lock(account, left.module, left.lock_id)
                    return left
            return None

        try:
            return await self._thread.ask(claim, None)
        except asyncio.CancelledError:
            self._thread.put_alone(partial(self._leave_locks, account, claimed))
            raise

    def _leave_locks(self, account: str, claimed: list[SavedLock]) -> None:
        for each in claimed:
            self._drop_lock(account, each.lock_id)

    # --- uploads -------------------------------------------------------------------------------

    async def claim(self, account: str, record_id: str, key: UploadKey) -> SavedUpload | None:
        """Take an upload that was begun before this run of its record; nobody gets it again."""
        if self._thread is None:
            return None
        return await self._thread.ask(lambda store: store.claim(account, record_id, key), None)

    async def stored_names(self, account: str, record_id: str) -> tuple[str, ...]:
        """Return the names that the uploads of a record have there, begun or completed."""
        if self._thread is None:
            return ()
        return await self._thread.ask(lambda store: store.stored_names(account, record_id), ())

    async def knows_of_others(
        self, account: str, record_id: str, *, file_id: str, name: str, sha256: str
    ) -> bool:
        """Return whether a file is, or may be, of an upload that has noted so; False without notes.

        An upload that has noted the id has the file. One of another record that asked for this name
        with these bytes, and has not noted any file, may have it.
        """
        if self._thread is None:
            return False
        return await self._thread.ask(
            lambda store: store.knows_of_others(account, record_id, file_id, name, sha256), False
        )

    async def creating(
        self, account: str, record_id: str, key: UploadKey, *, stored_name: str, sha256: str
    ) -> int:
        """Note that a file is about to be created; it is committed when this returns.

        :returns: The upload's number in the journal; one that says nothing when there is none.
        """
        if self._thread is None:
            return 0
        return await self._thread.ask(
            lambda store: store.creating(account, record_id, key, stored_name, sha256), 0
        )

    def created(
        self, number: int, *, file_id: str | None, stored_name: str, container_id: str | None
    ) -> None:
        """Note what the service said of a new file."""
        if self._thread is not None:
            self._thread.put(
                lambda store: store.created(number, file_id, stored_name, container_id)
            )

    async def renamed(self, number: int, stored_name: str) -> None:
        """Note under which other name a file is about to be created; committed at the return."""
        if self._thread is not None:
            await self._thread.ask(
                lambda store: store.created(number, None, stored_name, None), None
            )

    async def part_arrived(self, number: int, part_number: int, etag: str | None) -> None:
        """Note a part that the object store has; it is committed when this returns."""
        if self._thread is not None:
            await self._thread.ask(
                lambda store: store.part_arrived(number, part_number, etag), None
            )

    def forget_parts(self, number: int, part_numbers: Iterable[int]) -> None:
        """Forget parts, which have to be sent again."""
        if self._thread is not None:
            forgotten = tuple(part_numbers)
            self._thread.put(lambda store: store.forget_parts(number, forgotten))

    def completed(
        self,
        number: int,
        outcome: Outcome,
        *,
        file_id: str | None = None,
        container_id: str | None = None,
    ) -> None:
        """Note that a file is in the record.

        :param file_id: What the service said when it was created, unless that is noted already.
        :param container_id: Likewise.
        """
        if self._thread is not None:
            self._thread.put(lambda store: store.completed(number, outcome, file_id, container_id))

    def forget_upload(self, number: int) -> None:
        """Forget an upload, which would have to begin anew."""
        if self._thread is not None:
            self._thread.put(lambda store: store.forget_upload(number))
