"""A worker process, and what it tells."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from benchmarks.soak.order import Event, Order

TELLING: Final = ("Traceback", "never retrieved", "never awaited", "ResourceWarning", "ignored in")
"""What a log must not have in it."""


class WorkerProcess:
    """A process that backs up as it was ordered.

    :param log: Where its log goes.
    :param temporary: A folder for its temporary files.
    """

    def __init__(self, order: Order, *, log: Path, temporary: Path) -> None:
        self.log = log
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "always::ResourceWarning", "-m", "benchmarks.soak.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "TMPDIR": str(temporary)},
            )
        assert self._process.stdin is not None
        order.write(self._process.stdin)
        self._reader = threading.Thread(target=self._read, name="soak-events", daemon=True)
        self._reader.start()

    def next_event(self, seconds: float) -> Event | None:
        """Return what it tells next.

        :param seconds: How long to wait for that.
        :raises EOFError: It has ended.
        """
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if event is None:
            raise EOFError
        return event

    def send(self, number: signal.Signals) -> None:
        """Send a signal; from any thread, and nothing happens when it has ended."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and return its exit code: the negative number of a signal."""
        code = self._process.wait()
        self._reader.join()
        return code

    def end(self) -> None:
        """Kill it if it is still there."""
        self._process.kill()
        self.wait()

    def complaints(self) -> list[str]:
        """Return the lines of its log that should not be there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(word in line for word in TELLING)]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("}\n"):  # a killed one may leave half a line
                    self._events.put(json.loads(line))
        self._events.put(None)
