"""What a caller may watch while files are on their way."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from koodrive_async.upload.receipt import UploadFailure, UploadReceipt


class Phase(StrEnum):
    """Which of the two passes over a file is running."""

    HASH = "hash"
    UPLOAD = "upload"


@attrs.frozen(kw_only=True)
class Totals:
    """How far all files of a session have come; no number ever goes back.

    :ivar files: Files that were begun.
    :ivar done: Files that are in the record.
    :ivar failed: Files that are not, and will not be.
    :ivar cancelled: Files whose upload was cancelled.
    :ivar size: Bytes of the files whose size is known so far.
    :ivar hashed: Bytes hashed, or whose hash an earlier run had left.
    :ivar uploaded: Bytes in parts that the object store has acknowledged, and those of files that
        needed no sending.
    :ivar sent: Bytes in parts that were sent now and acknowledged, also those that were sent twice;
        speeds are made of it.
    :ivar retries: Parts that were sent again.
    """

    files: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    size: int = 0
    hashed: int = 0
    uploaded: int = 0
    sent: int = 0
    retries: int = 0


@attrs.frozen(kw_only=True)
class FileStarted:
    """Work on a file has begun; a stream is spooled before its size is known.

    :ivar number: Counts the files of a session from 1; the same in all events of a file.
    :ivar name: The file's name in the record, as far as it is known.
    :ivar description: The file's description: in a tree, its relative path, which is unique.
    :ivar source: What is being uploaded, as it was given; None for bytes.
    :ivar totals: Of all files, at that moment.
    """

    number: int
    name: str
    description: str | None = None
    totals: Totals
    source: object = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Progress:
    """How far one pass over one file has come.

    :ivar name: The file's name in the record.
    :ivar phase: Hashing comes first, then sending.
    :ivar done: Bytes hashed, or bytes in parts that the object store has acknowledged.
    :ivar total: Bytes of the file.
    :ivar description: The file's description: in a tree, its relative path, which is unique.
    :ivar source: What is being uploaded, as it was given; None for bytes.
    :ivar number: Counts the files of a session from 1.
    :ivar totals: Of all files of the session, at that moment.
    """

    name: str
    phase: Phase
    done: int
    total: int
    description: str | None = None
    source: object = attrs.field(default=None, repr=False)
    number: int = 0
    totals: Totals = attrs.field(factory=Totals)


@attrs.frozen(kw_only=True)
class PartRetried:
    """A part did not arrive, and is sent again.

    :ivar part: Its number in the file, from 1.
    :ivar attempt: Which attempt failed, from 1.
    :ivar error: Why.
    """

    number: int
    name: str
    description: str | None = None
    totals: Totals
    part: int
    attempt: int
    error: Exception


@attrs.frozen(kw_only=True)
class FileFinished:
    """A file is in the record.

    :ivar receipt: What happened.
    """

    number: int
    name: str
    description: str | None = None
    totals: Totals
    receipt: UploadReceipt


@attrs.frozen(kw_only=True)
class FileFailed:
    """A file is not in the record, and will not be.

    It may be the only event of a file: one that could not even be begun.

    :ivar failure: Why.
    """

    number: int
    name: str
    description: str | None = None
    totals: Totals
    failure: UploadFailure


@attrs.frozen(kw_only=True)
class FileCancelled:
    """The upload of a file was cancelled, by its caller or by the end of the session."""

    number: int
    name: str
    description: str | None = None
    totals: Totals


Event = FileStarted | Progress | PartRetried | FileFinished | FileFailed | FileCancelled

OnProgress = Callable[[Progress], None]
"""Called in the event loop, at most ten times a second for a file, and at the end of each pass.

A plain function: an async one is refused, for nothing would await it.

What it raises ends the upload and reaches the caller; at the very end the file is in the record.
"""
