""":class:`BackupSession`: a lock, a record, and the uploads that go into it."""

from __future__ import annotations

import os
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.to_thread
import attrs

from koodrive_async.errors import ClientClosed, InvalidArgument, NotFound
from koodrive_async.models import AutoRename, RecordStatus
from koodrive_async.resources.arguments import check_module, json_text
from koodrive_async.tasks import task_group
from koodrive_async.unfinished import ROOT_DIGEST, root_digest
from koodrive_async.upload import (
    Destination,
    RecordFiles,
    SavedRecord,
    SessionWatch,
    UploadBatch,
    UploadItem,
    boot_id,
    tree_items,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Files, Lease, Locks, Records
    from koodrive_async.upload import (
        Events,
        FileTrace,
        Journal,
        OnProgress,
        Source,
        Totals,
        Uploader,
        UploadReceipt,
    )

T = TypeVar("T")

_UNWINDING = 5.0
"""Seconds that cancelled uploads of other tasks have to end before the lock is given back."""


class BackupSession:
    """One backup run, from :meth:`KooDrive.backup`, used inside ``async with``.

    Entering takes the lock, which is kept renewed, and creates the record. A clean exit completes
    the record, also when files failed; leaving with an exception does not, so that it stays
    unfinished and can be resumed. The lock is given back either way. When it is lost for good the
    block is cancelled and ``LockLost`` raised.
    Enter and leave it in the same task; any number of tasks may upload meanwhile. A clean exit
    waits for their uploads; any other cancels them.

    When the lock is lost (a laptop slept, the network was gone) nothing more is written under it.
    Another one is taken, the record is looked at, and uploads go on where they were; ``LockLost``
    is raised when that cannot be.

    A resumed session goes on with the record of an earlier one. Files that are there already come
    out as ``"exists"``; of the others only what is missing is hashed and sent. Upload the same
    sources as before: what is not asked for again stays as it is.
    """

    def __init__(
        self,
        device_id: str,
        module: Module | str,
        *,
        properties: str | Mapping[str, Any] | None,
        resume: str | None,
        root: str | os.PathLike[str] | None,
        account: str,
        begun_before: set[str],
        locks: Locks,
        records: Records,
        files: Files,
        uploader: Uploader,
    ) -> None:
        self._device_id = device_id
        self._module = check_module(module)
        self._properties = json_text(properties)
        self._resume = resume
        self._root = root
        self._account = account
        self._begun_before = begun_before
        self._locks = locks
        self._records = records
        self._files = files
        self._uploader = uploader
        self._content: RecordFiles | None = None
        self._journal: Journal | None = None
        self._watch = SessionWatch()
        self._containers: set[str] = set()
        self._uploads: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()
        self._context: AbstractAsyncContextManager[None] | None = None
        self._lock: Lease | None = None
        self._record: BackupRecord | None = None
        self._group: TaskGroup | None = None
        self._begun: str | None = None
        self._knows_names = False
        self._boot = ""
        self._completing = self._completed = self._is_of_no_more_use = False

    @property
    def lock(self) -> Lease:
        """The lock that is being held.

        :raises ClientClosed: The session is not open.
        """
        return _opened(self._lock)

    @property
    def record(self) -> BackupRecord:
        """The record as it was created.

        :raises ClientClosed: The session has not been entered.
        """
        return _opened(self._record)

    @property
    def totals(self) -> Totals:
        """How far all files have come, in files and bytes."""
        return self._watch.totals

    @property
    def traces(self) -> tuple[FileTrace, ...]:
        """When what happened to the files that are done, the newest ones with 20,000 parts."""
        return self._watch.traces

    def events(self) -> Events:
        """Watch what happens from now on, until the session ends; also before it is entered.

        :returns: An async iterator of :data:`~koodrive_async.upload.Event`: files that begin, their
            progress in two phases (at most ten times a second for each, acknowledged bytes only,
            never backwards), parts that are sent again, and what became of each file. Each call
            gives one of its own.
        """
        return self._watch.events()

    async def upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
        parent_folder: str | None = None,
        container_id: str | None = None,
        auto_rename: AutoRename = AutoRename.RENAME,
        part_size: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> UploadReceipt:
        """Upload one file.

        :param source: A path, a bytes-like object, a binary file object (read from where it
            stands), or an iterable or async iterable of bytes. The last two are spooled to a
            temporary file, because the digest of the whole must be known before the first byte may
            be sent.
        :param name: Name in the record; by default that of the path or file object.
        :param description: Free text that listings return.
        :param mime_type: Media type.
        :param parent_folder: Id of a folder in the space, or ``"root"``.
        :param container_id: Id of the space; by default the service chooses.
        :param auto_rename: What to do when the record has a file of this name.
        :param part_size: Bytes of a part, a multiple of 64 from 5 MiB; by default chosen by size.
        :param on_progress: Called with a :class:`~koodrive_async.upload.Progress` as it goes.
        :returns: What happened.
        :raises InvalidArgument: A name, part size or source breaks a rule; nothing was sent.
        :raises OSError: The source is missing, a folder, or may not be read; nothing was sent.
        :raises DuplicateFileName: The name is taken and ``auto_rename`` is ``REJECT``.
        :raises SourceChanged: The file changed between hashing and sending; it was not completed.
        :raises PartRejected: The object store refused a part for good.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.

        Cancellation stops at once; the file is not completed.
        """
        item = UploadItem(
            source=source,
            name=name,
            description=description,
            mime_type=mime_type,
            parent_folder=parent_folder,
            container_id=container_id,
            auto_rename=auto_rename,
            part_size=part_size,
        )
        return await self._upload(item, on_progress=on_progress)

    def upload_many(
        self,
        sources: Iterable[Source | UploadItem] | AsyncIterable[Source | UploadItem],
        *,
        on_progress: OnProgress | None = None,
    ) -> UploadBatch:
        """Upload many files, several at a time (``Limits.files_in_flight``).

        :param sources: Sources, or :class:`~koodrive_async.upload.UploadItem` to say more about
            each. May be endless: it is taken from only as fast as the uploads go. An iterable that
            may block, such as a generator, is advanced in a worker thread.
        :returns: An async iterator of :class:`UploadReceipt` and :class:`UploadFailure`, each as
            its file finishes. What every further file would meet as well (refused credentials,
            no space left) ends it: files on their way finish, then that error is raised. Leaving
            the loop early cancels the rest.
        """
        return self._batch(sources, on_progress)

    def upload_tree(
        self,
        root: str | os.PathLike[str],
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        on_progress: OnProgress | None = None,
    ) -> UploadBatch:
        """Upload the files below a folder.

        A record has no folders: the path relative to ``root``, with ``/``, becomes each file's
        description. Characters that the interface forbids in names become ``_``. Symbolic links are
        not followed; what cannot be read is reported as a failure.

        :param root: The folder.
        :param include: Patterns of files to take, as in :meth:`pathlib.PurePath.match`; all of them
            by default.
        :param exclude: Patterns of files and folders to leave out.
        :returns: As :meth:`upload_many`; an ``OSError`` of ``root`` itself is raised.
        """
        return self._batch(tree_items(root, include, exclude), on_progress)

    def _batch(
        self, sources: Iterable[object] | AsyncIterable[object], on_progress: OnProgress | None
    ) -> UploadBatch:
        return UploadBatch(
            sources,
            partial(self._upload, on_progress=on_progress),
            at_a_time=self._uploader.limits.files_in_flight,
            on_failed_before=self._watch.failed_before,
            group=_opened(self._group),
        )

    async def _upload(self, item: UploadItem, *, on_progress: OnProgress | None) -> UploadReceipt:
        _opened(self._group)
        destination = Destination(
            record=_opened(self._content), lease=self.lock, account=self._account
        )
        watch = self._watch.file(item, on_progress)
        scope = anyio.CancelScope()
        self._uploads.add(scope)
        try:
            with watch.told(), scope:
                receipt = await self._uploader.upload(item, destination, watch)
                watch.finished(receipt)
        finally:
            self._uploads.discard(scope)
            if not self._uploads:
                self._idle.set()
        if scope.cancelled_caught:
            self.lock.check()  # that a lock was lost says more
            raise ClientClosed("the backup session ended while this file was on its way")
        if receipt.container_id is not None:
            self._containers.add(receipt.container_id)
        return receipt

    # --- lifetime ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise ClientClosed("a backup session is entered once: make another one")
        self._context = self._run()
        try:
            await self._context.__aenter__()
        except BaseException:
            self._watch.end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await _opened(self._context).__aexit__(kind, error, traceback)
        finally:
            self._watch.end()

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        self._journal = self._uploader.means.journal
        self._boot = await anyio.to_thread.run_sync(boot_id)
        if self._root is not None:
            self._root = await anyio.to_thread.run_sync(os.path.abspath, self._root)
        try:
            async with self._locks.hold(
                self._module, lock_id=await self._lock_left(), retake=self._check_record
            ) as self._lock:
                await self._open_record(self._lock)
                try:
                    async with task_group() as self._group:
                        yield
                        # batches whose outcomes nobody took to the end
                        self._group.cancel_scope.cancel()
                    self._group = None  # nothing begins any more
                    await self._uploads_of_other_tasks()
                finally:
                    self._group = None
                    for upload in self._uploads:
                        upload.cancel()
                    with anyio.move_on_after(_UNWINDING, shield=True):
                        await self._uploads_of_other_tasks()
                await self._lock.run(self._complete_record)
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave_record(self._journal)

    # --- the record ----------------------------------------------------------------------------

    async def _lock_left(self) -> str | None:
        """Take over the record from the run that left it; return the lock that it left, if any."""
        if self._resume is None:
            return None
        journal = _opened(self._journal)
        saved = await journal.record(self._account, self._resume)
        unknown = attrs.evolve(self._saved(self._resume, None), notes="")
        await journal.begin(saved or unknown)
        self._begun = self._resume
        self._knows_names = bool(saved and self._boot and saved.notes == self._boot)
        return None if saved is None else saved.lock_id

    async def _open_record(self, lease: Lease) -> None:
        if self._resume is None:
            creation = self._records.creation(
                self._device_id,
                self._module,
                properties=self._properties or self._own_properties(),
                known=await self._known_records(),
            )
            self._record = await lease.run(lambda: creation.run(lease.lock_id))
            self._begun_before.add(self._record.record_id)
            self._content = RecordFiles(self._record.record_id)
            await _opened(self._journal).begin(self._saved(self._record.record_id, lease.lock_id))
            self._begun = self._record.record_id
            return
        journal = _opened(self._journal)
        journal.note_lock(self._account, self._resume, lease.lock_id)
        self._record = await self._record_left(self._resume)
        if self._record.module not in {None, self._module}:
            raise InvalidArgument(
                f"record {self._resume} is of module {self._record.module}, not {self._module}"
            )
        device = self._record.device_info
        if device is not None and device.device_id != self._device_id:
            raise InvalidArgument(
                f"record {self._resume} is of device {device.device_id}, not {self._device_id}"
            )
        listed = [file async for file in self._files.list(self._resume)]
        noted = await journal.stored_names(self._account, self._resume)
        self._content = RecordFiles(self._resume, listed, noted if self._knows_names else None)

    async def _known_records(self) -> set[str]:
        """Return records that the one that is going to be created certainly is not."""
        journal = _opened(self._journal)
        left = await journal.unfinished(self._account, self._device_id, self._module.value)
        return self._begun_before | {saved.record_id for saved in left}

    async def _record_left(self, record_id: str) -> BackupRecord:
        try:
            record = await self._records.get(record_id)
            self._check_open(record)
        except (NotFound, InvalidArgument):
            self._is_of_no_more_use = True
            raise
        return record

    async def _check_record(self) -> None:
        """Look whether going on under another lock is right: nobody else has ended the record."""
        if self._record is None:
            return
        record = await self._records.get(self._record.record_id)
        if not (self._completing and record.status is RecordStatus.COMPLETED):
            self._check_open(record)
        self._note_lock()

    def _check_open(self, record: BackupRecord) -> None:
        if record.status is not RecordStatus.NEW:
            status = _name_of(record.status)
            raise InvalidArgument(
                f"record {record.record_id} takes no more files: its status is {status}"
            )

    async def _complete_record(self) -> None:
        self._completing = True
        await self._records.complete(
            self.record.record_id,
            lock_id=self.lock.lock_id,
            properties=self._final_properties(),
        )
        self._completed = True

    async def _leave_record(self, journal: Journal) -> None:
        if self._begun is None:
            return
        if self._completed or self._is_of_no_more_use:
            await journal.completed_record(self._account, self._begun)
        else:
            # the lock stays noted: whoever resumes tries it, for giving it back may have failed
            await journal.leave(self._account, self._begun)

    def _note_lock(self) -> None:
        _opened(self._journal).note_lock(self._account, self.record.record_id, self.lock.lock_id)

    def _saved(self, record_id: str, lock_id: str | None) -> SavedRecord:
        return SavedRecord(
            account=self._account,
            record_id=record_id,
            device_id=self._device_id,
            module=self._module.value,
            root=None if self._root is None else os.fspath(self._root),
            lock_id=lock_id,
            begun=time.time(),
            notes=self._boot,
        )

    async def _uploads_of_other_tasks(self) -> None:
        while self._uploads:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _final_properties(self) -> Mapping[str, Any] | None:
        # Listings do not say which space a file is in, and downloads ask for it.
        if self._content is not None and self._content.container_id is not None:
            self._containers.add(self._content.container_id)
        if self._properties is not None or not self._containers:
            return None
        return {**(self._own_properties() or {}), "containerIds": sorted(self._containers)}

    def _own_properties(self) -> dict[str, Any] | None:
        # by which the record of a folder is found where there is no journal
        return None if self._root is None else {ROOT_DIGEST: root_digest(os.fspath(self._root))}


def _name_of(status: RecordStatus | int | None) -> str:
    return status.name if isinstance(status, RecordStatus) else str(status)


def _opened(value: T | None) -> T:
    if value is None:
        raise ClientClosed("this backup session is not open: use it inside 'async with'")
    return value
