"""One measured run in a process of its own, which prints one line of JSON.

python -m benchmarks.run_one koodrive large --root FOLDER --endpoint URL
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks.contenders import CONTENDERS, Job
from benchmarks.meter import Meter
from benchmarks.workloads import PART_SIZE, Files


def main() -> None:
    """Run a job by one client and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--root", type=Path, required=True, help="where the files are")
    parser.add_argument("--count", type=int, required=True, help="how many files")
    parser.add_argument("--size", type=int, required=True, help="bytes of each")
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--endpoint", required=True, help="base URL of the sink")
    parser.add_argument("--ca", help="certificate to trust, in PEM")
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    job = Job(
        files=Files(count=given.count, size=given.size, sparse=given.sparse),
        root=given.root,
        endpoint=given.endpoint,
        ca=given.ca,
        connections=given.connections,
        part_size=PART_SIZE,
    )
    meter = Meter()
    CONTENDERS[given.contender].run(job, meter)
    print(json.dumps(meter.result), flush=True)
    # some libraries' threads abort a Python that shuts down; there is nothing left to do anyway
    os._exit(0)


if __name__ == "__main__":
    main()
