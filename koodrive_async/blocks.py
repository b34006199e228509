"""Blocks of ``async with`` that end before their client does: sessions and held locks.

A service that is shut down leaves its client while other tasks may still be in a session. Closing
the client ends these blocks first, while there is still a connection to give their locks back by.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

import anyio

from koodrive_async.errors import ClientClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

T_co = TypeVar("T_co", covariant=True)

logger: logging.Logger = logging.getLogger(__name__)

_UNWINDING: Final = 5.0
"""Seconds that a cancelled block has to end, in addition to the time for its cleaning up."""


class OpenBlocks:
    """The blocks that one client has open.

    :param cleanup: Seconds that a block has to give a lock back when it is cancelled.
    :ivar cleanup: The same.
    """

    def __init__(self, cleanup: float) -> None:
        self.cleanup: float = cleanup
        self._open: dict[Block[Any], None] = {}
        self._are_closed = False

    def add(self, block: Block[Any]) -> None:
        """Note a block that is being entered.

        :raises ClientClosed: The client is being closed.
        """
        if self._are_closed:
            raise ClientClosed("this client is closed: make and enter another KooDrive")
        task = asyncio.current_task()
        block.is_part = any(each.is_entering and each.task is task for each in self._open)
        self._open[block] = None

    def discard(self, block: Block[Any]) -> None:
        """Forget a block that has ended."""
        self._open.pop(block, None)

    def check_none_of_this_task(self) -> None:
        """Refuse that a task closes the client from inside of a block of its own.

        Such a block can only be ended where its code leaves it: other scopes may have been entered
        inside of it.

        :raises ClientClosed: This task is in a block, which nothing was done to.
        """
        task = asyncio.current_task()
        for block in self._open:
            if block.task is task and not block.is_part:
                raise ClientClosed(
                    f"a client is not closed from inside of its {block.what}: leave that first, or "
                    "close the client in another task"
                )

    async def end_own(self) -> None:
        """Refuse new blocks, and end those that this very task has entered and never left."""
        self._are_closed = True
        task = asyncio.current_task()
        for block in reversed(tuple(self._open)):
            if block.task is task and not block.is_part:
                await block.end_here()

    async def abandon_of(self, task: asyncio.Task[Any] | None) -> None:
        """Give up the blocks of a task that has ended without leaving them."""
        for block in tuple(reversed(self._open)):
            if block.task is task:
                await block.abandon()

    async def end_all(self) -> None:
        """Cancel the blocks of other tasks, and wait until they have ended.

        This task gives back the lock of a block that does not end in time.
        """
        blocks = tuple(reversed(self._open))
        for block in blocks:
            block.cancel()
        with anyio.move_on_after(self.cleanup + _UNWINDING):
            for block in blocks:
                if block.task is not None and not block.task.done():
                    await block.ended.wait()
        for block in tuple(reversed(self._open)):
            await block.abandon()


class Block(AbstractAsyncContextManager[T_co, bool | None], Generic[T_co]):
    """An async context manager that the closing of its client ends.

    Closing cancels the task inside, which gets ``ClientClosed`` when the block has ended.

    :param manager: The context manager, which is entered and left once.
    :param blocks: The blocks of the client.
    :param what: The kind of block, for messages.
    :param at_worst: Called when the block cannot be ended, since its task has ended without leaving
        it or does not react: does what must not be left undone.
    :ivar what: The kind of block.
    :ivar task: The task that is inside.
    :ivar is_entering: Whether the task has only begun to enter the block.
    :ivar is_part: Whether another block has entered it, and leaves it: a session its lock.
    :ivar ended: Is set when the block has ended.
    """

    def __init__(
        self,
        manager: AbstractAsyncContextManager[T_co, bool | None],
        blocks: OpenBlocks,
        what: str,
        *,
        at_worst: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._manager = manager
        self._blocks = blocks
        self.what: str = what
        self._at_worst = at_worst
        self._scope: anyio.CancelScope | None = None
        self._cancelling = 0
        self.task: asyncio.Task[Any] | None = None
        self.is_entering: bool = False
        self.is_part: bool = False
        self.ended: anyio.Event = anyio.Event()
        self._is_left = False

    async def __aenter__(self) -> T_co:
        if self.task is not None:
            raise ClientClosed(f"a {self.what} is entered once: make another one")
        self._blocks.add(self)
        self.task = asyncio.current_task()
        self._cancelling = self.task.cancelling() if self.task else 0
        self._scope = anyio.CancelScope()
        self._scope.__enter__()
        self.is_entering = True
        try:
            return await self._manager.__aenter__()
        except BaseException as error:
            if not self._leave(error):
                raise
        finally:
            self.is_entering = False
        raise ClientClosed(self._closed)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        is_own = asyncio.current_task() is self.task
        if self.ended.is_set() and is_own and not self._is_left:
            await self._leave_abandoned(error)
            return None
        if self.ended.is_set():  # by the closing of the client
            if error is None:
                raise ClientClosed(self._closed)
            return None
        if not is_own:
            await self._leave_elsewhere()
        if error is None:
            self._settle_cancellations()
        try:
            swallowed = await self._manager.__aexit__(kind, error, traceback)
        except BaseException as raised:
            if not self._leave(raised):
                raise
        else:
            if not self._leave(None if swallowed else error):
                return swallowed
        raise ClientClosed(self._closed) from None

    def cancel(self) -> None:
        """Cancel what runs in the block."""
        if self._scope is not None:
            self._scope.cancel()

    async def end_here(self) -> None:
        """End it in the task that has entered it and will not leave it."""
        error = ClientClosed(self._closed)
        try:
            await self.__aexit__(ClientClosed, error, None)
        except Exception as raised:  # noqa: BLE001 - the client is closed whatever it is
            if raised is not error:
                logger.debug("the %s that the client has ended: %s", self.what, raised)
        finally:
            if not self.ended.is_set():
                await self.abandon()

    async def abandon(self) -> None:
        """Call ``at_worst`` for a block that cannot be ended."""
        logger.warning("a %s was not left in the task that has entered it", self.what)
        self._blocks.discard(self)
        self.ended.set()
        if self._at_worst is not None:
            await self._at_worst()

    def _settle_cancellations(self) -> None:
        """Take back requests to cancel the task that were dealt with inside the block.

        An ``asyncio.TaskGroup`` of Python 3.11 and 3.12 leaves one with the task when a child of it
        fails while the group waits for its children (mended in Python 3.13). The cancel scopes in
        here would take it for a cancellation that is still to come, and raise that in the end.
        """
        task = self.task
        while (
            task is not None
            and task.cancelling() > self._cancelling
            and not getattr(task, "_must_cancel", False)  # one that the next await raises
        ):
            task.uncancel()

    async def _leave_elsewhere(self) -> NoReturn:
        """Refuse that a task other than the one inside leaves: a task has its own cancel scopes."""
        must = f"a {self.what} is left in the task that has entered it"
        if self.task is None or not self.task.done():
            raise ClientClosed(f"{must}: it stays open until that leaves it, or the client closes")
        await self._blocks.abandon_of(self.task)
        raise ClientClosed(f"{must}, which has ended: its lock was given back, nothing else done")

    async def _leave_abandoned(self, error: BaseException | None) -> None:
        """Leave what was given up, in its task, which its scopes would go on cancelling.

        :param error: What the code inside has raised, which goes before the closing.
        :raises ClientClosed: It has not raised any, or the cancellation by the client.
        """
        given = error or ClientClosed(self._closed)
        left: BaseException | None = given
        try:
            # always with an error: nothing may be completed whose lock was given back
            if await self._manager.__aexit__(type(given), given, given.__traceback__):
                left = None
        except BaseException as raised:  # noqa: BLE001 - raised again below
            left = raised
        was_closed = self._leave(left)
        if isinstance(error, Exception):
            return  # it goes on by itself
        if left is None or was_closed or isinstance(left, Exception):
            raise ClientClosed(self._closed) from None
        if left is not error:
            raise left

    @property
    def _closed(self) -> str:
        return f"the client was closed while this {self.what} was open"

    def _leave(self, error: BaseException | None) -> bool:
        """Leave the scope; return whether the error is the cancellation by the client."""
        self._blocks.discard(self)
        self.ended.set()
        self._is_left = True
        kind = None if error is None else type(error)
        return self._scope is not None and bool(self._scope.__exit__(kind, error, None))
