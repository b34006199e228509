"""What a journal of uploads remembers."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.upload.receipt import Outcome

_BOOT = Path("/proc/sys/kernel/random/boot_id")

_SECOND = 10**9
_TICK = 20 * 10**6
_COARSE_TICK = 2 * _SECOND


@attrs.frozen
class FileIdentity:
    """One version of a file; a file that was written to is another one.

    :param path: Absolute.
    :param size: Bytes.
    :param mtime_ns: Time of the last write, as the system tells it.
    :param ctime_ns: Time of the last change, which nobody can set.
    :param inode: Its number in its file system.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    def settled_at(self, moment_ns: int) -> bool:
        """Whether every change from a moment on gives the file another identity.

        File systems have clocks that tick: of two changes in one tick the second one does not show.
        """
        changed = self.mtime_ns if os.name == "nt" else self.ctime_ns  # there it means creation
        tick = _TICK if changed % _SECOND else _COARSE_TICK
        return moment_ns - changed > tick


@attrs.frozen
class SavedHash:
    """How far a file has been hashed.

    :param identity: The version of the file.
    :param grid: Bytes between two midstates.
    :param midstates: As in :class:`~koodrive_async.hashing.Fingerprint`.
    :param offset: Bytes hashed.
    :param sha256: The digest, when that was all; None otherwise.
    """

    identity: FileIdentity
    grid: int
    midstates: bytes = attrs.field(repr=False)
    offset: int
    sha256: str | None

    @classmethod
    def finished(cls, identity: FileIdentity, fingerprint: Fingerprint) -> SavedHash:
        """Take it from a whole fingerprint."""
        return cls(
            identity, fingerprint.grid, fingerprint.midstates, fingerprint.size, fingerprint.sha256
        )


@attrs.frozen(kw_only=True)
class SavedRecord:
    """A backup record that was begun.

    :param account: User and service.
    :param module: Name of the module.
    :param root: The folder that is backed up, when it is one.
    :param lock_id: The backup lock it was last written under.
    :param begun: Seconds since 1970.
    :param notes: Under which boot of the machine everything was noted; empty when notes may be
        missing.
    """

    account: str
    record_id: str
    device_id: str
    module: str
    root: str | None = None
    lock_id: str | None = None
    begun: float
    notes: str = ""


@attrs.frozen(kw_only=True)
class SavedLock:
    """A backup lock that was granted and not given back.

    :param module: Name of the module.
    :param record_id: The record that alone has it noted; None when it has a note of its own.
    """

    lock_id: str
    module: str
    record_id: str | None


@attrs.frozen(kw_only=True)
class UploadKey:
    """What makes an upload the same one in the next run.

    :param identity: The version of the file that is uploaded.
    :param name: As it was asked for.
    :param part_size: Bytes.
    """

    identity: FileIdentity
    name: str
    description: str | None
    part_size: int
    parent_folder: str | None
    container_id: str | None


@attrs.frozen(kw_only=True)
class SavedUpload:
    """How far an upload had got.

    :param number: Its number in the journal.
    :param stored_name: The name it has in the record.
    :param file_id: None when its creation was announced and no answer came.
    :param parts: The parts that the object store acknowledged, with their ETags; none any more when
        the upload was completed.
    :param outcome: None when it was not completed.
    """

    number: int
    stored_name: str
    sha256: str
    file_id: str | None
    container_id: str | None
    parts: Mapping[int, str | None]
    outcome: Outcome | None


def boot_id() -> str:
    """Return what tells this run of the machine from others; empty where the system does not say.

    What was committed survives a process; a crash of the machine may lose the last of it.
    """
    with suppress(OSError):
        return _BOOT.read_text(encoding="ascii").strip()
    return ""


def identity_of_bytes(sha256: str, size: int) -> FileIdentity:
    """Return what tells bytes without a path from others."""
    return FileIdentity(path=f"sha256:{sha256}", size=size, mtime_ns=0, ctime_ns=0, inode=0)
