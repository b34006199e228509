"""Hashing as a stage of its own: so many files at a time, and none waits for long."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
from anyio import to_process

from koodrive_async.errors import ClientClosed, SourceChanged
from koodrive_async.hashing import Fingerprinter, backend, fingerprint
from koodrive_async.upload.slots import FairSlots
from koodrive_async.upload.source import FileContent

if TYPE_CHECKING:
    from collections.abc import Callable

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.threads import ThreadPool
    from koodrive_async.upload.source import Content

TURN = 1024 * 1024 * 1024
"""Bytes after which a file makes room for another that waits: under a second of hashing."""


class HashPool:
    """Hashes files in worker threads that have released the GIL.

    :param threads: At least as many as ``workers``.
    :param workers: Files hashed at the same time.
    """

    def __init__(self, threads: ThreadPool, workers: int) -> None:
        self.slots = FairSlots(lambda: workers)
        self._threads = threads
        self._turns: set[_Turn] = set()
        self._closed = False

    def close(self) -> None:
        """End what is being hashed, with the slice that it is at."""
        self._closed = True
        for turn in self._turns:
            turn.stop()

    async def fingerprint(
        self, content: Content, grid: int, report: Callable[[int], None]
    ) -> Fingerprint:
        """Hash everything in one pass.

        :param grid: Bytes between two midstates.
        :param report: Called in the hashing thread with the number of bytes hashed so far.
        :raises SourceChanged: A file is not what it was when it was opened.
        :raises ClientClosed: The pool was closed.

        Cancellation ends the hashing with the slice that it is at.
        """
        if content.fingerprint is not None:
            return content.fingerprint
        if isinstance(content, FileContent) and backend() == "portable":
            return await self._in_process(content, grid)
        fingerprinter: Fingerprinter | None = None
        ended = False
        while not ended:
            async with self.slots.slot(content):
                turn = _Turn(content, grid, report, fingerprinter, self._closed)
                fingerprinter, ended = await self._run(turn)
        assert fingerprinter is not None  # noqa: S101 - tells the type checker
        return fingerprinter.finish()

    async def _run(self, turn: _Turn) -> tuple[Fingerprinter, bool]:
        self._turns.add(turn)
        try:
            return await self._threads.run(turn.run, on_cancel=turn.stop)
        except InterruptedError:
            raise ClientClosed("the client was closed while a file was hashed") from None
        finally:
            self._turns.discard(turn)

    async def _in_process(self, content: FileContent, grid: int) -> Fingerprint:
        # in a thread it would hold the GIL
        async with self.slots.slot(content):
            found = await to_process.run_sync(
                partial(fingerprint, content.path, grid=grid), cancellable=True
            )
            await self._threads.run(content.check_unchanged)
        if found.size != content.size:
            raise SourceChanged(content.path, f"size {content.size} -> {found.size}")
        return found


@attrs.define(eq=False)
class _Turn:
    """One file's turn in a worker thread."""

    _content: Content
    _grid: int
    _report: Callable[[int], None]
    _fingerprinter: Fingerprinter | None
    _stopped: bool = False

    def run(self) -> tuple[Fingerprinter, bool]:
        """Hash on, and return how far that is and whether it was the end."""
        fingerprinter = self._fingerprinter or Fingerprinter(self._grid)
        seen = self._content.hash_some(fingerprinter, TURN, self._checkpoint)
        return fingerprinter, seen < TURN

    def stop(self) -> None:
        """See that it ends with the next slice."""
        self._stopped = True

    def _checkpoint(self, done: int) -> None:
        if self._stopped:
            raise InterruptedError("hashing was cancelled")
        self._report(done)
