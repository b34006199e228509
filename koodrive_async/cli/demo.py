"""``koodrive demo``: a backup to an emulator and back, with every byte compared."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
from anyio import to_thread

from koodrive_async.cli.comparison import Difference, compare
from koodrive_async.cli.demo_tree import make_tree
from koodrive_async.cli.download import download_record
from koodrive_async.cli.emulator import faults_of
from koodrive_async.cli.json_output import Failed, json_option, write_json
from koodrive_async.cli.local import local_files, total_size
from koodrive_async.cli.machine import Machine, made_up_machine
from koodrive_async.cli.options import ExistingPath
from koodrive_async.cli.output import Bare, quiet_option
from koodrive_async.cli.progress import Meter, Screen
from koodrive_async.cli.running import run
from koodrive_async.cli.uploading import Tally, upload_path
from koodrive_async.cli.wording import count_text, printable, reason, size_text, speed_text
from koodrive_async.client import KooDrive
from koodrive_async.emulator import Emulator
from koodrive_async.errors import KooDriveError
from koodrive_async.models import Module, RecordStatus
from koodrive_async.upload import UploadReceipt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from koodrive_async.cli.output import Display
    from koodrive_async.upload import UploadFailure


@click.command()
@click.argument("path", required=False, type=ExistingPath())
@click.option(
    "--fault",
    "rules",
    metavar="SPEC",
    multiple=True,
    help="Make something go wrong on the way, such as reset=middle:part.put:times=3.",
)
@quiet_option
@json_option
def demo(path: Path | None, rules: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Back up PATH to an emulator on this machine, fetch it back, and compare every byte.

    PATH is a file or a folder and is only read; without it a small tree is made. The emulator
    speaks real HTTP on a port of this machine; nothing leaves it. The exit code is 0 only if every
    file came back as it is. With --json one object: files, size, device_id, record_id, equal, and
    differences, a list of path, problem.
    """
    with tempfile.TemporaryDirectory(prefix="koodrive-demo-") as directory:
        scratch = Path(directory)
        root = path or scratch / "tree"
        if path is None:
            make_tree(root)
        with Emulator(scratch / "emulator", faults=faults_of(rules), etags=False) as emulator:
            trial = Trial(
                root=root,
                made=path is None,
                files=local_files(root),
                scratch=scratch,
                talks=not (quiet or as_json),
            )
            with trial.screen:
                differences = run(partial(trial.run, emulator.environment(), emulator.url))
    if as_json and not quiet:
        write_json(trial.facts(differences))
    elif not quiet:
        _tell(differences)
    if differences:
        raise Failed(trial.verdict(differences))


def _tell(differences: Sequence[Difference]) -> None:
    click.echo()
    for difference in differences:
        click.echo(f"  NOT EQUAL   {printable(difference.path)}: {difference.problem}")
    if not differences:
        click.secho("Every file came back byte for byte.", fg="green")


@attrs.define(kw_only=True)
class Trial:
    """One run there and back.

    :ivar made: Whether the files were made for this.
    :ivar files: What has to come back, by relative path.
    :ivar scratch: A folder for files on their way back.
    :ivar talks: Whether to say how it goes.
    """

    root: Path
    made: bool
    files: Mapping[str, Path]
    scratch: Path
    talks: bool = True
    machine: Machine = attrs.field(factory=made_up_machine)
    tally: Tally = attrs.field(factory=Tally)
    download: Meter = attrs.field(factory=lambda: Meter(label="download"))
    screen: Display = attrs.field(init=False)
    _record: tuple[str, str] | None = None
    _containers: dict[str, str] = attrs.field(factory=dict)
    _failures: list[Difference] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        meters = (self.tally.hashing, self.tally.sending, self.download)
        total = total_size(self.root)
        for meter in meters:
            meter.total = total
        self.screen = Screen(*meters) if self.talks else Bare(silent=True)

    @property
    def count(self) -> int:
        """Files that have to come back."""
        return len(self.files)

    def verdict(self, differences: Sequence[Difference]) -> str:
        """Return in one line what is not the same."""
        if other := self.count - self.equal(differences):
            return f"{other:,} of {count_text(self.count, 'file')} not equal"
        return f"{count_text(len(differences), 'file')} came back that were not there"

    def facts(self, differences: Sequence[Difference]) -> dict[str, object]:
        """Return what came of it for JSON."""
        device_id, record_id = self._record or (None, None)
        return {
            "files": self.count,
            "size": self.tally.hashing.total or 0,
            "device_id": device_id,
            "record_id": record_id,
            "equal": self.equal(differences),
            "differences": [attrs.asdict(difference) for difference in differences],
        }

    async def run(self, environment: Mapping[str, str], url: str) -> list[Difference]:
        """Go there and back.

        :param environment: The variables that point a client at the service.
        :returns: What is not the same.
        :raises KooDriveError: The service refused something that is not about one file.
        """
        origin = "made for this demo" if self.made else printable(str(self.root))
        size = self.tally.hashing.total or 0
        await self._say("emulator", f"{url}, in a temporary directory")
        await self._say("files", f"{count_text(self.count, 'file')}, {size_text(size)}, {origin}")
        async with KooDrive.from_env(environment, proxy=None, journal=None) as drive:
            device_id = await self._bind(drive)
            record_id = await self.back_up(drive, device_id)
            self._record = device_id, record_id
            await self._find(drive, device_id, record_id)
            return await self.fetch_back(drive, record_id)

    async def back_up(self, drive: KooDrive, device_id: str) -> str:
        """Back everything up and return the record's id."""
        is_file = await to_thread.run_sync(self.root.is_file)
        began = time.perf_counter()
        async with drive.backup(device_id, Module.FOLDER) as session:
            async for outcome in upload_path(session, self.root, self.tally, is_file=is_file):
                self.tally.add(outcome)
                self._note(outcome)
        await self._say("backup", self.tally.summary(time.perf_counter() - began))
        return session.record.record_id

    async def fetch_back(self, drive: KooDrive, record_id: str) -> list[Difference]:
        """Download what the record lists and compare it with the local files."""
        began = time.perf_counter()
        came = await download_record(
            drive, record_id, self._containers, self.scratch, self.download
        )
        seconds = time.perf_counter() - began
        await self._say(
            "download",
            f"{count_text(len(came), 'file')}, {size_text(self.download.done)} "
            f"in {seconds:.2f} s: {speed_text(self.download.done, seconds)}",
        )
        differences = await to_thread.run_sync(compare, self.files, came, abandon_on_cancel=True)
        # why a file was not backed up says more than that it did not come back
        why = {failure.path: failure for failure in self._failures}
        differences = [why.pop(each.path, each) for each in differences] + list(why.values())
        equal, files = self.equal(differences), count_text(self.count, "file")
        await self._say("compared", f"{equal:,} of {files} equal in size and SHA-256")
        return differences

    def equal(self, differences: Sequence[Difference]) -> int:
        """Return how many of the files came back as they are."""
        return self.count - len({each.path for each in differences} & set(self.files))

    async def _bind(self, drive: KooDrive) -> str:
        machine = self.machine
        device = await drive.devices.bind(machine.code, machine.name, machine.os)
        await self._say("device", f"{device.device_name} is bound as {device.device_id}")
        return device.device_id

    async def _find(self, drive: KooDrive, device_id: str, record_id: str) -> None:
        records = drive.records.list(Module.FOLDER, device_id)
        async for record in records:
            if record.record_id == record_id and record.status is RecordStatus.COMPLETED:
                await self._say("record", f"{record_id} is listed as completed")
                return
        raise KooDriveError(f"record {record_id} is not listed as completed")

    def _note(self, outcome: UploadReceipt | UploadFailure) -> None:
        if isinstance(outcome, UploadReceipt):
            if outcome.container_id is not None:
                self._containers[outcome.file_id] = outcome.container_id
            return
        path = outcome.description or str(outcome.source)
        self._failures.append(Difference(path, f"it was not backed up ({reason(outcome.error)})"))

    async def _say(self, topic: str, text: str) -> None:
        await self.screen.line(f"  {topic:<10}  {text}")
