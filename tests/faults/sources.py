"""What may happen to a file while it is backed up: each thing at each moment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from koodrive_async import Module, UploadItem
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from koodrive_async.upload import Phase
from tests.faults.trial import (
    AT_ONCE,
    PART,
    PATIENT,
    errors_among,
    improper,
    raise_first,
    tls,
)
from tests.sample import sample

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE, SMALL = sample(PART + 77, 21), sample(100_000, 22)
LONG_AGO = 1_700_000_000

MOMENTS = (
    "before it is opened",
    "while it is hashed",
    "when it is hashed",
    "after its first part",
    "after its last part",
    "when it is completed",
)


@attrs.frozen
class Change:
    """Something that happens to a file.

    :param make: Does it.
    :param leaves_a_file: There is a file to go on with.
    """

    name: str
    make: Callable[[Path], object]
    leaves_a_file: bool = True


@attrs.frozen
class Found:
    """What came of a change, by its moment, and what must not be."""

    outcomes: dict[str, str]
    wrong: tuple[str, ...]


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path):
    os.truncate(path, path.stat().st_size // 2)


def replace(path):
    other = path.with_name("other")
    other.write_bytes(sample(path.stat().st_size, 23))
    other.replace(path)


def rewrite(path):
    """Change a byte in the middle, and set the times back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        file.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def become_a_folder(path):
    path.unlink()
    path.mkdir()


def become_unreadable(path):
    """Put something in its place that can be opened, and not be read, by nobody."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


CHANGES = (
    Change("it grows", grow),
    Change("it shrinks", shrink),
    Change("it is replaced", replace),
    Change("a byte changes, not size and time", rewrite),
    Change("it vanishes", Path.unlink, leaves_a_file=False),
    Change("it becomes a folder", become_a_folder, leaves_a_file=False),
    Change("it cannot be read", become_unreadable, leaves_a_file=False),
)


async def tried_change(change, folder):
    """Try a change at each moment, with a large file and a small one."""
    outcomes, wrong = {}, []
    for number, moment in enumerate(MOMENTS):
        both = []
        for content in (LARGE, SMALL):
            place = folder / f"{number}" / f"{len(content)}"
            place.mkdir(parents=True)
            async with Emulator(place / "koodrive", etags=False) as emulator:
                trial = _Trial(change, moment, content, place, emulator)
                both.append(await trial.run())
            shutil.rmtree(place)
            wrong += [f"{change.name} {moment}, {len(content)} bytes: {w}" for w in trial.wrong]
        outcomes[moment] = both[0] if both[0] == both[1] else " / ".join(both)
    return Found(outcomes, tuple(wrong))


class _Trial:
    def __init__(self, change, moment, content, place, emulator):
        self.change = change
        self.moment = moment
        self.content = content
        self.path = place / "file.bin"
        self.path.write_bytes(content)
        os.utime(self.path, (LONG_AGO, LONG_AGO))
        self.journal = place / "journal.db"
        self.emulator = emulator
        self.happened = False
        self.wrong = []

    async def run(self):
        async with self.client() as drive:
            device_id = (await drive.devices.bind("machine")).device_id
        parts = -(-len(self.content) // PART)
        match self.moment:
            case "before it is opened":
                self.happen()
            case "after its first part":
                self.emulator.seen.then("part.put", self.happen)
            case "after its last part":
                self.emulator.seen.then("part.put", self.happen, count=parts)
            case "when it is completed":
                self.emulator.seen.then("files.complete", self.happen)
        error = await self.backed_up(device_id)
        if not self.happened:
            self.wrong.append("nothing happened to the file")
        self.look(complete=error is None)
        if error is None:
            return "ok"
        self.wrong += improper(error)
        if self.change.leaves_a_file:
            await self.resume(device_id)
        return type(error).__name__

    async def backed_up(self, device_id, resume=None):
        try:
            async with (
                self.client() as drive,
                drive.backup(device_id, Module.FOLDER, resume=resume) as session,
            ):
                batch = session.upload_many([self.item()], on_progress=self.on_progress)
                raise_first(await errors_among(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            return error
        return None

    async def resume(self, device_id):
        (record,) = self.emulator.records()
        error = await self.backed_up(device_id, record.record_id)
        if error is not None:
            self.wrong.append(f"the resume failed: {error!r}")
            return
        self.look(complete=True)
        stored = [self.emulator.content(f.file_id) for f in self.emulator.files() if f.completed]
        if self.path.read_bytes() not in stored:
            self.wrong.append("after the resume the file as it is now is not there")

    def look(self, *, complete):
        """Look whether a completed file has the bytes of one version, and no lock is held."""
        versions = [self.content]
        if self.change.leaves_a_file:
            versions.append(self.path.read_bytes())
        completed = [file for file in self.emulator.files() if file.completed]
        for file in completed:
            if self.emulator.content(file.file_id) not in versions:
                self.wrong.append("it is torn")
        if complete != bool(completed):
            self.wrong.append(f"{len(completed)} files are completed")
        if self.emulator.locks():
            self.wrong.append("a lock is held")

    def item(self):
        return UploadItem(source=self.path, part_size=PART)

    def on_progress(self, progress):
        if progress.phase is not Phase.HASH:
            return
        hashed = progress.done == progress.total
        if self.moment == "while it is hashed" or (self.moment == "when it is hashed" and hashed):
            self.happen()

    def happen(self):
        if not self.happened:
            self.happened = True
            self.change.make(self.path)

    def client(self):
        return connect(
            self.emulator, tls=tls(), journal=self.journal, timeouts=PATIENT, retry=AT_ONCE
        )
