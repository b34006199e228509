"""Which process is at which record, and holds which backup lock.

Locks of the operating system say so, which end with the process.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.errors import RecordInUse

if TYPE_CHECKING:
    from filelock import BaseFileLock

logger: logging.Logger = logging.getLogger(__name__)

_PATIENCE: Final = 0.2
"""Seconds to try for: another process may just be looking whether a record is in use."""

_LOCKS: Final = Path("/proc/locks")
"""Where Linux says which process holds which lock."""

_KEPT: Final = 30 * 86400.0
"""Seconds after which the file of a lock that nobody holds is removed."""


@attrs.frozen(eq=False)
class _Held:
    lock: BaseFileLock | None
    holder: object


class RecordLocks:
    """The records that this process is at, and those of others; for one thread.

    :param folder: Where the locks are; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[tuple[str, str], _Held] = {}

    def take(self, account: str, record_id: str, holder: object = None) -> None:
        """Hold a record until it is given back or this process ends.

        Where nothing can be locked there is no lock.

        :param holder: Who may give it back.
        :raises RecordInUse: Somebody else holds it, in this process or another.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - takes 40 ms

        if (account, record_id) in self._held:
            raise RecordInUse(record_id)
        lock: BaseFileLock | None = None
        try:
            # in two steps: what is made on the way to a folder does not get its mode
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(self._file(account, record_id), mode=0o600, thread_local=False)
            lock.acquire(timeout=_PATIENCE, poll_interval=0.01)
        except Timeout:
            raise RecordInUse(record_id) from None
        except (OSError, NotImplementedError) as error:
            logger.info("record %s cannot be locked: %s", record_id, error)
            lock = None
        self._held[account, record_id] = _Held(lock, holder)

    def give_back(self, account: str, record_id: str, holder: object = None) -> None:
        """Hold a record no longer.

        :param holder: Only if it is held by this one; None for whoever it is.
        """
        held = self._held.get((account, record_id))
        if held is None or (holder is not None and held.holder is not holder):
            return
        del self._held[account, record_id]
        if held.lock is not None:
            with suppress(OSError):
                held.lock.release()

    def give_back_all(self) -> None:
        """Hold nothing any more."""
        for account, record_id in tuple(self._held):
            self.give_back(account, record_id)

    def remove(self, account: str, record_id: str) -> None:
        """Give back a record that nobody will want again."""
        with suppress(OSError):  # while it is held; not where open files cannot be removed
            self._file(account, record_id).unlink()
        self.give_back(account, record_id)

    def is_taken(self, account: str, record_id: str) -> bool:
        """Whether this or any other process is at a record."""
        return (account, record_id) in self._held or _is_locked(self._file(account, record_id))

    def process_at(self, account: str, record_id: str) -> int | None:
        """Return the id of the process that writes a record; None where the system shows none."""
        return _process_that_locks(self._file(account, record_id))

    def is_abandoned(self, account: str, record_id: str) -> bool:
        """Whether somebody was at a record who certainly is no more."""
        if (account, record_id) in self._held:
            return False
        return _can_be_locked(self._file(account, record_id))

    def prune(self) -> None:
        """Remove the files of locks that nobody has held in a long time."""
        before = time.time() - _KEPT
        with suppress(OSError):
            for file in self._folder.glob("*.record"):
                if file.stat().st_mtime < before and not _is_locked(file):
                    file.unlink()

    def _file(self, account: str, record_id: str) -> Path:
        name = blake2b(f"{account}\n{record_id}".encode(errors="replace"), digest_size=16)
        return self._folder / f"{name.hexdigest()}.record"


def key_of_lock(lock_id: str) -> str:
    """Return what stands for a backup lock among the ids of records."""
    return f"lock {lock_id}"


def locks_of(path: Path) -> Path:
    """Return the folder beside a journal that its locks are in."""
    return path.with_name(f"{path.name}.locks")


def _process_that_locks(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        inode = file.stat().st_ino
        for line in _LOCKS.read_text(encoding="ascii").splitlines():
            # "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF"; the device's number may be another
            number, kind, _, _, pid, place, *_ = line.split()
            if number and kind == "FLOCK" and place.rpartition(":")[2] == str(inode):
                return int(pid) if int(pid) > 0 else None
    return None


def _is_locked(file: Path) -> bool:
    from filelock import Timeout  # noqa: PLC0415 - takes 40 ms

    with suppress(OSError, NotImplementedError):
        try:
            _try(file)
        except Timeout:
            return True
    return False


def _can_be_locked(file: Path) -> bool:
    from filelock import Timeout  # noqa: PLC0415 - takes 40 ms

    try:
        return _try(file)
    except (OSError, NotImplementedError, Timeout):
        return False


def _try(file: Path) -> bool:
    """Lock a file and let it go; return whether it is there."""
    from filelock import FileLock  # noqa: PLC0415 - takes 40 ms

    if not file.exists():
        return False
    with FileLock(file, timeout=0, mode=0o600, thread_local=False):
        return True
