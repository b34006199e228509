"""Sending the parts of one file, each until it is there or there is no hope for it."""

from __future__ import annotations

import time
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    DeadlineExceeded,
    MalformedResponse,
    PartRejected,
    PermissionDenied,
    RateLimited,
    ServerFault,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.tasks import task_group
from koodrive_async.transport.retry import Attempts
from koodrive_async.upload.chain import PartChain
from koodrive_async.upload.source import SMALL
from koodrive_async.upload.trace import PartClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.plan import Plan, PlannedPart
    from koodrive_async.upload.source import Content
    from koodrive_async.upload.urls import PartUrls
    from koodrive_async.upload.watching import FileWatch

_NONE: Mapping[int, str | None] = MappingProxyType({})
_FORBIDDEN = frozenset({401, 403})
_FORBIDDEN_CODES = frozenset(
    {
        "AccessDenied",
        "AuthorizationQueryParametersError",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""Codes of object stores for an expired URL, with HTTP 400 as well as with 403."""
_NOT_OF_THE_PART = (AuthenticationError, PermissionDenied, RateLimited, ServerFault)
_FETCHES_OUTSIDE = 2
"""How often a part leaves its connection to others because its URL has to be fetched."""

_TOO_MUCH = frozenset({429, 503})
_TOO_MUCH_CODES = frozenset({"SlowDown", "ServiceUnavailable"})


class PartsUpload:
    """The parts of one file on their way.

    :param name: Of the file, for the log and for errors.
    :param watch: Hears of every attempt to send a part.
    :param on_acknowledged: Awaited with each part that has got there and its ETag, if it has one,
        when its connection is free for others again.
    :param arrived: Parts that are there already, with their ETags: these are not sent.
    :param fingerprint: With midstates at every boundary of the parts.
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
        watch: FileWatch,
        on_acknowledged: Callable[[PlannedPart, str | None], Awaitable[None]],
        arrived: Mapping[int, str | None] = _NONE,
        fingerprint: Fingerprint,
    ) -> None:
        self._means = means
        self._content = content
        self._urls = urls
        self._name = name
        self._watch = watch
        self._on_acknowledged = on_acknowledged
        self._fingerprint = fingerprint
        self._parts = [part for part in plan.parts if part.number not in arrived]
        self.retries: int = 0

    async def run(self) -> None:
        """Send all that have not arrived.

        :raises PartRejected: The object store refused one for good.
        :raises TransportError: It did not answer, however often it was asked.
        :raises ApiError: The service gave no fresh URL.
        :raises SourceChanged: The source is not what was hashed.
        :raises OSError: The source cannot be read any more.

        The first failure cancels the other parts.
        """
        self._urls.want(part.number for part in self._parts)
        parts = iter(self._parts)
        at_a_time = min(len(self._parts), self._means.limit.most)
        if at_a_time <= 1:
            await self._send_from(parts)
            return
        async with task_group() as group:
            for _ in range(at_a_time):
                group.start_soon(self._send_from, parts)

    async def _send_from(self, parts: Iterator[PlannedPart]) -> None:
        for part in parts:
            await self._deliver(part)

    async def _deliver(self, part: PlannedPart) -> None:
        if not part.size and not await self._has_url(part):
            await self._on_acknowledged(part, None)
            return
        means = self._means
        name = f"{self._name}, part {part.number}"
        attempts = Attempts(
            means.retry,
            means.clock,
            means.budget,
            repeatable=True,
            name=name,
            outage=means.store_outage,
        )
        refreshed = False
        etag: str | None = None
        for attempt in count(1):
            clock = PartClock()
            try:
                with means.instruments.span(
                    "part", part=part.number, size=part.size, attempt=attempt
                ):
                    etag = await self._send_once(part, clock)
            except (PartRejected, TransportError) as error:
                self._watch.sent(clock.span(part.number, part.size, error))
                if _is_of_the_interface(error):
                    raise  # it was repeated there
                if _is_forbidden(error) and not refreshed:
                    # most likely the URL has expired: one fresh one is worth a try, at once
                    attempts.at_once(error)
                    refreshed = True
                else:
                    await attempts.after(error)
                    # a URL that was good may expire while we wait
                    refreshed = _is_forbidden(error)
                self.retries += 1
                self._watch.retried(part.number, attempt, error)
            else:
                attempts.succeeded()
                means.instruments.arrived(part.size)
                self._watch.sent(clock.span(part.number, part.size))
                break
        self._urls.done(part.number)
        await self._on_acknowledged(part, etag)

    async def _has_url(self, part: PlannedPart) -> bool:
        """Say whether a part of no bytes is wanted.

        No page says whether an empty file has parts. Where the service gives no URL for its one
        part, completing the file says whether that is missing.
        """
        try:
            await self._urls.get(part.number)
        except (ApiError, MalformedResponse) as error:
            if isinstance(error, _NOT_OF_THE_PART):
                raise
            return False
        return True

    async def _send_once(self, part: PlannedPart, clock: PartClock) -> str | None:
        """Send a part with a URL that is good at the moment when there is a connection for it."""
        for _ in range(_FETCHES_OUTSIDE):
            async with self._means.connections.slot(self, short=part.size <= SMALL):
                if (url := self._urls.at_hand(part.number)) is not None:
                    return await self._send(part, url, clock)
            # waiting for the interface keeps no connection from others
            await self._urls.get(part.number)
        async with self._means.connections.slot(self, short=part.size <= SMALL):
            return await self._send(part, await self._urls.get(part.number), clock)

    async def _send(self, part: PlannedPart, url: str, clock: PartClock) -> str | None:
        means = self._means
        began = time.monotonic()
        clock.began = time.perf_counter()
        try:
            etag = await means.sender.send(part, self._content, url, self._chain(part), clock)
        except (PartRejected, TransportError) as error:
            if _is_overload(error):
                means.limit.overloaded(began, time.monotonic())
            if _is_forbidden(error):
                self._urls.refused(part.number, url)
            raise
        means.limit.arrived(
            part.size, began, time.monotonic(), contended=means.connections.contended
        )
        return etag

    def _chain(self, part: PlannedPart) -> PartChain | None:
        # what was hashed as it was opened is kept, and cannot change any more
        if not self._means.verify or self._content.fingerprint is not None:
            return None
        return PartChain(self._name, part, self._fingerprint)


def _is_of_the_interface(error: PartRejected | TransportError) -> bool:
    """Return whether asking for a URL failed, and not sending to it."""
    return isinstance(error, TransportError) and error.method != "PUT"


def _is_forbidden(error: PartRejected | TransportError) -> bool:
    return isinstance(error, PartRejected) and (
        error.status in _FORBIDDEN or error.code in _FORBIDDEN_CODES
    )


def _is_overload(error: PartRejected | TransportError) -> bool:
    """Return whether fewer parts at a time might have fared better."""
    if isinstance(error, PartRejected):
        return error.status in _TOO_MUCH or error.code in _TOO_MUCH_CODES
    return isinstance(error, ConnectionFailed | DeadlineExceeded) and not isinstance(
        error, UntrustedCertificate
    )
