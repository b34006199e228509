""":class:`JsonSink`: each event as a JSON object on a line of its own."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, TextIO

import attrs

from koodrive_async.sinks.lines import Lines
from koodrive_async.sinks.sink import Sink
from koodrive_async.sinks.standing import words_of
from koodrive_async.upload.events import (
    FileCancelled,
    FileFailed,
    FileFinished,
    FileStarted,
    PartRetried,
    Progress,
    Totals,
)

if TYPE_CHECKING:
    from koodrive_async.upload.events import Event
    from koodrive_async.upload.receipt import UploadReceipt


class JsonSink(Sink):
    """Writes each event as a JSON object on a line of its own, and one more at the end.

    Every object has ``event``, ``seconds`` since the beginning and ``totals``, all but the last
    also ``number``, ``name`` and ``description`` of the file. Further, by ``event``:

    ============= =================================================================
    ``started``
    ``progress``  ``phase`` (``hash`` or ``upload``), ``done`` and ``size`` in bytes
    ``retried``   ``part``, ``attempt``, ``error``
    ``finished``  ``receipt``: the fields of the receipt
    ``failed``    ``error``
    ``cancelled``
    ``done``      the last one; ``stopped``, with ``error``, after an exception
    ============= =================================================================

    An ``error`` is an object of ``type``, ``message``, ``hint``, ``code``, ``status`` and
    ``trace_id``, null where there is none. A thread writes: a reader that is slow or gone stops
    nothing else.

    :param stream: Where to write; standard output by default.
    :param progress: Whether to write ``progress``, which comes up to ten times a second for a file.
    :param total: Bytes that there are to back up; written as ``expected`` in ``totals``.
    """

    def __init__(
        self, stream: TextIO | None = None, *, progress: bool = True, total: int | None = None
    ) -> None:
        self.total = total
        self._stream = stream
        self._progress = progress
        self._lines: Lines | None = None
        self._began = 0.0
        self._totals = Totals()

    def start(self) -> None:
        """Begin to write."""
        self._stream = self._stream or sys.stdout
        self._began = time.monotonic()
        self._totals = Totals()
        self._lines = Lines()
        self._lines.start()

    def update(self, event: Event) -> None:
        """Write an event."""
        self._totals = event.totals
        if self._progress or not isinstance(event, Progress):
            self._write(event_object(event))

    def close(self, error: BaseException | None = None) -> None:
        """Write the totals; whoever does not read is left after two seconds."""
        if error is None:
            self._write({"event": "done"})
        else:
            self._write({"event": "stopped", "error": error_object(error)})
        if self._lines is not None:
            self._lines.close()

    def _write(self, value: dict[str, object]) -> None:
        if self._lines is None or self._stream is None:
            return
        value["seconds"] = round(time.monotonic() - self._began, 3)
        value["totals"] = {**totals_object(self._totals), "expected": self.total}
        self._lines.put(self._stream, json.dumps(value, default=str))


def event_object(event: Event) -> dict[str, object]:
    """Return an event as what JSON can say, without its totals."""
    value: dict[str, object] = {
        "event": _KINDS[type(event)],
        "number": event.number,
        "name": event.name,
        "description": event.description,
    }
    match event:
        case Progress():
            value |= {"phase": event.phase.value, "done": event.done, "size": event.total}
        case PartRetried():
            value |= {"part": event.part, "attempt": event.attempt}
            value["error"] = error_object(event.error)
        case FileFinished():
            value["receipt"] = receipt_object(event.receipt)
        case FileFailed():
            value["error"] = error_object(event.failure.error)
    return value


def receipt_object(receipt: UploadReceipt) -> dict[str, object]:
    """Return a receipt as what JSON can say."""
    return {
        "outcome": receipt.outcome,
        "file_id": receipt.file_id,
        "container_id": receipt.container_id,
        "name": receipt.name,
        "description": receipt.description,
        "sha256": receipt.sha256,
        "size": receipt.size,
        "parts": receipt.parts,
        "parts_resumed": receipt.parts_resumed,
        "retries": receipt.retries,
        "seconds": receipt.seconds,
    }


def totals_object(totals: Totals) -> dict[str, int]:
    """Return totals as what JSON can say."""
    return {name: getattr(totals, name) for name in _TOTALS}


def error_object(error: BaseException) -> dict[str, object]:
    """Return an error as what JSON can say; what it does not have is null."""
    return {
        "type": type(error).__name__,
        "message": words_of(error),
        "hint": getattr(error, "advice", None),
        "code": getattr(error, "code", None) or None,
        "status": getattr(error, "status", None),
        "trace_id": getattr(error, "trace_id", None),
    }


_TOTALS = tuple(field.name for field in attrs.fields(Totals))

_KINDS: dict[type[Event], str] = {
    FileStarted: "started",
    Progress: "progress",
    PartRetried: "retried",
    FileFinished: "finished",
    FileFailed: "failed",
    FileCancelled: "cancelled",
}
