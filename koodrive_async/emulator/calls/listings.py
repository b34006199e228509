"""Listings in pages: listBackupRecord and listBackupFile, in the order of the dialect.

A page begins behind the last row of the page before it, not at a count of rows: what is added
while someone turns pages neither repeats nor hides anything.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import RefusedError, instant
from koodrive_async.emulator.calls import records
from koodrive_async.emulator.cursors import cursor_after, position_in

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from koodrive_async.emulator.call import Call

    Position = list[Any]

NEWEST: Final = 2**63 - 1
SHORT_PAGE: Final = 2


def list_records(call: Call) -> Mapping[str, Any]:
    """listBackupRecord: the records of a module, of one device if its id is given."""
    module, device_id = call.query["moduleCode"], call.query.get("deviceId")
    newest_first = call.service.dialect.record_order == "newest-first"
    where = "user_id = ? AND module = ? AND (? IS NULL OR device_id = ?) AND seq " + (
        "< ? ORDER BY seq DESC" if newest_first else "> ? ORDER BY seq"
    )

    def rows(position: Position, count: int) -> list[sqlite3.Row]:
        return call.service.store.rows(
            f"SELECT * FROM records WHERE {where} LIMIT ?",  # noqa: S608 - of the words above
            call.user_id,
            module,
            device_id,
            device_id,
            position[0],
            count,
        )

    return _listed(
        call,
        ("records.list", call.user_id, module, device_id),
        start=[NEWEST if newest_first else 0],
        rows=rows,
        key=lambda row: [row["seq"]],
        shape=partial(records.listed, call),
    )


def list_files(call: Call) -> Mapping[str, Any]:
    """listBackupFile: the files of a record, the completed ones or all."""
    try:
        record_id = records.record(call, call.ids["recordId"])["record_id"]
    except RefusedError:
        if call.service.dialect.missing_record != "200-null":
            raise
        return {"data": []}
    if call.service.dialect.unfinished_files == "listed":
        return _all_files(call, record_id)
    newest_first = call.service.dialect.file_order == "newest-first"
    where = "record_id = ? AND completed IS NOT NULL AND completed " + (
        "< ? ORDER BY completed DESC" if newest_first else "> ? ORDER BY completed"
    )

    def rows(position: Position, count: int) -> list[sqlite3.Row]:
        query = f"SELECT * FROM files WHERE {where} LIMIT ?"  # noqa: S608 - of the words above
        return call.service.store.rows(query, record_id, position[0], count)

    return _listed(
        call,
        ("files.list", call.user_id, record_id),
        start=[NEWEST if newest_first else 0],
        rows=rows,
        key=lambda row: [row["completed"]],
        shape=partial(_file, call),
    )


def _all_files(call: Call, record_id: str) -> Mapping[str, Any]:
    """List complete and unfinished files, as they were created."""
    newest_first = call.service.dialect.file_order == "newest-first"
    where = "record_id = ? AND (created, file_id) " + (
        "< (?, ?) ORDER BY created DESC, file_id DESC"
        if newest_first
        else "> (?, ?) ORDER BY created, file_id"
    )

    def rows(position: Position, count: int) -> list[sqlite3.Row]:
        query = f"SELECT * FROM files WHERE {where} LIMIT ?"  # noqa: S608 - of the words above
        return call.service.store.rows(query, record_id, *position, count)

    return _listed(
        call,
        ("files.list", call.user_id, record_id),
        start=[float(NEWEST) if newest_first else 0.0, ""],
        rows=rows,
        key=lambda row: [row["created"], row["file_id"]],
        shape=partial(_file, call),
    )


def _listed(
    call: Call,
    listing: tuple[str | None, ...],
    *,
    start: Position,
    rows: Callable[[Position, int], list[sqlite3.Row]],
    key: Callable[[sqlite3.Row], Position],
    shape: Callable[[sqlite3.Row], dict[str, Any]],
) -> Mapping[str, Any]:
    """Return one page.

    :param start: the position before the first row.
    :param rows: the rows behind a position, and how many of them.
    :param key: the position of a row.
    """
    dialect, secret = call.service.dialect, call.service.credentials.secret_key
    position, awaited = start, True
    if "cursor" in call.query:
        awaited, *position = position_in(call.query["cursor"], listing, secret)
    size = int(call.query["pageSize"])
    if dialect.pages == "empty" and awaited:
        return {"data": [], "nextCursor": cursor_after([False, *position], listing, secret)}
    if dialect.pages == "short":
        size = min(size, SHORT_PAGE)
    found = rows(position, size + 1)
    answer: dict[str, Any] = {"data": [shape(row) for row in found[:size]]}
    more = len(found) > size or (dialect.end_of_list == "empty-page" and found)
    if more:
        answer["nextCursor"] = cursor_after([True, *key(found[:size][-1])], listing, secret)
    elif dialect.end_of_list in {"null", "empty"}:
        answer["nextCursor"] = None if dialect.end_of_list == "null" else ""
    return answer


def _file(call: Call, row: sqlite3.Row) -> dict[str, Any]:
    shown = call.service.dialect.listed_description == "given"
    fields = {
        "fileId": row["file_id"],
        "fileName": row["name"],
        "sha256": row["sha256"],
        "size": str(row["length"]),  # Long in the table, quoted in the example
        "description": row["description"] if shown else None,
        "createTime": instant(row["created"]),
    }
    return {name: value for name, value in fields.items() if value is not None}
