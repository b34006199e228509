"""Finding the record that an interrupted backup has left."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

from koodrive_async.errors import NotFound
from koodrive_async.models import RecordStatus

if TYPE_CHECKING:
    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Records
    from koodrive_async.upload import Journal

ROOT_DIGEST = "rootDigest"
"""The property of a record that tells which folder it is of, without naming it."""


def root_digest(root: str) -> str:
    """Return what tells a folder from others in the properties of its records."""
    return blake2b(root.encode(errors="surrogatepass"), digest_size=16).hexdigest()


async def find_unfinished(
    records: Records,
    journal: Journal,
    *,
    account: str,
    device_id: str,
    module: Module,
    root: str | None,
) -> BackupRecord | None:
    """Return the newest record that takes files still, of one folder or of any.

    The journal knows which record was of which folder. Of those that it does not know, the newest
    that the service has of this device and module is taken, when it is among the last hundred; for
    one folder, only if its properties say that it is of that.

    :param root: Its absolute path; None for any.
    """
    for saved in await journal.unfinished(account, device_id, module.value):
        if root is not None and saved.root != root:
            continue
        if (record := await _open_record(records, saved.record_id)) is not None:
            return record
        await journal.completed_record(account, saved.record_id)
    newest = await anext(aiter(records.list(module, device_id).pages()), None)
    for record in newest or ():
        if record.status is not RecordStatus.NEW:
            continue
        if root is not None and _digest_of(record) != root_digest(root):
            continue
        if await journal.record(account, record.record_id) is None:  # or it is of another folder
            return record
    return None


def _digest_of(record: BackupRecord) -> object:
    try:
        properties = json.loads(record.properties or "null")
    except ValueError:
        return None
    return properties.get(ROOT_DIGEST) if isinstance(properties, dict) else None


async def _open_record(records: Records, record_id: str) -> BackupRecord | None:
    try:
        record = await records.get(record_id)
    except NotFound:
        return None
    return record if record.status is RecordStatus.NEW else None
