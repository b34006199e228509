"""What the service does with an upload: into the shared session, and onto the board."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect

from examples.web_service.board import Board, Status, Upload
from examples.web_service.body import Body, TooLarge
from examples.web_service.lock_log import LockLog
from examples.web_service.shared_session import SharedSession, Stopped, begin_or_go_on
from examples.web_service.wording import Busy, explain
from koodrive_async import (
    FileStarted,
    KooDrive,
    KooDriveError,
    Module,
    PartRetried,
    Phase,
    Progress,
    permitted_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from types import TracebackType

    from examples.web_service.settings import Settings
    from examples.web_service.shared_session import RecordState
    from koodrive_async import BackupSession, Event, UploadReceipt

MODULE = Module.FOLDER


class NotBackedUp(Exception):  # noqa: N818 - named for what happened
    """A file is not in the record.

    :ivar status: Status of HTTP.
    :ivar text: Why, for a person.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Backups:
    """Backs up what requests bring, for the life of the application.

    :param drive: An open client.
    :param settings: The settings of the service.
    :ivar board: What the pages show.
    """

    def __init__(self, drive: KooDrive, settings: Settings) -> None:
        self.board = Board(Status(max_bytes=settings.max_bytes))
        self._drive = drive
        self._settings = settings
        self._shared = SharedSession(
            self._begin,
            idle=settings.idle,
            longest=settings.longest,
            on_event=self._on_event,
            on_record=self._on_record,
        )
        self._lock_log = LockLog(self._on_waiting)
        self._device_id: str | None = None
        self._record_may_be_left = True
        self._under_way: dict[object, Upload] = {}
        self._numbered: dict[int, Upload] = {}

    async def __aenter__(self) -> Self:
        self._lock_log.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        self._lock_log.end()

    async def add(
        self,
        upload_id: str,
        name: str,
        size: int | None,
        pieces: AsyncGenerator[bytes, None],
        until_gone: Callable[[], Awaitable[None]],
    ) -> UploadReceipt:
        """Back up one file, for as long as the browser waits for it.

        :param upload_id: Tells it from all others.
        :param name: As the browser calls it. Where KooDrive does not permit that, the description
            keeps it.
        :param size: Bytes that are announced, if any.
        :param pieces: The bytes; taken from only as fast as they can be written to disk.
        :param until_gone: Returns when the browser goes away; called when all pieces are here.
        :raises NotBackedUp: It is not in the record.
        :raises ValueError: There is an upload of this id.
        """
        upload = Upload(id=upload_id, name=name, size=size)
        self.board.add(upload)
        try:
            with self._counted(upload, pieces) as body:
                async with _while_wanted(body, until_gone):
                    receipt = await self._upload(upload, body)
        except BaseException as error:
            why = explain(error, self._settings)
            if isinstance(error, KooDriveError) and self.board.status.record_state == "waiting":
                self.board.set_status(record_state=None)
            state = "cancelled" if isinstance(error, ClientDisconnect) else "failed"
            self.board.set(upload, state=state, error=why.text)
            if isinstance(error, Exception):
                raise NotBackedUp(why.status, why.text) from error
            raise
        self.board.set(
            upload,
            state="done",
            size=receipt.size,
            received=receipt.size,
            hashed=receipt.size,
            sent=receipt.size,
            retries=receipt.retries,
            outcome=receipt.outcome,
            stored_name=receipt.name,
            file_id=receipt.file_id,
            sha256=receipt.sha256,
        )
        return receipt

    async def stop(self, within: float | None = None) -> None:
        """Take no more files, let those on their way finish for a while, complete the record.

        :param within: How many seconds they have; by default what the settings say. Called once
            more with less, it hurries the first call.
        """
        self.board.set_status(is_stopping=True)
        await self._shared.stop(within=self._settings.grace if within is None else within)
        self.board.close()

    async def _upload(self, upload: Upload, body: Body) -> UploadReceipt:
        await self._check_room(upload)
        stored_name = permitted_name(upload.name)
        async with self._shared.borrow() as session:
            self.board.set(upload, record=session.record.record_id)
            return await session.upload(
                body,
                name=stored_name,
                description=None if stored_name == upload.name else upload.name,
            )

    @contextmanager
    def _counted(self, upload: Upload, pieces: AsyncGenerator[bytes, None]) -> Iterator[Body]:
        if self.board.status.is_stopping:
            raise Stopped
        if len(self._under_way) >= self._settings.at_once:
            raise Busy
        body = Body(
            pieces,
            most=self._settings.max_bytes,
            patience=self._settings.patience,
            on_received=lambda size: self.board.set(upload, state="receiving", received=size),
        )
        self._under_way[body] = upload
        try:
            yield body
        finally:
            del self._under_way[body]

    async def _check_room(self, upload: Upload) -> None:
        """Refuse what cannot be kept before any of it is sent.

        :raises TooLarge: It is larger than allowed.
        :raises OSError: The disk has no room for it and for what is still to come of the others.
        """
        if upload.size is not None and upload.size > self._settings.max_bytes:
            raise TooLarge
        to_come = sum((each.size or 0) - each.received for each in self._under_way.values())
        usage = await anyio.to_thread.run_sync(shutil.disk_usage, tempfile.gettempdir())
        if to_come > usage.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir())

    async def _begin(self) -> BackupSession:
        if self._device_id is None:
            device = await self._drive.devices.bind(self._settings.device, name="web service")
            self._device_id = device.device_id
        if self._record_may_be_left:
            return await begin_or_go_on(self._drive, self._device_id, MODULE)
        return self._drive.backup(self._device_id, MODULE)

    def _on_waiting(self) -> None:
        self.board.set_status(record=None, record_state="waiting")

    def _on_record(self, record_id: str, state: RecordState) -> None:
        self._record_may_be_left = state == "unfinished"
        self.board.set_status(record=record_id, record_state=state)

    def _on_event(self, event: Event) -> None:
        match event:
            case FileStarted(number=number, source=source) if source in self._under_way:
                self._numbered[number] = self._under_way[source]
            case Progress(number=number, phase=Phase.HASH, done=done, total=size):
                state = "hashing" if done < size else "sending"
                self._show(number, state=state, size=size, received=size, hashed=done)
            case Progress(number=number, phase=Phase.UPLOAD, done=done, total=size):
                self._show(number, state="sending", hashed=size, sent=done)
            case PartRetried(number=number) if upload := self._numbered.get(number):
                self.board.set(upload, retries=upload.retries + 1)
            case FileStarted() | Progress() | PartRetried():
                return
            case _:
                self._numbered.pop(event.number, None)

    def _show(self, number: int, **changes: object) -> None:
        if (upload := self._numbered.get(number)) is not None:
            self.board.set(upload, **changes)


@asynccontextmanager
async def _while_wanted(
    body: Body, until_gone: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Give the block up when the browser goes away, also when it has sent everything."""

    async def watch() -> None:
        await body.is_read.wait()
        await until_gone()
        scope.cancel()

    with anyio.CancelScope() as scope:
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
    if scope.cancelled_caught:
        raise ClientDisconnect
