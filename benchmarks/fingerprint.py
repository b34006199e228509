"""Fingerprint against ``hashlib.file_digest``, warm, and how two files scale over two threads.

Usage: ``python benchmarks/fingerprint.py [MiB]``; the default is 1024. Two files of this size are
written to the temporary directory.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from koodrive_async.hashing import backend, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
MIB = 1 << 20


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mib", type=int, nargs="?", default=1024, help="size of each file in MiB")
    mib: int = parser.parse_args().mib
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory, name) for name in ("one", "two")]
        for file in files:
            write_random(file, mib)
        compare(files, mib / 1024)


def compare(files: list[Path], gib: float) -> None:
    """Time every way in turn, so that all see the same weather."""
    first = files[0]
    # Also reads both files into the page cache.
    for file in files:
        assert fingerprint(file).sha256 == file_digest(file)
    ways: dict[str, Callable[[], object]] = {
        "file_digest": lambda: file_digest(first),
        "fingerprint": lambda: fingerprint(first),
        "two threads": lambda: in_threads(files),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)

    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"backend {backend()}, {gib:.2f} GiB a file, median of {ROUNDS} rounds")
    print(f"hashlib.file_digest       {gib / median['file_digest']:6.3f} GiB/s")
    print(f"fingerprint               {gib / median['fingerprint']:6.3f} GiB/s")
    print(f"  against file_digest     {median['file_digest'] / median['fingerprint']:6.3f}")
    print(f"two files, two threads    {2 * gib / median['two threads']:6.3f} GiB/s")
    print(f"  against one thread      {2 * median['fingerprint'] / median['two threads']:6.3f}")


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


def write_random(file: Path, mib: int) -> None:
    """Write a file that no file system can store sparse or compressed."""
    with file.open("wb") as opened:
        for _ in range(mib):
            opened.write(os.urandom(MIB))


if __name__ == "__main__":
    main()
