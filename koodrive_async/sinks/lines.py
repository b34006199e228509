"""Lines written to streams by a thread of their own, so that no reader can hold up the loop."""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, TextIO

from koodrive_async.sinks.painter import PATIENCE
from koodrive_async.wording import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

_MOST_WAITING: Final = 100_000
"""Lines that wait for a reader; what comes after that is only counted."""

_AT_ONCE: Final = 500


class Lines:
    """Writes lines to streams, in order, without ever making its caller wait.

    A reader that is slow has time to the end of the backup and as long as lines go out after it.
    One that takes nothing for two seconds is left behind then, and so is one that is gone.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[TextIO, str]] = deque()
        self._news = threading.Semaphore(0)
        self._closed = False
        self._failed = False
        self._left_out = 0
        self._written = 0
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._work,), name="koodrive lines", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, stream: TextIO, line: str) -> None:
        """Write a line when its turn comes.

        :param stream: Where; only one of the thread's own writes to it meanwhile.
        :param line: Without its end.
        """
        if self._failed:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._left_out += 1
            return
        self._waiting.append((stream, line))
        self._news.release()

    def close(self) -> None:
        """Write what waits, as long as somebody takes it."""
        self._closed = True
        self._news.release()
        written = -1
        while self._thread.is_alive() and written != self._written:
            written = self._written
            self._thread.join(PATIENCE)

    def _work(self) -> None:
        try:
            while self._news.acquire() and (self._waiting or not self._closed):
                self._write_all()
        except Exception:  # noqa: BLE001 - the reader is gone; a backup goes on
            self._failed = True
            self._waiting.clear()
            _log.debug("nobody reads the lines any more", exc_info=True)

    def _write_all(self) -> None:
        while self._waiting:
            for stream, text in _together(self._some()):
                _write(stream, text)
            self._written += 1
        if self._left_out:
            _log.warning(
                "%s not written: the reader took none of them", count_text(self._left_out, "line")
            )
            self._left_out = 0

    def _some(self) -> Iterator[tuple[TextIO, str]]:
        for _ in range(min(len(self._waiting), _AT_ONCE)):
            yield self._waiting.popleft()


def _together(lines: Iterator[tuple[TextIO, str]]) -> Iterator[tuple[TextIO, str]]:
    """Put lines that follow each other in the same stream into one text."""
    text: list[str] = []
    before: TextIO | None = None
    for stream, line in lines:
        if before is not None and stream is not before:
            yield before, "".join(text)
            text.clear()
        before = stream
        text.append(f"{line}\n")
    if before is not None:
        yield before, "".join(text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
