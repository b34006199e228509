"""One connection of the sink: reading requests, throwing bodies away, answering."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate

from benchmarks.sink_answers import CONTINUE, COUNTERS, Answer, Request, answer_to

HEAD_READ = 1 << 16
BODY_READ = 1 << 20
MAX_KEPT = 1 << 16
"""A body up to this size is kept, when it may be one of JSON or XML."""

PACED_READ = 1 / 50
"""Seconds of a throttled link that are read at a time."""

CATCH_UP = 0.005
"""Seconds that a throttled link may be behind and make up for: sleeping is not exact."""

_FRAMING = re.compile(
    rb"\r\n(content-length|transfer-encoding|expect|content-md5): *([^\r]*)", re.IGNORECASE
)
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]+")


class Pace:
    """Lets bytes through at a steady rate, to any number of threads.

    :param rate: Bytes per second.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free_at = 0.0
        self._turn = threading.Lock()

    def wait_for(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        with self._turn:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - CATCH_UP) + size / self.rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


class Connection:
    """One connection, from its first request to its end.

    :param origin: Base URL of the sink, for presigned URLs.
    :param latency: Seconds before every answer.
    :param paces: How fast bytes may come.
    :param total: Says how many bytes the whole sink has taken.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        origin: str,
        tls: ssl.SSLContext | None,
        latency: float,
        paces: tuple[Pace, ...],
        total: Callable[[], int],
    ) -> None:
        self.received = 0
        self._sock = sock
        self._origin = origin
        self._tls = tls
        self._latency = latency
        self._paces = paces
        self._total = total
        self._pending = b""
        self._room = memoryview(b"")
        slowest = min((pace.rate for pace in paces), default=None)
        self._read_size = int(slowest * PACED_READ) if slowest else BODY_READ

    def serve(self) -> None:
        """Answer requests until the client goes."""
        with suppress(OSError):  # the client went in the middle
            if self._tls is not None:
                self._sock = self._tls.wrap_socket(self._sock, server_side=True)
            # made here, so that the thread that accepts does not wait for the memory
            self._room = memoryview(bytearray(min(self._read_size, BODY_READ)))
            while (head := self._read_head()) is not None:
                self._exchange(head)
        self._sock.close()
        self._room = memoryview(b"")

    def _exchange(self, head: bytes) -> None:
        line, *_ = head.split(b"\r\n", 1)
        method, target, _ = line.decode("latin-1").split(" ", 2)
        framing = {name.lower(): value for name, value in _FRAMING.findall(head)}
        if b"expect" in framing:
            self._sock.sendall(CONTINUE)
        length = int(framing.get(b"content-length", 0))
        body = b""
        if b"transfer-encoding" in framing:
            self._drop_chunks()
        elif method == "POST" or length <= MAX_KEPT:
            body = self._take(length)
        else:
            self._drop(length)
        request = Request(
            method=method,
            target=target,
            body=body,
            content_md5=framing.get(b"content-md5", b"").decode("latin-1"),
            origin=self._origin,
            received=self._total() if target == COUNTERS else 0,
        )
        answer = answer_to(request)
        if self._latency:
            time.sleep(self._latency)
        self._sock.sendall(_on_the_wire(answer))

    # --- reading -------------------------------------------------------------------------------

    def _read_head(self) -> bytes | None:
        while (end := self._pending.find(b"\r\n\r\n")) < 0:
            data = self._sock.recv(HEAD_READ)
            if not data:
                return None
            self._pending += data
        head, self._pending = self._pending[:end], self._pending[end + 4 :]
        return head

    def _take(self, size: int) -> bytes:
        """Return the next bytes."""
        taken = bytearray()
        while len(taken) + len(self._pending) < size:
            taken += self._pending
            self._pending = self._sock.recv(HEAD_READ)
            if not self._pending:
                raise ConnectionResetError
        missing = size - len(taken)
        taken += self._pending[:missing]
        self._pending = self._pending[missing:]
        self._count(size)
        return bytes(taken)

    def _drop(self, size: int) -> None:
        """Take the next bytes and throw them away."""
        waiting = min(size, len(self._pending))
        self._pending = self._pending[waiting:]
        self._count(waiting)
        left = size - waiting
        while left:
            count = self._sock.recv_into(self._room[:left])
            if not count:
                raise ConnectionResetError
            left -= count
            self._count(count)

    def _drop_chunks(self) -> None:
        while size := int(_CHUNK_SIZE.match(self._read_line())[0], 16):  # type: ignore[index]  # a client that sends no size is broken
            self._drop(size)
            self._read_line()
        while self._read_line():  # trailers, up to the empty line
            pass

    def _read_line(self) -> bytes:
        while (end := self._pending.find(b"\r\n")) < 0:
            data = self._sock.recv(HEAD_READ)
            if not data:
                raise ConnectionResetError
            self._pending += data
        line, self._pending = self._pending[:end], self._pending[end + 2 :]
        return line

    def _count(self, size: int) -> None:
        self.received += size
        for pace in self._paces:
            pace.wait_for(size)


def _on_the_wire(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} OK",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Length: {len(answer.body)}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    return "\r\n".join((*lines, "", "")).encode() + answer.body
