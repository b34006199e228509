"""The presigned URLs of one upload: used while they are good, and fetched before they are not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import anyio
import attrs

from koodrive_async.errors import ApiError, MalformedResponse
from koodrive_async.telemetry import SILENT
from koodrive_async.transport.refusals import may_be_of_the_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from koodrive_async.models import MultiPartInfo
    from koodrive_async.resources import Files
    from koodrive_async.telemetry import Instruments
    from koodrive_async.transport.clock import Clock, ServiceTime

BATCH = 100
"""URLs asked for at a time; the interface states no maximum."""

_FEWER = (10, 5, 1)
"""URLs asked for at a time when more were refused."""

_LONGEST_MARGIN = 60.0
"""Seconds before its end at which a URL is no longer begun with, or a tenth of its life."""

_MADE = re.compile(r"[?&]X-Amz-Date=(\d{8}T\d{6}Z)(?=&|#|$)", re.ASCII | re.IGNORECASE)
_LIFE = re.compile(r"[?&]X-Amz-Expires=(\d{1,9})(?=&|#|$)", re.ASCII | re.IGNORECASE)


class PartUrls:
    """Hands out the URL for a part, and another one before it expires.

    :param files: Where fresh ones come from.
    :param announced: The parts as they were announced, in order.
    :param answered: The parts of the answer, in any order and perhaps not all of them.
    :param service_time: Tells the age of a URL, as soon as it is known.
    :param clock: The wall clock, for URLs expire while a laptop sleeps.
    :param asked_at: When these were asked for, by that clock.
    :param instruments: What refreshing tells of itself with.
    """

    def __init__(
        self,
        files: Files,
        file_id: str,
        announced: tuple[MultiPartInfo, ...],
        answered: Iterable[MultiPartInfo],
        *,
        service_time: ServiceTime,
        clock: Clock,
        asked_at: float,
        instruments: Instruments = SILENT,
    ) -> None:
        self._files = files
        self._file_id = file_id
        self._announced = announced
        self._service_time = service_time
        self._clock = clock
        self._instruments = instruments
        self._urls: dict[int, _Url] = {}
        self._wanted = {part.part_number for part in announced}
        self._fetching: anyio.Lock | None = None
        self._at_once = BATCH
        self._keep(answered, asked_at)

    def want(self, part_numbers: Iterable[int]) -> None:
        """Say which parts are to be sent: no others are asked for along with them."""
        self._wanted = set(part_numbers)

    def at_hand(self, part_number: int) -> str | None:
        """Return a URL that is good for a while, or None when it has to be fetched."""
        url = self._urls.get(part_number)
        return None if url is None or url.stale(self._clock.time()) else url.text

    async def get(self, part_number: int) -> str:
        """Return a URL that is good for a while, fetching it if need be.

        :raises MalformedResponse: The service does not give one.
        """
        if (known := self.at_hand(part_number)) is not None:
            return known
        self._fetching = self._fetching or anyio.Lock()
        async with self._fetching:
            # whoever waited here finds what the one before has fetched
            if (known := self.at_hand(part_number)) is not None:
                return known
            await self._fetch(part_number)
            return self._urls[part_number].text

    def refused(self, part_number: int, url: str) -> None:
        """Hear that a URL was refused: it is not handed out again.

        Those that came with it are fetched along with the next one.
        """
        known = self._urls.get(part_number)
        if known is not None and known.text == url:
            del self._urls[part_number]
            known.batch.doubtful = True

    def done(self, part_number: int) -> None:
        """Forget the URL of a part that has been sent."""
        self._urls.pop(part_number, None)
        self._wanted.discard(part_number)

    async def _fetch(self, part_number: int) -> None:
        asked_at = self._clock.time()
        following = (
            part
            for part in islice(self._announced, part_number, None)
            if part.part_number in self._wanted
        )
        needed = [self._announced[part_number - 1]]
        needed += [
            part
            for part in islice(following, self._at_once - 1)
            if self._is_needed(part.part_number, asked_at)
        ]
        self._urls.pop(part_number, None)
        with self._instruments.span("refresh", file=self._file_id, parts=len(needed)):
            answered = await self._asked_for(needed)
        self._keep(answered, asked_at)
        if part_number not in self._urls:
            raise MalformedResponse(
                f"the service gave no URL for part {part_number}",
                method="POST",
                path="files/multipart/uploadUrl",
                status=200,
            )

    async def _asked_for(self, needed: list[MultiPartInfo]) -> tuple[MultiPartInfo, ...]:
        """Ask for URLs, for fewer at once when that is refused: no page states a maximum."""
        while True:
            try:
                return await self._files.part_urls(self._file_id, needed)
            except ApiError as refusal:
                fewer = next((few for few in _FEWER if few < len(needed)), None)
                if fewer is None or not may_be_of_the_lock(refusal):
                    raise
                self._at_once = fewer
                needed = needed[:fewer]

    def _is_needed(self, part_number: int, now: float) -> bool:
        url = self._urls.get(part_number)
        return url is None or url.batch.doubtful or url.stale(now)

    def _keep(self, parts: Iterable[MultiPartInfo], asked_at: float) -> None:
        known = self._service_time.known
        batch = _Batch(asked_at, self._clock.time(), self._service_time.now() if known else None)
        self._urls |= {
            part.part_number: _Url(part.upload_url, batch) for part in parts if part.upload_url
        }


@attrs.define(eq=False)
class _Batch:
    """URLs of one answer.

    :param asked_at: By the local clock, as is :attr:`came_at`.
    :param service_time: When they came, or a little less; None while it is not known.
    :ivar doubtful: One of them was refused.
    """

    asked_at: float
    came_at: float
    service_time: float | None
    doubtful: bool = False


@attrs.define(eq=False)
class _Url:
    text: str = attrs.field(repr=False)
    batch: _Batch = attrs.field(repr=False)
    _stale_from: float | None = None

    def stale(self, now: float) -> bool:
        """Return whether it is about to expire, by the local clock; worked out when first asked."""
        if self._stale_from is None:
            self._stale_from = _stale_from(self.text, self.batch)
        return now >= self._stale_from


def _stale_from(url: str, batch: _Batch) -> float:
    """Return when to use a URL no longer: a while before its end, or never if that is not told."""
    made, life = _MADE.search(url), _LIFE.search(url)
    if made is None or life is None:
        return float("inf")
    seconds = float(life[1])
    # its date has lost the fraction of a second
    end = batch.asked_at + seconds - 1
    if batch.service_time is not None:
        end = min(end, batch.came_at + seconds - (batch.service_time - _moment(made[1])))
    stale_from = end - min(_LONGEST_MARGIN, seconds / 10)
    # one that seems to be over as it comes is given a try: it is the times that are wrong
    return stale_from if stale_from > batch.asked_at else float("inf")


def _moment(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("inf")  # not a date: it tells nothing
