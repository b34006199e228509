"""The thread in which a journal is used: the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from koodrive_async.threads import until_done
from koodrive_async.upload.journal_locks import key_of_lock
from koodrive_async.upload.journal_store import Call, JournalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from koodrive_async.upload.journal_entries import SavedRecord
    from koodrive_async.upload.journal_file import JournalFile
    from koodrive_async.upload.journal_locks import RecordLocks

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

_BUSY = 0.02
_GATHERING = 0.002
"""Seconds to wait for more when calls come fast: each time it wakes, the thread takes the GIL."""

_MOST = 1000
"""Calls in one transaction: nobody should wait for more than these."""


@attrs.define(eq=False)
class _Job:
    """Something on its way through the thread.

    :ivar call: What to do; None for what comes last.
    :ivar answer: Who waits for it.
    """

    call: Call[Any] | Callable[[], object] | None
    answer: asyncio.Future[Any] | None = None

    def settle(self, result: object, error: Exception | None = None) -> None:
        if self.answer is not None:
            _settle_all([(self.answer, result, error)])


_Settled = tuple[asyncio.Future[Any], object, Exception | None]


def _settle_all(settled: list[_Settled]) -> None:
    """Give answers to who waits for them, waking the loop once; all are of one loop."""
    if settled:
        with suppress(RuntimeError):  # the loop may be gone by now
            settled[0][0].get_loop().call_soon_threadsafe(_settle, settled)


def _settle(settled: list[_Settled]) -> None:
    for answer, result, error in settled:
        if answer.done():
            continue
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)


class JournalThread:
    """A thread that commits what it is given, in order, many calls at a time.

    It begins with the first call, and dies with the process. In a forked process it is not there,
    and nothing is done.

    :param path: Of the journal.
    :param records: The records that this process is at; changed in this thread only.
    :param held: The modules of the backup locks that this process holds, by account and id; the
        same.
    :param locks: Used in this thread only.
    """

    def __init__(
        self,
        path: Path,
        records: dict[tuple[str, str], SavedRecord],
        held: dict[tuple[str, str], str],
        locks: RecordLocks,
    ) -> None:
        self._path = path
        self._records = records
        self._held = held
        self._locks = locks
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False

    def put(self, function: Callable[[JournalStore], object]) -> None:
        """Have something done in a transaction, some time soon; from any thread."""
        if self._is_usable():
            self._put(_Job(Call(function, None)))

    async def ask(self, function: Callable[[JournalStore], T], otherwise: T) -> T:
        """Have something done in a transaction, and return what it gives once that is committed.

        :param otherwise: What to return when there is no journal.

        Cancellation does not keep it from being done.
        """
        if not self._is_usable():
            return otherwise
        result: T = await self._answer_to(Call(function, otherwise))
        return result

    def put_alone(self, function: Callable[[], object]) -> None:
        """Have something done after all that came before is committed."""
        if self._is_usable():
            self._put(_Job(function))

    async def ask_alone(self, function: Callable[[], object]) -> None:
        """Have something done after all that came before is committed; raises what it raises."""
        if self._is_usable():
            await self._answer_to(function)

    async def aclose(self) -> None:
        """See everything committed, and end."""
        if not self._is_usable():
            return
        with self._turn:  # whoever begins the thread has ended doing so
            self._closed = True
            thread = self._thread
        if thread is None:
            return
        await until_done(asyncio.ensure_future(self._see_it_end(thread)))

    async def _see_it_end(self, thread: threading.Thread) -> None:
        await self._answer_to(None)
        while thread.is_alive():  # noqa: ASYNC110 - it is at its last instructions
            await asyncio.sleep(0)

    def _is_usable(self) -> bool:
        return not self._closed and self._pid == os.getpid()

    async def _answer_to(self, call: Call[Any] | Callable[[], object] | None) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Job(call, answer))
        return await answer

    def _put(self, job: _Job) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._begin()
        if self._thread is None:  # nor will there be one: nobody is to wait for it
            self._refuse_all()

    def _begin(self) -> None:
        with self._turn:
            if self._thread is not None or self._closed:
                return
            self._thread = self._begun()

    def _begun(self) -> threading.Thread | None:
        # a daemon: a client that is never left must not keep the process from ending
        thread = threading.Thread(target=self._work, name="koodrive journal", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # the system has no more of them
            self._closed = True
            logger.warning("going on without the journal %s: %s", self._path, error)
            return None
        return thread

    def _refuse_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                job.settle(job.call.otherwise if isinstance(job.call, Call) else None)

    # --- in the thread -------------------------------------------------------------------------

    def _work(self) -> None:
        file = self._file()
        for batch in self._batches():
            first = batch[0]
            if first.call is None:
                break
            if isinstance(first.call, Call):
                self._commit(file, batch)
            else:
                _do_alone(first, first.call)
        else:
            return  # never: the last job is the one that has no call
        if file is not None:
            file.close()
        self._locks.give_back_all()
        first.settle(None)

    def _file(self) -> JournalFile | None:
        try:
            from koodrive_async.upload.journal_file import JournalFile  # noqa: PLC0415 - takes 50 ms

            self._locks.prune()
        except Exception as error:  # noqa: BLE001 - such as a Python that has no SQLite
            logger.warning("going on without the journal %s: %s", self._path, error)
            return None
        is_taken = self._locks.is_taken
        return JournalFile(
            self._path,
            self._records,
            is_taken,
            locks=self._held,
            is_held=lambda account, lock_id: is_taken(account, key_of_lock(lock_id)),
        )

    def _batches(self) -> Iterator[list[_Job]]:
        """Give what is to be done: calls together, everything else by itself."""
        batch: list[_Job] = []
        ended = 0.0
        while True:
            try:
                job = self._jobs.get(block=not batch)
            except queue.Empty:
                yield batch
                batch = []
                ended = time.monotonic()
                continue
            if not batch and time.monotonic() - ended < _BUSY:
                time.sleep(_GATHERING)
            together = isinstance(job.call, Call)
            if batch and (not together or len(batch) == _MOST):
                yield batch
                batch = []
            batch.append(job)
            if not together:
                yield batch
                batch = []

    def _commit(self, file: JournalFile | None, batch: list[_Job]) -> None:
        calls = [job.call for job in batch if isinstance(job.call, Call)]
        results = [call.otherwise for call in calls]
        if file is not None:
            try:
                results = file.transact(calls)
            except Exception:
                logger.exception("the journal %s missed something", self._path)
        _settle_all(
            [
                (job.answer, result, None)
                for job, result in zip(batch, results, strict=True)
                if job.answer is not None
            ]
        )


def _do_alone(job: _Job, function: Callable[[], object]) -> None:
    try:
        result = function()
    except Exception as error:  # noqa: BLE001 - raised again in who waits for it
        job.settle(None, error)
    else:
        job.settle(result)
