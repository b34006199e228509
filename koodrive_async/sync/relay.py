"""Callbacks that are called in the thread that waits, not in that of the portal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from koodrive_async.callbacks import FailingAlone, check_nothing_to_await
from koodrive_async.sync.call import next_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from koodrive_async.sync.call import Call
    from koodrive_async.upload import OnProgress, Progress


class Relay:
    """Takes progress in the portal's thread and hands it out where a call is waited for.

    Of each file and phase the newest is kept: a callback that is slow, or not called for a while,
    slows nothing and misses no end.

    :param on_progress: The callback. What it raises ends the call.
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._turn = threading.Lock()
        self._waiting: dict[object, Progress] = {}
        self._inbox: SimpleQueue[Callable[[], object] | None] | None = None

    def __call__(self, progress: Progress) -> None:
        """Take it, in the portal's thread."""
        key = progress.number, progress.phase
        with self._turn:
            self._waiting.pop(key, None)  # what is newer goes to the end
            self._waiting[key] = progress
            if self._inbox is not None and len(self._waiting) == 1:
                self._inbox.put(self.deliver)

    def deliver(self) -> None:
        """Call the callback with all that came."""
        while (progress := self._next()) is not None:
            # a type that says None is no proof
            with FailingAlone("on_progress"):
                result: object = self._on_progress(progress)
            check_nothing_to_await("on_progress", result)

    def deliver_during(self, call: Call[Any]) -> None:
        """Wait for the end of a call, and call the callback meanwhile."""
        self._inbox = call.inbox
        try:
            self.deliver()
            while (deliver := next_of(call.inbox)) is not None:
                deliver()
        finally:
            self._inbox = None
        self.deliver()

    def _next(self) -> Progress | None:
        with self._turn:
            if not self._waiting:
                return None
            return self._waiting.pop(next(iter(self._waiting)))
