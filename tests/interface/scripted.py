"""A server that answers what a test tells it to, byte for byte, and keeps what it was sent."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.parse import unquote

import attrs
from multidict import CIMultiDict

from koodrive_async import BearerToken, KooDrive, RetryPolicy

TOKEN = "Bearer+60f4ccc7b1********3dd9a68068"
USER = "1505084218764547200"
LOCK = "78e41c7e-db02-4d55-85b3-8153e4fefd2e@102"
ROOT = "/koodrive/ose/v1"
OK = {"code": 0, "msg": "success"}
# Reading the trust store takes longer than most tests do.
TLS = ssl.create_default_context()
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@attrs.frozen
class Request:
    """One request, as it came over the wire."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes
    _reader: asyncio.StreamReader = attrs.field(repr=False, eq=False)

    async def left(self) -> None:
        """Wait until the other side ends the connection."""
        with suppress(OSError):
            await self._reader.read()

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def parameters(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.query.split("&") if pair)
        return {unquote(name): unquote(value) for name, _, value in pairs}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[Request], Reply]


class Scripted:
    """Answers one request after another with the replies of ``script``, then with ``otherwise``.

    :param tls: To be spoken, if any.
    :ivar reads_bodies: False to reply when the head of a request is there.
    """

    reads_bodies = True

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Request] = []
        self.script: deque[Reply] = deque()
        self.otherwise: Handler = lambda _: answer({"code": 1, "msg": "the script is over"})
        self.connections = 0
        self.arrived = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def request(self) -> Request:
        """The only request that came."""
        (only,) = self.requests
        return only

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def replies(self, *replies: Reply | Mapping[str, Any]) -> None:
        self.script.extend(reply if callable(reply) else answer(dict(reply)) for reply in replies)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'http' if self._tls is None else 'https'}://{self.host}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await self.ended()

    async def ended(self) -> None:
        """Wait until all connections have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                request = await _read(reader, body=self.reads_bodies)
                self.requests.append(request)
                self.arrived.set()
                reply = self.script.popleft() if self.script else self.otherwise(request)
                await reply(request, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self._tasks.discard(task)


async def _read(reader: asyncio.StreamReader, *, body: bool) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = CIMultiDict((name, value.strip()) for name, _, value in map(_parted, lines))
    length = int(headers.get("Content-Length", "0")) if body else 0
    return Request(method, target, headers, await reader.readexactly(length), reader)


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


# --- replies -----------------------------------------------------------------------------------


def answer(body: object = None, status: int = 200, **headers: str) -> Reply:
    """Reply with JSON, or with text or bytes as they are; ``retry_after`` is ``Retry-After``."""
    content = body if isinstance(body, bytes | str) else json.dumps(OK if body is None else body)
    data = content if isinstance(content, bytes) else content.encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        await writer.drain()

    return reply


def raw(data: bytes) -> Reply:
    """Send these bytes and end the connection."""

    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return reply


def reset(data: bytes = b"") -> Reply:
    """Send these bytes and reset the connection."""

    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()

    return reply


def after(event: asyncio.Event, reply: Reply) -> Reply:
    """Wait for an event before replying."""

    async def wait(request: Request, writer: asyncio.StreamWriter) -> None:
        await event.wait()
        await reply(request, writer)

    return wait


async def silence(request: Request, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await request.left()
    writer.close()


# --- clients -----------------------------------------------------------------------------------


def client_of(server: Scripted, **settings: Any) -> KooDrive:
    """Return a client that is to talk to a scripted server; it repeats without waiting."""
    settings.setdefault("auth", BearerToken(TOKEN))
    settings.setdefault("user_id", USER)
    settings.setdefault("retry", RetryPolicy(base_delay=0.0, per_second=None, outage=0))
    settings.setdefault("tls", TLS)
    return KooDrive(server.url, **settings)


class FakeClock:
    """Time that moves only when somebody sleeps, or when a test moves it."""

    def __init__(self, now: float = 1_766_000_000.5) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class HeldClock:
    """Time that stands still: who sleeps is woken by the test."""

    def __init__(self, now: float = 1_766_000_000.5) -> None:
        self.now = now
        self._asleep: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._asleep.put_nowait((seconds, event))
        await event.wait()

    async def wake(self, *, late: float = 0.0) -> float:
        """Wait until somebody sleeps, let that time pass and wake him; return how long it was."""
        seconds, event = await self._asleep.get()
        self.now += seconds + late
        event.set()
        return seconds
