"""The details of one file: getFile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koodrive_async.emulator.answers import (
    FILE_NOT_IN_SPACE,
    RefusedError,
    instant,
    not_found,
)
from koodrive_async.emulator.calls.files import check_container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call


def get(call: Call) -> Mapping[str, Any]:
    """getFile: the details of a complete file, its fields at the top level of the answer.

    A file that is not complete is not found, or has the details that were announced and no link.
    """
    container_id = check_container(call, call.body["containerId"])
    file = call.service.store.row(
        "SELECT * FROM files WHERE file_id = ? AND user_id = ? AND (completed IS NOT NULL OR ?)",
        call.ids["fileId"],
        call.user_id,
        call.service.dialect.unfinished_details == "given",
    )
    if file is None:
        raise not_found(f"No file has the id {call.ids['fileId']}.")
    if file["container_id"] != container_id:
        raise RefusedError(400, FILE_NOT_IN_SPACE, "File is not in the specified space.")
    presigner, key = call.service.presigner, file["object_key"]
    links = [presigner.download_url(now=call.now, key=key)] if file["completed"] else []
    return {
        "id": file["file_id"],
        "fileName": file["name"],
        "mimeType": file["mime_type"] or "",
        "recycled": False,
        "parentFolder": [file["parent"]],
        "properties": {},
        "containers": [file["container_id"]],
        "createdTime": instant(file["created"]),
        "editedTime": instant(file["created"]),
        "size": file["length"],
        "sha256": file["sha256"],
        "downloadLinks": links,
    }
