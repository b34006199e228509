"""Finding the record that an interrupted backup has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.errors import NotFound
from koodrive_async.models import RecordStatus

if TYPE_CHECKING:
    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Records
    from koodrive_async.upload import Journal


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
    that the service has of this device and module is taken, when it is among the last hundred.

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
        if await journal.record(account, record.record_id) is None:  # or it is of another folder
            return record
    return None


async def _open_record(records: Records, record_id: str) -> BackupRecord | None:
    try:
        record = await records.get(record_id)
    except NotFound:
        return None
    return record if record.status is RecordStatus.NEW else None
