"""Hashing as a stage of its own: so many files at a time, and none waits for long."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from anyio import to_process

from koodrive_async.errors import ClientClosed, ConfigurationError, OutOfThreads, SourceChanged
from koodrive_async.hashing import Fingerprint, Fingerprinter, backend, fingerprint
from koodrive_async.upload.slots import FairSlots
from koodrive_async.upload.source import FileContent

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.threads import ThreadPool
    from koodrive_async.upload.journal import FileIdentity, Journal, SavedHash
    from koodrive_async.upload.source import Content

TURN = 1024 * 1024 * 1024
"""Bytes after which a file makes room for another that waits: under a second of hashing."""

SAVED_EVERY = 64 * 1024 * 1024
"""Bytes that a killed process has to hash again, at the most."""


def _nothing() -> None:
    """Nobody wants to know."""


class HashPool:
    """Hashes files in worker threads that have released the GIL.

    :param threads: At least as many as ``workers``.
    :param workers: Files hashed at the same time.
    :param journal: Where the hashes of files are kept for another time.
    """

    def __init__(self, threads: ThreadPool, workers: int, journal: Journal) -> None:
        self.slots: FairSlots = FairSlots(lambda: workers)
        self._threads = threads
        self._journal = journal
        self._running: set[_Hashing] = set()
        self._closed = False
        self._has_backend = False

    def close(self) -> None:
        """End what is being hashed, with the slice that it is at."""
        self._closed = True
        for hashing in self._running:
            hashing.stop()

    async def fingerprint(
        self,
        content: Content,
        grid: int,
        report: Callable[[int], None],
        *,
        on_began: Callable[[], None] = _nothing,
    ) -> Fingerprint:
        """Hash everything in one pass, or what is left of it to hash.

        :param grid: Bytes between two midstates.
        :param report: Called in the hashing thread with the number of bytes hashed so far.
        :param on_began: Called in the loop when something is about to be hashed.
        :raises SourceChanged: A file is not what it was when it was opened.
        :raises ClientClosed: The pool was closed.

        Cancellation ends the hashing with the slice that it is at.
        """
        if content.fingerprint is not None:
            return content.fingerprint
        identity = content.identity
        if identity is None:
            return await self._hash(content, grid, report, on_began)
        saved = await self._journal.hash_of(identity)
        if saved is not None and saved.grid != grid:
            saved = None
        if saved is not None and saved.sha256 is not None:
            return Fingerprint(content.size, saved.sha256, grid, saved.midstates)
        if not identity.settled_at(time.time_ns()):
            # it may change and not show it
            return await self._hash(content, grid, report, on_began)
        found = await self._hash(content, grid, report, on_began, identity=identity, saved=saved)
        await self._journal.hashed(identity, found)
        return found

    async def _hash(
        self,
        content: Content,
        grid: int,
        report: Callable[[int], None],
        on_began: Callable[[], None],
        *,
        identity: FileIdentity | None = None,
        saved: SavedHash | None = None,
    ) -> Fingerprint:
        await self._choose_backend()
        if isinstance(content, FileContent) and backend() == "portable":
            return await self._in_process(content, grid, on_began)
        fingerprinter = Fingerprinter(grid)
        if saved is not None:
            fingerprinter = Fingerprinter.resume(saved.midstates, saved.offset, grid=grid)
        save = None if identity is None else partial(self._journal.hashed_on, identity, grid)
        hashing = _Hashing(content, fingerprinter, report, save, self._closed)
        self._running.add(hashing)
        try:
            ended = False
            while not ended:
                async with self.slots.slot(content):
                    on_began()
                    ended = await self._threads.run(hashing.turn, on_cancel=hashing.stop)
        except InterruptedError:
            raise ClientClosed("the client was closed while a file was hashed") from None
        finally:
            self._running.discard(hashing)
        return fingerprinter.finish()

    async def _choose_backend(self) -> None:
        """Load a library for SHA-256, in a thread, the first time.

        :raises ConfigurationError: The environment names one that there is not.
        """
        if self._has_backend:
            return
        try:
            await self._threads.run(backend)
        except OutOfThreads:
            raise
        except (ValueError, RuntimeError) as error:
            raise ConfigurationError(str(error)) from None
        self._has_backend = True

    async def _in_process(
        self, content: FileContent, grid: int, on_began: Callable[[], None]
    ) -> Fingerprint:
        # in a thread it would hold the GIL
        async with self.slots.slot(content):
            on_began()
            found = await to_process.run_sync(
                partial(fingerprint, content.path, grid=grid), cancellable=True
            )
            await self._threads.run(content.check_unchanged)
        if found.size != content.size:
            raise SourceChanged(content.path, f"size {content.size} -> {found.size}")
        return found


class _Hashing:
    """A file that is being hashed, in worker threads.

    :param save: Called now and then with how much of it was saved before, and the midstates behind
        that; None to save nothing.
    """

    def __init__(
        self,
        content: Content,
        fingerprinter: Fingerprinter,
        report: Callable[[int], None],
        save: Callable[[int, bytes], None] | None,
        stopped: bool,
    ) -> None:
        self._content = content
        self._fingerprinter = fingerprinter
        self._report = report
        self._save = save
        self._saved = fingerprinter.resume_offset
        self._stopped = stopped

    def turn(self) -> bool:
        """Hash on for a turn, and return whether that was the end."""
        if isinstance(self._content, FileContent):
            self._content.start_at(self._fingerprinter.length)
        seen = self._content.hash_some(self._fingerprinter, TURN, self._checkpoint)
        return seen < TURN

    def stop(self) -> None:
        """See that it ends with the next slice."""
        self._stopped = True

    def _checkpoint(self, done: int) -> None:
        if self._stopped:
            raise InterruptedError("hashing was cancelled")
        self._report(done)
        if self._save is not None and done - self._saved >= SAVED_EVERY:
            self._save_midstates(self._save)

    def _save_midstates(self, save: Callable[[int, bytes], None]) -> None:
        reached = self._fingerprinter.resume_offset
        if reached > self._saved:
            save(self._saved, self._fingerprinter.midstates_from(self._saved))
            self._saved = reached
