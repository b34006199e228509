"""An outage of the service or the object store, and for how long a session waits for its end."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from koodrive_async.errors import (
    ApiError,
    PartRejected,
    ProxyFailed,
    TransportError,
    UntrustedCertificate,
)

if TYPE_CHECKING:
    from koodrive_async.transport.clock import Clock

logger: logging.Logger = logging.getLogger(__name__)

_LONGEST_GAP = 300.0
"""Seconds between two failures after which they are not of one outage: this machine slept."""

_FAULTS = 500


class Outage:
    """Whether one place, the service or the object store, can be reached at the moment.

    An outage begins with a request that finds the place unreachable, and is over with the first
    answer of any request to it. The wait is logged once, and the end of the outage once.

    :param place: The name of the place, for the log.
    :param longest: Seconds that requests may wait for it, from its beginning; 0 for none.
    :param once_reached: True when only a place that has answered before is waited for: the
        address of one that never did may be wrong.
    :ivar since: When the outage began, in seconds since 1970 on the local clock; None without one.
    :ivar ended: How many outages are over.
    """

    def __init__(
        self, place: str, clock: Clock, longest: float, *, once_reached: bool = False
    ) -> None:
        self.longest = longest
        self.since: float | None = None
        self.ended: int = 0
        self._place = place
        self._clock = clock
        self._trusted = not once_reached
        self._last = 0.0
        self._logged = False

    def reached(self) -> None:
        """Note that the place answered."""
        self._trusted = True
        if self.since is None:
            return
        if self._logged:
            seconds = self._clock.time() - self.since
            logger.warning("%s can be reached again, after %.0f s", self._place, seconds)
        self.since, self._logged = None, False
        self.ended += 1

    def failed(self) -> None:
        """Note that the place could not be reached."""
        now = self._clock.time()
        if self.since is None or now - self._last > _LONGEST_GAP:
            self.since = now
        self._last = now

    def left(self, failing_since: float) -> float:
        """Return for how many seconds more a request may wait; 0 for none.

        :param failing_since: When the request failed for the first time.
        """
        if self.since is None or not self._trusted:
            return 0.0
        return max(0.0, min(self.since, failing_since) + self.longest - self._clock.time())

    def waits(self, error: Exception) -> None:
        """Note that a request waits for the place; logged for the first one.

        :param error: The failure of that request.
        """
        if self._logged or self.since is None:
            return
        self._logged = True
        began = datetime.fromtimestamp(self.since, UTC).strftime("%H:%M:%S")
        logger.warning(
            "%s is out of reach since %s UTC, waiting at most %.0f s (RetryPolicy.outage): %s",
            self._place,
            began,
            self.longest,
            error,
        )


def is_outage(error: ApiError | PartRejected | TransportError) -> bool:
    """Return whether an error means that the place is out of order, not this request."""
    if isinstance(error, UntrustedCertificate):
        return False
    if isinstance(error, ApiError | PartRejected):
        return error.status >= _FAULTS
    if isinstance(error, ProxyFailed) and error.status is not None:
        return error.status >= _FAULTS
    # an answer that cannot be read is an answer all the same, and has a status
    return getattr(error, "status", None) is None
