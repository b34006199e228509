"""One process of a record: it is watched, struck, and its end judged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.soak.blows import SIGNALS, Blow, Fate
from benchmarks.soak.findings import FindingError
from benchmarks.soak.order import CANCELLED, COMPLETED, GAVE_UP, Event
from benchmarks.soak.process import WorkerProcess
from benchmarks.soak.result import Result
from benchmarks.soak.weather import Weather

LONGEST_SILENCE: Final = 60.0
LONGEST_FAREWELL: Final = 15.0
"""Seconds from SIGTERM to the end of the process."""

LOOK_EVERY: Final = 0.05

UNEXPECTED: Final = frozenset(
    {
        "ClientClosed",
        "ConfigurationError",
        "DuplicateFileName",
        "FileTooLarge",
        "ForkedClient",
        "InsufficientSpace",
        "InvalidArgument",
        "InvalidFileName",
        "InvalidRequest",
        "NotFound",
        "PagingError",
        "PermissionDenied",
        "RecordInUse",
        "SourceChanged",
        "UntrustedCertificate",
        "WrongEventLoop",
    }
)
"""Documented exceptions for which nothing here gives a reason."""

ALREADY_COMPLETE: Final = "takes no more files"


class Attempt:
    """One process of a record.

    :param resumed: How many this record has had before.
    :param hashed: Files, and which version of them, whose hash is in the journal.
    :param is_over: Whether there are to be no more storms and blows.
    :ivar record_id: The record, once it is known.
    :ivar completed: Whether it was completed, by this process or by one that did not hear of it.
    :ivar mended: Names of files of which parts were sent again because the service refused them.
    """

    def __init__(
        self,
        process: WorkerProcess,
        *,
        weather: Weather,
        fate: Fate,
        tell: Callable[[str], None],
        result: Result,
        hashed: frozenset[tuple[str, tuple[int, ...]]],
        resumed: int,
        is_over: Callable[[], bool],
    ) -> None:
        self.record_id: str | None = None
        self.completed = False
        self.mended: set[str] = set()
        self._process = process
        self._weather = weather
        self._fate = fate
        self._tell = tell
        self._result = result
        self._hashed = hashed
        self._resumed = resumed
        self._is_over = is_over
        self._blow: Blow | None = None
        self._next_blow = 0.0
        self._goes_on_at: float | None = None
        self._ends_by: float | None = None
        self._heard = time.monotonic()

    def run(self) -> None:
        """Watch it until it ends.

        :raises FindingError: It broke a promise.
        """
        self._plan_blow()
        while True:
            now = time.monotonic()
            self._change_weather()
            self._strike(now)
            self._check_time(now)
            try:
                event = self._process.next_event(LOOK_EVERY)
            except EOFError:
                break
            if event is not None:
                self._heard = time.monotonic()
                self._hear(event)
        self._judge(self._process.wait())

    # --- what is done to it --------------------------------------------------------------------

    def _change_weather(self) -> None:
        if self._is_over():
            self._weather.calm(0)
        elif (news := self._weather.blow()) is not None:
            self._tell(f"weather: {news}")

    def _plan_blow(self) -> None:
        self._blow = self._fate.next(self._resumed)
        self._next_blow = time.monotonic() + self._blow.after

    def _strike(self, now: float) -> None:
        if self._goes_on_at is not None and now >= self._goes_on_at:
            self._goes_on_at = None
            self._heard = now
            self._process.send(signal.SIGCONT)
            self._tell("goes on")
        if self._blow is None or now < self._next_blow or self._is_over():
            return
        blow, self._blow = self._blow, None
        if blow.at is not None:
            self._tell(f"{blow.kind} at the next {blow.at}")
            self._weather.trap(blow.at, partial(self._send, blow))
            return
        self._send(blow)
        if blow.kind == "stop":
            self._goes_on_at = now + blow.pause
            self._plan_blow()
            self._next_blow += blow.pause
        elif blow.kind == "term":
            self._ends_by = now + LONGEST_FAREWELL

    def _send(self, blow: Blow) -> None:
        self._process.send(SIGNALS[blow.kind])
        self._tell(f"{blow.kind}{f' at {blow.at}' if blow.at else ''}")
        self._result.blows[blow.kind] += 1

    def _check_time(self, now: float) -> None:
        if self._goes_on_at is not None:
            return
        if now - self._heard > LONGEST_SILENCE:
            raise FindingError(f"no progress for {LONGEST_SILENCE:.0f} s: {self._process.log}")
        if self._ends_by is not None and now > self._ends_by:
            raise FindingError(f"it does not end after SIGTERM: {self._process.log}")

    # --- what it tells -------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        kind = event["event"]
        if kind == "progress":
            return
        self._tell(" ".join(map(str, event.values())))
        if kind == "record":
            self.record_id = event["id"]
        elif kind == "completed":
            self.completed = True
        elif kind == "mending":
            self.mended.add(event["name"])
        elif kind == "hashing":
            self._check_hashing(event["path"])
        elif kind in {"failure", "gave-up"}:
            self._hear_error(event)
        elif kind == "descriptors" and event["more"] > 0:
            raise FindingError(f"{event['more']} descriptors were left open: {self._process.log}")
        elif kind == "ended" and event["threads"]:
            raise FindingError(f"threads were left: {event['threads']}: {self._process.log}")

    def _hear_error(self, event: Event) -> None:
        error, text = event["error"], event["text"]
        if error == "InvalidArgument" and ALREADY_COMPLETE in text:
            self.completed = True
            self._result.notes["records found to be completed by a killed process"] += 1
            return
        self._result.raised[error] += 1
        if error in UNEXPECTED or not event.get("documented", True):
            raise FindingError(f"{error}: {text} ({event.get('path', 'session')})")

    def _check_hashing(self, path: str) -> None:
        status = Path(path).stat()
        version = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if (os.path.abspath(path), version) in self._hashed:  # noqa: PTH100 - as the journal has it
            raise FindingError(f"{path} is hashed again, which the journal knew")

    # --- its end -------------------------------------------------------------------------------

    def _judge(self, code: int) -> None:
        endings = {COMPLETED: "completed", GAVE_UP: "gave up", CANCELLED: "cancelled"}
        ending = "killed" if code == -signal.SIGKILL else endings.get(code)
        if ending is None and code == -signal.SIGTERM:
            ending = "terminated before it could listen"
        self._tell(f"ended: {ending or code}")
        if ending is None or (complaints := self._process.complaints()):
            reason = f"exit code {code}" if ending is None else "; ".join(complaints[:3])
            raise FindingError(f"it crashed ({reason}): {self._process.log}")
        self._result.endings[ending] += 1
