"""Whether another backup holds the lock, by what the library logs while it waits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOCKS = logging.getLogger("koodrive_async.resources.locks")
"""Its messages of level INFO are about waiting for a lock that somebody else has."""


class LockLog(logging.Handler):
    """Says when the lock is waited for; kept up between :meth:`begin` and :meth:`end`.

    :param on_waiting: Called in the event loop at each attempt that was refused.
    """

    def __init__(self, on_waiting: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._on_waiting = on_waiting
        self._level_before = logging.NOTSET

    def begin(self) -> None:
        """Listen."""
        self._level_before = LOCKS.level
        LOCKS.setLevel(logging.INFO)
        LOCKS.addHandler(self)

    def end(self) -> None:
        """Listen no more."""
        LOCKS.removeHandler(self)
        LOCKS.setLevel(self._level_before)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message."""
        if record.levelno == logging.INFO:
            self._on_waiting()
