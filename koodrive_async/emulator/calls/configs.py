"""Config entries: listConfigInfos, getConfigInfo, updateConfigInfo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koodrive_async.emulator.answers import invalid, not_found
from koodrive_async.emulator.calls.devices import device

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call


def list_infos(call: Call) -> Mapping[str, Any]:
    """listConfigInfos: all entries of a device and module, by name."""
    device_id = device(call, call.ids["deviceId"])["device_id"]
    rows = call.service.store.rows(
        "SELECT * FROM configs WHERE device_id = ? AND module = ? ORDER BY name",
        device_id,
        call.query["moduleCode"],
    )
    return {"data": [_shape(row) for row in rows]}


def get_info(call: Call) -> Mapping[str, Any]:
    """getConfigInfo: one entry by name."""
    return {"data": _shape(_entry(call, call.query["moduleCode"], call.query["configName"]))}


def update_info(call: Call) -> Mapping[str, Any]:
    """updateConfigInfo: set a value, if the current one is what the caller thinks it is."""
    module, name = call.body["moduleCode"], call.body["configName"]
    entry = _entry(call, module, name)
    if entry["value"] != call.body["currentConfigValue"]:
        raise invalid("currentConfigValue: is not the value that the entry has")
    call.service.store.run(
        "UPDATE configs SET value = ? WHERE device_id = ? AND module = ? AND name = ?",
        call.body["newConfigValue"],
        entry["device_id"],
        module,
        name,
    )
    updated = _shape(_entry(call, module, name))
    del updated["description"]  # SimpleConfigInfo has none
    return {"data": updated}


def _entry(call: Call, module: str, name: str) -> sqlite3.Row:
    row = call.service.store.row(
        "SELECT * FROM configs WHERE device_id = ? AND module = ? AND name = ?",
        device(call, call.ids["deviceId"])["device_id"],
        module,
        name,
    )
    if row is None:
        raise not_found(f"No config entry of module {module} is called {name}.")
    return row


def _shape(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "deviceId": row["device_id"],
        "moduleCode": row["module"],
        "configName": row["name"],
        "configValue": row["value"],
        "description": row["description"],
    }
