"""Where a backup stands, as far as its events say."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.upload.events import (
    FileCancelled,
    FileFailed,
    FileFinished,
    FileStarted,
    PartRetried,
    Phase,
    Progress,
    Totals,
)
from koodrive_async.wording import count_text, printable, size_text, time_text

if TYPE_CHECKING:
    from koodrive_async.upload.events import Event

_WINDOW: Final = 10.0
"""Seconds over which a speed is taken: parts arrive in lumps."""


@attrs.define
class OnItsWay:
    """A file on its way.

    :ivar began: When, in seconds of :func:`time.monotonic`.
    :ivar total: Bytes, once known.
    """

    name: str
    began: float
    phase: Phase = Phase.HASH
    done: int = 0
    total: int = 0

    @property
    def doing(self) -> str:
        """What is being done to it; one that is hashed waits for its first part to arrive."""
        is_hashed = self.phase is Phase.HASH and 0 < self.total <= self.done
        return "waiting" if is_hashed else self.phase.value


class Speed:
    """The speed of something that grows, over the last seconds; it has no clock of its own."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Note how far it is.

        :param now: Seconds.
        :param done: Bytes.
        """
        points = self._points
        points.append((now, done))
        while len(points) > 2 and points[1][0] <= now - _WINDOW:  # noqa: PLR2004 - both ends
            points.popleft()

    @property
    def per_second(self) -> float:
        """Bytes per second."""
        if not self._points:
            return 0.0
        (began, before), (now, done) = self._points[0], self._points[-1]
        return (done - before) / (now - began) if now > began else 0.0


class Pass:
    """How far one of the two passes over all files has come.

    :ivar done: Bytes.
    :ivar moved: Bytes of them that were worked on, and not there already: its speed is made of it.
    :ivar lost: Bytes of files that failed, which will not come any more.
    """

    def __init__(self, phase: Phase, began: float) -> None:
        self.phase = phase
        self.done = 0
        self.moved = 0
        self.lost = 0
        self._speed, self._pace = Speed(), Speed()
        self._speed.add(began, 0)
        self._pace.add(began, 0)

    def look(self, now: float) -> None:
        """Take the speed; called every now and then, by one thread."""
        self._speed.add(now, self.moved)
        self._pace.add(now, self.done)

    @property
    def per_second(self) -> float | None:
        """Bytes per second, as of the last look; None before anything has moved."""
        return self._speed.per_second if self.moved else None

    def seconds_left(self, total: int) -> float | None:
        """Return how long it takes from here, or None where nothing moves.

        :param total: Bytes.
        """
        left = total - self.done - self.lost
        if left <= 0:
            return 0.0
        pace = self._pace.per_second
        return left / pace if pace > 0 else None


class Standing:
    """Where a backup stands: written by the event loop, read by whoever draws it.

    A drawing thread may read at any time. It sees a moment that is at most one event old.

    :ivar total: Bytes of the whole backup, where that is known.
    """

    def __init__(self) -> None:
        self.began: float = time.monotonic()
        self.total: int | None = None
        self.totals: Totals = Totals()
        self.passes: tuple[Pass, Pass] = (
            Pass(Phase.HASH, self.began),
            Pass(Phase.UPLOAD, self.began),
        )
        self.failures: deque[FileFailed] = deque(maxlen=1000)
        self.size: int = 0  # bytes of files that are in the record
        self.sent: int = 0
        self.rapid: int = 0
        self.there: int = 0
        self._sent_before: int | None = None
        self._files: dict[int, OnItsWay] = {}

    def take(self, event: Event) -> None:
        """Take an event."""
        self.totals = event.totals
        self.passes[0].done = event.totals.hashed
        self.passes[1].done = event.totals.uploaded
        if self._sent_before is None:  # the session may be older than its display
            self._sent_before = event.totals.sent
        self.sent = event.totals.sent - self._sent_before
        self.passes[0].moved, self.passes[1].moved = event.totals.hashed, self.sent
        if isinstance(event, Progress):
            self._move(event)
        elif isinstance(event, FileStarted):
            self._files[event.number] = OnItsWay(name_in(event), time.monotonic())
        elif not isinstance(event, PartRetried):
            self._end(event)

    def _move(self, event: Progress) -> None:
        file = self._files.get(event.number)
        if file is None:  # a sink that came late
            file = self._files[event.number] = OnItsWay(name_in(event), time.monotonic())
        file.phase, file.done, file.total = event.phase, event.done, event.total

    def _end(self, event: FileFinished | FileFailed | FileCancelled) -> None:
        file = self._files.pop(event.number, None)
        if isinstance(event, FileFinished):
            receipt = event.receipt
            self.size += receipt.size
            self.rapid += receipt.outcome == "rapid"
            self.there += receipt.outcome == "exists"
            return
        if isinstance(event, FileFailed):
            self.failures.append(event)
        if file is not None:
            hashed = file.done if file.phase is Phase.HASH else file.total
            self.passes[0].lost += file.total - hashed
            self.passes[1].lost += file.total - (file.done if file.phase is Phase.UPLOAD else 0)

    @property
    def expected(self) -> int:
        """Bytes that there are to do, as far as is known."""
        return max(self.total or 0, self.totals.size)

    def look(self, now: float) -> None:
        """Take the speeds of both passes; called every now and then, by one thread.

        :param now: Seconds of :func:`time.monotonic`.
        """
        for each in self.passes:
            each.look(now)

    def largest(self, count: int, began_before: float) -> list[OnItsWay]:
        """Return the largest files on their way, in the order in which they began.

        :param count: How many, at most.
        :param began_before: Leaves out what came later: what is soon gone is not worth a line.
        """
        files = [file for file in list(self._files.values()) if file.began <= began_before]
        if len(files) > count:
            kept = sorted(files, key=lambda file: file.total, reverse=True)[:count]
            files = sorted(kept, key=lambda file: file.began)
        return files

    def time_left(self, each: Pass) -> str:
        """Return how long a pass takes from here, such as ``0:42``.

        Where the total is not known, ``0:42+`` says how long the files take that have begun.
        Nothing is returned where nothing moves, or nothing is left.
        """
        seconds = each.seconds_left(self.expected)
        if not seconds:
            return ""
        return time_text(max(seconds, 1)) + ("" if self.total else "+")

    def under_way(self) -> int:
        """Return how many files are on their way."""
        totals = self.totals
        return totals.files - totals.done - totals.failed - totals.cancelled

    def speed(self, seconds: float) -> str:
        """Return how fast it was, such as ``12.3 MB/s``; nothing where nothing was sent.

        :param seconds: How long it took.
        """
        return f"{size_text(self.sent / max(seconds, 1e-6))}/s" if self.sent else ""

    def files_text(self) -> str:
        """Return what became of the files, such as ``12 files done, 3 under way, 1 failed``."""
        totals = self.totals
        text = f"{count_text(totals.done, 'file')} done"
        if under_way := self.under_way():
            text += f", {under_way:,} under way"
        if totals.failed:
            text += f", {totals.failed:,} failed"
        if totals.cancelled:
            text += f", {totals.cancelled:,} cancelled"
        if totals.retries:
            text += f", {count_text(totals.retries, 'part')} sent again"
        return text

    def progress(self) -> str:
        """Return how far all is, in one line."""
        hashing, sending = self.passes
        text = (
            f"{self.files_text()}; {size_text(hashing.done)} hashed, {size_text(sending.done)} "
            f"of {size_text(self.expected)} sent"
        )
        if sending.per_second is not None:
            text += f", {size_text(sending.per_second)}/s"
        left = self.time_left(sending)
        return f"{text}, {left} left" if left else text

    def summary(self, seconds: float) -> str:
        """Return what happened, in one line.

        :param seconds: How long it took.
        """
        totals = self.totals
        text = f"{count_text(totals.done, 'file')}, {size_text(self.size)} in {seconds:.2f} s"
        if speed := self.speed(seconds):
            text += f": {speed}"
        if self.there:
            text += f"; {count_text(self.there, 'file')} there already"
        if self.rapid:
            text += f"; {count_text(self.rapid, 'file')} not sent, the service had the bytes"
        if totals.retries:
            text += f"; {count_text(totals.retries, 'part')} sent again"
        if totals.failed:
            text += f"; {count_text(totals.failed, 'file')} failed"
        if totals.cancelled:
            text += f"; {count_text(totals.cancelled, 'file')} cancelled"
        if under_way := self.under_way():
            text += f"; {count_text(under_way, 'file')} still under way"
        return text


def name_in(event: Event) -> str:
    """Return the name of an event's file that a person knows it by: its path, in a tree."""
    return printable(event.description or event.name)


def reason_of(event: FileFailed) -> str:
    """Return why a file failed, in one line."""
    return words_of(event.failure.error)


def words_of(error: BaseException) -> str:
    """Return what an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    return printable(str(error) or type(error).__name__)
