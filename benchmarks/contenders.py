"""Who is compared, and where the code that drives each is."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks.meter import Meter
from benchmarks.workloads import Files


@attrs.frozen(kw_only=True)
class Job:
    """One upload to run.

    :ivar root: Where the folder of the files is.
    :ivar endpoint: Base URL of the sink.
    :ivar ca: Certificate to trust, in PEM; None without TLS.
    """

    files: Files
    root: Path
    endpoint: str
    ca: str | None
    connections: int
    part_size: int

    def paths(self) -> list[Path]:
        """Return the files, in order."""
        return list(self.files.paths(self.root))


Drive = Callable[..., None]
"""Sets up, then does the job inside ``meter.work()``."""


@attrs.frozen
class Contender:
    """A client and how it is set.

    :param label: Its name in tables and plots.
    :param module: Where its ``upload`` function is, below ``benchmarks.clients``.
    :param needs: The package it drives.
    :param settings: Keyword arguments for that function.
    """

    label: str
    module: str
    needs: str | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def available(self) -> bool:
        """Whether what it needs is installed."""
        if self.needs == "rclone":
            return rclone() is not None
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    def run(self, job: Job, meter: Meter) -> None:
        """Do the job; the numbers are in the meter then."""
        module = importlib.import_module(f"benchmarks.clients.{self.module}")
        upload: Drive = module.upload
        upload(job, meter, **self.settings)


def rclone() -> str | None:
    """Return where rclone is: beside this Python, or on the path."""
    scripts = sysconfig.get_path("scripts")
    return shutil.which("rclone", path=scripts) or shutil.which("rclone")


CONTENDERS: Mapping[str, Contender] = {
    "raw": Contender("raw threads, sendfile", "raw"),
    "aiohttp": Contender("bare aiohttp", "bare_aiohttp"),
    "koodrive": Contender("koodrive-async", "koodrive"),
    "koodrive-fixed": Contender("koodrive-async, fixed", "koodrive", None, {"fixed": True}),
    "koodrive-tree": Contender("koodrive-async, upload_tree", "koodrive", None, {"tree": True}),
    "koodrive-uvloop": Contender(
        "koodrive-async on uvloop", "koodrive", "uvloop", {"on_uvloop": True}
    ),
    "boto3": Contender("boto3", "boto", "boto3"),
    "boto3-sha256": Contender("boto3 + SHA-256", "boto", "boto3", {"checksum": "SHA256"}),
    "awscrt": Contender("awscrt", "crt", "awscrt"),
    "awscrt-sha256": Contender("awscrt + SHA-256", "crt", "awscrt", {"checksum": True}),
    "obstore": Contender("obstore", "obstore_s3", "obstore"),
    "obstore-sha256": Contender(
        "obstore + SHA-256", "obstore_s3", "obstore", {"checksum": "SHA256"}
    ),
    "rclone": Contender("rclone", "rclone", "rclone"),
}
