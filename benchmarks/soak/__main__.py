"""Minutes of random faults and kills, with everything compared after each backup.

python -m benchmarks.soak --minutes 1 --seed 7
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import Final

from benchmarks.soak.findings import FindingError
from benchmarks.soak.soak import Plan, Soak

BUILD: Final = Path("build/soak")
PAGE: Final = Path("docs/reliability.md")


def main() -> int:
    """Soak, write the table, and return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--minutes", type=float, help="instead of seconds")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10_000))
    parser.add_argument("--write", choices=["docs"], help=f"put the table into {PAGE}")
    parser.add_argument("--folder", type=Path, default=BUILD / "run", help="emptied at first")
    given = parser.parse_args()
    seconds = given.seconds if given.minutes is None else 60 * given.minutes
    print(f"seed {given.seed}, {seconds / 60:g} minutes", flush=True)
    folder = given.folder
    soak = Soak(Plan(seconds=seconds, seed=given.seed, folder=folder.absolute()))
    try:
        soak.run()
    except FindingError as finding:
        print(f"FOUND with seed {given.seed}: {finding}", file=sys.stderr)
        print(f"the story is in {folder / 'story.log'}, logs beside it", file=sys.stderr)
    soak.result.write(BUILD / "result.md")
    print(soak.result.table())
    if given.write:
        soak.result.insert(PAGE)
    return 1 if soak.result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
