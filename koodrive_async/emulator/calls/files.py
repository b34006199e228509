"""New files: createBackupFile and createFile.

A file takes its name when it is created, not only when it is complete: the answer to the creating
call says under which name the file will be stored, and that must stay true.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import (
    CONTAINER_NOT_FOUND,
    DUPLICATE_NAME,
    RefusedError,
    invalid,
    not_found,
)
from koodrive_async.emulator.calls.records import new_record
from koodrive_async.emulator.parts import WORDS, Part, check_list, declared, is_concurrent
from koodrive_async.emulator.proof import proof_code, proof_range, proof_seed
from koodrive_async.emulator.rules import MAX_FILE_NAME
from koodrive_async.emulator.service import new_file_id, new_object_key, new_upload_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from koodrive_async.emulator.call import Call

RENAME: Final = 2
REFUSE: Final = 3
SKIP_SAME: Final = 4
ROOT_PREFIX: Final = "DE13Tu8WAAAAroot"
# The documented example renames at 01:32:35 UTC to 123_20251218_093235.jpg.
RENAME_ZONE: Final = timezone(timedelta(hours=8))


def create_in_record(call: Call) -> Mapping[str, Any]:
    """createBackupFile: only in a record that is still new."""
    return _create(call, new_record(call, call.ids["recordId"])["record_id"])


def create_ordinary(call: Call) -> Mapping[str, Any]:
    """createFile: the same outside of a record, and without a lock."""
    return _create(call, None)


def check_container(call: Call, container_id: str) -> str:
    """Rule: the storage space exists.

    :raises RefusedError: with 13000301 when it does not.
    """
    if container_id not in call.service.settings.containers:
        raise RefusedError(400, CONTAINER_NOT_FOUND, "Space not found.")
    return container_id


def root_folder(container_id: str) -> str:
    """Return the id of the root folder of a space."""
    return ROOT_PREFIX + container_id


def part_shape(call: Call, file: sqlite3.Row, part: Part) -> dict[str, Any]:
    """Return a part as MultiPartInfo, with a URL to upload it to."""
    shape: dict[str, Any] = {"partNumber": part.number, "partSize": part.size}
    if file["concurrent"]:
        shape["partOffset"] = part.offset
        shape["hashCtx"] = list(part.hash_ctx or ())
    shape["uploadUrl"] = call.service.presigner.upload_url(
        now=call.now,
        key=file["object_key"],
        upload_id=file["upload_id"],
        number=part.number,
        size=part.size,
        offset=part.offset,
        hash_ctx=part.hash_ctx,
    )
    return shape


def store_parts(call: Call, file_id: str, parts: Sequence[Part], *, concurrent: bool) -> None:
    """Keep parts as declared; the first declaration decides whether they may come in any order."""
    store = call.service.store
    with store.transaction():
        store.run("UPDATE files SET concurrent = ? WHERE file_id = ?", concurrent, file_id)
        store.run_many(
            "INSERT OR IGNORE INTO parts (file_id, number, offset, size, hash_ctx)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (
                    file_id,
                    part.number,
                    part.offset,
                    part.size,
                    None if part.hash_ctx is None else WORDS.pack(*part.hash_ctx),
                )
                for part in parts
            ),
        )


def next_rank(call: Call, record_id: str | None) -> int:
    """Return the rank of the next file that is completed in a record."""
    return 1 + int(
        call.service.store.value(
            "SELECT COALESCE(MAX(completed), 0) FROM files WHERE record_id IS ?", record_id
        )
    )


def _create(call: Call, record_id: str | None) -> Mapping[str, Any]:
    body = call.body
    containers = call.service.settings.containers
    container_id = check_container(call, body.get("containerId", containers[0]))
    parent = _parent(body.get("parentFolder"), container_id)
    _check_proof_given(body)
    parts, concurrent = _checked_parts(call)
    content = _known_content(call)
    policy = body.get("autoRename", RENAME)
    if policy == SKIP_SAME and (same := _same_file(call, record_id, parent)) is not None:
        return _exists(same)
    name = _free_name(call, record_id, parent, policy)
    file_id = _insert(
        call, record_id, container_id=container_id, parent=parent, name=name, content=content
    )
    if parts:
        store_parts(call, file_id, parts, concurrent=concurrent)
    file = call.service.store.row("SELECT * FROM files WHERE file_id = ?", file_id)
    if file is None:
        raise not_found("the file was removed")
    return _created(call, file, parts)


def _exists(file: sqlite3.Row) -> Mapping[str, Any]:
    return {
        "fileId": file["file_id"],
        "containerId": file["container_id"],
        "fileName": file["name"],
        "parentFolder": [file["parent"]],
        "exist": True,
    }


def _created(call: Call, file: sqlite3.Row, parts: Sequence[Part]) -> Mapping[str, Any]:
    answer: dict[str, Any] = {"fileId": file["file_id"]}
    if file["completed"] is not None:
        answer["rapidUpload"] = True
    answer["containerId"] = file["container_id"]
    answer["fileName"] = file["name"]
    if file["completed"] is None:
        answer["uploadId"] = file["upload_id"]
    answer["parentFolder"] = [file["parent"]]
    answer["exist"] = False
    if file["completed"] is None and parts:
        answer["multiParts"] = [part_shape(call, file, part) for part in parts]
    return answer


def _parent(given: Sequence[str] | None, container_id: str) -> str:
    """Rule: only the first parent counts, and here there is no folder but the root."""
    root = root_folder(container_id)
    if given and given[0] not in {"root", root}:
        raise not_found(f"No folder has the id {given[0]}.")
    return root


def _check_proof_given(body: Mapping[str, Any]) -> None:
    """Rule: sha256 demands proofCode; a file of no bytes has nothing to prove."""
    if body["length"] and "proofCode" not in body:
        raise invalid("proofCode: is mandatory when sha256 is given")


def _checked_parts(call: Call) -> tuple[list[Part], bool]:
    given = call.body.get("multiParts", [])
    concurrent = is_concurrent(given)
    parts = declared(given, {}, concurrent=concurrent)
    if parts:
        check_list(
            parts,
            length=call.body["length"],
            min_size=call.service.settings.min_part_size,
            concurrent=concurrent,
            whole=True,
        )
    return parts, concurrent


def _known_content(call: Call) -> str | None:
    """Return the blob with the announced content, if the caller proves to have it.

    :raises RefusedError: when the content is known and the proof is wrong.
    """
    size = call.body["length"]
    blob: str | None = call.service.store.value(
        "SELECT blob FROM files WHERE sha256 = ? AND length = ? AND completed IS NOT NULL LIMIT 1",
        call.body["sha256"],
        size,
    )
    if blob is None or not size:
        return None
    start, end = proof_range(proof_seed(call.origin), size)
    if proof_code(call.service.blobs.read(blob, start, end)) != call.body["proofCode"]:
        raise invalid("proofCode: does not prove possession of the content")
    return blob


def _same_file(call: Call, record_id: str | None, parent: str) -> sqlite3.Row | None:
    return call.service.store.row(
        "SELECT * FROM files WHERE user_id = ? AND record_id IS ? AND parent = ? AND name = ?"
        " AND sha256 = ? AND completed IS NOT NULL",
        call.user_id,
        record_id,
        parent,
        call.body["fileName"],
        call.body["sha256"],
    )


def _free_name(call: Call, record_id: str | None, parent: str, policy: int) -> str:
    """Return the name to store under: the one given, or one with the time in it."""
    name: str = call.body["fileName"]
    holder = _name_holder(call, record_id, parent, name)
    if holder is not None and policy == REFUSE:
        raise RefusedError(
            400, DUPLICATE_NAME, "Duplicate file name.", fields={"existFileId": holder}
        )
    stem, extension = PurePosixPath(name).stem, PurePosixPath(name).suffix
    moment = datetime.fromtimestamp(call.now, RENAME_ZONE)
    while holder is not None:
        suffix = f"{moment:_%Y%m%d_%H%M%S}{extension}"
        name = stem[: MAX_FILE_NAME - len(suffix)] + suffix
        holder = _name_holder(call, record_id, parent, name)
        moment += timedelta(seconds=1)
    return name


def _name_holder(call: Call, record_id: str | None, parent: str, name: str) -> str | None:
    holder: str | None = call.service.store.value(
        "SELECT file_id FROM files WHERE user_id = ? AND record_id IS ? AND parent = ? AND name = ?"
        " ORDER BY completed IS NULL LIMIT 1",
        call.user_id,
        record_id,
        parent,
        name,
    )
    return holder


def _insert(
    call: Call,
    record_id: str | None,
    *,
    container_id: str,
    parent: str,
    name: str,
    content: str | None,
) -> str:
    body, file_id, object_key = call.body, new_file_id(), new_object_key()
    row = {
        "file_id": file_id,
        "user_id": call.user_id,
        "record_id": record_id,
        "container_id": container_id,
        "parent": parent,
        "name": name,
        "sha256": body["sha256"],
        "length": body["length"],
        "description": body.get("description"),
        "mime_type": body.get("mimeType"),
        "upload_id": new_upload_id(),
        "object_key": object_key,
        "blob": content or object_key,
        # The proof is checked when the bytes are there; the credential itself is not kept.
        "proof_seed": proof_seed(call.origin),
        "proof_code": body.get("proofCode"),
        "created": call.now,
        "completed": None if content is None else next_rank(call, record_id),
    }
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    call.service.store.run(f"INSERT INTO files ({names}) VALUES ({marks})", *row.values())  # noqa: S608 - the names are the keys above
    return file_id
