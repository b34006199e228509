"""What other processes do with a journal: ``python -m tests.upload.journal_child WHAT PATH ...``.

They tell by a line on standard output how far they are, and wait for lines on standard input.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from koodrive_async.hashing import Fingerprinter
from koodrive_async.upload.journal import Journal
from tests.upload.journal_sample import (
    ACCOUNT,
    GRID,
    fingerprint_of,
    identity_of,
    key_of,
    record_of,
)


async def write_for_ever(journal):
    await journal.begin(record_of())
    finished, unfinished = identity_of(path="/finished"), identity_of(path="/unfinished")
    number = await creating(journal, "r1", key_of())
    await journal.hashed(finished, fingerprint_of(finished))
    fingerprinter, part = Fingerprinter(GRID), 0
    while True:
        before = fingerprinter.resume_offset
        fingerprinter.update(bytes(GRID))
        journal.hashed_on(unfinished, GRID, before, fingerprinter.midstates_from(before))
        part += 1
        await journal.part_arrived(number, part, f"e{part}")
        tell(part)


async def hold(journal):
    await journal.begin(record_of(lock_id="l1"))
    tell("held")
    await asyncio.to_thread(sys.stdin.readline)
    await journal.leave(ACCOUNT, "r1")
    tell("left")
    await asyncio.to_thread(sys.stdin.readline)


async def hold_lock(journal, lock_id, module):
    journal.hold_lock(ACCOUNT, module, lock_id)
    await journal.committed()
    tell("held")
    await asyncio.to_thread(sys.stdin.readline)


async def look(journal):
    if await journal.record(ACCOUNT, "r2"):
        await journal.aclose()
        tell("seen")


async def write_beside_others(journal, record_id):
    tell("ready")
    await asyncio.to_thread(sys.stdin.readline)
    await journal.begin(record_of(record_id))
    for file in range(100):
        identity = identity_of(path=f"/{file}")
        await journal.hashed(identity, fingerprint_of(identity))
        number = await creating(journal, record_id, key_of(identity))
        journal.created(number, file_id=f"f{file}", stored_name="n", container_id=None)
        await journal.part_arrived(number, 1, record_id)


async def creating(journal, record_id, key):
    return await journal.creating(ACCOUNT, record_id, key, stored_name="film.mkv", sha256="0" * 64)


def tell(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def main(what, path, *arguments):
    journal = Journal(path)
    await journal.open()
    async with aclosing(journal):
        await globals()[what](journal, *arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
