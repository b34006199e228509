""":class:`BackupSession`: a lock, a record, and the uploads that go into it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from koodrive_async import html
from koodrive_async.blocks import Block
from koodrive_async.callbacks import check_plain
from koodrive_async.errors import BackupIncomplete, ClientClosed
from koodrive_async.models import AutoRename
from koodrive_async.resources.arguments import check_id, check_module, json_text
from koodrive_async.session_record import Order, SessionRecord
from koodrive_async.tasks import task_group
from koodrive_async.threads import in_thread
from koodrive_async.upload import (
    Destination,
    SessionWatch,
    UploadBatch,
    UploadItem,
    boot_id,
    tree_items,
)
from koodrive_async.upload.batch import Batches, Left, check_sources
from koodrive_async.upload.paths import absolute, os_path
from koodrive_async.upload.timeline import draw_session
from koodrive_async.upload.tree import check_patterns

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from anyio.abc import TaskGroup
    from matplotlib.figure import Figure

    from koodrive_async.blocks import OpenBlocks
    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.resources import Files, Lease, Locks, Records
    from koodrive_async.telemetry import ActiveSpan
    from koodrive_async.upload import (
        Events,
        FileTrace,
        FileWatch,
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

    A record is completed only when every batch (:meth:`upload_many`, :meth:`upload_tree`) was gone
    through to its end. Where a loop was left early (``break``, an error that was caught, a task
    that was cancelled) or never begun, a clean exit raises ``BackupIncomplete`` instead, and the
    record stays unfinished; :meth:`complete_anyway` says that leaving early is meant.

    Enter and leave it in the same task; any number of tasks may upload meanwhile. A clean exit
    waits for their uploads; any other cancels them. Closing the client ends the session: its
    uploads are cancelled, its lock is given back, its record stays unfinished, and ``ClientClosed``
    is raised in its task.

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
        blocks: OpenBlocks,
    ) -> None:
        self._device_id = check_id("device_id", device_id, "device.device_id")
        self._module = check_module(module)
        self._properties = json_text(properties)
        self._resume = None if resume is None else check_id("resume", resume, "record.record_id")
        self._root = root
        self._account = account
        self._begun_before = begun_before
        self._locks = locks
        self._records = records
        self._files = files
        self._uploader = uploader
        self._watch = SessionWatch()
        self._span: ActiveSpan | None = None
        self._uploads: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()
        self._blocks = blocks
        self._context: AbstractAsyncContextManager[None, bool | None] | None = None
        self._lock: Lease | None = None
        self._group: TaskGroup | None = None
        self._batches = Batches(blocks.cleanup)
        self._completes_anyway = False
        self._begun: SessionRecord | None = None

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
        return _opened(self._begun).record

    @property
    def totals(self) -> Totals:
        """How far all files have come, in files and bytes."""
        return self._watch.totals

    @property
    def traces(self) -> tuple[FileTrace, ...]:
        """When what happened to the files that are done, the newest ones with 20,000 parts."""
        return self._watch.traces

    def timeline(self) -> Figure:
        """Draw what happened so far, connection by connection, to the files of :attr:`traces`.

        Made for notebooks: it takes a moment, up to a second for thousands of parts, in which an
        event loop stands still.

        :returns: A figure of matplotlib, which a notebook shows and ``savefig`` writes.
        :raises ModuleNotFoundError: matplotlib is missing; the message says how to get it.
        """
        return draw_session(self.traces)

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

        :param source: A path, a bytes-like object, a binary file object or async reader (read from
            where it stands), or an iterable or async iterable of bytes. All but the first two are
            spooled to a temporary file, because the digest of the whole must be known before the
            first byte may be sent; ``Limits.files_in_flight`` of them at a time, over all calls.
        :param name: Name in the record; by default that of the path or file object.
        :param description: Free text that listings return.
        :param mime_type: Media type.
        :param parent_folder: Id of a folder in the space, or ``"root"``.
        :param container_id: Id of the space; by default the service chooses.
        :param auto_rename: What to do when the record has a file of this name. By default this one
            gets a mark of the time, and the receipt says its name.
        :param part_size: Bytes of a part, a multiple of 64 from 5 MiB; by default chosen by size.
        :param on_progress: Called with a :class:`~koodrive_async.upload.Progress` as it goes: a
            plain function, for nothing would await an async one.
        :returns: What happened.
        :raises InvalidArgument: A name, part size or source breaks a rule, or ``on_progress`` is
            async; nothing was sent.
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
        if on_progress is not None:
            check_plain("on_progress", on_progress)
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
            the loop early cancels the rest, and leaving the session raises ``BackupIncomplete``
            then. Several tasks may share one batch: each outcome goes to one of them.
        :raises InvalidArgument: ``sources`` is itself a source, or cannot be iterated over, or
            ``on_progress`` is async.
        """
        check_sources(sources)
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
        description. Characters that the interface forbids in names become ``_``. Symbolic links
        below the root are not followed, also when one appears after its folder was listed; what
        cannot be read is reported as a failure.

        :param root: The folder.
        :param include: Patterns of files to take, as in :meth:`pathlib.PurePath.match`; all of them
            by default.
        :param exclude: Patterns of files and folders to leave out.
        :returns: As :meth:`upload_many`; an ``OSError`` of ``root`` itself is raised.
        :raises InvalidArgument: One pattern was given instead of a list, an item is no pattern,
            or ``on_progress`` is async.
        """
        include = check_patterns("include", include)
        exclude = check_patterns("exclude", exclude)
        return self._batch(tree_items(root, include, exclude), on_progress)

    def complete_anyway(self) -> None:
        """Have a clean exit complete the record although a loop over uploads was left early.

        Call it where leaving early is meant; what was not uploaded is not in the record then.

        :raises ClientClosed: The session is not open.
        """
        _opened(self._group)
        self._completes_anyway = True

    def _batch(
        self, sources: Iterable[object] | AsyncIterable[object], on_progress: OnProgress | None
    ) -> UploadBatch:
        if on_progress is not None:
            check_plain("on_progress", on_progress)
        return UploadBatch(
            sources,
            partial(self._upload, on_progress=on_progress),
            at_a_time=self._uploader.limits.files_in_flight,
            on_failed_before=self._watch.failed_before,
            group=_opened(self._group),
            batches=self._batches,
        )

    async def _upload(self, item: UploadItem, *, on_progress: OnProgress | None) -> UploadReceipt:
        _opened(self._group)
        begun = _opened(self._begun)
        destination = Destination(record=begun.content, lease=self.lock, account=self._account)
        watch = self._watch.file(item, on_progress)
        scope = anyio.CancelScope()
        self._uploads.add(scope)
        receipt: UploadReceipt | None = None
        try:
            with watch.told(), scope, self._span_of(watch) as span:
                receipt = await self._uploader.upload(item, destination, watch)
                watch.finished(receipt)
                span.add(outcome=receipt.outcome, size=receipt.size, file=receipt.file_id)
        finally:
            self._uploads.discard(scope)
            if not self._uploads:
                self._idle.set()
        if receipt is None:  # the scope was cancelled
            self.lock.check()  # that a lock was lost says more
            raise ClientClosed("the backup session ended while this file was being uploaded")
        if receipt.container_id is not None:
            begun.add_container(receipt.container_id)
        return receipt

    def _span_of(self, watch: FileWatch) -> AbstractContextManager[ActiveSpan]:
        return self._uploader.means.instruments.span(
            "upload", self._span, name=watch.name, description=watch.description
        )

    # --- lifetime ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise ClientClosed("a backup session is entered once: make another one")
        self._context = Block(self._run(), self._blocks, "backup session")
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
        return await _opened(self._context).__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        try:
            means = self._uploader.means
            with means.instruments.span(
                "session", module=self._module.name.lower(), device=self._device_id
            ) as self._span:
                async with self._with_record(means.journal):
                    self._span.add(record=self._record_id)
                    yield
        finally:
            self._watch.end()

    @asynccontextmanager
    async def _with_record(self, journal: Journal) -> AsyncIterator[None]:
        begun = self._begun = SessionRecord(
            await self._order(),
            begun_before=self._begun_before,
            records=self._records,
            files=self._files,
            journal=journal,
            boot=await in_thread(boot_id),
        )
        try:
            async with self._locks.hold(
                self._module, lock_id=await begun.take_over(), retake=begun.check
            ) as lock:
                self._lock = lock
                await begun.open(lock)
                async with self._taking_uploads():
                    yield
                await lock.run(lambda: begun.complete(lock.lock_id))
        finally:
            with anyio.CancelScope(shield=True):
                await begun.leave()

    @asynccontextmanager
    async def _taking_uploads(self) -> AsyncIterator[None]:
        try:
            async with task_group() as self._group:
                yield
                left = None if self._completes_anyway else await self._batches.left_early()
                self._group.cancel_scope.cancel()
            self._group = None  # nothing begins after this
            await self._uploads_of_other_tasks()
            if left is not None and left.batches and not self._completes_anyway:
                raise self._incomplete(left)
        finally:
            self._group = None
            for upload in self._uploads:
                upload.cancel()
            with anyio.move_on_after(_UNWINDING, shield=True):
                await self._uploads_of_other_tasks()

    def _incomplete(self, left: Left) -> BackupIncomplete:
        record_id = _opened(self._begun).record.record_id
        arrived = self.totals.done
        return BackupIncomplete(
            record_id, arrived=arrived, batches=left.batches, unknown=left.unknown
        )

    def _seems_incomplete(self) -> BackupIncomplete | None:
        """Return what leaving the session now would raise, for sinks, which end before it does."""
        if self._group is None or self._completes_anyway or not self._batches.seem_left:
            return None
        return self._incomplete(Left(batches=1, unknown=0))

    async def _order(self) -> Order:
        root: str | None = None
        if self._root is not None:
            named = os_path("root", self._root)
            root = await in_thread(absolute, named)
        return Order(
            device_id=self._device_id,
            module=self._module,
            properties=self._properties,
            resume=self._resume,
            root=root,
            account=self._account,
        )

    async def _uploads_of_other_tasks(self) -> None:
        while self._uploads:
            self._idle = anyio.Event()
            await self._idle.wait()

    # --- what is seen of it --------------------------------------------------------------------

    @property
    def _record_id(self) -> str | None:
        return None if self._begun is None else self._begun.record_id

    @property
    def _state(self) -> str:
        if self._begun is not None and self._begun.is_completed:
            return "completed"
        if self._group is not None:
            return "open"
        return "not entered" if self._context is None else "ended, not completed"

    def __repr__(self) -> str:
        of = "" if self._record_id is None else f"record {self._record_id}, "
        return f"<BackupSession {of}{self._state}>"

    def _repr_html_(self) -> str:
        totals = self.totals
        cells = {
            "record": None if self._record_id is None else html.code(self._record_id),
            "state": html.text(self._state),
            "module": html.name_of(self._module),
            "device": html.code(self._device_id),
            "files in the record": html.number(totals.done),
            "files that failed": html.number(totals.failed or None),
            "files on their way": html.number(
                totals.files - totals.done - totals.failed - totals.cancelled or None
            ),
            "arrived": html.size(totals.uploaded),
            "parts sent again": html.number(totals.retries or None),
        }
        return html.card("Backup session", cells)


def _opened(value: T | None) -> T:
    if value is None:
        raise ClientClosed("this backup session is not open: use it inside 'async with'")
    return value
