"""A command on a terminal of its own, and somebody who answers its questions."""

from __future__ import annotations

import os
import pty
import signal
import time
from contextlib import contextmanager
from pathlib import Path


class Talk:
    """What is said on a terminal."""

    def __init__(self, process, descriptor):
        self.process = process
        self.written = ""
        self._descriptor = descriptor
        self._read = 0

    def wait_for(self, text):
        """Read until the command has written this, after whatever was waited for before."""
        while text not in self.written[self._read :]:
            if not self._more():
                raise AssertionError(f"{text!r} never came: {self.written!r}")
        self._read = self.written.index(text, self._read) + len(text)

    def answer(self, question, text):
        self.wait_for(question)
        self.type(f"{text}\n")

    def type(self, text):
        os.write(self._descriptor, text.encode(errors="surrogateescape"))

    def interrupt(self, number=signal.SIGINT):
        """Send a signal to a command that waits for an answer.

        Python calls a handler before it reads, or when a signal ends the reading: one that comes
        in between is noticed at the next line only.
        """
        state = Path(f"/proc/{self.process.pid}/stat")
        give_up = time.monotonic() + 20
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < give_up, "it never waits"
            time.sleep(0.002)
        self.process.send_signal(number)

    def end(self):
        """Read what is left and return the exit code."""
        while self._more():
            pass
        return self.process.wait(timeout=20)

    def _more(self):
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.written += data.decode(errors="replace")
        return bool(data)


@contextmanager
def talk(start, *arguments, **options):
    """Start a command on a terminal."""
    ours, theirs = pty.openpty()
    # not on the terminal of whoever runs the tests: passwords are asked for there
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    try:
        with start(*arguments, **(streams | options)) as process:
            os.close(theirs)
            yield Talk(process, ours)
    finally:
        os.close(ours)
