""":class:`PlainSink`: lines, where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

from koodrive_async.sinks.counting import CountingSink
from koodrive_async.sinks.lines import Lines
from koodrive_async.sinks.standing import name_in, reason_of
from koodrive_async.upload.events import FileFailed, FileFinished
from koodrive_async.wording import printable

if TYPE_CHECKING:
    from koodrive_async.upload.events import Event

_EVERY: Final = 10.0


class PlainSink(CountingSink):
    r"""Writes a line for each file, and every so often one that says how far all is.

    Lines of files have fields separated by tabs, as those of the command have: outcome, bytes,
    SHA-256, file id, path. Other lines begin with ``progress``, ``done`` or ``stopped``. They are
    written by a thread: a reader that is slow or gone stops nothing else.

    :param stream: Where to write; standard output by default.
    :param errors: Where to say what failed; standard error by default.
    :param every: Seconds between two lines of progress; they come with the events.
    :param total: Bytes that there are to back up, for the time left.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        errors: TextIO | None = None,
        *,
        every: float = _EVERY,
        total: int | None = None,
    ) -> None:
        super().__init__(total)
        self._stream = stream
        self._errors = errors
        self._every = every
        self._lines: Lines | None = None
        self._told = 0.0

    def start(self) -> None:
        """Begin to write."""
        super().start()
        self._stream = self._stream or sys.stdout
        self._errors = self._errors or sys.stderr
        self._told = self._standing.began
        self._lines = Lines()
        self._lines.start()

    def update(self, event: Event) -> None:
        """Write what became of a file, and progress when it is time to."""
        super().update(event)
        if isinstance(event, FileFinished):
            receipt = event.receipt
            file_id = printable(receipt.file_id)
            self._write(
                f"{receipt.outcome}\t{receipt.size}\t{receipt.sha256}\t{file_id}\t{name_in(event)}"
            )
        elif isinstance(event, FileFailed):
            self._write_error(f"failed: {name_in(event)}: {reason_of(event)}")
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self._write(f"progress\t{self._look().progress()}")

    def close(self, error: BaseException | None = None) -> None:
        """Write the totals; whoever does not read is left after two seconds."""
        self._write("\t".join(self._end_text(error)))
        if self._lines is not None:
            self._lines.close()

    def _write(self, line: str) -> None:
        if self._lines is not None and self._stream is not None:
            self._lines.put(self._stream, line)

    def _write_error(self, line: str) -> None:
        if self._lines is not None and self._errors is not None:
            self._lines.put(self._errors, line)
