"""The story in every pair of answers, several at a time, in the order of a seed.

python -m tests.dialects.pairs                     all of them, in about two hours on two cores
python -m tests.dialects.pairs --count 200 --seed 7
python -m tests.dialects.pairs --dialect flash_upload=never --dialect empty_file=one-part

Pairs with an answer that is known to fail alone are left out. Failures go to standard output and
into build/soak/pairs.txt, each as the options that play it again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from koodrive_async.emulator import Dialect
from tests.dialects.known import KNOWN
from tests.dialects.scenario import Certificates, play

FOUND = Path("build/soak/pairs.txt")
LONGEST = 60.0
"""Seconds that one story may take."""


def main():
    """Play the pairs, and return 1 when a story ended badly."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--count", type=int, help="only so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--dialect", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    dialects = [Dialect.parse(given.dialect)] if given.dialect else chosen(given.seed, given.count)
    tell(f"{len(dialects)} dialects, seed {given.seed}")
    failures = []
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        for number, (dialect, failure) in enumerate(
            zip(dialects, pool.map(failure_of, dialects), strict=True), 1
        ):
            if failure is not None:
                failures.append(f"{options(dialect)}\n{failure}")
                tell(f"{options(dialect)}: {failure.strip().splitlines()[-1]}")
            if number % 500 == 0:
                tell(f"{number} of {len(dialects)}, {len(failures)} failed")
    FOUND.parent.mkdir(parents=True, exist_ok=True)
    FOUND.write_text("\n".join(failures))
    tell(f"{len(dialects)} stories, {len(failures)} ended badly")
    return 1 if failures else 0


def chosen(seed, count):
    """Return the pairs without an answer that is known to fail, in the order of a seed."""
    pairs = [pair for pair in Dialect.pairs() if not KNOWN.keys() & set(pair.settings)]
    random.Random(seed).shuffle(pairs)
    return pairs[:count]


def tell(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def options(dialect):
    """Return a dialect as this program and the command take it."""
    return " ".join(f"--dialect {setting}" for setting in dialect.settings)


def failure_of(dialect):
    """Play one story, and return how it ended badly; None when it ended well."""
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="koodrive-pair-") as folder:
        try:
            asyncio.run(_played(Path(folder) / "story", dialect))
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            return traceback.format_exc()
    return None


async def _played(folder, dialect):
    async with asyncio.timeout(LONGEST):
        await play(folder, dialect, _certificates())


@cache
def _certificates():
    return Certificates.made()


if __name__ == "__main__":
    sys.exit(main())
