"""The way parts travel: worker threads with connections of their own, beside the caller's loop.

Sending from threads measured faster than from an event loop, with TLS and without: a thread lets
the kernel send a file by itself, and nothing that a part needs ever waits for the caller's code.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol

import anyio
import attrs

from koodrive_async.descriptors import ran_out, when_one_is_free
from koodrive_async.errors import (
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    MalformedResponse,
    ProxyFailed,
)
from koodrive_async.transport.dialing import Dialer, reason_of
from koodrive_async.transport.http import KEEP_ALIVE
from koodrive_async.transport.proxy import authority
from koodrive_async.transport.tunnel import ProxyProblemError, answered_itself, too_slow
from koodrive_async.upload.connection import StaleError, StoreConnection
from koodrive_async.upload.part_errors import check_answer, etag_of, fail
from koodrive_async.upload.reuse import Reuse
from koodrive_async.upload.sockets import ConnectionLostError, PatientSocket
from koodrive_async.upload.target import Target
from koodrive_async.upload.trace import PartClock

if TYPE_CHECKING:
    import socket
    import ssl

    from koodrive_async.config import Timeouts
    from koodrive_async.pace import Pace
    from koodrive_async.threads import ThreadPool
    from koodrive_async.transport.plain_http import PlainHttp
    from koodrive_async.transport.proxy import Proxy
    from koodrive_async.upload.answer import Answer
    from koodrive_async.upload.chain import PartChain
    from koodrive_async.upload.plan import PlannedPart
    from koodrive_async.upload.source import Content

logger: logging.Logger = logging.getLogger(__name__)

Origin = tuple[bool, str, int]
Put = Callable[["StoreConnection"], "Answer"]
"""Sends a part on a connection; blocks."""


_BUFFERED = 4 * 1024 * 1024
"""Bytes of a request that the system may have taken before the other side has seen any of it."""


class PartSender(Protocol):
    """Sends a part: the seam between the engine and the way the bytes travel."""

    async def send(
        self,
        part: PlannedPart,
        content: Content,
        url: str,
        chain: PartChain | None = None,
        clock: PartClock | None = None,
    ) -> str | None:
        """Send one part, all of it, once.

        :param chain: What its bytes are to lead to; None not to look.
        :param clock: Is told the connection, and the seconds that reading takes.
        :returns: The ETag of what was stored, as it was sent.
        :raises PartRejected: The object store refused it.
        :raises TransportError: It did not answer.
        :raises ConfigurationError: The URL does without TLS, and its host is not allowed by name.
        :raises SourceChanged: The source has not the bytes it had.
        """

    async def aclose(self) -> None:
        """Give up what is on its way, and close every connection."""


class ThreadLane:
    """Sends each part in a worker thread, on a connection that is kept for the next one.

    :param threads: At least as many as parts are sent at a time.
    :param tls: For https URLs.
    :param pace: Limits the bytes per second of all parts.
    :param now: The object store's time, as far as it is known.
    :param dialer: Makes the connections, and knows the proxies; by default there are none.
    :param plain: Hosts that parts may go to without TLS; None for all, where the service itself
        does without.
    :param steady: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        threads: ThreadPool,
        tls: ssl.SSLContext,
        timeouts: Timeouts,
        pace: Pace | None,
        *,
        now: Callable[[], float] = time.time,
        dialer: Dialer | None = None,
        plain: PlainHttp | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steady = steady
        self._threads = threads
        self._tls = tls
        self._timeouts = timeouts
        self._pace = pace
        self._now = now
        self._dialer = dialer or Dialer()
        self._plain = plain
        self._busy: set[StoreConnection] = set()
        self._idle: defaultdict[Origin, deque[_Idle]] = defaultdict(deque)
        self._reuse: dict[Origin, Reuse] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._numbers = count(1)
        self._closed = False

    async def send(
        self,
        part: PlannedPart,
        content: Content,
        url: str,
        chain: PartChain | None = None,
        clock: PartClock | None = None,
    ) -> str | None:
        """Send one part, all of it, once.

        There is no limit on the time a part takes as long as bytes keep moving. Cancellation breaks
        the connection and takes effect when its thread has noticed, which is at once.
        """
        try:
            target = Target.of(url)
        except ValueError as error:
            path = f"part {part.number}"
            raise MalformedResponse(str(error), method="PUT", path=path, status=200) from None
        if not target.tls and self._plain is not None:
            self._plain.check_link(f"part {part.number}", target.host, target.port)
        origin = (target.tls, target.host, target.port)
        proxy = await self._dialer.proxies.toward(*origin)
        # with TLS the proxy has no part in requests: it made the connection
        asked = None if target.tls else proxy
        head = _head(target, part.size, self._dialer.user_agent, asked)
        put = _Put(head, part, content, chain, clock or PartClock())
        try:
            answer = await self._on_kept(origin, put, self._reuse_of(origin, asked))
            if answer is None:
                connection = await self._connect(origin, proxy, part)
                answer = await self._exchange(connection, origin, put)
        except Exception as error:  # noqa: BLE001 - told apart there
            fail(error, part, self._timeouts, proxy)
        if asked is not None:
            there, kind = authority(*origin[1:]), answer.headers.get("Content-Type")
            if problem := answered_itself(asked, there, answer.status, kind):
                raise _proxy_failed(problem, part)
        check_answer(answer, part, self._now())
        return etag_of(answer)

    def _reuse_of(self, origin: Origin, asked: Proxy | None) -> Reuse:
        """Return what is known of kept connections.

        :param asked: The proxy that takes the requests themselves.
        """
        if (known := self._reuse.get(origin)) is None:
            place = authority(*origin[1:]) if asked is None else f"the proxy {asked.name}"
            known = self._reuse[origin] = Reuse(place, proven=asked is None, now=self._steady)
        return known

    async def _on_kept(self, origin: Origin, put: Put, reuse: Reuse) -> Answer | None:
        """Send a part on a kept connection; None when no kept connection is left.

        A connection that is closed before any answer, as a part has just begun, says nothing about
        the part, which is sent again at once, on a new connection. One that breaks later is an
        attempt of the part, as on a new connection.
        """
        if self._closed:
            raise ClientClosed("the client was closed")
        while (idle := self._idle.get(origin)) and reuse.begin():
            kept = idle.pop()
            try:
                answer = await self._exchange(kept.connection, origin, put)
            except StaleError:
                continue
            except (ConnectionLostError, http.client.RemoteDisconnected) as lost:
                if kept.connection.taken > _BUFFERED:
                    raise
                reuse.lost(kept.losses)
                logger.info("a part is sent again, its kept connection was closed: %s", lost)
                return None
            finally:
                reuse.end()
            reuse.worked()
            return answer
        return None

    async def _exchange(self, connection: StoreConnection, origin: Origin, put: Put) -> Answer:
        self._busy.add(connection)
        try:
            if self._closed:  # while it was being connected
                connection.sock.abort()
            return await self._threads.run(put, connection, on_cancel=connection.sock.abort)
        finally:
            self._busy.discard(connection)
            self._put_back(origin, connection)

    # --- connections ---------------------------------------------------------------------------

    async def _connect(
        self, origin: Origin, proxy: Proxy | None, part: PlannedPart
    ) -> StoreConnection:
        tls, host, port = origin
        there, seconds = authority(host, port), self._timeouts.connect
        problem: str
        kind: type[DeadlineExceeded | ConnectionFailed]
        try:
            sock = await when_one_is_free(partial(self._dial, origin, proxy))
        except ProxyProblemError as error:
            raise _proxy_failed(error, part) from None
        except TimeoutError:
            kind = DeadlineExceeded
            problem = too_slow(seconds, proxy, there)
        except OSError as error:
            kind = ConnectionFailed
            problem = f"cannot connect to {there} ({reason_of(error)})"
        else:
            return StoreConnection(
                PatientSocket(sock, self._tls if tls else None, host),
                self._timeouts,
                self._pace,
                number=next(self._numbers),
            )
        raise kind(problem, method="PUT", path=f"part {part.number}", sent=False) from None

    async def _dial(self, origin: Origin, proxy: Proxy | None) -> socket.socket:
        try:
            with anyio.fail_after(self._timeouts.connect):
                return await self._dialer.dial(*origin, proxy)
        except OSError as error:
            if ran_out(error):
                self._close_idle()
            raise

    def _put_back(self, origin: Origin, connection: StoreConnection) -> None:
        reuse, idle = self._reuse.get(origin), self._idle.get(origin, ())
        if (
            self._closed
            or not connection.reusable
            or (reuse is not None and not reuse.keeps(len(idle)))
        ):
            connection.sock.close()
            return
        loop = asyncio.get_running_loop()
        losses = 0 if reuse is None else reuse.counted
        self._idle[origin].append(_Idle(loop.time(), connection, losses))
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_ALIVE / 4, self._close_old, loop)

    def _close_old(self, loop: asyncio.AbstractEventLoop) -> None:
        for origin, idle in tuple(self._idle.items()):
            while idle and idle[0].since + KEEP_ALIVE <= loop.time():
                idle.popleft().connection.sock.close()
            if not idle:
                del self._idle[origin]
        self._sweep = None
        if self._idle:
            self._sweep = loop.call_later(KEEP_ALIVE / 4, self._close_old, loop)

    async def aclose(self) -> None:
        """Give up what is on its way, and close every connection."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in self._busy:
            connection.sock.abort()
        self._close_idle()

    def _close_idle(self) -> None:
        for idle in self._idle.values():
            for kept in idle:
                kept.connection.sock.close()
        self._idle.clear()


@attrs.frozen
class _Idle:
    """A connection that is kept for another part.

    :ivar since: The loop's time at which it became idle.
    :ivar losses: How many kept connections to its origin had been lost by then.
    """

    since: float
    connection: StoreConnection
    losses: int


@attrs.frozen
class _Put:
    """A part that is to be sent; on a connection, in a worker thread."""

    head: bytes = attrs.field(repr=False)
    part: PlannedPart
    content: Content
    chain: PartChain | None
    clock: PartClock

    def __call__(self, connection: StoreConnection) -> Answer:
        """Send it; nothing counts as sent that had changed by the time it was."""
        part, chain = self.part, self.chain
        self.clock.connection = connection.number
        self.content.check_unchanged()
        seen = None if chain is None else chain.begin()
        try:
            answer = connection.put(self.head, self.content, part.offset, part.size, seen)
        finally:
            self.clock.reading = connection.reading
        self.content.check_unchanged()
        if chain is not None and seen is not None:
            chain.check(seen)
        return answer


def _head(target: Target, size: int, user_agent: str, asked: Proxy | None) -> bytes:
    """Return request line and headers.

    :param asked: The proxy that the request itself goes to.
    """
    place = f"http://{target.authority}" if asked else ""
    headers = asked.headers.items() if asked else ()
    for_the_proxy = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return (
        f"PUT {place}{target.path} HTTP/1.1\r\n"
        f"Host: {target.authority}\r\n"
        f"User-Agent: {user_agent}\r\n"
        "Accept: */*\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"{for_the_proxy}"
        f"Content-Length: {size}\r\n\r\n"
    ).encode("ascii")


def _proxy_failed(error: ProxyProblemError, part: PlannedPart) -> ProxyFailed:
    return ProxyFailed(
        str(error),
        proxy=error.proxy.name,
        status=error.status,
        method="PUT",
        path=f"part {part.number}",
        sent=error.sent,
    )
