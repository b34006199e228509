"""What time it is on the service, whatever this machine's clock says."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Mapping

X_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
X_DATE_LIFE = 15 * 60.0
"""Seconds for which the service accepts an ``X-Date`` (page ``koodrive_05_0029``)."""

_SAFETY = 1.0
_EARLIEST, _LATEST = 2020, 9000
"""Years that a ``Date`` may be in: others are the zero or the overflow of some clock."""


class Clock(Protocol):
    """Time as the client sees it; bring your own to test code that waits."""

    def time(self) -> float:
        """Return seconds since 1970, as this machine believes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait.

        :param seconds: How long.
        """


class SystemClock:
    """This machine's clock. It is the wall clock, so that a suspended laptop notices the gap."""

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellation ends the wait at once.

        :param seconds: How long.
        """
        await anyio.sleep(seconds)


class ServiceTime:
    """The service's time, learnt from the ``Date`` headers of its answers.

    Every answer gives a lower bound: when it was generated, the service's clock showed at least
    ``Date``, and it was generated before it arrived. A time built on lower bounds is never in the
    service's future, however wrong the local clock is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = 0.0
        self._last_stamp = (0, "")
        self.known: bool = False

    @property
    def offset(self) -> float:
        """Seconds the service is ahead of the local clock (negative: behind), as far as known."""
        return self._offset

    def now(self) -> float:
        """Return seconds since 1970 on the service, a little early rather than late."""
        return self._clock.time() + self._offset

    def stamp(self) -> str:
        """Return the value for ``X-Date``."""
        second = int(self.now() - _SAFETY)
        if self._last_stamp[0] != second:
            text = datetime.fromtimestamp(second, UTC).strftime(X_DATE_FORMAT)
            self._last_stamp = (second, text)
        return self._last_stamp[1]

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the service's time from an answer that has just arrived.

        An answer from a cache (it has an ``Age``) tells the time of long ago and is passed over.
        """
        moment = read_http_date(headers.get("Date", ""))
        if "Age" in headers or moment is None:
            return
        self._offset = moment - self._clock.time()
        self.known = True

    def accepts(self, stamp: str) -> bool:
        """Say whether a stamp lies for certain in the window the service accepts."""
        sent = datetime.strptime(stamp, X_DATE_FORMAT).replace(tzinfo=UTC).timestamp()
        return self.now() - X_DATE_LIFE < sent <= self.now()


@lru_cache(maxsize=4)  # many answers come in the same second
def read_http_date(text: str) -> float | None:
    """Read a date as HTTP headers write it.

    :returns: Seconds since 1970, or None when this is not a date.
    """
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if not _EARLIEST <= moment.year < _LATEST:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
