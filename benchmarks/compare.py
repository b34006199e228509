"""Every workload by every client, in turns, against one sink.

    python -m benchmarks.compare --rounds 1 large eight

prints a line for each run. Everything together, with tables and plots, is ``python -m benchmarks``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.sink import ROOT, Address, running_sink
from benchmarks.workloads import MIB, WORKLOADS, Files, Workload

CURVES = ("memory", "lag_curve", "lag_quantiles")
DRAWN = ("large", "eight", "small", "small-latency")
"""Curves are kept of the first round of these workloads, to be drawn."""

LONGEST = 1200.0
"""Seconds after which a run is given up."""

Run = dict[str, Any]


def main() -> None:
    """Run what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", help="names; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a fraction of the bytes")
    parser.add_argument("--only", nargs="*", help="contenders; all by default")
    given = parser.parse_args()
    chosen = [each for each in WORKLOADS if not given.workloads or each.name in given.workloads]
    with tempfile.TemporaryDirectory(prefix="koodrive-bench-") as folder:
        for workload in chosen:
            shown = workload.quick() if given.quick else workload
            compare(shown, given.rounds, Path(folder), given.only)


def compare(
    workload: Workload, rounds: int, root: Path, only: Iterable[str] | None = None
) -> list[Run]:
    """Run a workload by all who can, so many times, each time beginning with another.

    :param root: Where files are made, and kept for the next workload.
    :param only: Names of contenders to leave it at.
    """
    print(f"\n{workload.title}", flush=True)
    workload.files.make(root)
    read_all(workload.files, root)
    names = [name for name in workload.contenders if only is None or name in only]
    missing = [name for name in names if not CONTENDERS[name].available]
    if missing:
        print(f"  not installed: {', '.join(missing)}")
    names = [name for name in names if name not in missing]
    runs = []
    with running_sink(workload.network) as sink:
        for turn in range(rounds):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                result = run(name, workload.files, root, sink, workload.connections)
                if turn or workload.name not in DRAWN:
                    result = without_curves(result)
                runs.append({"workload": workload.name, "contender": name, "round": turn, **result})
    return runs


def read_all(files: Files, root: Path) -> None:
    """Bring the files into the page cache: no disk is measured."""
    room = bytearray(MIB)
    for path in files.paths(root):
        with path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass


def run(name: str, files: Files, root: Path, sink: Address, connections: int) -> Run:
    """Run one contender in a process of its own, and check that the bytes arrived.

    :returns: What its meter says, or why it ``failed``: the others go on.
    """
    before = sink.received()
    command = [
        *(sys.executable, "-m", "benchmarks.run_one", name),
        *(f"--root={root}", f"--count={files.count}", f"--size={files.size}"),
        *(f"--endpoint={sink.url}", f"--connections={connections}"),
        *(["--sparse"] if files.sparse else []),
        *([f"--ca={sink.ca}"] if sink.ca else []),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, timeout=LONGEST, check=True
        )
    except subprocess.CalledProcessError as error:
        return _failed(name, error.stderr)
    except subprocess.TimeoutExpired:
        return _failed(name, f"not done after {LONGEST:.0f} s")
    missing = files.total - (sink.received() - before)
    if missing > 0:
        return _failed(name, f"{missing} bytes did not arrive")
    result: Run = json.loads(done.stdout.splitlines()[-1])
    print(f"  {_line(name, files, result)}", flush=True)
    return result


def _failed(name: str, reason: str) -> Run:
    print(f"  {name} failed:\n{reason}", file=sys.stderr, flush=True)
    return {"failed": (reason.splitlines() or ["without a word"])[-1]}


def without_curves(result: Run) -> Run:
    """Return the numbers alone."""
    return {key: value for key, value in result.items() if key not in CURVES}


def _line(name: str, files: Files, result: Run) -> str:
    seconds, lag = result["seconds"], result.get("lag_ms")
    speed = f"{files.total / 1e6 / seconds:7.0f} MB/s"
    if files.size < MIB:
        speed = f"{files.count / seconds:6.0f} files/s"
    return (
        f"{CONTENDERS[name].label:36} {seconds:8.3f} s {speed}"
        f"  PUT {result.get('put_seconds', seconds):7.3f} s"
        f"  CPU {result['cpu_seconds']:7.2f} s"
        f"  memory +{result['peak_mib'] - result['idle_mib']:.0f} MiB"
        + (f"  lag {lag['p99']:.1f}, {lag['max']:.1f} ms" if lag else "")
    )


if __name__ == "__main__":
    main()
