"""One backup session for all requests of a service: copy this file into yours.

KooDrive has one backup lock for each module, and it is exclusive. With a session for each request,
a browser that sends slowly would hold up all others. Here one background task owns a session: it is
opened for the first upload, lent to any number of requests, and completed when none has come for a
while. When it is lost, those who have it hear of that, and the next upload opens another one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from types import TracebackType

    from koodrive_async import BackupSession, Event, Events, KooDrive, Module

logger = logging.getLogger(__name__)

RecordState = Literal["open", "completed", "unfinished"]


class Stopped(Exception):  # noqa: N818 - named for what happened, as the library's own
    """No more files are taken: the service is shutting down."""


class SharedSession:
    """Lends one backup session to many tasks.

    Use it as ``async with SharedSession(...) as shared`` for the life of the application, and in
    each request ``async with shared.borrow() as session: await session.upload(...)``.

    :param begin: Makes a session that nobody has entered yet, such as :func:`begin_or_go_on`.
    :param idle: Seconds without a borrower after which the session is completed.
    :param longest: Seconds after which the session is lent no more, so that a busy service gives
        the lock back now and then. Who has it may finish; who comes waits for the next one.
    :param completing: Seconds that completing a record may take when the service is stopped.
    :param on_event: Hears what happens in every session.
    :param on_record: Hears what becomes of every record: its id and its state.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[BackupSession]],
        *,
        idle: float = 5.0,
        longest: float = 600.0,
        completing: float = 10.0,
        on_event: Callable[[Event], None] = lambda _: None,
        on_record: Callable[[str, RecordState], None] = lambda *_: None,
    ) -> None:
        self._begin = begin
        self._idle = idle
        self._longest = longest
        self._completing = completing
        self._on_event = on_event
        self._on_record = on_record
        self._loan: _Loan | None = None
        self._stopped = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[BackupSession]:
        """Have the session for the time of a block; it is opened if need be.

        :raises Stopped: No more files are taken, or the block was given up by :meth:`stop`.
        :raises KooDriveError: The session could not be opened.
        """
        loan = await self._current()
        with anyio.CancelScope() as scope, loan.to(scope):
            yield await asyncio.shield(loan.session)
        if scope.cancelled_caught:
            raise Stopped

    async def stop(self, within: float = 0.0) -> None:
        """Lend it no more, complete the record and give the lock back.

        :param within: Seconds that those have who are at it; then their blocks are cancelled, and
            what they uploaded is not in the record.
        """
        self._stopped = True
        loan = self._loan
        if loan is None:
            return
        loan.end()
        with anyio.move_on_after(within):
            await loan.until_returned()
        for scope in tuple(loan.scopes):
            scope.cancel()
        with anyio.move_on_after(self._completing):
            await loan.ended.wait()
        if not loan.ended.is_set():
            logger.warning("the backup record could not be completed in time")
            loan.task.cancel()
            await loan.ended.wait()

    async def _current(self) -> _Loan:
        while not self._stopped:
            if self._loan is None:
                self._loan = _Loan(self._own)
            if not self._loan.is_ending:
                return self._loan
            await self._loan.ended.wait()
        raise Stopped

    async def _own(self, loan: _Loan) -> None:
        """Enter the session and leave it: both must happen in one task, which is this one."""
        try:
            session = await self._begin()
            async with self._heard(session), session:
                self._on_record(session.record.record_id, "open")
                loan.session.set_result(session)
                await loan.until_quiet(self._idle, self._longest)
            self._on_record(session.record.record_id, "completed")
        except Exception as error:
            if not loan.session.done():
                loan.session.set_exception(error)
                return
            logger.exception("a backup record was left unfinished")
            self._on_record(loan.session.result().record.record_id, "unfinished")
        finally:
            self._loan = None
            loan.close()

    @asynccontextmanager
    async def _heard(self, session: BackupSession) -> AsyncIterator[None]:
        hearing = asyncio.create_task(self._hear(session.events()))
        try:
            yield
        finally:
            await asyncio.wait([hearing])  # it ends with the session

    async def _hear(self, events: Events) -> None:
        async for event in events:
            try:
                self._on_event(event)
            except Exception:
                logger.exception("an event of a backup was not understood")


async def begin_or_go_on(drive: KooDrive, device_id: str, module: Module) -> BackupSession:
    """Make a session that goes on with the record that a crash has left, if there is one.

    Each service needs a device of its own, for a record that another one is at looks the same.
    """
    left = await drive.find_unfinished(device_id, module)
    return drive.backup(device_id, module, resume=None if left is None else left.record_id)


class _Loan:
    """The time of one session: who has it, and whether it is lent any more."""

    def __init__(self, own: Callable[[_Loan], Coroutine[Any, Any, None]]) -> None:
        self.session: asyncio.Future[BackupSession] = asyncio.get_running_loop().create_future()
        self.scopes: set[anyio.CancelScope] = set()
        self.is_ending = False
        self.ended = anyio.Event()
        self._changed = anyio.Event()
        self.task = asyncio.create_task(own(self))

    @contextmanager
    def to(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Count somebody who has it, in a scope that can be cancelled."""
        self.scopes.add(scope)
        self._tell()
        try:
            yield
        finally:
            self.scopes.discard(scope)
            self._tell()

    async def until_quiet(self, idle: float, longest: float) -> None:
        """Wait until nobody has had it for ``idle`` seconds; it is lent for ``longest`` of them."""
        try:
            with anyio.move_on_after(longest):
                await self._until_idle(idle)
            self.end()
            await self.until_returned()
        finally:
            self.end()  # the lock may be lost, which cancels this

    async def until_returned(self) -> None:
        """Wait until nobody has it."""
        while self.scopes:
            await self._changed.wait()

    def end(self) -> None:
        """Lend it no more."""
        self.is_ending = True
        self._tell()

    def close(self) -> None:
        """Say that the session is over, or never was."""
        self.end()
        if not self.session.done():
            self.session.set_exception(Stopped())
        self.session.exception()  # there may be nobody to look at it
        self.ended.set()

    async def _until_idle(self, idle: float) -> None:
        while not self.is_ending:
            with anyio.move_on_after(math.inf if self.scopes else idle) as pause:
                await self._changed.wait()
            if pause.cancelled_caught and not self.scopes:
                return

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
