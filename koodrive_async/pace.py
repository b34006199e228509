"""Rate limits: how long to wait so that no more than so much passes in a second."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Spreads an amount evenly over time: bytes of parts, calls of the interface.

    After a pause, what fits into ``burst`` seconds may pass at once. Used by any number of threads
    and tasks, which are served in the order in which they ask.

    :param rate: Units per second.
    :param burst: Seconds.
    :param now: A clock that only goes forward.
    """

    def __init__(
        self, rate: float, *, burst: float = 0.1, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self._burst = burst
        self._now = now
        self._turn = threading.Lock()
        self._taken_until = now() - burst

    def delay(self, amount: float) -> float:
        """Take an amount, and return the seconds to wait before it is used."""
        with self._turn:
            now = self._now()
            begin = max(self._taken_until, now - self._burst)
            self._taken_until = begin + amount / self.rate
            return max(0.0, begin - now)

    def give_back(self, amount: float) -> None:
        """Give back what was taken and will not be used, such as by somebody who is cancelled."""
        with self._turn:
            self._taken_until -= amount / self.rate
