"""Ctrl-C, SIGTERM and SIGHUP: a command ends in order, and soon.

Nothing but the standard library is loaded here: signals are heard before anything else is there.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATIENCE: Final = 0.85
"""Seconds that an interrupted command may take to clean up when it has :class:`LastWords`."""

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_EXIT_CODE_OF_SIGNALS: Final = 128
_TO_WRITE: Final = 0.1
_SHOW_CURSOR: Final = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """A signal came; what was being done was cancelled, and has cleaned up.

    :ivar number: Its number.
    :ivar exit_code: What a shell says of a process that this signal ended.
    :ivar words: The line that the command leaves.
    """

    def __init__(self, number: int, words: str = "interrupted") -> None:
        super().__init__(f"signal {number}")
        self.number = number
        self.words = words
        self.exit_code: int = _EXIT_CODE_OF_SIGNALS + number


def hear_signals(hear: Callable[[int], object]) -> dict[int, Any]:
    """Have a function called for signals, but for those that whoever started us has us ignore.

    ``nohup`` does so, and a shell that starts a job with ``&``.

    :returns: What was done before, for :func:`restore`.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: hear(number))
    return before


def restore(before: Mapping[int, Any]) -> None:
    """Do with signals what was done before."""
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first signal raise :class:`Interrupted`, and one more Ctrl-C end the process."""

    def interrupt(number: int) -> NoReturn:
        hear_signals(end_if_ctrl_c)
        raise Interrupted(number)

    before = hear_signals(interrupt)
    try:
        yield
    finally:
        restore(before)


def leave(number: int) -> NoReturn:
    """End the process before a command has begun."""
    end(number, "interrupted: nothing was backed up")


def end_if_ctrl_c(number: int) -> None:
    """End the process at once if it is Ctrl-C; others come twice on their own, as SIGHUP does."""
    if number == signal.SIGINT:
        end(number)


def end(number: int, words: str | None = None) -> NoReturn:
    """End the process at once, with a line on standard error."""
    if words is not None:
        with suppress(OSError):  # a terminal that has gone
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)  # whoever has hidden it will not come to show it again
            encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
            os.write(2, f"{words}\n".encode(encoding, "backslashreplace"))
    os._exit(_EXIT_CODE_OF_SIGNALS + number)


class LastWords:
    """The one line that an interrupted command leaves, and its end by the time it promises.

    A thread waits beside the command. When cleaning up takes too long (a disk that hangs, a name
    that is being looked up, a reader of a pipe that has gone to sleep), it says the words and ends
    the process.

    :param words: Asked when they are to be said, in any thread.
    """

    def __init__(self, words: Callable[[], str]) -> None:
        self._words = words
        self._unsaid = threading.Lock()
        # the one kind of queue that a signal handler may put into
        self._news: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        threading.Thread(target=self._watch, name="koodrive end", daemon=True).start()

    def interrupted(self, number: int) -> None:
        """Have the process ended in ``PATIENCE`` seconds."""
        self._news.put(number)

    def call_off(self) -> None:
        """There will be no need."""
        self._news.put(None)

    def end(self, number: int) -> NoReturn:
        """Say them and end the process, once; whoever comes second lets the first one do so."""
        if self._unsaid.acquire(blocking=False):
            end(number, self._words())
        time.sleep(_TO_WRITE)
        end(number)

    def end_if_ctrl_c(self, number: int) -> None:
        """End the process at once if it is Ctrl-C."""
        if number == signal.SIGINT:
            self.end(number)

    def _watch(self) -> None:
        number = self._news.get()
        if number is None:
            return
        with suppress(queue.Empty):
            self._news.get(timeout=PATIENCE)
            return
        # the reader of standard error may be the one who sleeps
        writing = threading.Thread(target=self.end, args=(number,), daemon=True)
        writing.start()
        writing.join(_TO_WRITE)
        end(number)
