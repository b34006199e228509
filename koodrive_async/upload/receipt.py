"""What became of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from koodrive_async import html
from koodrive_async.upload.timeline import draw_file
from koodrive_async.upload.trace import FileTrace  # noqa: TC001 - whoever resolves the annotations finds it here

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Outcome = Literal["uploaded", "rapid", "exists"]


@attrs.frozen(kw_only=True)
class Seconds:
    """Time spent in each phase of one file."""

    hash: float = 0.0
    create: float = 0.0
    send: float = 0.0
    complete: float = 0.0

    def __str__(self) -> str:
        return ", ".join(
            f"{phase} {seconds:.2f} s" for phase, seconds in attrs.asdict(self).items()
        )


@attrs.frozen(kw_only=True)
class UploadReceipt:
    """A file that is in the record.

    :ivar outcome: ``"uploaded"``; ``"rapid"`` when the service already had these bytes;
        ``"exists"`` when the record already had the file.
    :ivar name: Name in the record, which the service may have changed.
    :ivar sha256: Digest of the whole file.
    :ivar size: Bytes.
    :ivar parts: Parts that this run sent.
    :ivar parts_resumed: Parts that an earlier run had sent.
    :ivar retries: Parts that were sent again.
    :ivar seconds: From the first look at the source to the last answer.
    :ivar phases: The same, phase by phase.
    :ivar container_id: The space it is in; downloads ask for it.
    :ivar description: As it was given; :meth:`BackupSession.upload_tree` keeps the relative path
        here.
    :ivar stored_description: The text stored instead where the service takes none of that length:
        its beginning and a digest of the whole; None where it is the same.
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
    phases: Seconds = attrs.field(factory=Seconds, metadata={"prefix": "seconds"})
    container_id: str | None = None
    description: str | None = None
    # long and rare: not in displays and tables
    stored_description: str | None = attrs.field(default=None, repr=False)
    trace: FileTrace | None = attrs.field(default=None, repr=False, eq=False)

    def timeline(self) -> Figure:
        """Draw when what happened to this file, part by part and connection by connection.

        Made for notebooks: it takes a moment, up to a second for thousands of parts, in which an
        event loop stands still.

        :returns: A figure of matplotlib, which a notebook shows and ``savefig`` writes.
        :raises ModuleNotFoundError: matplotlib is missing; the message says how to get it.
        :raises ValueError: The receipt has no trace.
        """
        if self.trace is None:
            raise ValueError(f"there is no trace of {self.name}: nothing can be drawn")
        return draw_file(self.trace)

    @staticmethod
    def _frame_models_() -> tuple[type[Any], ...]:
        return UploadReceipt, UploadFailure

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.text(self.name),
            "outcome": html.text(self.outcome),
            "size": html.size(self.size),
            "time": html.seconds(self.seconds),
            "of which": html.detail(html.text(self.phases)),
            "parts sent": html.number(self.parts),
            "sent by an earlier run": html.detail(html.number(self.parts_resumed or None)),
            "sent again": html.detail(html.number(self.retries or None)),
            "description": html.text(self.description),
            "SHA-256": html.digest(self.sha256),
            "file": html.code(self.file_id),
            "container": html.detail(html.code(self.container_id)),
        }

    def _repr_html_(self) -> str:
        return html.card("Upload receipt", self._html_row_())


@attrs.frozen(kw_only=True)
class UploadFailure:
    """A file that is not in the record, while others went on.

    :ivar outcome: ``"failed"``: how it differs from a receipt, also for type checkers.
    :ivar source: What was to be uploaded.
    :ivar name: Its name, as far as known.
    :ivar description: Its description: in a tree, the relative path.
    :ivar error: Why.
    """

    outcome: Literal["failed"] = attrs.field(default="failed", init=False)
    source: object
    name: str | None
    error: Exception
    description: str | None = None

    @staticmethod
    def _frame_models_() -> tuple[type[Any], ...]:
        return UploadReceipt, UploadFailure

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.text(self.name),
            "outcome": html.text(self.outcome),
            "description": html.text(self.description),
            "error": html.code(type(self.error).__name__),
            "why": html.text(self.error),
        }

    def _repr_html_(self) -> str:
        return html.card("Upload failure", self._html_row_())
