"""koodrive-async through its public names, as a user would write it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import attrs

from benchmarks.contenders import Job
from benchmarks.meter import Meter
from koodrive_async import BackupSession, BearerToken, KooDrive, Limits, Module, UploadFailure
from koodrive_async.upload import Phase, Progress


def upload(
    job: Job, meter: Meter, *, fixed: bool = False, tree: bool = False, on_uvloop: bool = False
) -> None:
    """Run the whole job of every file: hash, create, send, complete.

    :param fixed: Use as many connections as the job says; by default the client chooses.
    :param tree: Have the files found by ``upload_tree`` instead of naming each.
    """
    with asyncio.Runner(loop_factory=_uvloop() if on_uvloop else None) as runner:
        runner.run(_upload(job, meter, fixed=fixed, tree=tree))


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop  # noqa: PLC0415 - one contender in many needs it

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_event_loop


async def _upload(job: Job, meter: Meter, *, fixed: bool, tree: bool) -> None:
    limits = Limits(connections=job.connections) if fixed else Limits()
    tls = ssl.create_default_context(cafile=job.ca) if job.ca else None
    auth = BearerToken("Bearer+benchmark")
    async with KooDrive(
        job.endpoint, auth=auth, user_id="benchmark", limits=limits, tls=tls
    ) as drive:
        device = await drive.devices.bind("benchmark")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            if job.files.count == 1:
                await _one(session, job, meter)
            else:
                await _many(session, job, meter, tree=tree)


async def _one(session: BackupSession, job: Job, meter: Meter) -> None:
    (path,) = job.paths()

    def note(progress: Progress) -> None:
        if progress.phase is Phase.HASH and progress.done == progress.total:
            meter.mark_put()

    async with meter.async_work():
        receipt = await session.upload(path, on_progress=note, part_size=job.part_size)
    assert receipt.outcome == "uploaded"
    meter.result["phases"] = attrs.asdict(receipt.phases)
    meter.result["put_seconds"] = receipt.phases.send
    meter.result["put_cpu_seconds"] = meter.result["cpu_seconds"] - meter.result["cpu_before_put"]


async def _many(session: BackupSession, job: Job, meter: Meter, *, tree: bool) -> None:
    paths = [] if tree else job.paths()
    root = job.root / job.files.folder
    uploaded = 0
    async with meter.async_work():
        batch = session.upload_tree(root) if tree else session.upload_many(paths)
        async for outcome in batch:
            if isinstance(outcome, UploadFailure):
                raise outcome.error
            uploaded += 1
    assert uploaded == job.files.count
