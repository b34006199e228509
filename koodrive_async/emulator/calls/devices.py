"""Devices: bindDevice, listBoundDevice, unbindDevice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koodrive_async.emulator.answers import instant, invalid, not_found
from koodrive_async.emulator.calls.removal import remove_record
from koodrive_async.emulator.rules import MODULES
from koodrive_async.emulator.service import new_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call


def bind(call: Call) -> Mapping[str, Any]:
    """bindDevice; a machine that is bound already keeps its id and takes the names given.

    That is one answer; dialects refuse to bind it, or bind it once more.
    """
    store, body = call.service.store, call.body
    known = store.row(
        "SELECT device_id FROM devices WHERE user_id = ? AND machine_code = ?",
        call.user_id,
        body["machineCode"],
    )
    if known is not None and call.service.dialect.bound_machine == "refused":
        raise invalid("machineCode: is bound already")
    if known is not None and call.service.dialect.bound_machine == "same-device":
        store.run(
            "UPDATE devices SET name = COALESCE(?, name), os = COALESCE(?, os) WHERE device_id = ?",
            body.get("deviceName"),
            body.get("deviceOS"),
            known["device_id"],
        )
        return {"data": shape(device(call, known["device_id"]))}
    device_id = new_number()
    with store.transaction():
        store.run(
            "INSERT INTO devices (device_id, user_id, machine_code, name, os, created)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            device_id,
            call.user_id,
            body["machineCode"],
            body.get("deviceName"),
            body.get("deviceOS"),
            call.now,
        )
        # Config entries are made by the service only; these are what a device begins with.
        store.run_many(
            "INSERT INTO configs VALUES (?, ?, ?, ?, ?)",
            [
                (device_id, module, name, value, f"{name} of module {module}")
                for module in MODULES
                for name, value in call.service.settings.configs.items()
            ],
        )
    return {"data": shape(device(call, device_id))}


def list_bound(call: Call) -> Mapping[str, Any]:
    """listBoundDevice: all devices of the user, in the order in which they were bound."""
    rows = call.service.store.rows(
        "SELECT * FROM devices WHERE user_id = ? ORDER BY seq", call.user_id
    )
    return {"data": [shape(row) for row in rows]}


def unbind(call: Call) -> Mapping[str, Any]:
    """unbindDevice: the device goes with its scopes and config entries; its records stay.

    In some dialects the records go as well, or the device stays while it has any.
    """
    store, dialect = call.service.store, call.service.dialect
    removed = device(call, call.ids["deviceId"])
    held = [
        row["record_id"]
        for row in store.rows(
            "SELECT record_id FROM records WHERE device_id = ?", removed["device_id"]
        )
    ]
    if held and dialect.unbound_device == "refused-with-records":
        raise invalid("the device has backup records")
    if dialect.unbound_device == "records-go":
        for record_id in held:
            remove_record(call, record_id)
    with store.transaction():
        for statement in (
            "DELETE FROM scopes WHERE device_id = ?",
            "DELETE FROM configs WHERE device_id = ?",
            "DELETE FROM devices WHERE device_id = ?",
        ):
            store.run(statement, removed["device_id"])
    return {"data": shape(removed)}


def device(call: Call, device_id: str) -> sqlite3.Row:
    """Return a device of the user.

    :raises RefusedError: when there is none with this id.
    """
    row = call.service.store.row(
        "SELECT * FROM devices WHERE device_id = ? AND user_id = ?", device_id, call.user_id
    )
    if row is None:
        raise not_found(f"No device has the id {device_id}.")
    return row


def shape(row: sqlite3.Row) -> dict[str, Any]:
    """Return a device as BoundDeviceEntity; what was never given is left out."""
    fields = {
        "deviceId": row["device_id"],
        "machineCode": row["machine_code"],
        "deviceOS": row["os"],
        "deviceName": row["name"],
        "createTime": instant(row["created"]),
    }
    return {name: value for name, value in fields.items() if value is not None}
