"""Backup records: createBackupRecord, getBackupRecord, completeBackup, deleteBackupRecord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import (
    UPLOAD_INCOMPLETE,
    RefusedError,
    instant,
    invalid,
    not_found,
)
from koodrive_async.emulator.calls.devices import device
from koodrive_async.emulator.calls.devices import shape as device_shape
from koodrive_async.emulator.calls.removal import remove_record
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
    check_properties(call)
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
    return {"data": listed(call, record(call, record_id))}


def get(call: Call) -> Mapping[str, Any]:
    """getBackupRecord: one record by its id."""
    try:
        return {"data": listed(call, record(call, call.ids["recordId"]))}
    except RefusedError:
        if call.service.dialect.missing_record != "200-null":
            raise
        return {"data": None}


def complete(call: Call) -> Mapping[str, Any]:
    """completeBackup: once per record; properties, when given, replace those of the record."""
    store, dialect = call.service.store, call.service.dialect
    check_properties(call)
    row = record(call, call.ids["recordId"])
    if row["status"] == COMPLETED and dialect.completed_record == "accepted":
        return {}
    record_id = new_record(call, row["record_id"])["record_id"]
    unfinished = store.value(
        "SELECT 1 FROM files WHERE record_id = ? AND completed IS NULL LIMIT 1", record_id
    )
    if unfinished and dialect.unfinished_record == "refused":
        raise RefusedError(400, UPLOAD_INCOMPLETE, "File upload incomplete.")
    given = call.body.get("properties")
    kept = row["properties"] if dialect.left_out_properties == "kept" else None
    store.run(
        "UPDATE records SET status = ?, ended = ?, properties = ? WHERE record_id = ?",
        COMPLETED,
        call.now,
        kept if given is None else given,
        record_id,
    )
    return {}


def delete(call: Call) -> Mapping[str, Any]:
    """deleteBackupRecord: the record is gone or to be deleted, and its files are gone."""
    remove_record(call, record(call, call.ids["recordId"])["record_id"])
    return {}


def record(call: Call, record_id: str) -> sqlite3.Row:
    """Return a record of the user.

    :raises RefusedError: when there is none with this id.
    """
    row = call.service.store.row(
        "SELECT * FROM records WHERE record_id = ? AND user_id = ?", record_id, call.user_id
    )
    if row is None:
        raise not_found(f"No backup record has the id {record_id}.", kind="missing_record")
    return row


def new_record(call: Call, record_id: str) -> sqlite3.Row:
    """Return a record of the user that is still new.

    :raises RefusedError: when there is none with this id, or its status is not 0.
    """
    row = record(call, record_id)
    if row["status"] != NEW:
        raise invalid(f"the backup record is not new, its status is {row['status']}")
    return row


def check_properties(call: Call) -> None:
    """Rule of some dialects: properties have a limit."""
    limit = call.service.dialect.properties_limit
    given = call.body.get("properties")
    if limit != "none" and given is not None and len(given) > int(limit):
        raise invalid(f"properties: must be at most {limit} characters long")


def listed(call: Call, row: sqlite3.Row) -> dict[str, Any]:
    """Return a record as BackupRecord, with ``deviceInfo`` where the dialect has it."""
    fields = shape(row)
    if call.service.dialect.device_info == "given":
        info = call.service.store.row("SELECT * FROM devices WHERE device_id = ?", row["device_id"])
        if info is not None:
            fields["deviceInfo"] = device_shape(info)
    return fields


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
