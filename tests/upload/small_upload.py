"""One file of small parts: real means, and an object store that does what a test tells it to."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import attrs

from koodrive_async import ConnectionFailed, Limits, PartRejected, Timeouts
from koodrive_async.models import MultiPartInfo
from koodrive_async.telemetry import SILENT
from koodrive_async.testing import INSTANT_RETRIES
from koodrive_async.transport.clock import ServiceTime
from koodrive_async.transport.retry import RetryBudget
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.journal import Journal
from koodrive_async.upload.means import Means
from koodrive_async.upload.parts import PartsUpload
from koodrive_async.upload.source import BytesContent
from koodrive_async.upload.urls import PartUrls
from koodrive_async.upload.watching import SessionWatch
from tests.interface.scripted import TLS, FakeClock
from tests.sample import sample
from tests.upload.test_chain import fingerprint_of, small_plan
from tests.upload.test_urls import Service

if TYPE_CHECKING:
    from koodrive_async.upload.chain import PartChain

PART = 64


def rejected(status=503, number=1, code=None):
    return PartRejected(part_number=number, status=status, code=code, msg="no")


def lost():
    return ConnectionFailed("reset", method="PUT", path="part 1")


@attrs.define(slots=False)
class Store:
    """An object store without a network: refuses URLs that are over, and what a test tells it to.

    :ivar puts: Number and URL of each part that it was sent.
    :ivar refusals: Of URLs.
    """

    service: Service
    seconds: float = 0.0
    puts: list[tuple[int, str]] = attrs.Factory(list)
    chains: list[PartChain | None] = attrs.Factory(list)
    refusals: int = 0
    errors: dict[int, list[Exception]] = attrs.Factory(dict)

    async def send(self, part, _content, url, chain=None, clock=None):  # noqa: ARG002 - as all senders
        self.puts.append((part.number, url))
        self.chains.append(chain)
        if self.service.is_over(url):
            self.refusals += 1
            raise rejected(403, part.number)
        self.service.clock.now += self.seconds
        await anyio.lowlevel.checkpoint()
        if errors := self.errors.get(part.number):
            raise errors.pop(0)
        return f'"{part.number}"'

    async def aclose(self):
        pass


@attrs.define(slots=False, kw_only=True)
class File:
    """A file of small parts, and everything that is needed to send it."""

    means: Means
    store: Store
    service: Service
    urls: PartUrls
    upload: PartsUpload
    arrived: list[tuple[int, str | None]]


@asynccontextmanager
async def file_of(
    count=3,
    *,
    connections=4,
    arrived=None,
    retry=INSTANT_RETRIES,
    on_acknowledged=None,
    verify=False,
    given=None,
    life=100,
    seconds=0.0,
    part=PART,
):
    """Have a file of so many parts to send.

    :param given: Numbers of the parts that there are URLs for at the beginning; all by default.
    :param life: Of a URL, in seconds.
    :param seconds: What sending a part takes.
    :param part: Bytes of each part.
    """

    async def note(part, etag):
        there.append((part.number, etag))

    data = sample(count * part)
    there: list[tuple[int, str | None]] = []
    clock = FakeClock()
    service = Service(clock, life)
    files: Any = service
    store = Store(service, seconds)
    service_time = ServiceTime(clock)
    service_time.learn(service.date())
    means = Means.within(
        Limits(connections=connections),
        files=files,
        timeouts=Timeouts(),
        retry=retry,
        budget=RetryBudget(retry.per_second),
        service_time=service_time,
        clock=clock,
        journal=Journal.off(),
        instruments=SILENT,
        verify=verify,
        tls=TLS,
    )
    means = attrs.evolve(means, sender=store)
    plan = small_plan(len(data), part)
    announced = tuple(MultiPartInfo(part_number=part.number) for part in plan.parts)
    urls = PartUrls(
        files,
        "file",
        announced,
        service.answer([part.number for part in plan.parts] if given is None else given),
        service_time=service_time,
        clock=clock,
        asked_at=clock.now,
    )
    upload = PartsUpload(
        means,
        BytesContent(memoryview(data)),
        plan,
        urls,
        name="film.mkv",
        watch=SessionWatch().file(UploadItem(source=data), None),
        on_acknowledged=on_acknowledged or note,
        arrived=arrived or {},
        fingerprint=fingerprint_of(data, part),
    )
    try:
        yield File(
            means=means, store=store, service=service, urls=urls, upload=upload, arrived=there
        )
    finally:
        await means.aclose()
