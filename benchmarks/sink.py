"""The other end of every benchmark: a service that takes all it is sent and keeps nothing.

One thread for each connection, a hand-made reading of HTTP, and bodies that are received into one
buffer again and again: little enough work that the client is what gets measured. It speaks what an
upload session needs of KooDrive, and what other clients need of S3 (``sink_answers.py``).

    python -m benchmarks.sink --tls --latency 0.02 --bandwidth 8e6

It prints one line of JSON with its address and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from benchmarks.sink_answers import COUNTERS
from benchmarks.sink_connection import Connection, Pace

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
PACED_WINDOW = 1 << 16
"""Receive buffer of a throttled connection, so that little hides in the kernel."""


@attrs.frozen(kw_only=True)
class SinkOptions:
    """What the sink pretends about the network.

    :param latency: Seconds before every answer.
    :param bandwidth: Bytes per second of each connection.
    :param total_bandwidth: Bytes per second of all connections together.
    """

    tls: bool = False
    latency: float = 0.0
    bandwidth: float | None = None
    total_bandwidth: float | None = None


@attrs.frozen(kw_only=True)
class Address:
    """Where a sink listens.

    :ivar ca: Certificate of who signed the sink's own, in PEM; None without TLS.
    """

    url: str
    ca: str | None

    def received(self) -> int:
        """Return how many bytes of bodies the sink has taken so far."""
        where = urlsplit(self.url)
        assert where.hostname is not None
        connection: http.client.HTTPConnection
        if self.ca is None:
            connection = http.client.HTTPConnection(where.hostname, where.port)
        else:
            context = ssl.create_default_context(cafile=self.ca)
            connection = http.client.HTTPSConnection(where.hostname, where.port, context=context)
        connection.request("GET", COUNTERS)
        received = int(json.loads(connection.getresponse().read())["received"])
        connection.close()
        return received


@contextmanager
def running_sink(options: SinkOptions) -> Iterator[Address]:
    """Run a sink in a process of its own."""
    arguments = [f"--latency={options.latency}"]
    if options.tls:
        arguments.append("--tls")
    if options.bandwidth is not None:
        arguments.append(f"--bandwidth={options.bandwidth}")
    if options.total_bandwidth is not None:
        arguments.append(f"--total-bandwidth={options.total_bandwidth}")
    command = [sys.executable, "-m", "benchmarks.sink", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Address(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


def main() -> None:
    """Listen until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--bandwidth", type=float, help="bytes per second of each connection")
    parser.add_argument("--total-bandwidth", type=float, help="bytes per second of all together")
    options = SinkOptions(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(options, Path(folder))
        threading.Thread(target=sink.accept_all, daemon=True).start()
        print(json.dumps(attrs.asdict(sink.address)), flush=True)
        sys.stdin.read()


class Sink:
    """Accepts connections and gives each a thread.

    :param folder: Where the certificates go.
    """

    def __init__(self, options: SinkOptions, folder: Path) -> None:
        self.options = options
        self._total_pace = Pace(options.total_bandwidth) if options.total_bandwidth else None
        self._connections: list[Connection] = []
        self._listening = socket.create_server((HOST, 0), backlog=512)
        if options.bandwidth or options.total_bandwidth:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PACED_WINDOW)
        self._tls = _server_context(folder) if options.tls else None
        scheme = "https" if options.tls else "http"
        self.address = Address(
            url=f"{scheme}://{HOST}:{self._listening.getsockname()[1]}",
            ca=str(folder / "ca.pem") if options.tls else None,
        )

    @property
    def received(self) -> int:
        """Bytes of bodies taken so far, over all connections."""
        return sum(connection.received for connection in self._connections)

    def accept_all(self) -> None:
        """Take connections for ever."""
        while True:
            sock, _ = self._listening.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(
                sock,
                origin=self.address.url,
                tls=self._tls,
                latency=self.options.latency,
                paces=self._paces(),
                total=lambda: self.received,
            )
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()

    def _paces(self) -> tuple[Pace, ...]:
        own = Pace(self.options.bandwidth) if self.options.bandwidth else None
        return tuple(pace for pace in (own, self._total_pace) if pace is not None)


def _server_context(folder: Path) -> ssl.SSLContext:
    # only here: a sink without TLS needs no trustme
    import trustme  # noqa: PLC0415

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "localhost").configure_cert(context)
    return context


if __name__ == "__main__":
    main()
