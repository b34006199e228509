"""Backup records: createBackupRecord, getBackupRecord, completeBackup, deleteBackupRecord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import instant, invalid, not_found
from koodrive_async.emulator.calls.devices import device
from koodrive_async.emulator.service import new_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call

NEW: Final = 0
COMPLETED: Final = 1
VERSION: Final = 1


def create(call: Call) -> Mapping[str, Any]:
    """createBackupRecord: a new record of a bound device."""
    record_id = new_number()
    call.service.store.run(
        "INSERT INTO records"
        " (record_id, user_id, device_id, module, status, properties, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        record_id,
        call.user_id,
        device(call, str(call.body["deviceId"]))["device_id"],
        call.body["moduleCode"],
        NEW,
        call.body.get("properties"),
        call.now,
    )
    return {"data": shape(record(call, record_id))}


def get(call: Call) -> Mapping[str, Any]:
    """getBackupRecord: one record by its id."""
    return {"data": shape(record(call, call.ids["recordId"]))}


def complete(call: Call) -> Mapping[str, Any]:
    """completeBackup: once per record; properties, when given, replace those of the record."""
    record_id = new_record(call, call.ids["recordId"])["record_id"]
    call.service.store.run(
        "UPDATE records SET status = ?, ended = ?, properties = COALESCE(?, properties)"
        " WHERE record_id = ?",
        COMPLETED,
        call.now,
        call.body.get("properties"),
        record_id,
    )
    return {}


def delete(call: Call) -> Mapping[str, Any]:
    """deleteBackupRecord: the record and its files are gone at once."""
    store = call.service.store
    record_id = record(call, call.ids["recordId"])["record_id"]
    blobs = {
        row["blob"] for row in store.rows("SELECT blob FROM files WHERE record_id = ?", record_id)
    }
    with store.transaction():
        store.run(
            "DELETE FROM parts WHERE file_id IN (SELECT file_id FROM files WHERE record_id = ?)",
            record_id,
        )
        store.run("DELETE FROM files WHERE record_id = ?", record_id)
        store.run("DELETE FROM records WHERE record_id = ?", record_id)
    for blob in blobs:
        if store.value("SELECT 1 FROM files WHERE blob = ? LIMIT 1", blob) is None:
            call.service.blobs.remove(blob)
    return {}


def record(call: Call, record_id: str) -> sqlite3.Row:
    """Return a record of the user.

    :raises RefusedError: when there is none with this id.
    """
    row = call.service.store.row(
        "SELECT * FROM records WHERE record_id = ? AND user_id = ?", record_id, call.user_id
    )
    if row is None:
        raise not_found(f"No backup record has the id {record_id}.")
    return row


def new_record(call: Call, record_id: str) -> sqlite3.Row:
    """Return a record of the user that is still new.

    :raises RefusedError: when there is none with this id, or its status is not 0.
    """
    row = record(call, record_id)
    if row["status"] != NEW:
        raise invalid(f"the backup record is not new, its status is {row['status']}")
    return row


def shape(row: sqlite3.Row) -> dict[str, Any]:
    """Return a record as BackupRecord; ``deviceInfo`` is left out, as in every example."""
    fields = {
        "recordId": row["record_id"],
        "moduleCode": row["module"],
        "status": row["status"],
        "properties": row["properties"],
        "version": VERSION,
        "createTime": instant(row["created"]),
        "endTime": None if row["ended"] is None else instant(row["ended"]),
    }
    return {name: value for name, value in fields.items() if value is not None}
