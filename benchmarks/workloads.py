"""What is uploaded: how many files of which size, over what kind of network, by whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.sink import SinkOptions

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
UNITS = ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "bytes"))
PART_SIZE = 8 * MIB
FILES_IN_FOLDER = 1000
BLOCK = 16 * MIB

S3_RIVALS = (
    "boto3",
    "boto3-sha256",
    "awscrt",
    "awscrt-sha256",
    "obstore",
    "obstore-sha256",
    "rclone",
)
S3_RIVALS_OF_SMALL_FILES = ("boto3", "boto3-sha256", "awscrt", "obstore", "rclone")
"""There a checksum costs next to nothing: one of boto3 shows it."""


@attrs.frozen(kw_only=True)
class Files:
    """A set of files below one folder, told apart by number.

    :param count: How many.
    :param size: Bytes of each.
    :param sparse: Whether they take no space on the disk, and read as zeros.
    """

    count: int
    size: int
    sparse: bool = False

    @property
    def total(self) -> int:
        """Bytes of all of them."""
        return self.count * self.size

    @property
    def folder(self) -> str:
        """Name of the folder they are below."""
        return f"{self.count}x{self.size}{'-sparse' if self.sparse else ''}"

    @property
    def title(self) -> str:
        """How many of which size, for people."""
        unit, name = next(unit for unit in UNITS if self.size >= unit[0])
        return f"{self.count:,} file{'s' * (self.count > 1)} of {self.size / unit:g} {name}"

    def paths(self, root: Path) -> Iterator[Path]:
        """Name all of them, in folders of a thousand."""
        for number in range(self.count):
            folder = root / self.folder / f"{number // FILES_IN_FOLDER:03d}"
            yield folder / f"{number:06d}.bin"

    def make(self, root: Path) -> None:
        """Write those that are missing: content that cannot be compressed, no two alike."""
        block = os.urandom(min(BLOCK, max(self.size, 1)))
        for path in self.paths(root):
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                if self.sparse:
                    file.truncate(self.size)
                    continue
                file.write(os.urandom(min(self.size, 4 * KIB)))
                while left := self.size - file.tell():
                    file.write(block[:left])


@attrs.frozen(kw_only=True)
class Workload:
    """Files, a network and who is compared.

    :param setting: Network and connections, for people.
    :param connections: Connections that every client may use, unless its own choice is measured.
    :param contenders: Names from ``contenders.py``.
    """

    name: str
    setting: str
    files: Files
    connections: int
    contenders: tuple[str, ...]
    network: SinkOptions = attrs.field(factory=SinkOptions)

    @property
    def title(self) -> str:
        """What is uploaded and over what, for people."""
        return f"{self.files.title}, {self.setting}"

    def quick(self) -> Workload:
        """Return the same with about an eighth of the bytes, or a quarter of small files."""
        files = self.files
        if files.size >= MIB:
            size = max(files.size // 8, 4 * PART_SIZE)
            return attrs.evolve(self, files=attrs.evolve(files, size=size))
        return attrs.evolve(self, files=attrs.evolve(files, count=files.count // 4))


_LARGE = Files(count=1, size=GIB)
_EIGHT = Files(count=8, size=256 * MIB)
_SMALL = Files(count=2000, size=4 * KIB)
_THROTTLED = Files(count=1, size=128 * MIB)

WORKLOADS = (
    Workload(
        name="large",
        setting="plain HTTP, 4 connections",
        files=_LARGE,
        connections=4,
        contenders=("raw", "koodrive-fixed", "koodrive", *S3_RIVALS),
    ),
    Workload(
        name="large-tls",
        setting="TLS, 4 connections",
        files=_LARGE,
        connections=4,
        contenders=("raw", "koodrive-fixed", "koodrive", *S3_RIVALS),
        network=SinkOptions(tls=True),
    ),
    Workload(
        name="eight",
        setting="plain HTTP, 8 connections",
        files=_EIGHT,
        connections=8,
        contenders=("raw", "koodrive", *S3_RIVALS),
    ),
    Workload(
        name="eight-tls",
        setting="TLS, 8 connections",
        files=_EIGHT,
        connections=8,
        contenders=("raw", "koodrive", *S3_RIVALS),
        network=SinkOptions(tls=True),
    ),
    Workload(
        name="small",
        setting="plain HTTP, 32 connections",
        files=_SMALL,
        connections=32,
        contenders=("raw", "aiohttp", "koodrive", "koodrive-uvloop", *S3_RIVALS_OF_SMALL_FILES),
    ),
    Workload(
        name="small-tls",
        setting="TLS, 32 connections",
        files=_SMALL,
        connections=32,
        contenders=("raw", "aiohttp", "koodrive", *S3_RIVALS_OF_SMALL_FILES),
        network=SinkOptions(tls=True),
    ),
    Workload(
        name="small-latency",
        setting="20 ms latency, 32 connections",
        files=_SMALL,
        connections=32,
        contenders=(
            "raw",
            "aiohttp",
            "koodrive-fixed",
            "koodrive",
            *S3_RIVALS_OF_SMALL_FILES,
        ),
        network=SinkOptions(latency=0.02),
    ),
    Workload(
        name="throttled",
        setting="4 connections of 8 MB/s each",
        files=_THROTTLED,
        connections=4,
        contenders=("raw", "koodrive-fixed", "boto3", "obstore", "rclone"),
        network=SinkOptions(bandwidth=8e6),
    ),
    Workload(
        name="throttled-total",
        setting="40 MB/s for all connections together, 20 ms latency",
        files=_THROTTLED,
        connections=4,
        contenders=("raw", "koodrive", "boto3", "obstore", "rclone"),
        network=SinkOptions(total_bandwidth=40e6, latency=0.02),
    ),
)
