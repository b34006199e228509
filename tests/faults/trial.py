"""Trying a cell of the matrix: a backup with its fault, a look at what is left, and a resume."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import ssl
import time
from collections import Counter
from functools import cache
from pathlib import Path
from unittest.mock import patch

import anyio
import attrs

from koodrive_async import (
    BearerToken,
    KooDriveError,
    Limits,
    Module,
    RecordStatus,
    RetryPolicy,
    Timeouts,
    UploadFailure,
    UploadItem,
)
from koodrive_async.emulator import Emulator
from koodrive_async.resources import keeper
from koodrive_async.testing import connect
from tests.faults.matrix import MANY_FILES, MANY_PARTS, ONCE, ONE_PART
from tests.sample import sample

MIB = 1024 * 1024
PART = 5 * MIB

PATIENT = Timeouts(connect=20, answer=20, complete=20, stall=20, cleanup=20)
HASTY = Timeouts(connect=20, answer=0.3, complete=0.3, stall=0.3, cleanup=20)
LESS_HASTY = Timeouts(connect=20, answer=3, complete=3, stall=3, cleanup=20)
AT_ONCE = RetryPolicy(attempts=3, base_delay=0.0, per_second=None, max_retry_after=60, outage=0)
LIFE_OF_A_LOCK = 600.0
LIVES = 2
BUSY_AT_A_TIME, IDLE_AT_A_TIME = 3, 12
RENEW = "locks.renew"

CONTENTS = {
    ONE_PART: {"one.bin": sample(MIB + 77, 1)},
    MANY_PARTS: {"many.bin": sample(2 * PART + 77, 2)},
    MANY_FILES: {
        "a/same name.bin": sample(MIB + 100, 3),
        "b/same name.bin": sample(MIB + 100, 4),
        "b/same bytes.bin": sample(MIB + 100, 4),
        "c/same name.txt": b"small",
        "d/same name.txt": b"small",
        "empty": b"",
    },
}


class Clock:
    """The wall clock of both sides: a test can move it, and nobody sleeps for long by it."""

    def __init__(self):
        self.moved = 0.0

    def time(self):
        return time.time() + self.moved

    async def sleep(self, seconds):
        await asyncio.sleep(min(seconds, 0.005))

    def let_pass(self, seconds):
        """Return a function that moves the clock."""

        def move():
            self.moved += seconds

        return move


@attrs.frozen
class Outcome:
    """How a cell ended.

    :param kept: A lock stays with the service until it runs out.
    :param wrong: What must not be.
    """

    names: tuple[str, ...] = ()
    kept: bool = False
    wrong: tuple[str, ...] = ()

    def __str__(self):
        return "/".join(self.names or ("ok",)) + ("*" if self.kept else "")


async def tried(cell, folder, tree, hasty=HASTY):
    """Try a cell in a folder of its own, with files that only are read."""
    trial = Trial(cell, folder, tree, hasty)
    async with Emulator(folder / "koodrive", etags=False, clock=trial.clock.time) as emulator:
        outcome = await trial.run(emulator)
    shutil.rmtree(folder)  # a thousand of them would be gigabytes
    return outcome


class Trial:
    """A backup, and what becomes of it.

    :param hasty: The deadlines of a fault that takes one to get over it.
    """

    def __init__(self, cell, folder, tree, hasty=HASTY):
        self.cell = cell
        self.hasty = hasty
        self.clock = Clock()
        self.journal = folder / "state" / "journal.db"
        self.contents = CONTENTS[cell.shape]
        self.tree = tree / cell.shape

    async def run(self, emulator):
        async with self.client(emulator, PATIENT) as drive:
            device_id = (await drive.devices.bind("machine")).device_id
        fault = self.cell.fault
        emulator.faults.add(*self.cell.stage.needs, fault)
        errors = await self.errors_of(emulator, device_id)
        wrong = list(self.in_order(emulator, complete=not errors))
        for error in errors:
            wrong += improper(error)
        if not emulator.faults.hits(fault):
            wrong.append("the fault hit nothing")
        emulator.faults.clear()
        kept = bool(emulator.locks())
        if kept:
            self.clock.moved += LIFE_OF_A_LOCK + 1
        if errors:
            wrong += await self.resumed(emulator, device_id)
        names = tuple(sorted({type(error).__name__ for error in errors}))
        return Outcome(names, kept, tuple(wrong))

    async def errors_of(self, emulator, device_id):
        """Back up, and return every error: those of single files, and what ended it."""
        errors: list[Exception] = []
        timeouts = self.hasty if self.cell.row.waits else PATIENT
        try:
            async with self.client(emulator, timeouts) as drive:
                await self.back_up(emulator, drive, device_id, errors)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            if error not in errors:
                errors.append(error)
        return errors

    async def back_up(self, emulator, drive, device_id, errors, resume=None):
        async with drive.backup(device_id, Module.FOLDER, resume=resume) as session:
            errors += await errors_among(session.upload_many(self.items()))
            raise_first(errors)
            if resume is None and self.cell.stage.route == RENEW:
                await self.until_renewed(emulator)

    async def until_renewed(self, emulator):
        """Let the time pass that a lock lives, until there were renewals."""
        fault, seen = self.cell.fault, emulator.seen
        end = self.clock.time() + LIVES * LIFE_OF_A_LOCK
        while self.clock.time() < end:
            if self.cell.often == ONCE and emulator.faults.hits(fault) and not seen.active(RENEW):
                return  # whether the lock was lost shows in the next write
            if not seen.active(RENEW):
                self.clock.moved += LIFE_OF_A_LOCK / 60
            await asyncio.sleep(0.005)

    async def resumed(self, emulator, device_id):
        """Go on with the record, or begin one, with the fault gone."""
        unfinished = [r.record_id for r in emulator.records() if r.status == RecordStatus.NEW]
        if len(unfinished) > 1:
            return ["several records were created"]
        errors: list[Exception] = []
        try:
            async with self.client(emulator, PATIENT) as drive:
                await self.back_up(
                    emulator, drive, device_id, errors, resume=next(iter(unfinished), None)
                )
        except Exception as error:  # noqa: BLE001 - it is told
            return [f"the resume failed: {error!r} {error}"]
        wrong = list(self.in_order(emulator, complete=True))
        if emulator.locks():
            wrong.append("a lock is held after the resume")
        return [f"after the resume: {each}" for each in wrong]

    def in_order(self, emulator, *, complete):
        """Yield what is wrong with what the service holds."""
        files, records = emulator.files(), emulator.records()
        if len(records) > 1:
            yield f"there are {len(records)} records"
        # an unfinished file that may be another record's is left alone, and is no file of a backup
        stored = [file for file in files if file.completed]
        names = Counter(file.name for file in stored)
        places = Counter(file.description for file in stored)
        for what, count in (names + places).items():
            if count > 2:  # a file without a folder has its name for a description
                yield f"{what} is there {count} times"
        for file in stored:
            if places[file.description] > 1 or names[file.name] > 1:
                yield f"{file.name} ({file.description}) is there more than once"
            if emulator.content(file.file_id) != self.contents[file.description]:
                yield f"{file.description} is torn"
        if not complete:
            return
        if {file.description for file in stored} != set(self.contents):
            yield f"not all is there: {[(f.name, f.completed) for f in files]}"
        if [record.status for record in records] != [RecordStatus.COMPLETED]:
            yield "the record is not completed"

    def items(self):
        return [
            UploadItem(source=self.tree / name, description=name, part_size=PART)
            for name in self.contents
        ]

    def retry(self):
        """Return how patient the client is: a lock is asked for anew anyhow until its life ends."""
        stuck = self.cell.row.waits and self.cell.often != ONCE and self.cell.stage.route == RENEW
        return attrs.evolve(AT_ONCE, attempts=1) if stuck else AT_ONCE

    def client(self, emulator, timeouts):
        return connect(
            emulator,
            auth=BearerToken(emulator.new_token()),
            clock=self.clock,
            tls=tls(),
            journal=self.journal,
            timeouts=timeouts,
            retry=self.retry(),
            limits=Limits(connections=1, hash_workers=1, files_in_flight=2),
        )


@cache
def tls():
    """Return a TLS context that all share: to make one takes longer than a backup."""
    return ssl.create_default_context()


async def errors_among(batch):
    """Return the errors of the files that failed."""
    return [outcome.error async for outcome in batch if isinstance(outcome, UploadFailure)]


def raise_first(errors):
    """Leave the session as a user would: with the first error."""
    if errors:
        raise errors[0]


def improper(error):
    """Yield what an error must not be."""
    if isinstance(error, BaseExceptionGroup):
        yield f"an exception group: {error!r}"
    if not isinstance(error, KooDriveError | OSError) or isinstance(error, TimeoutError):
        yield f"not one of ours: {error!r}"
    again = pickle.loads(pickle.dumps(error))
    if (type(again), str(again)) != (type(error), str(error)):
        yield f"it does not pickle: {error!r}"


async def tried_all(cells, folder, tree, hasty=HASTY):
    """Try cells, some of them at a time; return what became of each."""
    found = {}
    limiter = anyio.CapacityLimiter(IDLE_AT_A_TIME if cells[0].row.waits else BUSY_AT_A_TIME)

    async def one(number, cell):
        async with limiter:
            found[cell] = await tried(cell, folder / f"{number}", tree, hasty)

    # a lock whose life is over is asked for 30 times, which takes too long where nothing answers
    with patch.object(keeper, "_PATIENCE", 3):
        async with anyio.create_task_group() as group:
            for number, cell in enumerate(cells):
                group.start_soon(one, number, cell)
    return {cell: found[cell] for cell in cells}


def write_tree(folder):
    """Write the files of all shapes."""
    for shape, contents in CONTENTS.items():
        for name, content in contents.items():
            path = folder / shape / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def open_below(folder):
    """Return the files below a folder that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            link = str(entry.readlink())
        except OSError:
            continue
        if link.startswith(str(folder)):
            found.append(link)
    return found
