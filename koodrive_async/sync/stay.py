"""An async context manager that is entered and left from outside, in one task of a portal."""

from __future__ import annotations

import asyncio
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from koodrive_async.sync.call import Call, next_of

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from koodrive_async.sync.portal import Portal

T_co = TypeVar("T_co", covariant=True)


class Interrupted(Exception):  # noqa: N818 - an exception is named for what happened
    """A ``with`` block was left by something that is no error, such as ``KeyboardInterrupt``.

    This is what the asynchronous side sees: the thing itself would end the portal's thread.
    """


class Stay(Generic[T_co]):
    """One stay in an async context manager: entered and left in the same task.

    :param manager: Is entered once.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T_co, bool | None]) -> None:
        self._manager = manager
        self._call: Call[bool | None] = Call(self._stay)
        self._at_the_door: SimpleQueue[None] = SimpleQueue()
        self._inside: list[T_co] = []
        self._error: Exception | None = None
        self._leaving: anyio.Event | None = None
        self._over: anyio.Event | None = None

    def enter(self, portal: Portal) -> T_co:
        """Enter it, and return what it gives."""
        portal.note(self)
        try:
            portal.begin(self._call)
            next_of(self._at_the_door)
        except BaseException:
            portal.give_up(self._call)
            raise
        if not self._inside:
            self._call.wait()
            self._call.outcome()
        return self._inside[0]

    def leave(self, portal: Portal, error: BaseException | None) -> bool | None:
        """Leave it, and return whether it has swallowed the error.

        :param error: What the block is left with.
        """
        if portal.is_elsewhere:
            return None  # what is there to leave is in the process that this one was forked from
        if error is None or isinstance(error, Exception):
            self._error = error
        else:
            self._error = Interrupted(type(error).__name__)
        traceback = error.__traceback__ if error is not None else None
        try:
            portal.run(self._may_leave)
            self._call.wait()
        except BaseException:
            portal.give_up(self._call)
            raise
        try:
            return self._call.outcome()
        except BaseException as raised:
            if raised is not self._error:
                raise
            if error is not None:
                error.__traceback__ = traceback
            return None
        finally:
            self._error = None

    async def show_out(self) -> None:
        """End it from the other side, as if the block had been cancelled."""
        self._call.give_up()
        if self._over is not None:
            await self._over.wait()

    def _may_leave(self) -> None:
        if self._leaving is not None:
            self._leaving.set()

    async def _stay(self) -> bool | None:
        self._leaving, self._over = leaving, over = anyio.Event(), anyio.Event()
        try:
            try:
                self._inside.append(await self._manager.__aenter__())
            finally:
                self._at_the_door.put(None)
            cancelled: asyncio.CancelledError | None = None
            try:
                await leaving.wait()
            except asyncio.CancelledError as error:
                cancelled = error
            leaving_with = cancelled or self._error
            if leaving_with is None:
                return await self._manager.__aexit__(None, None, None)
            kind, traceback = type(leaving_with), leaving_with.__traceback__
            swallowed = await self._manager.__aexit__(kind, leaving_with, traceback)
            if cancelled is not None and not swallowed:
                raise cancelled
            return swallowed
        finally:
            over.set()
