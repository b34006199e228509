"""Anything that two processes may do with a journal, in any order, with kills in between."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from koodrive_async import RecordInUse
from koodrive_async.hashing import Fingerprinter
from koodrive_async.upload import journal_locks
from koodrive_async.upload.journal import SavedHash, SavedRecord
from koodrive_async.upload.journal_file import JournalFile
from koodrive_async.upload.journal_locks import RecordLocks, locks_of
from koodrive_async.upload.journal_store import Call
from tests.sample import sample
from tests.upload.journal_sample import ACCOUNT, GRID, LONG_AGO, identity_of, key_of, record_of

SIZE = 10 * GRID + 1

PROCESSES = st.integers(0, 1)
RECORDS = st.sampled_from(["r0", "r1"])
FILES = st.integers(0, 1)
PICKS = st.integers(0, 99)


class Killed(BaseException):
    """The process is no more."""


@attrs.define(eq=False)
class Upload:
    """What the journal should know of an upload."""

    record: str
    run: int
    key: object
    stored_name: str
    file_id: str | None = None
    parts: dict[int, str | None] = attrs.field(factory=dict)
    outcome: str | None = None


@attrs.define(eq=False)
class Hash:
    """What it should know of a file's content."""

    identity: object
    offset: int
    finished: bool


class Model:
    """What is committed."""

    def __init__(self):
        self.runs: dict[str, int] = {}
        self.locks: dict[str, str | None] = {}
        self.uploads: dict[int, Upload] = {}
        self.hashes: dict[str, Hash] = {}

    def begin(self, record):
        self.runs[record] = self.runs.get(record, 0) + 1
        self.locks[record] = None

    def note_lock(self, record, lock):
        if record in self.locks:
            self.locks[record] = lock

    def forget_record(self, record):
        del self.runs[record], self.locks[record]
        self.uploads = {
            number: upload for number, upload in self.uploads.items() if upload.record != record
        }

    def created(self, number, file_id):
        if upload := self.uploads.get(number):
            if file_id != upload.file_id:
                upload.parts = {}
            upload.file_id = file_id

    def arrived(self, number, part, etag):
        if upload := self.uploads.get(number):
            upload.parts[part] = etag

    def completed(self, number, outcome):
        if upload := self.uploads.get(number):
            upload.outcome, upload.parts = outcome, {}

    def forget_upload(self, number):
        self.uploads.pop(number, None)

    def claimable(self, record, key):
        run = self.runs[record]
        numbers = [
            (upload.file_id is None, number)
            for number, upload in self.uploads.items()
            if (upload.record, upload.key) == (record, key) and upload.run < run
        ]
        return min(numbers)[1] if numbers else None

    def hashed_on(self, identity, start, end):
        known = self.hashes.get(identity.path)
        if known is None or known.identity != identity:
            if start == 0:
                self.hashes[identity.path] = Hash(identity, end, finished=False)
        elif not known.finished and known.offset == start:
            known.offset = end

    def hashed(self, identity):
        self.hashes[identity.path] = Hash(identity, identity.size, finished=True)


class Process:
    """One that has the journal open, and calls that wait to be committed."""

    def __init__(self, path):
        self.locks = RecordLocks(locks_of(path))
        self.records: dict[tuple[str, str], SavedRecord] = {}
        self.file = JournalFile(path, self.records, self.locks.is_taken)
        self.waiting = []
        self.hashing: dict[object, Fingerprinter] = {}
        self.uploads: list[int] = []


class JournalMachine(RuleBasedStateMachine):
    """The journal, the model of it, and all who use it."""

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(journal_locks, "_PATIENCE", 0)
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "journal.db"
        self.model = Model()
        self.processes = [Process(self.path), Process(self.path)]
        self.versions = [0, 0]
        self.claimed: set[tuple[int, int]] = set()

    def teardown(self):
        for process in self.processes:
            self.give_up(process)
        shutil.rmtree(self.folder)
        self.patch.undo()

    # --- what processes do ---------------------------------------------------------------------

    def later(self, process, call, expected):
        """Have something done that nobody waits for."""
        process.waiting.append((call, expected))

    def commit(self, process, count=None):
        """Commit what waits, as many of it as a kill leaves time for; return the last result."""
        batch, process.waiting = (
            process.waiting[:count],
            process.waiting[count or len(process.waiting) :],
        )
        if not batch:
            return None
        results = process.file.transact([Call(call, "nothing") for call, _ in batch])
        assert "nothing" not in results
        for _, expected in batch:
            expected()
        return results[-1]

    def at_once(self, process, call, expected=lambda: None):
        """Have something done that is committed when it returns."""
        self.later(process, call, expected)
        return self.commit(process)

    def holder(self, record):
        return next((each for each in self.processes if (ACCOUNT, record) in each.records), None)

    def give_up(self, process):
        process.file.close()
        process.locks.give_back_all()

    # --- records -------------------------------------------------------------------------------

    @rule(who=PROCESSES, record=RECORDS)
    def begin(self, who, record):
        process = self.processes[who]
        if self.holder(record) is not None:
            with pytest.raises(RecordInUse):
                process.locks.take(ACCOUNT, record)
            return
        process.locks.take(ACCOUNT, record)
        saved = record_of(record, begun=1.0)
        self.at_once(process, lambda store: store.begin(saved), partial(self.model.begin, record))
        process.records[ACCOUNT, record] = saved

    @rule(record=RECORDS)
    def leave(self, record):
        process = self.holder(record)
        if process is not None:
            self.commit(process)
            del process.records[ACCOUNT, record]
            process.locks.give_back(ACCOUNT, record)

    @rule(record=RECORDS)
    def complete_record(self, record):
        process = self.holder(record)
        if process is not None:
            self.at_once(
                process,
                lambda store: store.forget_record(ACCOUNT, record),
                partial(self.model.forget_record, record),
            )
            del process.records[ACCOUNT, record]
            process.locks.remove(ACCOUNT, record)

    @rule(record=RECORDS, lock=st.sampled_from([None, "l1", "l2"]))
    def note_lock(self, record, lock):
        process = self.holder(record)
        if process is not None:
            self.later(
                process,
                lambda store: store.note_lock(ACCOUNT, record, lock),
                lambda: self.model.note_lock(record, lock),
            )

    # --- uploads -------------------------------------------------------------------------------

    @rule(record=RECORDS, file=FILES)
    def create(self, record, file):
        process = self.holder(record)
        if process is None:
            return
        key = key_of(self.identity(file))
        number = self.at_once(
            process, lambda store: store.creating(ACCOUNT, record, key, "n", "0" * 64)
        )
        assert number not in self.model.uploads
        self.model.uploads[number] = Upload(record, self.model.runs[record], key, "n")
        process.uploads.append(number)

    @rule(record=RECORDS, file=FILES)
    def claim(self, record, file):
        process = self.holder(record)
        if process is None:
            return
        key = key_of(self.identity(file))
        saved = self.at_once(process, lambda store: store.claim(ACCOUNT, record, key))
        number = self.model.claimable(record, key)
        if number is None:
            assert saved is None
            return
        upload = self.model.uploads[number]
        assert saved is not None
        assert (saved.number, saved.file_id, dict(saved.parts), saved.outcome) == (
            number,
            upload.file_id,
            upload.parts,
            upload.outcome,
        )
        upload.run = self.model.runs[record]
        assert (number, upload.run) not in self.claimed
        self.claimed.add((number, upload.run))
        process.uploads.append(number)

    @precondition(lambda self: any(process.uploads for process in self.processes))
    @rule(who=PROCESSES, pick=PICKS, file_id=st.sampled_from(["f1", "f2"]))
    def created(self, who, pick, file_id):
        if number := self.one_of(who, pick):
            self.later(
                self.processes[who],
                lambda store: store.created(number, file_id, "n", None),
                lambda: self.model.created(number, file_id),
            )

    @precondition(lambda self: any(process.uploads for process in self.processes))
    @rule(who=PROCESSES, pick=PICKS, part=st.integers(1, 3), etag=st.sampled_from([None, "e"]))
    def part_arrived(self, who, pick, part, etag):
        if number := self.one_of(who, pick):
            self.at_once(
                self.processes[who],
                lambda store: store.part_arrived(number, part, etag),
                lambda: self.model.arrived(number, part, etag),
            )

    @precondition(lambda self: any(process.uploads for process in self.processes))
    @rule(who=PROCESSES, pick=PICKS, outcome=st.sampled_from(["uploaded", "rapid", "exists"]))
    def completed(self, who, pick, outcome):
        if number := self.one_of(who, pick):
            self.later(
                self.processes[who],
                lambda store: store.completed(number, outcome),
                lambda: self.model.completed(number, outcome),
            )

    @precondition(lambda self: any(process.uploads for process in self.processes))
    @rule(who=PROCESSES, pick=PICKS)
    def forget_upload(self, who, pick):
        if number := self.one_of(who, pick):
            self.later(
                self.processes[who],
                lambda store: store.forget_upload(number),
                lambda: self.model.forget_upload(number),
            )

    def one_of(self, who, pick):
        uploads = self.processes[who].uploads
        return uploads[pick % len(uploads)] if uploads else None

    # --- hashes --------------------------------------------------------------------------------

    def identity(self, file):
        return identity_of(
            path=f"/{file}", size=SIZE + file, changed=LONG_AGO + self.versions[file]
        )

    @rule(file=FILES)
    def change(self, file):
        self.versions[file] += 1

    @rule(who=PROCESSES, file=FILES)
    def begin_to_hash(self, who, file):
        process, identity = self.processes[who], self.identity(file)
        saved = self.at_once(process, lambda store: store.hashes.find(identity))
        known = self.model.hashes.get(identity.path)
        if known is None or known.identity != identity:
            assert saved is None
            process.hashing[identity] = Fingerprinter(GRID)
            return
        assert (saved.offset, saved.sha256 is not None) == (known.offset, known.finished)
        if not known.finished:
            resumed = Fingerprinter.resume(saved.midstates, saved.offset, grid=GRID)
            assert resumed.finish() == hashed(identity, saved.offset).finish()
            process.hashing[identity] = resumed
        else:
            assert saved == SavedHash.finished(identity, hashed(identity, SIZE + file).finish())

    @rule(who=PROCESSES, pick=PICKS, points=st.integers(1, 4))
    def hash_on(self, who, pick, points):
        process = self.processes[who]
        if not process.hashing:
            return
        identity, hashing = list(process.hashing.items())[pick % len(process.hashing)]
        start = hashing.resume_offset
        hashing.update(content(identity)[hashing.length :][: points * GRID])
        midstates, end = hashing.midstates_from(start), hashing.resume_offset
        if midstates:
            self.later(
                process,
                lambda store: store.hashes.go_on(identity, GRID, start, midstates),
                lambda: self.model.hashed_on(identity, start, end),
            )

    @rule(who=PROCESSES, pick=PICKS)
    def finish_hash(self, who, pick):
        process = self.processes[who]
        if not process.hashing:
            return
        identity, hashing = list(process.hashing.items())[pick % len(process.hashing)]
        del process.hashing[identity]
        hashing.update(content(identity)[hashing.length :])
        saved = SavedHash.finished(identity, hashing.finish())
        self.at_once(
            process, lambda store: store.hashes.finish(saved), lambda: self.model.hashed(identity)
        )

    # --- ends ----------------------------------------------------------------------------------

    @rule(who=PROCESSES)
    def flush(self, who):
        self.commit(self.processes[who])

    @rule(who=PROCESSES)
    def end(self, who):
        self.commit(self.processes[who])
        self.replace(who)

    @rule(who=PROCESSES, committed=st.integers(0, 5))
    def kill(self, who, committed):
        """Kill a process that had the time to commit only so much."""
        self.commit(self.processes[who], committed)
        self.replace(who)

    @rule(who=PROCESSES)
    def kill_in_a_transaction(self, who):
        """Kill one while it writes, the other not being there: the disk stays as it is then."""
        self.end(1 - who)
        process = self.processes[who]
        seen = self.folder / "seen"

        def die(_store):
            seen.mkdir()
            for file in self.folder.glob("journal.db*"):
                if file.is_file() and not file.name.endswith("-shm"):
                    shutil.copy(file, seen)
            raise Killed

        calls = [Call(call, None) for call, _ in process.waiting]
        with pytest.raises(Killed):
            process.file.transact([*calls, Call(die, None)])
        process.file.close()
        for file in self.folder.glob("journal.db-*"):
            file.unlink()
        for file in seen.iterdir():
            shutil.copy(file, self.folder)
        shutil.rmtree(seen)
        self.replace(who)

    def replace(self, who):
        """End a process, and begin another one."""
        self.give_up(self.processes[who])
        self.processes[who] = Process(self.path)

    # --- what always holds ---------------------------------------------------------------------

    @initialize()
    def begin_with_one_record(self):
        self.begin(0, "r0")

    @invariant()
    def what_is_committed_is_there_and_nothing_else(self):
        if not self.path.exists():
            return
        with closing(sqlite3.connect(self.path)) as reader:
            records = reader.execute("SELECT record_id, run, lock_id FROM records").fetchall()
            uploads = reader.execute("SELECT number, run, file_id, outcome FROM uploads").fetchall()
            parts = reader.execute("SELECT upload, number, etag FROM parts").fetchall()
        model = self.model
        assert sorted(records) == sorted(
            (record, run, model.locks[record]) for record, run in model.runs.items()
        )
        assert uploads == [
            (number, upload.run, upload.file_id, upload.outcome)
            for number, upload in sorted(model.uploads.items())
        ]
        assert set(parts) == {
            (number, part, etag)
            for number, upload in model.uploads.items()
            for part, etag in upload.parts.items()
        }


def content(identity):
    return sample(identity.size, seed=repr(identity))


def hashed(identity, count):
    fingerprinter = Fingerprinter(GRID)
    fingerprinter.update(content(identity)[:count])
    return fingerprinter


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
