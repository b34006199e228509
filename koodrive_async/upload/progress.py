"""What a caller may watch while a file is on its way."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import attrs


class Phase(StrEnum):
    """Which of the two passes over a file is running."""

    HASH = "hash"
    UPLOAD = "upload"


@attrs.frozen(kw_only=True)
class Progress:
    """How far one pass over one file has come.

    :ivar name: The file's name in the record.
    :ivar phase: Hashing comes first, then sending.
    :ivar done: Bytes hashed, or bytes in parts that the object store has acknowledged.
    :ivar total: Bytes of the file.
    :ivar description: The file's description: in a tree, its relative path, which is unique.
    :ivar source: What is being uploaded, as it was given.
    """

    name: str
    phase: Phase
    done: int
    total: int
    description: str | None = None
    source: object = attrs.field(default=None, repr=False)


OnProgress = Callable[[Progress], None]
"""Called in the event loop, at most ten times a second for each pass, and once at its end."""
