""":class:`LoggingSink`: what happens in a backup, for the log of a service."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from koodrive_async.sinks.counting import CountingSink
from koodrive_async.sinks.json_lines import totals_object
from koodrive_async.sinks.standing import name_in, reason_of, words_of
from koodrive_async.upload.events import FileCancelled, FileFailed, FileFinished, PartRetried
from koodrive_async.wording import size_text

if TYPE_CHECKING:
    from koodrive_async.upload.events import Event

_EVERY: Final = 30.0


class LoggingSink(CountingSink):
    """Logs a line for each file, one every so often that says how far all is, and one at the end.

    Files that are there are logged at ``level``, as are the summaries; files that failed as errors,
    those that were cancelled as warnings, parts that are sent again for debugging. Each record has
    fields for logs with a structure:

    ======================== ======================================================================
    ``koodrive_event``       ``finished``, ``failed``, ``cancelled``, ``retried``, ``progress``,
                             ``done``, or ``stopped`` after an exception
    ``koodrive_totals``      the numbers of :class:`~koodrive_async.upload.events.Totals`
    ``koodrive_number``,     which file: its number in the session, name and description (in a tree,
    ``koodrive_name``,       the path)
    ``koodrive_description``
    ``koodrive_outcome``,    of a file that is there: as in its receipt
    ``koodrive_file_id``,
    ``koodrive_sha256``,
    ``koodrive_size``,
    ``koodrive_seconds``
    ``koodrive_error``,      of what failed: the class of the error, and its text
    ``koodrive_reason``
    ``koodrive_part``,       of a part that is sent again
    ``koodrive_attempt``
    ======================== ======================================================================

    Handlers are called in the event loop, as they are by all that logs there: one that may block
    belongs behind a ``logging.handlers.QueueHandler``.

    :param logger: By default the one named ``koodrive_async.sinks``.
    :param level: For what went well.
    :param every: Seconds between two summaries; they come with the events.
    :param total: Bytes that there are to back up, for the time left.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        level: int = logging.INFO,
        *,
        every: float = _EVERY,
        total: int | None = None,
    ) -> None:
        super().__init__(total)
        self._logger = logger or logging.getLogger("koodrive_async.sinks")
        self._level = level
        self._every = every
        self._told = 0.0

    def start(self) -> None:
        """Begin to count."""
        super().start()
        self._told = self._standing.began

    def update(self, event: Event) -> None:
        """Log what became of a file or a part, and progress when it is time to."""
        super().update(event)
        if isinstance(event, FileFinished):
            self._log_finished(event)
        elif isinstance(event, FileFailed):
            self._log_failed(event)
        elif isinstance(event, FileCancelled):
            fields = _file(event) | {"event": "cancelled"}
            self._log(logging.WARNING, f"cancelled {name_in(event)}", fields)
        elif isinstance(event, PartRetried):
            self._log_retried(event)
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self._log(self._level, self._look().progress(), {"event": "progress"})

    def close(self, error: BaseException | None = None) -> None:
        """Log the totals."""
        end, summary = self._end_text(error)
        fields: dict[str, object] = {"event": end}
        if error is not None:
            fields |= {"error": type(error).__name__, "reason": words_of(error)}
        self._log(self._level, f"{end}: {summary}", fields)

    def _log_finished(self, event: FileFinished) -> None:
        receipt = event.receipt
        fields = {
            "event": "finished",
            "outcome": receipt.outcome,
            "file_id": receipt.file_id,
            "sha256": receipt.sha256,
            "size": receipt.size,
            "seconds": receipt.seconds,
        }
        text = f"{name_in(event)}, {size_text(receipt.size)} in {receipt.seconds:.2f} s"
        self._log(self._level, f"{receipt.outcome} {text}", _file(event) | fields)

    def _log_failed(self, event: FileFailed) -> None:
        error = type(event.failure.error).__name__
        fields = {"event": "failed", "error": error, "reason": reason_of(event)}
        text = f"failed {name_in(event)}: {error}: {reason_of(event)}"
        self._log(logging.ERROR, text, _file(event) | fields)

    def _log_retried(self, event: PartRetried) -> None:
        reason = words_of(event.error)
        fields = {
            "event": "retried",
            "part": event.part,
            "attempt": event.attempt,
            "error": type(event.error).__name__,
            "reason": reason,
        }
        text = f"part {event.part} of {name_in(event)} is sent again: {reason}"
        self._log(logging.DEBUG, text, _file(event) | fields)

    def _log(self, level: int, text: str, fields: dict[str, object]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        fields["totals"] = totals_object(self._standing.totals)
        extra = {f"koodrive_{key}": value for key, value in fields.items()}
        self._logger.log(level, "%s", text, extra=extra)


def _file(event: Event) -> dict[str, object]:
    return {"number": event.number, "name": event.name, "description": event.description}
