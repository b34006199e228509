"""An object store that does to each connection what a test tells it to, byte for byte."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from koodrive_async import Timeouts
from koodrive_async.tasks import task_group
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.dialing import Dialer
from koodrive_async.transport.proxy import Proxies
from koodrive_async.upload.lane import ThreadLane
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.source import BytesContent
from tests.interface.scripted import TLS

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from anyio.abc import ByteStream

    from koodrive_async.pace import Pace
    from koodrive_async.upload.lane import PartSender

    Handler = Callable[["Connection"], Awaitable[None]]

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LARGE = bytes(64 * MIB)
"""More than the buffers of a connection take while nobody reads."""

FOR_EVER = 3600.0
"""Seconds that no test lives to see."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@attrs.frozen
class Request:
    """What came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One connection, as the server has it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)

    async def head(self) -> tuple[str, dict[str, str]]:
        """Read the request line and the headers, and nothing of the body that follows."""
        head = await self._received.receive_until(b"\r\n\r\n", 64 * 1024)
        line, *lines = head.decode("ascii").split("\r\n")
        pairs = (each.split(": ", 1) for each in lines)
        return line, {name.lower(): value for name, value in pairs}

    async def request(self) -> Request:
        """Read all of a request."""
        line, headers = await self.head()
        body = bytearray()
        while len(body) < int(headers["content-length"]):
            body += await self._received.receive(int(headers["content-length"]) - len(body))
        return Request(line, headers, bytes(body))

    async def some(self) -> bytes:
        """Read what is there."""
        return await self._received.receive()

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def left(self) -> None:
        """Read and forget until the other side ends the connection."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self._received.receive()

    def reset(self) -> None:
        """See that closing the connection resets it."""
        sock: socket.socket = self._stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


@attrs.define
class RawServer:
    """A server on loopback.

    :ivar connections: Connections that have been made.
    :ivar requests: What :func:`serve_all` has read.
    """

    url: str
    port: int
    connections: int = 0
    requests: list[Request] = attrs.Factory(list)


@asynccontextmanager
async def serving(
    handler: Handler | None = None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Serve each connection with a handler and close it then; by default take all parts."""
    plain = await anyio.create_tcp_listener(local_host=host)
    port: int = plain.extra(SocketAttribute.local_port)
    listener: Any = plain if tls is None else TLSListener(plain, tls, standard_compatible=False)
    name = f"[{host}]" if ":" in host else host
    server = RawServer(f"http{'s' if tls else ''}://{name}:{port}", port)

    async def handle(stream: ByteStream) -> None:
        server.connections += 1
        read_only_when_asked(stream)
        async with stream:
            with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                await (handler or partial(serve_all, server))(Connection(stream))

    async with plain, task_group() as group:
        group.start_soon(listener.serve, handle)
        yield server
        group.cancel_scope.cancel()


def read_only_when_asked(stream: Any) -> None:
    """Keep the event loop from reading on, as it does when bytes are there before the handler."""
    getattr(stream, "transport_stream", stream)._transport.pause_reading()


async def serve_all(server: RawServer, connection: Connection) -> None:
    """Take every part of a connection."""
    while True:
        server.requests.append(await connection.request())
        await connection.send(OK)


def answering(data: bytes) -> Handler:
    """Read a request, send these bytes, and end the connection."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await connection.send(data)

    return handle


async def silent(connection: Connection) -> None:
    """Read what comes and never answer."""
    await connection.left()


async def stuck(connection: Connection) -> None:
    """Read nothing but the head."""
    await connection.head()
    await anyio.sleep_forever()


@contextmanager
def full_server() -> Iterator[str]:
    """Have a server that accepts nobody any more; gives its URL."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield "http://{}:{}".format(*full.getsockname())
        for filler in fillers:
            filler.close()


@asynccontextmanager
async def open_lane(
    threads: int = 4,
    tls: ssl.SSLContext = TLS,
    pace: Pace | None = None,
    proxy: str | None = None,
    steady: Callable[[], float] = time.monotonic,
    **timeouts: float,
) -> AsyncIterator[ThreadLane]:
    """Open a lane; a test that does not say how long to wait waits for ever."""
    waits = dict.fromkeys(("connect", "stall", "answer"), FOR_EVER) | timeouts
    pool = ThreadPool(threads)
    dialer = Dialer(Proxies(proxy))
    lane = ThreadLane(pool, tls, Timeouts(**waits), pace, dialer=dialer, steady=steady)
    try:
        yield lane
    finally:
        await lane.aclose()
        await pool.aclose()


async def put(lane: PartSender, url: str, data: bytes = b"abc") -> None:
    """Send bytes as one part."""
    await lane.send(PlannedPart(1, 0, len(data)), BytesContent(memoryview(data)), url)
