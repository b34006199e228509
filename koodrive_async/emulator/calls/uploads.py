"""From parts to files and back: uploadUrl, completeFile, getDownLoadUrl."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import (
    FILE_NOT_IN_SPACE,
    RESOURCE_NOT_FOUND,
    UPLOAD_INCOMPLETE,
    UPLOAD_NOT_FOUND,
    RefusedError,
    invalid,
)
from koodrive_async.emulator.calls.files import check_container, next_rank, part_shape, store_parts
from koodrive_async.emulator.parts import Part, check_list, declared, is_concurrent
from koodrive_async.emulator.proof import proof_code, proof_range

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from koodrive_async.emulator.call import Call
    from koodrive_async.emulator.service import Service

PARTLY: Final = 0
ALL: Final = 1
NONE: Final = 2
EMPTY_SHA256: Final = hashlib.sha256().hexdigest()


def part_urls(call: Call) -> Mapping[str, Any]:
    """uploadUrl: fresh URLs for known parts, and for parts that were not declared before."""
    dialect = call.service.dialect
    file = _file(call)
    if file is None or not file["upload_id"]:
        raise _no_upload()
    if file["completed"] is not None and dialect.complete_part_urls == "refused":
        raise _no_upload()
    rows = call.service.store.rows(
        "SELECT * FROM parts WHERE file_id = ? ORDER BY number", file["file_id"]
    )
    known = {row["number"]: Part.stored(row) for row in rows}
    given = call.body["multiParts"]
    if dialect.part_urls_at_once != "unlimited" and len(given) > int(dialect.part_urls_at_once):
        raise invalid(f"multiParts: must hold at most {dialect.part_urls_at_once} entries")
    concurrent = bool(file["concurrent"]) if known else is_concurrent(given)
    parts = declared(given, known, concurrent=concurrent)
    if any(part.number not in known for part in parts):
        merged = known | {part.number: part for part in parts}
        check_list(
            [merged[number] for number in sorted(merged)],
            length=file["length"],
            min_size=call.service.settings.min_part_size,
            concurrent=concurrent,
            whole=False,
        )
        store_parts(call, file["file_id"], parts, concurrent=concurrent)
        file = _file(call)
        if file is None:
            raise _no_upload()
    return {"multiParts": [part_shape(call, file, part) for part in parts]}


def complete(call: Call) -> Mapping[str, Any]:
    """completeFile: merge the parts if they are whole; a file that is complete stays so.

    What it says about a file that is complete depends on the dialect.

    A file that fails stays open, so that a part can be sent again.
    """
    file = _file(call)
    if file is None or not file["upload_id"]:
        raise _no_upload()
    if file["completed"] is not None:
        return _complete_already(call)
    if call.body.get("sha256", file["sha256"]) != file["sha256"]:
        raise _incomplete("sha256 is not the one that the file was created with")
    if file["blob"] == file["object_key"]:  # its own content, not one that was there before
        _check_parts(call, file)
    _check_proof(call, file)
    call.service.store.run(
        "UPDATE files SET completed = ? WHERE file_id = ?",
        next_rank(call, file["record_id"]),
        file["file_id"],
    )
    return {}


def _complete_already(call: Call) -> Mapping[str, Any]:
    code = call.service.dialect.completed_file
    if code != "0":
        raise RefusedError(400, int(code), "The file is complete already.")
    return {}


def download_urls(call: Call) -> Mapping[str, Any]:
    """getDownLoadUrl: one entry per id, each with a code of its own."""
    container_id = check_container(call, call.body["containerId"])
    downloads = [_download(call, container_id, each) for each in call.body["fileIds"]]
    found = sum("url" in each for each in downloads)
    batch_code = ALL if found == len(downloads) else PARTLY if found else NONE
    return {"batchCode": batch_code, "downloads": downloads}


def forget_upload(service: Service, file_id: str, user_id: str) -> None:
    """Forget an upload that is not complete, with its parts.

    Its name goes as well, as if it never began; in some dialects the entry of the file stays.
    """
    store = service.store
    blob: str | None = store.value(
        "SELECT object_key FROM files WHERE file_id = ? AND user_id = ? AND completed IS NULL",
        file_id,
        user_id,
    )
    if blob is None:
        return
    with store.transaction():
        store.run("DELETE FROM parts WHERE file_id = ?", file_id)
        if service.dialect.forgotten_upload == "gone":
            store.run("DELETE FROM files WHERE file_id = ?", file_id)
        else:
            store.run("UPDATE files SET upload_id = '' WHERE file_id = ?", file_id)
    service.blobs.remove(blob)  # its own; one that it shares has another name


def _download(call: Call, container_id: str, file_id: str) -> dict[str, Any]:
    file = call.service.store.row(
        "SELECT * FROM files WHERE file_id = ? AND user_id = ? AND (completed IS NOT NULL OR ?)",
        file_id,
        call.user_id,
        call.service.dialect.unfinished_links == "given",
    )
    if file is None:
        return {"fileId": file_id, "code": str(RESOURCE_NOT_FOUND), "msg": "Resource not found."}
    if file["container_id"] != container_id:
        msg = "File is not in the specified space."
        return {"fileId": file_id, "code": str(FILE_NOT_IN_SPACE), "msg": msg}
    return {
        "fileId": file_id,
        "fileName": file["name"],
        "url": call.service.presigner.download_url(now=call.now, key=file["object_key"]),
        "code": "0",
        "msg": "success",
    }


def _file(call: Call) -> sqlite3.Row | None:
    return call.service.store.row(
        "SELECT * FROM files WHERE file_id = ? AND user_id = ?", call.body["fileId"], call.user_id
    )


def _check_parts(call: Call, file: sqlite3.Row) -> None:
    """Rule: all parts are there, each goes on where the one before it ended, the digest is right.

    :raises RefusedError: with 13000402 and the part that is at fault.
    """
    rows = call.service.store.rows(
        "SELECT * FROM parts WHERE file_id = ? ORDER BY number", file["file_id"]
    )
    if not file["length"]:
        if call.service.dialect.empty_file == "one-part" and not (rows and rows[0]["end_state"]):
            raise _incomplete("part 1 has not arrived")
        _check_digest(EMPTY_SHA256, file)
        return
    _check_whole(call, file, [Part.stored(row) for row in rows])
    for row in rows:
        if row["end_state"] is None:
            raise _incomplete(f"part {row['number']} has not arrived")
    for before, row in pairwise(rows):
        if row["hash_ctx"] is not None and before["end_state"] != row["hash_ctx"]:
            raise _incomplete(
                f"the bytes up to part {before['number']} do not lead to"
                f" the hashCtx of part {row['number']}"
            )
    _check_digest(rows[-1]["end_digest"], file)


def _check_whole(call: Call, file: sqlite3.Row, parts: Sequence[Part]) -> None:
    if not parts:
        raise _incomplete("no part was declared")
    try:
        check_list(
            parts,
            length=file["length"],
            min_size=call.service.settings.min_part_size,
            concurrent=bool(file["concurrent"]),
            whole=True,
        )
    except RefusedError as refusal:
        raise _incomplete(refusal.msg) from None


def _check_digest(digest: str, file: sqlite3.Row) -> None:
    if digest != file["sha256"]:
        raise _incomplete(f"the bytes hash to {digest}, not to {file['sha256']}")


def _check_proof(call: Call, file: sqlite3.Row) -> None:
    """Rule: the proofCode given when the file was created fits the bytes that came."""
    if not file["length"]:
        return
    raw = call.service.dialect.proof_seed == "bytes"
    start, end = proof_range(file["proof_seed"], file["length"], raw=raw)
    if proof_code(call.service.blobs.read(file["blob"], start, end)) != file["proof_code"]:
        raise _incomplete("the proofCode given with the file does not fit its bytes")


def _no_upload() -> RefusedError:
    return RefusedError(400, UPLOAD_NOT_FOUND, "Upload task not found.")


def _incomplete(why: str) -> RefusedError:
    return RefusedError(400, UPLOAD_INCOMPLETE, f"File upload incomplete. {why}")
