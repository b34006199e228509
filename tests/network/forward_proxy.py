"""A forward proxy on loopback that keeps what it was asked, and one that does what a test says."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import attrs
import yarl
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_RELAYED_AT_ONCE = 64 * 1024
_OWN_HEADERS = ("Proxy-Authorization", "Proxy-Connection")


@attrs.frozen
class Asked:
    """A request as the proxy had it; of a tunnel the ``CONNECT`` alone."""

    method: str
    target: str
    headers: CIMultiDict[str]


class ForwardProxy:
    """Speaks as RFC 9110 and 9112 tell proxies to: ``CONNECT``, and the absolute form.

    :param pair: User and password that it wants, with a colon between them.
    :param instead: What to do to each connection instead of being a proxy.
    :param known: Addresses of names that nobody else knows.
    :param port: What tunnels lead to instead of the port that is asked for.
    :ivar asked: The requests, refused ones too.
    :ivar connections: Connections that have been made to it.
    :ivar tunnelled: Bytes that went through tunnels towards the servers.
    :ivar open: Connections that are open.
    """

    def __init__(
        self,
        *,
        pair: str | None = None,
        instead: Handler | None = None,
        host: str = "127.0.0.1",
        known: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.tunnelled = 0
        self.open = 0
        self.gone = asyncio.Event()
        self._wanted = pair and f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._instead = instead
        self._host = host
        self._known = known or {}
        self._port = port
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def tunnels(self) -> list[str]:
        """Where tunnels were wanted to."""
        return [asked.target for asked in self.asked if asked.method == "CONNECT"]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        port = self._server.sockets[0].getsockname()[1]
        self.name = f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"
        self.url = f"http://{self.name}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await (self._instead or self._forward)(reader, writer)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open -= 1
            self.gone.set()
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        try:
            while True:
                asked = await read_head(reader)
                self.asked.append(asked)
                if self._wanted and asked.headers.get("Proxy-Authorization") != self._wanted:
                    writer.write(
                        b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n"
                        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    return
                if asked.method == "CONNECT":
                    await self._tunnel(asked.target, reader, writer)
                    return
                url = yarl.URL(asked.target, encoded=True)
                place = url.raw_authority
                if place not in upstream:
                    address = self._known.get(url.host or "", url.host)
                    upstream[place] = await asyncio.open_connection(address, url.port)
                await _pass_on(asked, url, reader, upstream[place][1])
                await _bring_back(upstream[place][0], writer)
        finally:
            for _, each in upstream.values():
                each.close()
            for _, each in upstream.values():
                # a transport that is not closed yet when the loop ends is a warning, in any test
                with suppress(OSError, asyncio.CancelledError):
                    await each.wait_closed()

    async def _tunnel(
        self, place: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = place.rpartition(":")
        address = self._known.get(host, host.strip("[]"))
        far_reader, far_writer = await asyncio.open_connection(address, self._port or int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(reader, far_writer, count=True))
                group.create_task(self._relay(far_reader, writer))
        except* OSError:
            pass
        finally:
            far_writer.close()

    async def _relay(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        while data := await source.read(_RELAYED_AT_ONCE):
            if count:
                self.tunnelled += len(data)
            sink.write(data)
            await sink.drain()
        sink.close()


async def read_head(reader: asyncio.StreamReader) -> Asked:
    """Read the head of a request."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    return Asked(method, target, CIMultiDict((name, value) for name, _, value in pairs))


async def _pass_on(
    asked: Asked, url: yarl.URL, source: asyncio.StreamReader, sink: asyncio.StreamWriter
) -> None:
    kept = [pair for pair in asked.headers.items() if pair[0] not in _OWN_HEADERS]
    path = asked.target.partition(url.raw_authority)[2]
    lines = [f"{asked.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in kept)]
    sink.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await _relay_body(asked.headers, source, sink)


async def _bring_back(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    head = await source.readuntil(b"\r\n\r\n")
    pairs = (line.partition(": ") for line in head.decode().split("\r\n")[1:-2])
    sink.write(head)
    headers = CIMultiDict((name, value) for name, _, value in pairs)
    assert "Transfer-Encoding" not in headers
    await _relay_body(headers, source, sink)


async def _relay_body(
    headers: CIMultiDict[str], source: asyncio.StreamReader, sink: asyncio.StreamWriter
) -> None:
    left = int(headers.get("Content-Length", "0"))
    while left:
        data = await source.read(min(left, _RELAYED_AT_ONCE))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
        sink.write(data)
        await sink.drain()


# --- what a proxy may do instead ----------------------------------------------------------------


def answering(data: bytes) -> Handler:
    """Read the head of a request, send these bytes, and end the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(data)
        await writer.drain()

    return handle


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take what comes and never answer."""
    while await reader.read(_RELAYED_AT_ONCE):
        pass
