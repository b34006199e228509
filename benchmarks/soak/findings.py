"""Comparing everything after a record: the tree, the service, the journal, the disk."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.soak.journal_rows import read_journal
from koodrive_async.emulator import Emulator, HeldFile


class FindingError(Exception):
    """A promise that was not kept."""


UNFINISHED = "unfinished files that killed uploads left beside a complete one"


def differences(
    emulator: Emulator,
    record_id: str,
    expected: Mapping[str, tuple[int, str]],
    notes: Counter[str] | None = None,
) -> Iterator[str]:
    """Compare a completed record with the tree that it is of.

    :param expected: Size and digest by path.
    :param notes: Counts unfinished files beside exactly one complete file of their path. They are
        differences by default, for an upload finishes such a file. It does not where the service
        refuses the details of unfinished files: it cannot know then that the file is its own.
    """
    held: dict[str, list[HeldFile]] = defaultdict(list)
    for file in emulator.files():
        if file.record_id == record_id:
            held[file.description or ""].append(file)
    for path, (size, sha256) in expected.items():
        files = held.pop(path, [])
        complete = [file for file in files if file.completed]
        if notes is not None and len(complete) == 1:
            notes[UNFINISHED] += len(files) - 1
            files = complete
        if len(files) != 1:
            yield f"{path!r} is {len(files)} times in the record: {_told(files)}"
            continue
        file = files[0]
        if not file.completed:
            yield f"{path!r} was not completed: {_told(files)}"
        elif (file.size, file.sha256) != (size, sha256):
            yield f"{path!r} was announced wrongly: {_told(files)}, not {size} bytes, {sha256}"
        elif hashlib.sha256(emulator.content(file.file_id)).hexdigest() != sha256:
            yield f"the bytes of {path!r} are wrong: {_told(files)}"
    for path, files in held.items():
        yield f"{path!r} is not in the tree: {_told(files)}"


def left_behind(journal: Path, temporary: Path, forgotten: str) -> Iterator[str]:
    """Look for what a completed record must not leave on the disk.

    :param forgotten: The record.
    """
    rows = read_journal(journal)
    if forgotten in rows.records:
        yield f"the journal still has record {forgotten}"
    if not rows.records and rows.uploads:
        yield f"the journal has {rows.uploads} uploads and no record"
    known = {journal.name + suffix for suffix in ("", "-wal", "-shm", ".locks")}
    for path in journal.parent.iterdir():
        if path.name not in known:
            yield f"{path.name} was left beside the journal"
    for path in temporary.iterdir():
        yield f"a temporary file was left: {path.name}"


def _told(files: list[HeldFile]) -> str:
    return ", ".join(
        f"{file.name!r} ({file.file_id}, {file.size} bytes, {file.arrived} parts,"
        f" {'complete' if file.completed else 'incomplete'})"
        for file in files
    )
