"""What type checkers have to accept, with the types they have to see."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, assert_never, assert_type

from koodrive_async import (
    ApiError,
    AppSignature,
    Attempt,
    BackupFile,
    BackupRecord,
    BackupSession,
    BearerToken,
    BoundDevice,
    Clock,
    Event,
    FileCancelled,
    FileFailed,
    FileFinished,
    FileStarted,
    KooDrive,
    Lease,
    Limits,
    Module,
    Page,
    Pager,
    PartRetried,
    Plan,
    Progress,
    RecordStatus,
    UploadFailure,
    UploadItem,
    UploadReceipt,
    plan_parts,
    sync,
)
from koodrive_async.hashing import Sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Stopped:
    """A clock of the user's own."""

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        pass


async def token() -> str:
    return "Bearer+..."


def print_progress(progress: Progress) -> None:
    assert_type(progress.done, int)


async def asynchronous() -> None:
    clock: Clock = Stopped()
    async with KooDrive(
        "https://host.example",
        auth=BearerToken(token),
        user_id="1",
        limits=Limits(connections="auto", bandwidth=10**6),
        clock=clock,
    ) as drive:
        assert_type(drive, KooDrive)
        assert_type(await drive.devices.bind("machine", os="linux"), BoundDevice)
        assert_type(await drive.devices.list(), tuple[BoundDevice, ...])
        pager = drive.records.list(Module.FOLDER)
        assert_type(pager, Pager[BackupRecord])
        async for record in pager:
            assert_type(record, BackupRecord)
            if record.status is RecordStatus.COMPLETED:
                break
        async for page in pager.pages():
            assert_type(page, Page[BackupRecord])
        assert_type(await pager.first(), BackupRecord | None)
        assert_type(await pager.collect(limit=3), list[BackupRecord])
        async with drive.locks.hold("100") as lease:
            assert_type(lease, Lease)
        async with drive.backup("1", Module.FOLDER, root=Path()) as session:
            await uploads(session, BytesIO())


async def uploads(session: BackupSession, file: BinaryIO) -> None:
    receipt = await session.upload(Path("a"), on_progress=print_progress)
    assert_type(receipt, UploadReceipt)
    await session.upload(b"bytes", name="a")
    await session.upload(memoryview(b"bytes"), name="a")
    await session.upload(file)
    await session.upload(pieces(), name="b")
    await session.upload(stream(), name="c")
    async for outcome in session.upload_many(["a", UploadItem(source=b"b", name="b")]):
        assert_type(outcome, UploadReceipt | UploadFailure)
        if outcome.outcome == "failed":
            assert_type(outcome.error, Exception)
        else:
            assert_type(outcome.size, int)
    async for event in session.events():
        tell(event)


def tell(event: Event) -> None:
    match event:
        case FileStarted() | Progress() | FileCancelled():
            assert_type(event.number, int)
        case PartRetried(error=error):
            assert_type(error, Exception)
        case FileFinished(receipt=receipt):
            assert_type(receipt, UploadReceipt)
        case FileFailed(failure=failure):
            assert_type(failure, UploadFailure)
        case _:
            assert_never(event)


def synchronous() -> None:
    signed = AppSignature(app_id="a", app_secret="b")
    with sync.KooDrive("https://host.example", auth=signed, user_id="1") as drive:
        assert_type(drive, sync.KooDrive)
        assert_type(drive.devices.bind("machine", os="linux"), BoundDevice)
        for record in drive.records.list(Module.FOLDER, page_size=10):
            assert_type(record, BackupRecord)
        assert_type(drive.files.list("1"), sync.Pager[BackupFile])
        assert_type(drive.files.list("1").first(), BackupFile | None)
        assert_type(drive.files.list("1").collect(10), list[BackupFile])
        for page in drive.files.list("1").pages():
            assert_type(page, Page[BackupFile])
        with drive.locks.hold("100") as lease:
            assert_type(lease, sync.Lease)
            assert_type(lease.lock_id, str)
        assert_type(drive.find_unfinished("1", "100"), BackupRecord | None)
        with drive.backup("1", Module.FOLDER) as session:
            assert_type(session, sync.BackupSession)
            assert_type(session.upload(b"a", name="a", on_progress=print_progress), UploadReceipt)
            for outcome in session.upload_tree("photos", exclude=["*.tmp"]):
                assert_type(outcome, UploadReceipt | UploadFailure)
            for event in session.events():
                tell(event)
    assert_type(sync.KooDrive.from_env(journal=None), sync.KooDrive)


def values(error: ApiError) -> None:
    assert_type(error.history, tuple[Attempt, ...])
    assert_type(plan_parts(10**9), Plan)
    assert_type(Sha256().hexdigest(), str)


def pieces() -> Iterator[bytes]:
    yield b""


async def stream() -> AsyncIterator[bytes]:
    yield b""
