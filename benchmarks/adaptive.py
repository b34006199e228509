"""The limit that chooses itself against fixed numbers of connections, on links of several kinds.

    python -m benchmarks.adaptive

The links are an emulator in a process of its own that is made slow; files are sparse. Only the time
in which parts are sent counts, the way up of ``auto`` included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import attrs

from koodrive_async import BearerToken, KooDrive, Limits, Module

MIB = 1 << 20
PART = 5 * MIB
FIXED = (1, 2, 4, 8, 16, 32)

FEW = 8
"""Up to this number of connections, two parts for each say how fast they are."""

SERVE = """
import sys
from koodrive_async.emulator import Emulator, Faults
with Emulator(sys.argv[1], faults=Faults.parse(sys.argv[2:]), etags=False) as emulator:
    print(emulator.url, emulator.token, emulator.user_id, flush=True)
    sys.stdin.read()
"""

Row = dict[str, Any]


@attrs.frozen
class Link:
    """A link, as rules of :class:`koodrive_async.emulator.Faults`.

    :ivar parts: How many are sent.
    """

    name: str
    rules: tuple[str, ...]
    parts: int = 96


LINKS = (
    Link("5 MB/s each", ("bandwidth=5e6:part.put",), parts=320),
    Link("64 MB/s together", ("total-bandwidth=64e6:part.put",)),
    Link(
        "8 MB/s each, 64 MB/s together",
        ("bandwidth=8e6:part.put", "total-bandwidth=64e6:part.put"),
    ),
    Link(
        "half a second of latency, 80 MB/s together",
        ("latency=0.5:part.put", "total-bandwidth=80e6:part.put"),
    ),
    Link(
        "6 MB/s each, 72 MB/s together, 3 % refused",
        (
            "bandwidth=6e6:part.put",
            "total-bandwidth=72e6:part.put",
            "error=503:part.put:rate=0.03",
        ),
    ),
)


def main() -> None:
    """Measure and print a table."""
    began = time.perf_counter()
    for row in measure():
        print(
            f"{row['link']:<44} {row['connections']!s:>5} {row['goodput'] / 1e6:7.1f} MB/s"
            f" {row['ratio']:6.2f} of the best {row['retries']:4} retries"
        )
    print(f"{time.perf_counter() - began:.0f} s in all; 'best' is of the fixed numbers")


def measure() -> list[Row]:
    """Send over every link with each fixed number, then with ``auto``.

    :returns: A row for each run: link, connections, parts, goodput (bytes per second),
        ratio (of that to the goodput of the best fixed number), and retries.
    """
    return [row for link in LINKS for row in measure_link(link)]


def measure_link(link: Link) -> list[Row]:
    """Send over one link in every way."""
    with tempfile.TemporaryDirectory(prefix="koodrive-bench-") as folder:
        root = Path(folder)
        with running_emulator(root / "koodrive", link.rules) as address:
            runs = [(n, max(4, 2 * n) if n <= FEW else link.parts) for n in FIXED]
            rows = [anyio.run(send, address, root, number, parts) for number, parts in runs]
            rows.append(anyio.run(send, address, root, "auto", link.parts))
    best = max(row["goodput"] for row in rows[:-1])
    for row in rows:
        row["link"] = link.name
        row["ratio"] = row["goodput"] / best
    return rows


@contextmanager
def running_emulator(directory: Path, rules: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Run an emulator in a process of its own, and return its address, token and user."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(directory), *rules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            endpoint, token, user_id = server.stdout.readline().split()
            yield endpoint, token, user_id
        finally:
            server.stdin.close()


async def send(
    address: tuple[str, str, str], root: Path, connections: int | Literal["auto"], parts: int
) -> Row:
    """Upload one file of so many parts, and return the numbers."""
    endpoint, token, user_id = address
    source = root / f"{connections}.bin"
    await anyio.to_thread.run_sync(make_sparse, source, str(connections), parts * PART)
    async with KooDrive(
        endpoint,
        auth=BearerToken(token),
        user_id=user_id,
        limits=Limits(connections=connections),
    ) as drive:
        device = await drive.devices.bind("benchmark")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(source, part_size=PART)
    assert receipt.outcome == "uploaded", receipt
    source.unlink()
    return {
        "connections": connections,
        "parts": receipt.parts,
        "goodput": receipt.size / receipt.phases.send,
        "retries": receipt.retries,
    }


def make_sparse(path: Path, mark: str, size: int) -> None:
    """Make a file of holes behind a mark, without which the service would have it already."""
    with path.open("wb") as file:
        file.write(mark.encode())
        file.truncate(size)


if __name__ == "__main__":
    main()
