"""Listings in pages: listBackupRecord (newest first) and listBackupFile (as they were completed).

A page begins behind the last row of the page before it, not at a count of rows: what is added
while someone turns pages neither repeats nor hides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import instant
from koodrive_async.emulator.calls import records
from koodrive_async.emulator.cursors import cursor_after, position_in

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call

NEWEST: Final = 2**63 - 1


def list_records(call: Call) -> Mapping[str, Any]:
    """listBackupRecord: the records of a module, of one device if its id is given."""
    module, device_id = call.query["moduleCode"], call.query.get("deviceId")
    listing = ("records.list", call.user_id, module, device_id)
    rows = call.service.store.rows(
        "SELECT * FROM records WHERE user_id = ? AND module = ? AND (? IS NULL OR device_id = ?)"
        " AND seq < ? ORDER BY seq DESC LIMIT ?",
        call.user_id,
        module,
        device_id,
        device_id,
        _position(call, listing, NEWEST),
        int(call.query["pageSize"]) + 1,
    )
    page, more = _page(call, rows)
    answer: dict[str, Any] = {"data": [records.shape(row) for row in page]}
    if more:
        answer["nextCursor"] = _cursor(call, listing, page[-1]["seq"])
    return answer


def list_files(call: Call) -> Mapping[str, Any]:
    """listBackupFile: the completed files of a record."""
    record_id = records.record(call, call.ids["recordId"])["record_id"]
    listing = ("files.list", call.user_id, record_id)
    rows = call.service.store.rows(
        "SELECT * FROM files WHERE record_id = ? AND completed > ? ORDER BY completed LIMIT ?",
        record_id,
        _position(call, listing, 0),
        int(call.query["pageSize"]) + 1,
    )
    page, more = _page(call, rows)
    answer: dict[str, Any] = {"data": [_file(row) for row in page]}
    if more:
        answer["nextCursor"] = _cursor(call, listing, page[-1]["completed"])
    return answer


def _file(row: sqlite3.Row) -> dict[str, Any]:
    fields = {
        "fileId": row["file_id"],
        "fileName": row["name"],
        "sha256": row["sha256"],
        "size": str(row["length"]),  # Long in the table, quoted in the example
        "description": row["description"],
        "createTime": instant(row["created"]),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _page(call: Call, rows: list[sqlite3.Row]) -> tuple[list[sqlite3.Row], bool]:
    size = int(call.query["pageSize"])
    return rows[:size], len(rows) > size


def _position(call: Call, listing: tuple[str | None, ...], start: int) -> int:
    if "cursor" not in call.query:
        return start
    return position_in(call.query["cursor"], listing, call.service.credentials.secret_key)


def _cursor(call: Call, listing: tuple[str | None, ...], position: int) -> str:
    return cursor_after(position, listing, call.service.credentials.secret_key)
