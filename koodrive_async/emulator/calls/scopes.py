"""Scopes: batchAddBackupScope, listBackupScope, batchDeleteBackupScope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koodrive_async.emulator.answers import RESOURCE_NOT_FOUND, instant
from koodrive_async.emulator.calls.devices import device
from koodrive_async.emulator.service import new_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call


def add(call: Call) -> Mapping[str, Any]:
    """batchAddBackupScope; its answer could not be read on the page.

    This one gives the scopes as listBackupScope does, and a ``failedScopeList``, which is empty:
    a scope that breaks a rule is refused with the whole request.
    """
    store = call.service.store
    device_id = device(call, call.ids["deviceId"])["device_id"]
    scope_ids = [new_number() for _ in call.body["scopeList"]]
    with store.transaction():
        store.run_many(
            "INSERT INTO scopes"
            " (scope_id, device_id, module, local_path, target_folder_path, created)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    scope_id,
                    device_id,
                    call.body["moduleCode"],
                    scope.get("localPath"),
                    scope.get("targetFolderPath"),
                    call.now,
                )
                for scope_id, scope in zip(scope_ids, call.body["scopeList"], strict=True)
            ],
        )
    if call.service.dialect.added_scopes == "absent":
        return {}
    if call.service.dialect.added_scopes == "ids":
        return {"scopeIdList": scope_ids, "failedScopeList": []}
    rows = (store.row("SELECT * FROM scopes WHERE scope_id = ?", each) for each in scope_ids)
    return {"scopeList": [_shape(row) for row in rows if row is not None], "failedScopeList": []}


def list_scopes(call: Call) -> Mapping[str, Any]:
    """listBackupScope: all scopes of a device and module, in the order in which they were added."""
    rows = call.service.store.rows(
        "SELECT * FROM scopes WHERE device_id = ? AND module = ? ORDER BY seq",
        device(call, call.ids["deviceId"])["device_id"],
        call.query["moduleCode"],
    )
    return {"scopeList": [_shape(row) for row in rows]}


def delete(call: Call) -> Mapping[str, Any]:
    """batchDeleteBackupScope: what can be deleted is, and the rest is listed as failed."""
    store = call.service.store
    device_id = device(call, call.ids["deviceId"])["device_id"]
    deleted: list[str] = []
    failed: list[dict[str, str]] = []
    with store.transaction():
        for scope_id in call.body["scopeIdList"]:
            if store.run(
                "DELETE FROM scopes WHERE scope_id = ? AND device_id = ?", scope_id, device_id
            ):
                deleted.append(scope_id)
            else:
                failed.append(
                    {
                        "scopeId": scope_id,
                        "errorCode": str(RESOURCE_NOT_FOUND),
                        "msg": "Resource not found.",
                    }
                )
    form = call.service.dialect.failed_scopes
    if form == "null" and not failed:
        return {"scopeIdList": deleted, "failedScopeList": None}
    if form == "object" and len(failed) == 1:  # an object holds one failure only
        return {"scopeIdList": deleted, "failedScopeList": failed[0]}
    return {"scopeIdList": deleted, "failedScopeList": failed}


def _shape(row: sqlite3.Row) -> dict[str, Any]:
    fields = {
        "localPath": row["local_path"],
        "targetFolderPath": row["target_folder_path"],
        "scopeId": row["scope_id"],
        "moduleCode": row["module"],
        "createTime": instant(row["created"]),
    }
    return {name: value for name, value in fields.items() if value is not None}
