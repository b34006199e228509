"""The way of one file: fingerprint it, bring it into the record, tell what happened."""

from __future__ import annotations

import asyncio
import time
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from koodrive_async.hashing import MIDSTATE_GRID
from koodrive_async.threads import call_in_loop
from koodrive_async.upload.delivery import Delivery
from koodrive_async.upload.journal import UploadKey, identity_of_bytes
from koodrive_async.upload.receipt import Seconds, UploadReceipt
from koodrive_async.upload.record_files import marked_names, own_names

if TYPE_CHECKING:
    from contextvars import Context

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.models import BackupFile
    from koodrive_async.upload.delivery import Destination
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.journal import SavedUpload
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.plan import Plan
    from koodrive_async.upload.source import Content
    from koodrive_async.upload.watching import FileWatch

_MARKS = 5
"""Marked names of one file that are looked for; a second one needs a twin in all but its path."""


@attrs.define(kw_only=True, eq=False)
class FileUpload:
    """One file on its way.

    :param began: When work on it began, by :func:`time.perf_counter`.
    """

    means: Means
    item: UploadItem
    destination: Destination
    name: str
    content: Content
    plan: Plan
    watch: FileWatch
    began: float

    async def run(self) -> UploadReceipt:
        """See it through; raises as :meth:`Uploader.upload`."""
        with self.means.instruments.span("hash", size=self.plan.size):
            fingerprint = await self._fingerprint()
        hashed = time.perf_counter()
        key = self._key(fingerprint)
        saved = await self._saved(key)
        if saved is not None and saved.sha256 != fingerprint.sha256:
            # it was changed so soon after it was written that only its bytes tell
            self.means.journal.forget_upload(saved.number)
            saved = None
        delivery = Delivery(
            means=self.means,
            destination=self.destination,
            item=self.item,
            name=self.name,
            content=self.content,
            plan=self.plan,
            fingerprint=fingerprint,
            key=key,
            saved=saved,
            watch=self.watch,
        )
        delivery.listed = self._listed(delivery)
        outcome = await delivery.run()
        completed = time.perf_counter()
        self.watch.completed()
        created = delivery.created
        assert created is not None  # noqa: S101 - tells the type checker
        return UploadReceipt(
            outcome=outcome,
            file_id=delivery.file_id,
            name=created.file_name or self.name,
            sha256=fingerprint.sha256,
            size=self.plan.size,
            parts=len(delivery.plan) - delivery.resumed if outcome == "uploaded" else 0,
            parts_resumed=delivery.resumed,
            retries=delivery.retries,
            seconds=completed - self.began,
            phases=Seconds(
                hash=hashed - self.began,
                create=delivery.made - hashed,
                send=delivery.sent - delivery.made,
                complete=completed - delivery.sent,
            ),
            container_id=await delivery.container_of(),
            description=self.item.description,
            stored_description=(
                None if delivery.description == self.item.description else delivery.description
            ),
            trace=self.watch.trace(),
        )

    # --- what an earlier run has done ----------------------------------------------------------

    def _key(self, fingerprint: Fingerprint) -> UploadKey:
        without_path = identity_of_bytes(fingerprint.sha256, fingerprint.size)
        return UploadKey(
            identity=self.content.identity or without_path,
            name=self.name,
            description=self.item.description,
            part_size=self.plan.part_size,
            parent_folder=self.item.parent_folder,
            container_id=self.item.container_id,
        )

    async def _saved(self, key: UploadKey) -> SavedUpload | None:
        to = self.destination
        if not to.record.resumed:
            return None
        return await self.means.journal.claim(to.account, to.record.record_id, key)

    def _listed(self, delivery: Delivery) -> tuple[BackupFile, ...]:
        """Return the files of the record that an earlier run may have made of this source."""
        record, saved, fingerprint = self.destination.record, delivery.saved, delivery.fingerprint
        if not record.resumed or (saved is not None and saved.file_id is not None):
            return ()
        own = islice(own_names(record.record_id, self.name, delivery.mark), _MARKS)
        if saved is not None:
            names = [*own, saved.stored_name]
        else:
            names = [*own, *islice(marked_names(self.name, delivery.mark), _MARKS), self.name]
        return tuple(
            record.candidates(
                names,
                sha256=fingerprint.sha256,
                size=fingerprint.size,
                description=self.item.description,
            )
        )

    # --- hashing -------------------------------------------------------------------------------

    async def _fingerprint(self) -> Fingerprint:
        watch = self.watch
        if self.content.fingerprint is not None:
            watch.hashed_when_opened()
            return self.content.fingerprint
        size = self.plan.part_size
        # midstates are needed at the part boundaries: the usual grid when they all lie on it
        grid = MIDSTATE_GRID if size % MIDSTATE_GRID == 0 else size
        # what is called in the loop sees the context of the upload, as it does later
        report = partial(self._on_hashed, asyncio.get_running_loop(), copy_context())
        watch.hash_queued()
        found = await self.means.hashing.fingerprint(
            self.content, grid, report, on_began=watch.hash_began
        )
        watch.hashed()
        return found

    def _on_hashed(self, loop: asyncio.AbstractEventLoop, context: Context, done: int) -> None:
        if self.watch.wants_progress:
            call_in_loop(loop, context.run, self.watch.hashing, done)
