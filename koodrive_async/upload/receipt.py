"""What became of a file."""

from __future__ import annotations

from typing import Literal

import attrs

from koodrive_async.upload.trace import FileTrace  # noqa: TC001 - whoever resolves the annotations finds it here

Outcome = Literal["uploaded", "rapid", "exists"]


@attrs.frozen(kw_only=True)
class Seconds:
    """Time spent in each phase of one file."""

    hash: float = 0.0
    create: float = 0.0
    send: float = 0.0
    complete: float = 0.0


@attrs.frozen(kw_only=True)
class UploadReceipt:
    """A file that is in the record.

    :ivar outcome: ``"uploaded"``; ``"rapid"`` when the service already had these bytes;
        ``"exists"`` when the record already had the file.
    :ivar name: Name in the record, which the service may have changed.
    :ivar sha256: Digest of the whole file.
    :ivar size: Bytes.
    :ivar parts: Parts that were sent.
    :ivar parts_resumed: Parts that an earlier run had sent.
    :ivar retries: Parts that were sent again.
    :ivar seconds: From the first look at the source to the last answer.
    :ivar phases: The same, phase by phase.
    :ivar container_id: The space it is in; downloads ask for it.
    :ivar description: As stored; :meth:`BackupSession.upload_tree` keeps the relative path here.
    :ivar trace: When what happened.
    """

    outcome: Outcome
    file_id: str
    name: str
    sha256: str
    size: int
    parts: int
    retries: int
    seconds: float
    parts_resumed: int = 0
    phases: Seconds = attrs.field(factory=Seconds)
    container_id: str | None = None
    description: str | None = None
    trace: FileTrace | None = attrs.field(default=None, repr=False, eq=False)


@attrs.frozen(kw_only=True)
class UploadFailure:
    """A file that is not in the record, while others went on.

    :ivar source: What was to be uploaded.
    :ivar name: Its name, as far as known.
    :ivar description: Its description: in a tree, the relative path.
    :ivar error: Why.
    """

    source: object
    name: str | None
    error: Exception
    description: str | None = None
