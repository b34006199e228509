"""Fingerprint against ``hashlib.file_digest``, warm, and how two files scale over two threads.

python -m benchmarks.fingerprint [--mib 1024] [--rounds 5]
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.workloads import GIB, MIB, Files
from koodrive_async.hashing import backend, fingerprint


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of each file in MiB")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="koodrive-bench-") as folder:
        fingerprints(given.mib * MIB, given.rounds, Path(folder))


def fingerprints(size: int, rounds: int, root: Path) -> dict[str, Any]:
    """Time every way in turn, so that all see the same weather.

    :param size: Bytes of each of two files.
    :returns: Seconds of every round, for each way.
    """
    files = Files(count=2, size=size)
    files.make(root)
    first, second = files.paths(root)
    # also reads both files into the page cache
    for file in (first, second):
        assert fingerprint(file).sha256 == file_digest(file)
    ways: dict[str, Callable[[], object]] = {
        "file_digest": lambda: file_digest(first),
        "fingerprint": lambda: fingerprint(first),
        "two": lambda: in_threads([first, second]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    print(f"\nFingerprint, {backend()}, {size / GIB:.2f} GiB each")
    for name, times in seconds.items():
        print(f"  {name:12} {' '.join(f'{each:.3f}' for each in times)} s")
    return {"backend": str(backend()), "size": size, "seconds": seconds}


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file by the standard library."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def in_threads(files: list[Path]) -> None:
    """Fingerprint every file in a thread of its own."""
    threads = [threading.Thread(target=fingerprint, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
