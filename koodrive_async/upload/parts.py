"""Sending the parts of one file, each until it is there or there is no hope for it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from koodrive_async.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    PartRejected,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.tasks import task_group
from koodrive_async.transport.retry import Failure, delay_before_retry
from koodrive_async.upload.source import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from koodrive_async.upload.means import Means
    from koodrive_async.upload.plan import Plan, PlannedPart
    from koodrive_async.upload.source import Content
    from koodrive_async.upload.urls import PartUrls

logger = logging.getLogger(__name__)

_FORBIDDEN = 403
_TOO_MUCH = frozenset({429, 503})
_TOO_MUCH_CODES = frozenset({"SlowDown", "ServiceUnavailable"})


class PartsUpload:
    """The parts of one file on their way.

    :param name: Of the file, for the log.
    :param on_acknowledged: Called with the bytes of each part that has got there.
    :ivar retries: Parts that were sent again.
    """

    def __init__(
        self,
        means: Means,
        content: Content,
        plan: Plan,
        urls: PartUrls,
        *,
        name: str,
        on_acknowledged: Callable[[int], None],
    ) -> None:
        self._means = means
        self._content = content
        self._plan = plan
        self._urls = urls
        self._name = name
        self._on_acknowledged = on_acknowledged
        self.retries = 0

    async def run(self) -> None:
        """Send all of them.

        :raises PartRejected: The object store refused one for good.
        :raises TransportError: It did not answer, however often it was asked.
        :raises SourceChanged: The source is not what was hashed.
        :raises OSError: The source cannot be read any more.

        The first failure cancels the other parts.
        """
        parts = iter(self._plan.parts)
        at_a_time = min(len(self._plan), self._means.limit.most)
        if at_a_time == 1:
            await self._send_from(parts)
            return
        async with task_group() as group:
            for _ in range(at_a_time):
                group.start_soon(self._send_from, parts)

    async def _send_from(self, parts: Iterator[PlannedPart]) -> None:
        for part in parts:
            await self._deliver(part)

    async def _deliver(self, part: PlannedPart) -> None:
        attempt = 1
        refused: str | None = None
        while True:
            # waiting for the interface, or until the next attempt, keeps no connection from others
            url = await self._urls.get(part.number, refused=refused)
            try:
                await self._send_once(part, url)
            except (PartRejected, TransportError) as error:
                error.attempts = attempt
                delay = self._delay(error, attempt, refused)
                if delay is None:
                    raise
                refused = url if _is_forbidden(error) else refused
            else:
                self._urls.done(part.number)
                self._on_acknowledged(part.size)
                return
            attempt += 1
            self.retries += 1
            await self._means.clock.sleep(delay)

    async def _send_once(self, part: PlannedPart, url: str) -> None:
        means = self._means
        async with means.connections.slot(self, short=part.size <= SMALL):
            began = time.monotonic()
            try:
                await means.sender.send(part, self._content, url)
            except (PartRejected, TransportError) as error:
                if _is_overload(error):
                    means.limit.overloaded(began, time.monotonic())
                raise
            means.limit.arrived(
                part.size, began, time.monotonic(), contended=means.connections.contended
            )

    def _delay(
        self, error: PartRejected | TransportError, attempt: int, refused: str | None
    ) -> float | None:
        """Return the seconds until the next attempt, or None when there is none."""
        if _is_forbidden(error):
            # most likely the URL has expired: one fresh one is worth a try, at once
            return 0.0 if refused is None else None
        failure = Failure(error, attempt, repeatable=True, policy=self._means.retry)
        delay = delay_before_retry(failure)
        if delay is not None:
            logger.warning(
                "%s: attempt %d failed, next in %.1f s: %s", self._name, attempt, delay, error
            )
        return delay


def _is_forbidden(error: Exception) -> bool:
    return isinstance(error, PartRejected) and error.status == _FORBIDDEN


def _is_overload(error: PartRejected | TransportError) -> bool:
    """Return whether fewer parts at a time might have fared better."""
    if isinstance(error, PartRejected):
        return error.status in _TOO_MUCH or error.code in _TOO_MUCH_CODES
    return isinstance(error, ConnectionFailed | DeadlineExceeded) and not isinstance(
        error, UntrustedCertificate
    )
