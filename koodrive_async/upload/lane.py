"""The way parts travel: worker threads with connections of their own, beside the caller's loop.

Sending from threads measured faster than from an event loop, with TLS and without: a thread lets
the kernel send a file by itself, and nothing that a part needs ever waits for the caller's code.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import socket
import ssl
import time
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import aiohappyeyeballs
import anyio

from koodrive_async.errors import (
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    MalformedResponse,
    PartRejected,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.transport.answer import retry_after
from koodrive_async.transport.http import KEEP_ALIVE, USER_AGENT
from koodrive_async.upload.connection import HandshakeError, StaleError, StoreConnection
from koodrive_async.upload.sockets import (
    AbortedError,
    ConnectionLostError,
    PatientSocket,
    StallError,
)
from koodrive_async.upload.target import Target

if TYPE_CHECKING:
    from koodrive_async.config import Timeouts
    from koodrive_async.pace import Pace
    from koodrive_async.threads import ThreadPool
    from koodrive_async.upload.answer import Answer
    from koodrive_async.upload.plan import PlannedPart
    from koodrive_async.upload.source import Content

Origin = tuple[bool, str, int]
Addresses = list[Any]
"""As :func:`socket.getaddrinfo` returns them."""

_SUCCESS = 2
_TAKEN_BY_NOBODY = 256 * 1024
"""Bytes that a socket takes though the other side has just closed the connection."""

_ADDRESSES_LAST = 10.0
"""Seconds for which the addresses of a host are taken to stay what they are."""

_SECOND_ADDRESS_AFTER = 0.25
"""Seconds after which another address of a host is tried beside the first (RFC 8305)."""


class PartSender(Protocol):
    """Sends a part: the seam between the engine and the way the bytes travel."""

    async def send(self, part: PlannedPart, content: Content, url: str) -> None:
        """Send one part, all of it, once.

        :raises PartRejected: The object store refused it.
        :raises TransportError: It did not answer.
        :raises SourceChanged: The source has not the bytes it had.
        """

    async def aclose(self) -> None:
        """Give up what is on its way, and close every connection."""


class ThreadLane:
    """Sends each part in a worker thread, on a connection that is kept for the next one.

    :param threads: At least as many as parts are sent at a time.
    :param tls: For https URLs.
    :param pace: Limits the bytes per second of all parts.
    """

    def __init__(
        self, threads: ThreadPool, tls: ssl.SSLContext, timeouts: Timeouts, pace: Pace | None
    ) -> None:
        self._threads = threads
        self._tls = tls
        self._timeouts = timeouts
        self._pace = pace
        self._busy: set[StoreConnection] = set()
        self._idle: defaultdict[Origin, deque[tuple[float, StoreConnection]]] = defaultdict(deque)
        self._sweep: asyncio.TimerHandle | None = None
        self._asked: dict[tuple[str, int], tuple[float, asyncio.Future[Addresses]]] = {}
        self._closed = False

    async def send(self, part: PlannedPart, content: Content, url: str) -> None:
        """Send one part, all of it, once.

        There is no limit on the time a part takes as long as bytes keep moving. Cancellation breaks
        the connection and takes effect when its thread has noticed, which is at once.
        """
        try:
            target = Target.of(url)
        except ValueError as error:
            path = f"part {part.number}"
            raise MalformedResponse(str(error), method="PUT", path=path, status=200) from None
        origin = (target.tls, target.host, target.port)
        head = _head(target, part.size)
        try:
            answer = await self._on_kept(origin, head, part, content)
            if answer is None:
                fresh = await self._connect(target, part)
                answer = await self._exchange(fresh, origin, head, part, content)
        except Exception as error:  # noqa: BLE001 - told apart there
            self._fail(error, part)
        _check(answer, part)

    async def _on_kept(
        self, origin: Origin, head: bytes, part: PlannedPart, content: Content
    ) -> Answer | None:
        """Send a part on a connection that is there; None when there is none, or no longer."""
        while (kept := self._take_idle(origin)) is not None:
            try:
                return await self._exchange(kept, origin, head, part, content)
            except StaleError:
                continue
            except (ConnectionLostError, http.client.RemoteDisconnected):
                if kept.taken > _TAKEN_BY_NOBODY:
                    raise
                return None  # closed at that very moment, which says nothing about the part
        return None

    async def _exchange(
        self,
        connection: StoreConnection,
        origin: Origin,
        head: bytes,
        part: PlannedPart,
        content: Content,
    ) -> Answer:
        self._busy.add(connection)
        try:
            if self._closed:  # while it was being connected
                connection.sock.abort()
            return await self._threads.run(
                _put, connection, head, part, content, on_cancel=connection.sock.abort
            )
        finally:
            self._busy.discard(connection)
            self._put_back(origin, connection)

    # --- connections ---------------------------------------------------------------------------

    async def _connect(self, target: Target, part: PlannedPart) -> StoreConnection:
        seconds = self._timeouts.connect
        problem: str
        kind: type[TransportError]
        try:
            with anyio.fail_after(seconds):
                found = await self._addresses(target.host, target.port)
                sock = await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=_SECOND_ADDRESS_AFTER, interleave=1
                )
        except TimeoutError:
            kind = DeadlineExceeded
            problem = f"connecting took longer than {seconds:g} s (Timeouts.connect)"
        except (OSError, RuntimeError) as error:  # which uvloop raises for some of them
            kind = ConnectionFailed
            problem = f"cannot connect to {target.host}:{target.port} ({_reason(error)})"
        else:
            tls = self._tls if target.tls else None
            return StoreConnection(
                PatientSocket(sock, tls, target.host), self._timeouts, self._pace
            )
        raise kind(problem, method="PUT", path=f"part {part.number}", sent=False) from None

    async def _addresses(self, host: str, port: int) -> Addresses:
        """Look a host up; once for all who ask, and again after some seconds."""
        loop = asyncio.get_running_loop()
        asked = self._asked.get((host, port))
        if asked is None or asked[0] + _ADDRESSES_LAST < loop.time() or _failed(asked[1]):
            answer = loop.run_in_executor(
                None, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
            # whoever asked may be gone by the time that it fails
            answer.add_done_callback(_failed)
            asked = self._asked[host, port] = (loop.time(), answer)
        return await asyncio.shield(asked[1])

    def _take_idle(self, origin: Origin) -> StoreConnection | None:
        if self._closed:
            raise ClientClosed("the client was closed")
        idle = self._idle.get(origin)
        return idle.pop()[1] if idle else None

    def _put_back(self, origin: Origin, connection: StoreConnection) -> None:
        if self._closed or not connection.reusable:
            connection.sock.close()
            return
        loop = asyncio.get_running_loop()
        self._idle[origin].append((loop.time(), connection))
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_ALIVE / 4, self._close_old, loop)

    def _close_old(self, loop: asyncio.AbstractEventLoop) -> None:
        for origin, idle in tuple(self._idle.items()):
            while idle and idle[0][0] + KEEP_ALIVE <= loop.time():
                idle.popleft()[1].sock.close()
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
        for idle in self._idle.values():
            for _, connection in idle:
                connection.sock.close()
        self._idle.clear()

    # --- errors --------------------------------------------------------------------------------

    def _fail(self, error: Exception, part: PlannedPart) -> NoReturn:
        """Raise the exception of our tree; what concerns the source stays as it is."""
        kind: type[TransportError] = ConnectionFailed
        timeouts = self._timeouts
        sent = True
        match error:
            case AbortedError():
                raise ClientClosed("the client was closed while a part was on its way") from None
            case HandshakeError(reason=StallError()):
                kind, sent = DeadlineExceeded, False
                problem = f"connecting took longer than {timeouts.connect:g} s (Timeouts.connect)"
            case HandshakeError():
                sent = False
                problem = f"cannot connect ({error})"
            case StallError():
                kind = DeadlineExceeded
                problem = (
                    f"nothing of it moved for {timeouts.stall:g} s (Timeouts.stall), or no answer "
                    f"came within {timeouts.stall + timeouts.answer:g} s after it (Timeouts.answer)"
                )
            case ssl.SSLCertVerificationError():
                kind, sent = UntrustedCertificate, False
                problem = f"the certificate is not trusted ({error.verify_message})"
            case ConnectionLostError():
                problem = str(error)
            case http.client.RemoteDisconnected():
                problem = "the connection was closed before an answer came"
            case http.client.IncompleteRead():
                problem = "the answer was cut off"
            case http.client.HTTPException():
                problem = "what came is no HTTP answer"
            case _:
                raise error
        raise kind(problem, method="PUT", path=f"part {part.number}", sent=sent) from None


def _put(connection: StoreConnection, head: bytes, part: PlannedPart, content: Content) -> Answer:
    """Send a part; nothing counts as sent that had changed by the time it was."""
    content.check_unchanged()
    answer = connection.put(head, content, part.offset, part.size)
    content.check_unchanged()
    return answer


def _head(target: Target, size: int) -> bytes:
    return (
        f"PUT {target.path} HTTP/1.1\r\n"
        f"Host: {target.authority}\r\n"
        f"User-Agent: {USER_AGENT}\r\n"
        "Accept: */*\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode("ascii")


def _check(answer: Answer, part: PlannedPart) -> None:
    if answer.status // 100 == _SUCCESS:
        return
    code = re.search(r"<Code>([^<]{1,200})</Code>", answer.text)
    message = re.search(r"<Message>([^<]{1,500})</Message>", answer.text)
    raise PartRejected(
        part_number=part.number,
        status=answer.status,
        code=code[1] if code else None,
        msg=message[1] if message else "",
        retry_after=retry_after(answer.headers.get("Retry-After"), time.time()),
    )


def _failed(answer: asyncio.Future[Addresses]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, RuntimeError):
        return str(error)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    # several failed addresses are one error without a number of its own
    return os.strerror(error.errno) if error.errno else str(error)
