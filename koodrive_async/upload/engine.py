""":class:`Uploader`: what one client uploads, and for how long it can."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from koodrive_async.errors import ClientClosed
from koodrive_async.transport.home import Home
from koodrive_async.upload.delivery import MANY_PARTS
from koodrive_async.upload.file_upload import FileUpload
from koodrive_async.upload.means import Means
from koodrive_async.upload.plan import DEFAULT_PART_SIZE, plan_parts
from koodrive_async.upload.source import open_source

if TYPE_CHECKING:
    import ssl

    from koodrive_async.config import Limits, RetryPolicy, Timeouts
    from koodrive_async.descriptors import DescriptorShares
    from koodrive_async.resources import Files, Spaces
    from koodrive_async.telemetry import Instruments
    from koodrive_async.transport.clock import Clock, ServiceTime
    from koodrive_async.transport.dialing import Dialer
    from koodrive_async.transport.outage import Outage
    from koodrive_async.transport.plain_http import PlainHttp
    from koodrive_async.transport.retry import RetryBudget
    from koodrive_async.upload.delivery import Destination
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.journal import Journal
    from koodrive_async.upload.plan import Plan
    from koodrive_async.upload.receipt import UploadReceipt
    from koodrive_async.upload.watching import FileWatch


class Uploader:
    """Uploads files within one client's limits, in worker threads and connections of its own.

    :param verify: Hash each part once more while it is sent.
    :param dialer: Makes the connections to the object store.
    :param outage: Follows whether the service can be reached.
    :param plain: Hosts that parts may go to without TLS; None for all.
    """

    def __init__(
        self,
        files: Files,
        *,
        spaces: Spaces,
        limits: Limits,
        timeouts: Timeouts,
        retry: RetryPolicy,
        budget: RetryBudget,
        service_time: ServiceTime,
        clock: Clock,
        verify: bool = False,
        dialer: Dialer | None = None,
        plain: PlainHttp | None = None,
        outage: Outage | None = None,
    ) -> None:
        self.limits = limits
        self._files = files
        self._spaces = spaces
        self._timeouts = timeouts
        self._retry = retry
        self._budget = budget
        self._service_time = service_time
        self._clock = clock
        self._verify = verify
        self._dialer = dialer
        self._plain = plain
        self._outage = outage
        self._means: Means | None = None
        self._home: Home | None = None

    def open(
        self,
        tls: ssl.SSLContext,
        journal: Journal,
        instruments: Instruments,
        descriptors: DescriptorShares | None = None,
    ) -> None:
        """Take uploads from now on, in this event loop.

        :param tls: For the object store.
        :param journal: An open one, which is the uploader's from now on.
        :param instruments: What it tells of itself with.
        :param descriptors: How many it may use; as many as its limits allow by default.
        """
        self._home = Home()
        self._means = Means.within(
            self.limits,
            files=self._files,
            spaces=self._spaces,
            timeouts=self._timeouts,
            retry=self._retry,
            budget=self._budget,
            service_time=self._service_time,
            clock=self._clock,
            journal=journal,
            instruments=instruments,
            verify=self._verify,
            tls=tls,
            dialer=self._dialer,
            descriptors=descriptors,
            plain=self._plain,
            outage=self._outage,
        )

    async def aclose(self) -> None:
        """Take no more uploads, and give up those on their way."""
        means, self._means = self._means, None
        if means is not None:
            await means.aclose()

    @property
    def means(self) -> Means:
        """What uploads share.

        :raises ClientClosed: The client is not open.
        :raises ForkedClient: This is another process than the one it was entered in.
        :raises WrongEventLoop: This is another event loop.
        """
        if self._home is not None:
            self._home.check()
        if self._means is None:
            raise ClientClosed("this client is not open: use it inside 'async with KooDrive(...)'")
        return self._means

    async def upload(
        self, item: UploadItem, destination: Destination, watch: FileWatch
    ) -> UploadReceipt:
        """Upload one file.

        :param watch: Hears of it; what comes of it in the end is for the caller to tell.
        :raises InvalidArgument: A name, part size or source breaks a rule.
        :raises OSError: The source cannot be read.
        :raises SourceChanged: It changed meanwhile; nothing was completed.
        :raises LockLost: The lock is lost for good.
        :raises PartRejected: The object store refused a part for good.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.

        Cancellation stops hashing and sending at once and completes nothing.
        """
        means = self.means
        name = item.file_name()
        if item.part_size is not None:
            plan_parts(0, item.part_size)  # refuses a bad one before anything is read
        began = time.perf_counter()
        async with open_source(
            item.source, means.short_work, means.memory, means.places, item.found
        ) as content:
            watch.opened(content.size)
            upload = FileUpload(
                means=means,
                item=item,
                destination=destination,
                name=name,
                content=content,
                plan=await _plan(means, content.size, item.part_size),
                watch=watch,
                began=began,
            )
            return await upload.run()


async def _plan(means: Means, size: int, part_size: int | None) -> Plan:
    if size > MANY_PARTS * DEFAULT_PART_SIZE:
        return await means.short_work.run(plan_parts, size, part_size)
    return plan_parts(size, part_size)
