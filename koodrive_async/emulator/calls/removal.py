"""Removing records: deleteBackupRecord, and unbindDevice in some dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from koodrive_async.emulator.call import Call

TO_BE_DELETED: Final = 2


def remove_record(call: Call, record_id: str) -> None:
    """Remove a record with its files, or leave it as one that is to be deleted."""
    store = call.service.store
    blobs = {
        row["blob"] for row in store.rows("SELECT blob FROM files WHERE record_id = ?", record_id)
    }
    with store.transaction():
        store.run(
            "DELETE FROM parts WHERE file_id IN (SELECT file_id FROM files WHERE record_id = ?)",
            record_id,
        )
        store.run("DELETE FROM files WHERE record_id = ?", record_id)
        if call.service.dialect.deleted_record == "gone":
            store.run("DELETE FROM records WHERE record_id = ?", record_id)
        else:
            store.run("UPDATE records SET status = ? WHERE record_id = ?", TO_BE_DELETED, record_id)
    for blob in blobs:
        if store.value("SELECT 1 FROM files WHERE blob = ? LIMIT 1", blob) is None:
            call.service.blobs.remove(blob)
