"""What the service holds at one moment, unfinished files included: for tests to compare with."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from koodrive_async.emulator.service import Service


@attrs.frozen(kw_only=True)
class HeldFile:
    """A file that was created, complete or not.

    :param record_id: the record that it is in; ``None`` for an ordinary file.
    :param name: the name that it is stored under.
    :param sha256: what it was announced to hash to.
    :param size: what it was announced to be long, in bytes.
    :param arrived: how many of its parts are there as a whole; none for a rapid upload.
    """

    file_id: str
    user_id: str
    record_id: str | None
    name: str
    description: str | None
    sha256: str
    size: int
    completed: bool
    arrived: int


@attrs.frozen(kw_only=True)
class HeldLock:
    """A lock that is alive.

    :param expires: when it runs out, in epoch seconds of the emulator's clock.
    """

    lock_id: str
    user_id: str
    module: str
    expires: float


class HeldStatus(IntEnum):
    """Where a record stands; equal to the :class:`~koodrive_async.RecordStatus` of clients."""

    NEW = 0
    COMPLETED = 1
    TO_BE_DELETED = 2


@attrs.frozen(kw_only=True)
class HeldRecord:
    """A backup record.

    :param status: ``NEW`` until it is completed.
    """

    record_id: str
    user_id: str
    device_id: str
    module: str
    status: HeldStatus = attrs.field(converter=HeldStatus)
    properties: str | None


def held_files(service: Service) -> tuple[HeldFile, ...]:
    """Return all files, in the order of their creation."""
    rows = service.store.rows(
        "SELECT files.*, (SELECT COUNT(*) FROM parts WHERE parts.file_id = files.file_id"
        " AND end_state IS NOT NULL) AS arrived FROM files ORDER BY created, name, file_id"
    )
    return tuple(
        HeldFile(
            file_id=row["file_id"],
            user_id=row["user_id"],
            record_id=row["record_id"],
            name=row["name"],
            description=row["description"],
            sha256=row["sha256"],
            size=row["length"],
            completed=row["completed"] is not None,
            arrived=row["arrived"],
        )
        for row in rows
    )


def held_locks(service: Service) -> tuple[HeldLock, ...]:
    """Return the locks that have not run out."""
    rows = service.store.rows(
        "SELECT lock_id, user_id, module, expires FROM locks WHERE expires > ?"
        " ORDER BY expires, lock_id",
        service.clock(),
    )
    return tuple(HeldLock(**dict(row)) for row in rows)


def held_records(service: Service) -> tuple[HeldRecord, ...]:
    """Return all records, in the order of their creation."""
    rows = service.store.rows(
        "SELECT record_id, user_id, device_id, module, status, properties FROM records ORDER BY seq"
    )
    return tuple(HeldRecord(**dict(row)) for row in rows)


def held_content(service: Service, file_id: str) -> bytes:
    """Return the bytes of a file as they are stored; those of parts that are missing are zeros.

    :raises KeyError: when there is no such file.
    """
    file = service.store.row("SELECT blob, length FROM files WHERE file_id = ?", file_id)
    if file is None:
        raise KeyError(file_id)
    return service.blobs.whole(file["blob"])[: file["length"]].ljust(file["length"], b"\0")
