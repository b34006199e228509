"""How time and memory grow with the size of a file, and with the number of files.

python -m benchmarks.growth [--quick]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import attrs

from benchmarks.compare import Run, read_all, run, without_curves
from benchmarks.contenders import CONTENDERS
from benchmarks.sink import SinkOptions, running_sink
from benchmarks.workloads import GIB, KIB, MIB, Files

MANY = 10_000
RIVALS_OF_SIZE = ("koodrive", "boto3-sha256", "obstore-sha256")
RIVALS_OF_COUNT = ("koodrive-tree", "boto3-sha256", "rclone")
SLOW = ("boto3-sha256",)
"""Left out above 10,000 files, where it would take minutes."""

CONNECTIONS = 8
CONNECTIONS_FOR_SMALL = 32


@attrs.frozen
class Growth:
    """One way to grow, step by step.

    :param unit: What the steps count: ``"GiB"`` or ``"files"``.
    """

    unit: str
    steps: tuple[Files, ...]
    contenders: tuple[str, ...]
    connections: int


def growths(*, quick: bool) -> tuple[Growth, Growth]:
    """Return both: 1, 4, 16 GiB and 1k, 10k, 100k files; a small part of that to be quick."""
    size, count = (64 * MIB, 100) if quick else (GIB, 1000)
    large = tuple(Files(count=1, size=size * factor, sparse=True) for factor in (1, 4, 16))
    many = tuple(Files(count=count * factor, size=4 * KIB) for factor in (1, 10, 100))
    return (
        Growth("GiB", large, RIVALS_OF_SIZE, CONNECTIONS),
        Growth("files", many, RIVALS_OF_COUNT, CONNECTIONS_FOR_SMALL),
    )


def grow(*, quick: bool, root: Path) -> list[Run]:
    """Run every step once."""
    runs = []
    with running_sink(SinkOptions()) as sink:
        for growth in growths(quick=quick):
            for files in growth.steps:
                amount = files.total / GIB if growth.unit == "GiB" else files.count
                print(f"\nGrowth: {amount:g} {growth.unit}", flush=True)
                files.make(root)
                read_all(files, root)
                for name in growth.contenders:
                    if name in SLOW and files.count > MANY:
                        continue
                    if not CONTENDERS[name].available:
                        continue
                    result = without_curves(run(name, files, root, sink, growth.connections))
                    runs.append(
                        {"unit": growth.unit, "amount": amount, "contender": name, **result}
                    )
                shutil.rmtree(root / files.folder)
    return runs


def main() -> None:
    """Run it and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part of the bytes and files")
    quick: bool = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="koodrive-bench-") as folder:
        grow(quick=quick, root=Path(folder))


if __name__ == "__main__":
    main()
