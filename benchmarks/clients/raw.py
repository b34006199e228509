"""The floor: threads that send parts with ``sendfile`` and do nothing else.

No hashing, no signing, no calls of any interface: what the machine and the sink allow. Over TLS,
which ``sendfile`` cannot speak, pieces of the file are read and written. An event loop idles beside
the threads: its lag is that of the machine.
"""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from benchmarks.contenders import Job
from benchmarks.meter import Meter

PIECE = 1 << 18


@attrs.frozen
class Part:
    """A stretch of a file."""

    path: Path
    offset: int
    size: int


def upload(job: Job, meter: Meter) -> None:
    """Send every part over as many connections as the job allows."""
    parts: queue.SimpleQueue[Part] = queue.SimpleQueue()
    for path in job.paths():
        for offset in range(0, job.files.size, job.part_size):
            parts.put(Part(path, offset, min(job.part_size, job.files.size - offset)))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _send_all(job, parts)
        except OSError as error:
            failures.append(error)

    asyncio.run(_run([threading.Thread(target=work) for _ in range(job.connections)], meter))
    assert not failures, failures


async def _run(threads: list[threading.Thread], meter: Meter) -> None:
    async with meter.async_work():
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)


def _send_all(job: Job, parts: queue.SimpleQueue[Part]) -> None:
    where = urlsplit(job.endpoint)
    assert where.hostname is not None
    assert where.port is not None
    sock = socket.create_connection((where.hostname, where.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if job.ca is not None:
        context = ssl.create_default_context(cafile=job.ca)
        sock = context.wrap_socket(sock, server_hostname=where.hostname)
    with sock:
        while True:
            try:
                part = parts.get_nowait()
            except queue.Empty:
                return
            _send(sock, part, where.netloc)


def _send(sock: socket.socket, part: Part, host: str) -> None:
    head = f"PUT /bucket/key HTTP/1.1\r\nHost: {host}\r\nContent-Length: {part.size}\r\n\r\n"
    sock.sendall(head.encode())
    with part.path.open("rb", buffering=0) as file:
        end = part.offset + part.size
        offset = part.offset
        while offset < end:
            if isinstance(sock, ssl.SSLSocket):
                piece = os.pread(file.fileno(), min(PIECE, end - offset), offset)
                sock.sendall(piece)
                offset += len(piece)
            else:
                offset += os.sendfile(sock.fileno(), file.fileno(), offset, end - offset)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer
