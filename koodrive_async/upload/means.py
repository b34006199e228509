"""What everything that one client uploads shares: threads, connections, memory, patience."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs

from koodrive_async.pace import Pace
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.dialing import Dialer
from koodrive_async.transport.outage import Outage
from koodrive_async.transport.retry import Attempts
from koodrive_async.upload.adaptive import AdaptiveLimit, FixedLimit
from koodrive_async.upload.budget import MemoryBudget, Shares
from koodrive_async.upload.edition import Edition
from koodrive_async.upload.hash_pool import HashPool
from koodrive_async.upload.lane import ThreadLane
from koodrive_async.upload.proof import StoredBytes
from koodrive_async.upload.slots import FairSlots
from koodrive_async.upload.source import Places

if TYPE_CHECKING:
    import ssl

    from koodrive_async.config import Limits, RetryPolicy, Timeouts
    from koodrive_async.descriptors import DescriptorShares
    from koodrive_async.resources import Files, Spaces
    from koodrive_async.telemetry import Instruments
    from koodrive_async.transport.clock import Clock, ServiceTime
    from koodrive_async.transport.plain_http import PlainHttp
    from koodrive_async.transport.retry import RetryBudget
    from koodrive_async.upload.adaptive import ConnectionLimit
    from koodrive_async.upload.journal import Journal
    from koodrive_async.upload.lane import PartSender

_EXPRESS = 2
"""Connections for small files when all others are busy with parts that may take minutes."""

_WORTH_A_CONNECTION = 2 * 1024 * 1024
"""Bytes per second that one connection carries easily. Where the bandwidth is bounded, more of them
carry nothing more: all parts would arrive late, and all be lost when they are interrupted."""

_SHORT_WORK = 4
"""Threads for opening, small files and planning: more would only wait for each other."""


@attrs.frozen(kw_only=True)
class Means:
    """The shared means of a client that is open.

    :ivar spaces: The calls for the spaces of the user; None where they are not used.
    :ivar short_work: Threads that are free in a moment, whatever hashing and sending take.
    :ivar threads: One for each part on its way and each file that is hashed.
    :ivar connections: Slots for parts on their way, as many as ``limit`` says.
    :ivar memory: What small files are kept in.
    :ivar places: For sources that are open.
    :ivar budget: Of repeated requests, shared with the calls of the interface.
    :ivar service_outage: Whether the service can be reached.
    :ivar store_outage: Whether the object store can be reached.
    :ivar journal: What later runs should know.
    :ivar instruments: What all of it tells of itself with.
    :ivar stored: Reads stored bytes, to prove that files are complete.
    :ivar edition: Says once what the service turns out not to offer.
    :ivar verify: Whether each part is hashed once more while it is sent.
    """

    files: Files
    retry: RetryPolicy
    spaces: Spaces | None
    budget: RetryBudget
    clock: Clock
    service_outage: Outage
    store_outage: Outage
    service_time: ServiceTime
    journal: Journal
    instruments: Instruments
    verify: bool
    short_work: ThreadPool
    threads: ThreadPool
    hashing: HashPool
    memory: MemoryBudget
    places: Places
    sender: PartSender
    stored: StoredBytes
    edition: Edition
    limit: ConnectionLimit
    connections: FairSlots

    @classmethod
    def within(
        cls,
        limits: Limits,
        *,
        files: Files,
        timeouts: Timeouts,
        retry: RetryPolicy,
        budget: RetryBudget,
        service_time: ServiceTime,
        clock: Clock,
        journal: Journal,
        instruments: Instruments,
        verify: bool,
        tls: ssl.SSLContext,
        dialer: Dialer | None = None,
        spaces: Spaces | None = None,
        plain: PlainHttp | None = None,
        outage: Outage | None = None,
        descriptors: DescriptorShares | None = None,
    ) -> Means:
        """Make what the limits allow."""
        shares = Shares.of(limits, descriptors)
        threads = ThreadPool(shares.connections + shares.hash_workers, on_lag=instruments.late)
        limit: ConnectionLimit
        express = 0
        if limits.connections == "auto":
            express = min(_EXPRESS, shares.connections - 1)
            most = shares.connections - express
            if limits.bandwidth is not None:
                most = min(most, max(1, math.ceil(limits.bandwidth / _WORTH_A_CONNECTION)))
            limit = AdaptiveLimit(most=most)
        else:
            limit = FixedLimit(shares.connections)
        short_work = ThreadPool(_SHORT_WORK, on_lag=instruments.late)
        pace = None if limits.bandwidth is None else Pace(limits.bandwidth)
        return cls(
            files=files,
            spaces=spaces,
            retry=retry,
            budget=budget,
            clock=clock,
            service_outage=outage or Outage("the service", clock, retry.outage, once_reached=True),
            store_outage=Outage("the object store", clock, retry.outage),
            service_time=service_time,
            journal=journal,
            instruments=instruments,
            verify=verify,
            short_work=short_work,
            threads=threads,
            hashing=HashPool(threads, shares.hash_workers, journal),
            memory=MemoryBudget(shares.kept),
            places=Places.of(shares.open_files, shares.streams),
            sender=ThreadLane(
                threads, tls, timeouts, pace, now=service_time.now, dialer=dialer, plain=plain
            ),
            stored=StoredBytes(short_work, tls, dialer or Dialer(), timeouts),
            edition=Edition(),
            limit=limit,
            connections=FairSlots(lambda: limit.limit, express=express),
        )

    def attempts(self) -> Attempts:
        """Return the attempts at something that takes several calls, or looking between them."""
        return Attempts(
            self.retry, self.clock, self.budget, repeatable=True, outage=self.service_outage
        )

    async def aclose(self) -> None:
        """Give up what is on its way; no thread or connection is left."""
        async with AsyncExitStack() as stack:  # a cancellation in one leaves out none of the others
            stack.push_async_callback(self.journal.aclose)
            stack.push_async_callback(self.short_work.aclose)
            stack.push_async_callback(self.threads.aclose)
            stack.callback(self.hashing.close)
            stack.push_async_callback(self.sender.aclose)
            stack.push_async_callback(self.stored.aclose)
