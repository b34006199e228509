"""New files: createBackupFile and createFile.

A file takes its name when it is created, not only when it is complete: the answer to the creating
call says under which name the file will be stored, and that must stay true.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import attrs

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
    from koodrive_async.emulator.dialect import Dialect

RENAME: Final = 2
REFUSE: Final = 3
SKIP_SAME: Final = 4
ROOT_PREFIX: Final = "DE13Tu8WAAAAroot"
DEFAULT_POLICY: Final[Mapping[str, int]] = {"rename": RENAME, "refuse": REFUSE, "skip": SKIP_SAME}
# The documented example renames at 01:32:35 UTC to 123_20251218_093235.jpg.
RENAME_ZONE: Final = timezone(timedelta(hours=8))


@attrs.frozen(kw_only=True)
class Place:
    """Where a file goes; no record for an ordinary file."""

    record_id: str | None
    container_id: str
    parent: str


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
    mime_type = file["mime_type"] or "application/octet-stream"
    shape["uploadUrl"] = call.service.presigner.upload_url(
        now=call.now,
        key=file["object_key"],
        upload_id=file["upload_id"],
        number=part.number,
        size=part.size,
        offset=part.offset,
        hash_ctx=part.hash_ctx,
        content_type=mime_type,
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
    body, dialect = call.body, call.service.dialect
    _check_dialect(body, dialect)
    containers = call.service.settings.containers
    container_id = check_container(call, body.get("containerId", containers[0]))
    parent = _parent(body.get("parentFolder"), container_id)
    _check_proof_given(body)
    parts, concurrent = _checked_parts(call)
    content = _known_content(call)
    policy = body.get("autoRename", DEFAULT_POLICY[dialect.default_rename])
    place = Place(record_id=record_id, container_id=container_id, parent=parent)
    if policy == SKIP_SAME and (same := _same_file(call, place)) is not None:
        return _shown(call, _exists(same))
    name = body["fileName"]
    holder = _name_holder(call, place, name)
    if holder is not None and policy == REFUSE:
        return _duplicate(holder, dialect)
    if holder is not None:
        name = _free_name(call, place)
    file_id = _insert(
        call, record_id, container_id=container_id, parent=parent, name=name, content=content
    )
    if parts:
        store_parts(call, file_id, parts, concurrent=concurrent)
    file = call.service.store.row("SELECT * FROM files WHERE file_id = ?", file_id)
    if file is None:
        raise not_found("the file was removed")
    return _shown(call, _created(call, file, parts))


def _check_dialect(body: Mapping[str, Any], dialect: Dialect) -> None:
    """Rules that only some dialects have."""
    limit = dialect.description_limit
    if limit != "none" and len(body.get("description", "")) > int(limit):
        raise invalid(f"description: must be at most {limit} characters long")
    if dialect.container_in_request == "required" and "containerId" not in body:
        raise invalid("containerId: is mandatory")
    parts = body.get("multiParts", [])
    if dialect.multipart == "refused" and len(parts) > 1:
        raise invalid("multiParts: multipart upload is not part of this edition")
    if not body["length"] and dialect.empty_file == "refused":
        raise invalid("length: a file must not be empty")
    if not body["length"] and dialect.empty_file in {"no-parts", "at-creation"} and parts:
        raise invalid("multiParts: a file of no bytes has no parts")
    if not body["length"] and dialect.empty_file == "one-part" and not parts:
        raise invalid("multiParts: a file of no bytes has one part of size 0")


def _shown(call: Call, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer without the fields that the dialect leaves out."""
    if call.service.dialect.container_in_answer == "given":
        return answer
    return {name: value for name, value in answer.items() if name != "containerId"}


def _duplicate(holder: str, dialect: Dialect) -> Mapping[str, Any]:
    """Refuse a name that is taken, in the way of the dialect."""
    if dialect.duplicate_name == "0-with-id":
        return {"exist": False, "existFileId": holder}
    fields = {"existFileId": holder} if dialect.duplicate_name == "13000405-with-id" else {}
    raise RefusedError(400, DUPLICATE_NAME, "Duplicate file name.", fields=fields)


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
    rapid = file["blob"] != file["object_key"]
    if rapid:
        answer["rapidUpload"] = True
    answer["containerId"] = file["container_id"]
    answer["fileName"] = file["name"]
    if file["completed"] is None and not rapid:
        answer["uploadId"] = file["upload_id"]
    answer["parentFolder"] = [file["parent"]]
    answer["exist"] = False
    shown = {"all": parts, "reversed": parts[::-1], "first-only": parts[:1], "none": []}[
        call.service.dialect.created_parts
    ]
    if file["completed"] is None and shown and not rapid:
        answer["multiParts"] = [part_shape(call, file, part) for part in shown]
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
    if call.service.dialect.multipart == "one-url" and given:
        return [Part(number=1, offset=0, size=call.body["length"], hash_ctx=None)], False
    concurrent = is_concurrent(given)
    if not concurrent and len(given) > 1 and call.service.dialect.hash_ctx == "required":
        raise invalid("multiParts: part 2 needs hashCtx")
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
    size, flash = call.body["length"], call.service.dialect.flash_upload
    if flash == "never":
        return None
    blob: str | None = call.service.store.value(
        "SELECT blob FROM files WHERE sha256 = ? AND length = ? AND completed IS NOT NULL"
        " AND (user_id = ? OR ?) LIMIT 1",
        call.body["sha256"],
        size,
        call.user_id,
        flash == "any-content",
    )
    if blob is None or not size:
        return None
    raw = call.service.dialect.proof_seed == "bytes"
    start, end = proof_range(proof_seed(call.origin), size, raw=raw)
    if proof_code(call.service.blobs.read(blob, start, end)) != call.body["proofCode"]:
        raise invalid("proofCode: does not prove possession of the content")
    return blob


def _same_file(call: Call, place: Place) -> sqlite3.Row | None:
    where, values = _within(call, place)
    return call.service.store.row(
        f"SELECT * FROM files WHERE user_id = ? AND {where} AND name = ? AND sha256 = ?"  # noqa: S608 - of the words below
        " AND (completed IS NOT NULL OR ?) ORDER BY completed IS NULL LIMIT 1",
        call.user_id,
        *values,
        call.body["fileName"],
        call.body["sha256"],
        call.service.dialect.same_file == "unfinished-too",
    )


def _free_name(call: Call, place: Place) -> str:
    """Return a name to store under instead of the one given, which is taken."""
    style, number = call.service.dialect.rename_style, 0
    path = PurePosixPath(call.body["fileName"])
    moment = datetime.fromtimestamp(call.now, RENAME_ZONE)
    while True:
        time = f"{moment + timedelta(seconds=number):_%Y%m%d_%H%M%S}"
        number += 1
        stem, suffix = {
            "timestamp": (path.stem, time + path.suffix),
            "counter": (path.stem, f"({number})" + path.suffix),
            "after-extension": (path.name, time),
        }[style]
        name = stem[: MAX_FILE_NAME - len(suffix)] + suffix
        if _name_holder(call, place, name) is None:
            return name


def _name_holder(call: Call, place: Place, name: str) -> str | None:
    if call.service.dialect.unique_names == "nowhere":
        return None
    where, values = _within(call, place)
    holder: str | None = call.service.store.value(
        f"SELECT file_id FROM files WHERE user_id = ? AND {where} AND name = ?"  # noqa: S608 - of the words below
        " ORDER BY completed IS NULL LIMIT 1",
        call.user_id,
        *values,
        name,
    )
    return holder


def _within(call: Call, place: Place) -> tuple[str, tuple[str | None, ...]]:
    """Return the condition for files among which a name is unique, and its values."""
    scope = call.service.dialect.unique_names
    if scope == "folder":
        return "parent = ?", (place.parent,)
    if scope == "space":
        return "container_id = ?", (place.container_id,)
    return "record_id IS ? AND parent = ?", (place.record_id, place.parent)


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
        "completed": next_rank(call, record_id) if _is_complete(call, content) else None,
    }
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    call.service.store.run(f"INSERT INTO files ({names}) VALUES ({marks})", *row.values())  # noqa: S608 - the names are the keys above
    return file_id


def _is_complete(call: Call, content: str | None) -> bool:
    """Return whether a file is complete as soon as it is created."""
    dialect = call.service.dialect
    if not call.body["length"]:
        return dialect.empty_file == "at-creation"
    return content is not None and dialect.flash_hit == "complete"
