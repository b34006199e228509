"""How long other requests take while a large file is uploaded.

``python -m examples.web_service.latency`` tells.

The service, an emulator, the browser-like client that uploads and the one that measures are four
processes. ``GET /health`` is asked for on a connection that stays open, every 20 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from koodrive_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

MIB = 1024**2
PIECE = 256 * 1024
EVERY = 0.02
IDLE_SECONDS = 10.0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m examples.web_service.latency")
    parser.add_argument("--mib", type=int, default=1024, help="size of the upload")
    size = parser.parse_args().mib * MIB
    processes = multiprocessing.get_context("spawn")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} at first")
    with a_service() as address:
        health_of(address, until=elapsed(1.0))  # warm
        show("idle", health_of(address, until=elapsed(IDLE_SECONDS)))
        hear, tell = processes.Pipe(duplex=False)
        client = processes.Process(target=upload, args=(address, size, tell))
        client.start()
        hear.recv()  # it has begun
        show(f"while {size // MIB} MiB are uploaded", health_of(address, until=hear.poll))
        seconds = hear.recv()
        client.join()
    print(
        f"the upload took {seconds:.1f} s: {size / seconds / 1e6:.0f} MB/s from browser to record"
    )


def show(when: str, seconds: list[float]) -> None:
    """Print one line of the table, in milliseconds."""
    *_, p99 = statistics.quantiles(seconds, n=100)
    values = {"p50": statistics.median(seconds), "p99": p99, "max": max(seconds)}
    told = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in values.items())
    print(f"GET /health {when}: {told} ({len(seconds)} requests)", flush=True)


def elapsed(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether so much time is over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def health_of(address: str, *, until: Callable[[], bool]) -> list[float]:
    """Ask for the health again and again; return the seconds that each answer took."""
    connection = http.client.HTTPConnection(address)
    taken = []
    due = time.perf_counter()
    while not until():
        time.sleep(max(0.0, due - time.perf_counter()))
        # what comes late because the last one took so long has waited since it was due
        due = max(due, time.perf_counter() - EVERY)
        connection.request("GET", "/health")
        connection.getresponse().read()
        taken.append(time.perf_counter() - due)
        due += EVERY
    connection.close()
    return taken


def upload(address: str, size: int, tell: Connection) -> None:
    """Send a file that no service has, and say how many seconds that took."""
    block = os.urandom(PIECE - 8)
    numbered = (number.to_bytes(8, "big") + block for number in range(size // PIECE))
    connection = http.client.HTTPConnection(address)
    began = time.perf_counter()
    tell.send(None)
    connection.request(
        "PUT",
        f"/uploads/{secrets.token_hex(16)}?name=large.bin",
        body=numbered,
        headers={"Content-Length": str(size)},
    )
    answer = json.load(connection.getresponse())
    if answer.get("size") != size:
        raise RuntimeError(answer)
    tell.send(time.perf_counter() - began)


@contextmanager
def a_service() -> Iterator[str]:
    """Run the service with an emulator in another process; returns its host and port."""
    processes = multiprocessing.get_context("spawn")
    ours, its = processes.Pipe()
    emulator = processes.Process(target=emulate, args=(its,))
    emulator.start()
    environment = os.environ | ours.recv() | {"KOODRIVE_JOURNAL": "off"}
    command = [sys.executable, "-m", "examples.web_service", "--port", "0"]
    service = subprocess.Popen(  # noqa: S603 - ourselves
        command, env=environment, stderr=subprocess.PIPE, encoding="utf-8"
    )
    try:
        yield address_in(service)
    finally:
        service.terminate()
        service.communicate()
        ours.send(None)
        emulator.join()


def emulate(pipe: Connection) -> None:
    """Run an emulator until we hear something."""
    with tempfile.TemporaryDirectory() as directory, Emulator(directory) as emulator:
        pipe.send(emulator.environment())
        pipe.recv()


def address_in(service: subprocess.Popen[str]) -> str:
    """Return where the service listens, as it says."""
    for line in service.stderr or ():
        if found := re.search(r"running on (http://\S+)", line):
            return urlsplit(found[1]).netloc
    raise RuntimeError("the service did not start")


if __name__ == "__main__":
    main()
