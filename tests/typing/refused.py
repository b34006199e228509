"""What type checkers have to refuse: each wrong line says what mypy and pyright call it."""

from __future__ import annotations

from pathlib import Path

from koodrive_async import BearerToken, Clock, KooDrive, Limits, Module, Progress, UploadItem, sync


class NoClock:
    def time(self) -> str:
        return "noon"


def not_async() -> str:
    return ""


def counts(done: int) -> None:
    repr(done)


async def asynchronous(drive: KooDrive) -> None:
    await drive.devices.bind(1)  # arg-type, reportArgumentType
    await drive.devices.bind()  # call-arg, reportCallIssue
    drive.devices.list().first()  # attr-defined, reportAttributeAccessIssue
    for record in drive.records.list("100"):  # attr-defined, reportGeneralTypeIssues
        repr(record)
    async with drive.backup("1", Module.FOLDER) as session:
        receipt = await session.upload(5)  # arg-type, reportArgumentType
        receipt.size = 6  # misc, reportAttributeAccessIssue
        await session.upload("a", on_progress=counts)  # arg-type, reportArgumentType
        size = session.upload("a").size  # attr-defined, reportAttributeAccessIssue
        async for outcome in session.upload_tree("a"):
            repr((size, outcome.sha256))  # union-attr, reportAttributeAccessIssue
    with drive.backup("1", Module.FOLDER):  # attr-defined, reportGeneralTypeIssues
        pass


def synchronous(drive: sync.KooDrive) -> None:
    drive.devices.bind(1)  # arg-type, reportArgumentType
    drive.devices.bind("machine", colour="red")  # call-arg, reportCallIssue
    record = drive.records.list("100").first()
    repr(record.record_id)  # union-attr, reportOptionalMemberAccess
    drive.records.list("100", page_size="all")  # arg-type, reportArgumentType
    drive.backup(Module.FOLDER)  # call-arg, reportCallIssue
    with drive.backup("1", Module.FOLDER) as session:
        session.upload("a", on_progress=counts)  # arg-type, reportArgumentType
        nonsense = session.upload("a").nonsense  # attr-defined, reportAttributeAccessIssue
    with drive.locks.hold(module=100) as lease:  # arg-type, reportArgumentType
        repr(nonsense)
        lease.lock_id = "mine"  # misc, reportAttributeAccessIssue


def settings() -> None:
    KooDrive("https://host.example", user_id="1")  # call-arg, reportCallIssue
    sync.KooDrive("https://host.example", user_id="1")  # call-arg, reportCallIssue
    sync.KooDrive.from_env(joural=None)  # call-arg, reportCallIssue
    BearerToken(not_async)  # arg-type, reportArgumentType
    Limits(connections="many")  # arg-type, reportArgumentType
    UploadItem(Path("a"))  # call-arg, reportCallIssue
    clock: Clock = NoClock()  # assignment, reportAssignmentType
    repr(clock)


def events(progress: Progress) -> None:
    progress.done = 0  # misc, reportAttributeAccessIssue
