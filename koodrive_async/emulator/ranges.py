"""The ``Range`` header of a download."""

from __future__ import annotations

import re
from typing import Final

from koodrive_async.emulator.answers import ObjectRefusedError

ONE_RANGE: Final = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)", re.ASCII)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and end of the bytes asked for, the end not included.

    :param header: the header; one that is malformed or asks for several ranges is ignored, as
        HTTP permits.
    :param size: bytes of the object.
    :returns: ``None`` when the whole object is to be sent.
    :raises ObjectRefusedError: HTTP 416, when no byte of the object is in the range.
    """
    match = ONE_RANGE.fullmatch(header or "")
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        start, end = max(0, size - int(match["last"])), size
    else:
        start = int(match["first"])
        end = min(size, int(match["last"]) + 1) if match["last"] else size
        if match["last"] and int(match["last"]) < start:
            return None
    if start >= end:
        raise ObjectRefusedError(
            416,
            "InvalidRange",
            "The requested range is not satisfiable",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end
