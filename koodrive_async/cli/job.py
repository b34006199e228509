"""One backup: what of, where to, how it goes and how it may end."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import attrs
from anyio import to_thread

from koodrive_async.cli.own_records import find_left
from koodrive_async.cli.report import Report
from koodrive_async.cli.resuming import named
from koodrive_async.cli.rules import left_out_facts
from koodrive_async.cli.uploading import Tally, upload_path
from koodrive_async.cli.wording import count_text
from koodrive_async.errors import KooDriveError
from koodrive_async.models import RecordStatus
from koodrive_async.tasks import task_group
from koodrive_async.upload import Totals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from koodrive_async.backup import BackupSession
    from koodrive_async.cli.machine import Machine
    from koodrive_async.cli.output import Display
    from koodrive_async.cli.report import Voice
    from koodrive_async.client import KooDrive
    from koodrive_async.models import BoundDevice, Module
    from koodrive_async.upload import Events
    from koodrive_async.upload.tree import LeftOut, TreeRules

_MOST_LEFT: Final = 20
"""Records that are looked at, one call for each."""

PROGRESS_EVERY: Final = 1.0
"""Seconds between two words on progress, for those who read them one by one."""


@attrs.define(kw_only=True)
class Job:
    """What to back up and how; as it goes, the device, the record, and what became of files.

    :ivar root: The path from the root on, by which the journal knows it.
    :ivar rules: What of a folder is taken; None for all of it.
    :ivar resumes: Whether to look for a record to go on with.
    :ivar wanted: The record to go on with, when it was named.
    :ivar again: Returns the command as it was given, with more options.
    :ivar forgetful: Whether there is no journal that would know the record by its path.
    :ivar goes_on: Whether the record is one that another run has begun.
    :ivar journal: The journal; None for none.
    :ivar endpoint: The service that the backup goes to.
    :ivar left: Unfinished records that earlier runs of the same have left.
    """

    path: Path
    root: str
    is_file: bool
    module: Module
    machine: Machine
    rules: TreeRules | None
    resumes: bool
    wanted: str | None
    again: Callable[..., str]
    forgetful: bool = False
    goes_on: bool = False
    journal: Path | None = None
    endpoint: str = ""
    left: Sequence[str] = ()
    device_id: str | None = None
    record_id: str | None = None
    tally: Tally = attrs.field(factory=Tally)
    left_out: Counter[LeftOut] = attrs.field(factory=Counter)
    _totals: Totals = attrs.field(factory=Totals, init=False)

    async def run(self, drive: KooDrive, display: Display, voice: Voice) -> None:
        """Back everything up.

        :raises KooDriveError: What every further file would meet as well.
        """
        report = Report(voice, drive.limits.files_in_flight)
        async with drive:
            device = await self._bound_device(drive)
            self.device_id = device.device_id
            self.journal, self.endpoint = drive.journal_path, drive.endpoint
            self.forgetful = self.journal is None
            record_id = await self._record_to_resume(drive, device.device_id, voice)
            self.goes_on = record_id is not None
            try:
                async with drive.backup(
                    device.device_id, self.module, resume=record_id, root=self.root
                ) as session:
                    self.record_id = session.record.record_id
                    await voice.began(self._facts())
                    await self._upload(session, display, voice, report)
            except KooDriveError as error:
                await report.tell_withheld(error)
                raise
            await report.tell_withheld()
            self.left = await self._look_for_left(drive, device.device_id)

    def summary(self, seconds: float) -> dict[str, object]:
        """Return what happened for JSON."""
        facts = {**self._facts(), **self.tally.facts(seconds)}
        return {"event": "done", **facts, "left_out": left_out_facts(self.left_out)}

    def so_far(self) -> str:
        """Return in one line what an interrupted backup has done, and how to go on."""
        if self.record_id is None:
            return "nothing was backed up"
        tally = self.tally
        done = count_text(tally.files - tally.there, "file")
        run = " by this run" if self.goes_on else ""
        there = f" ({tally.there:,} there already)" if tally.there else ""
        return (
            f"{done} backed up{run}{there}, record {self.record_id} is unfinished; "
            f"go on with: {self.command_to_go_on()}"
        )

    def so_far_facts(self) -> dict[str, object]:
        """Return the same for JSON."""
        return {
            "device_id": self.device_id,
            "record_id": self.record_id,
            "files": self.tally.files - self.tally.there,
            "there_already": self.tally.there,
            "failed": self.tally.failed,
            "go_on_with": None if self.record_id is None else self.command_to_go_on(),
        }

    def command_to_go_on(self) -> str:
        """Return the command line that goes on with this backup."""
        if self.wanted or self.resumes:
            return self.again()
        if self.forgetful and self.record_id is not None:
            return self.again("--record", self.record_id)
        return self.again("--resume")

    async def _bound_device(self, drive: KooDrive) -> BoundDevice:
        """Return the device of this machine.

        One that is bound under this name is not bound again: no page says that it keeps its id,
        by which its records are found.
        """
        machine = self.machine
        for device in await drive.devices.list():
            bound = (device.machine_code, device.device_name, device.device_os)
            if bound == (machine.code, machine.name, machine.os):
                return device
        return await drive.devices.bind(machine.code, machine.name, machine.os)

    async def _record_to_resume(self, drive: KooDrive, device_id: str, voice: Voice) -> str | None:
        if self.wanted is not None:
            await voice.looked(f"record {self.wanted}")
            return self.wanted
        if not self.resumes:
            return None
        found = await drive.find_unfinished(device_id, self.module, root=self.root)
        await voice.looked(named(found) if found else "no unfinished record: a new one is begun")
        if found is not None:
            self.record_id = found.record_id
        return self.record_id

    async def _look_for_left(self, drive: KooDrive, device_id: str) -> Sequence[str]:
        find = partial(find_left, self.journal, self.endpoint, device_id, self.module, self.root)
        left = []
        for saved in (await to_thread.run_sync(find, abandon_on_cancel=True))[:_MOST_LEFT]:
            # the journal does not learn what other machines have ended; and this is but a remark
            with suppress(KooDriveError):
                if (await drive.records.get(saved.record_id)).status is RecordStatus.NEW:
                    left.append(saved.record_id)
        return left

    async def _upload(
        self, session: BackupSession, display: Display, voice: Voice, report: Report
    ) -> None:
        async with task_group() as looking_ahead:
            if display.has_bars or voice.wants_progress:
                looking_ahead.start_soon(self.tally.measure, self.path, self.rules)
            async with self._progress_told(session, voice):
                async for outcome in upload_path(
                    session,
                    self.path,
                    self.tally,
                    is_file=self.is_file,
                    rules=self.rules,
                    left_out=self.left_out,
                ):
                    self.tally.add(outcome)
                    await report.tell(outcome)
            looking_ahead.cancel_scope.cancel()

    @asynccontextmanager
    async def _progress_told(self, session: BackupSession, voice: Voice) -> AsyncIterator[None]:
        if not voice.wants_progress:
            yield
            return
        # what is being written when all is over is written to its end: nothing comes after "done"
        over = anyio.Event()
        async with task_group() as group, aclosing(session.events()) as events:
            group.start_soon(self._listen, events)
            group.start_soon(self._tell_progress, over, voice)
            try:
                yield
            finally:
                over.set()

    async def _listen(self, events: Events) -> None:
        async for event in events:
            self._totals = event.totals

    async def _tell_progress(self, over: anyio.Event, voice: Voice) -> None:
        while not over.is_set():
            with anyio.move_on_after(PROGRESS_EVERY):
                await over.wait()
                return
            # also when nothing has happened: whoever reads should see that we live
            await voice.progress(self._totals, self.tally.hashing.total)

    def _facts(self) -> dict[str, object]:
        return {
            "path": self.root,
            "module": self.module.name.lower(),
            "device_id": self.device_id,
            "record_id": self.record_id,
            "resumed": self.goes_on,
        }
