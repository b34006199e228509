"""Finding the records that interrupted backups have left."""

from __future__ import annotations

import json
import logging
from hashlib import blake2b
from typing import TYPE_CHECKING

from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    KooDriveError,
    MalformedResponse,
)
from koodrive_async.models import RecordStatus
from koodrive_async.transport.refusals import passes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Records
    from koodrive_async.upload import Journal, SavedRecord

logger: logging.Logger = logging.getLogger(__name__)

ROOT_DIGEST = "rootDigest"
"""The property of a record that says which folder it is of, without naming it."""

_NOT_FOUND = "13000309"
_ENDED = frozenset({RecordStatus.COMPLETED, RecordStatus.TO_BE_DELETED})


def root_digest(root: str) -> str:
    """Return what tells a folder from others in the properties of its records."""
    return blake2b(root.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def has_ended(record: BackupRecord) -> bool:
    """Return whether a record certainly takes no more files; a status that is not known may."""
    return record.status in _ENDED


class RecordGoneError(Exception):
    """The record does not exist: both its page and the listing say so.

    :ivar refusal: The refusal of the call for the record.
    """

    def __init__(self, refusal: ApiError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


async def look_at(records: Records, record_id: str, module: Module, device_id: str) -> BackupRecord:
    """Return a record: by its id or, when that is refused, from the listing of its device.

    :raises RecordGoneError: The service's code says that it does not exist, and no listing has it.
    :raises ApiError: The service refused for another reason, or for one that no page names.
    :raises TransportError: No usable answer arrived.
    """
    try:
        return await records.get(record_id)
    except (ApiError, MalformedResponse) as refusal:
        if _is_of_all_records(refusal):
            raise
        first = refusal
    try:
        async for record in records.list(module, device_id):
            if record.record_id == record_id:
                logger.info("record %s is listed, though: %s", record_id, first)
                return record
    except KooDriveError:
        raise first from None
    if isinstance(first, ApiError) and first.code == _NOT_FOUND:
        raise RecordGoneError(first)
    raise first


async def left_behind(
    records: Records,
    journal: Journal,
    *,
    account: str,
    device_id: str,
    module: Module,
    root: str | None,
) -> AsyncGenerator[BackupRecord, None]:
    """Give the records that take files still, of one folder or of any, the likeliest first.

    The journal knows which record was of which folder: those come first, the newest ahead. Then
    come those that the service has of this device and module and the journal does not know, for
    one folder only if their properties say that they belong to it.

    :param root: Its absolute path; None for any.
    """
    given = set()
    for saved in await journal.unfinished(account, device_id, module.value):
        if root is not None and saved.root != root:
            continue
        if (record := await _of_the_journal(records, journal, saved, module)) is not None:
            given.add(record.record_id)
            yield record
    for record in await records.unfinished(module, device_id):
        if record.record_id in given:
            continue
        if root is not None and _digest_of(record) != root_digest(root):
            continue
        if await journal.record(account, record.record_id) is None:  # or it is of another folder
            yield record


async def _of_the_journal(
    records: Records, journal: Journal, saved: SavedRecord, module: Module
) -> BackupRecord | None:
    """Return a record that the journal knows if it takes files still; forget it when it is gone."""
    record: BackupRecord | None = None
    try:
        record = await look_at(records, saved.record_id, module, saved.device_id)
    except RecordGoneError:
        pass
    except (ApiError, MalformedResponse) as refusal:
        if _is_of_all_records(refusal):
            raise
        # no page says what this refusal means: the record may be found the next time
        logger.warning("record %s cannot be looked at: %s", saved.record_id, refusal)
        return None
    if record is None or has_ended(record):
        await journal.completed_record(saved.account, saved.record_id)
        return None
    return record if record.status is RecordStatus.NEW else None


def _is_of_all_records(refusal: ApiError | MalformedResponse) -> bool:
    """Return whether the refusal is not about this record: it is general, or temporary."""
    if isinstance(refusal, MalformedResponse):
        return False
    return passes(refusal) or isinstance(refusal, AuthenticationError)


def _digest_of(record: BackupRecord) -> object:
    try:
        properties = json.loads(record.properties or "null")
    except ValueError:
        return None
    return properties.get(ROOT_DIGEST) if isinstance(properties, dict) else None
