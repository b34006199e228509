"""The soak: backups that are struck and killed until they complete, and then compared."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import attrs

from benchmarks.soak.attempt import Attempt
from benchmarks.soak.blows import Fate
from benchmarks.soak.findings import FindingError, differences, left_behind
from benchmarks.soak.journal_rows import JournalRows, read_journal
from benchmarks.soak.order import LOCK_SECONDS, Order
from benchmarks.soak.process import WorkerProcess
from benchmarks.soak.result import Result
from benchmarks.soak.trees import KIB, Scale, Tree
from benchmarks.soak.weather import Weather
from benchmarks.soak.witness import Slot, Witness
from koodrive_async.emulator import Dialect, Emulator
from koodrive_async.testing import connect
from koodrive_async.upload.tree import record_name

PART_SIZE: Final = 256 * KIB
URL_SECONDS: Final = 12.0
RECORDS_OF_A_TREE: Final = 3
CALM_AT_THE_END: Final = 3600.0

DIALECTS: Final = (Dialect(unfinished_details="given"), Dialect())
"""In the first one every upload can find out what a killed process has left."""


@attrs.frozen(kw_only=True)
class Plan:
    """What a soak is to do.

    :param seconds: For so long; the record that is begun then is still completed, in calm weather.
    :param seed: The same seed has the same trees, weather and blows, as far as time allows.
    :param folder: Where everything is; emptied at the beginning.
    :param pace: Seconds between two blows, on average.
    :param dialects: How the services of the trees answer, in turn.
    """

    seconds: float
    seed: int
    folder: Path
    scale: Scale = attrs.field(factory=Scale)
    pace: float = 1.0
    dialects: tuple[Dialect, ...] = DIALECTS


class Soak:
    """One soak.

    :ivar result: What it has come to so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.result = Result(seed=plan.seed)
        self._plan = plan
        self._weather = Weather(plan.seed)
        self._fate = Fate(plan.seed, plan.pace)
        self._began = time.monotonic()
        self._processes = 0
        self._dialect = Dialect()
        self._done: set[str] = set()
        self._journal = plan.folder / "journal" / "journal.db"
        self._temporary = plan.folder / "temporary"

    def run(self) -> None:
        """Go on until it is over.

        :raises FindingError: A promise was broken.
        """
        shutil.rmtree(self._plan.folder, ignore_errors=True)
        for folder in (self._temporary, self._plan.folder / "logs"):
            folder.mkdir(parents=True)
        try:
            for number in count(1):
                self._one_tree(number)
                if self._over:
                    return
        except FindingError as finding:
            self.result.findings.append(str(finding))
            raise
        finally:
            self.result.seconds = time.monotonic() - self._began
            self.result.struck = self._weather.struck

    def tell(self, text: str) -> None:
        """Write a line of the story."""
        with (self._plan.folder / "story.log").open("a", encoding="utf-8") as story:
            story.write(f"{time.monotonic() - self._began:9.3f} {text}\n")

    @property
    def _over(self) -> bool:
        return time.monotonic() - self._began > self._plan.seconds

    def _one_tree(self, number: int) -> None:
        tree = Tree(self._plan.folder / "tree", self._plan.scale, f"{self._plan.seed}/{number}")
        self._dialect = self._plan.dialects[(number - 1) % len(self._plan.dialects)]
        before = _descriptors()
        with self._service(number) as (emulator, witness):
            self._weather.calm(0)
            device = asyncio.run(_device(emulator))
            self.tell(f"tree {number}, service at {emulator.url}: {self._dialect}")
            for _ in range(RECORDS_OF_A_TREE):
                self._back_up(emulator, witness, tree, device)
                if self._over:
                    break
                tree.change()
        if (more := _descriptors() - before) > 0:
            raise FindingError(f"{more} more descriptors are open here after a tree")

    @contextmanager
    def _service(self, number: int) -> Iterator[tuple[Emulator, Witness]]:
        state = self._plan.folder / f"service-{number}"
        emulator = Emulator(
            state,
            dialect=self._dialect,
            faults=self._weather,
            lock_seconds=LOCK_SECONDS,
            url_seconds=URL_SECONDS,
            min_part_size=PART_SIZE,
        )
        emulator.seen = witness = Witness()
        with emulator:
            yield emulator, witness
        self.result.requests += witness.answered.total()
        shutil.rmtree(state)  # only if nothing was found: it tells of what went wrong

    def _back_up(self, emulator: Emulator, witness: Witness, tree: Tree, device: str) -> None:
        """Begin processes until one completes the record, then compare."""
        expected = tree.contents()
        known = {record.record_id for record in emulator.records()}
        mended: set[str] = set()
        released = 0
        for resumed in count():
            rows = read_journal(self._journal)
            self._guard(emulator, witness, rows)
            record = self._unfinished(emulator, rows)
            self.tell(f"process {self._processes + 1}: {record or 'a new record'}")
            self.result.resumes += record is not None
            released = self._weather.struck_routes["locks.release"]
            attempt = self._attempt(emulator, tree, device, record, resumed=resumed, rows=rows)
            mended |= attempt.mended
            if attempt.record_id is not None and attempt.completed:
                break
        assert attempt.record_id is not None
        self.tell(f"record {attempt.record_id} is complete: comparing")
        self._weather.calm(CALM_AT_THE_END)
        # without the details of an unfinished file, an upload has to leave it to another backup
        is_hidden = self._dialect.unfinished_details == "refused"
        notes = self.result.notes if is_hidden else None
        found = [*differences(emulator, attempt.record_id, expected, notes)]
        self._done.add(attempt.record_id)
        found += left_behind(self._journal, self._temporary, attempt.record_id)
        found += self._sent_again(emulator, witness, mended)
        if emulator.locks() and self._weather.struck_routes["locks.release"] == released:
            found.append(f"a lock was left: {emulator.locks()}")
        for each in emulator.records():
            if each.record_id not in {*known, attempt.record_id}:
                self._look_at_orphan(emulator, each.record_id)
        if found:
            raise FindingError("; ".join(found[:20]))
        self._weather.calm(0)
        self.result.records += 1
        self.result.files += len(expected)
        self.result.size += sum(size for size, _ in expected.values())

    def _attempt(
        self,
        emulator: Emulator,
        tree: Tree,
        device: str,
        record: str | None,
        *,
        resumed: int,
        rows: JournalRows,
    ) -> Attempt:
        self._processes += 1
        order = Order(
            endpoint=emulator.url,
            user_id=emulator.user_id,
            account=emulator.account,
            password=emulator.password,
            device_id=device,
            root=str(tree.root),
            journal=str(self._journal),
            part_size=PART_SIZE,
            resume=record,
        )
        log = self._plan.folder / "logs" / f"worker-{self._processes:04}.log"
        process = WorkerProcess(order, log=log, temporary=self._temporary)
        attempt = Attempt(
            process,
            weather=self._weather,
            fate=self._fate,
            tell=self.tell,
            result=self.result,
            hashed=rows.hashes,
            resumed=resumed,
            is_over=lambda: self._over,
        )
        attempt.record_id = record
        try:
            attempt.run()
        finally:
            self._weather.disarm()
            process.end()
        return attempt

    def _guard(self, emulator: Emulator, witness: Witness, rows: JournalRows) -> None:
        """Expect that parts and hashes that a dead process was sure of are not made again."""
        objects = _objects(emulator)
        slots: set[Slot] = {
            (objects[file_id], number) for file_id, number in rows.parts if file_id in objects
        }
        witness.guard(slots)
        self.result.guarded_parts += len(slots)
        self.result.guarded_hashes += len(rows.hashes)

    def _unfinished(self, emulator: Emulator, rows: JournalRows) -> str | None:
        """Return the record to go on with: the newest that the journal knows of here."""
        here = {record.record_id for record in emulator.records()} - self._done
        return next((record for record in rows.records if record in here), None)

    def _sent_again(self, emulator: Emulator, witness: Witness, mended: set[str]) -> list[str]:
        slots = witness.sent_again()
        if not slots:
            return []
        keys = {key: file_id for file_id, key in _objects(emulator).items()}
        files = {file.file_id: file for file in emulator.files()}
        found = []
        for key, number in sorted(slots):
            file = files.get(keys.get(key, ""))
            if file is None:
                continue  # the service has forgotten its upload
            if record_name(Path(file.description or "").name) in mended:
                self.result.notes["acknowledged parts sent again to mend a file"] += 1
            else:
                found.append(f"part {number} of {file.description!r} was sent again")
        return found

    def _look_at_orphan(self, emulator: Emulator, record_id: str) -> None:
        """Look at a record that its process did not live long enough to know of."""
        self.result.notes["records of processes killed before they knew of them"] += 1
        if files := [file for file in emulator.files() if file.record_id == record_id]:
            raise FindingError(f"record {record_id} is nobody's and has {len(files)} files")


async def _device(emulator: Emulator) -> str:
    async with connect(emulator) as drive:
        return (await drive.devices.bind("soak", name="soak", os="test")).device_id


def _objects(emulator: Emulator) -> dict[str, str]:
    """Return the name of the object of each file, which the service tells nobody."""
    rows = emulator._running.ask(  # noqa: SLF001 - see above
        lambda service: service.store.rows("SELECT file_id, object_key FROM files")
    )
    return {row["file_id"]: row["object_key"] for row in rows}


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - a Path of each is not wanted
