"""The thread that a synchronous client lives in, and how calls get there and back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import warnings
import weakref
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from koodrive_async.errors import ClientClosed, ForkedClient, WrongEventLoop
from koodrive_async.sync.call import Call, next_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from koodrive_async.sync.relay import Relay
    from koodrive_async.sync.stay import Stay

P = ParamSpec("P")
T = TypeVar("T")


class Portal:
    """A thread with an event loop of its own, in which one client lives and its calls run.

    Any thread may call, several at a time. The thread knows nothing of this object: when nobody
    holds it any more, what runs there is cancelled, and the thread ends.

    :param what: Whose it is, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._turn = threading.Lock()
        self._room: _Room | None = None
        self._finalizer: weakref.finalize[..., Portal] | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether this process was forked from the one that has the thread."""
        return self._room is not None and self._room.is_elsewhere

    @property
    def is_open(self) -> bool:
        """Whether the thread takes calls."""
        return self._room is not None

    def open(self) -> None:
        """Start the thread.

        :raises RuntimeError: The system has no thread for us.
        """
        opened: Future[_Room] = Future()
        # a daemon: a client that is never left must not keep the process from ending
        thread = threading.Thread(target=_live, args=(opened,), name="koodrive portal", daemon=True)
        try:
            thread.start()
            room = opened.result()
            self._finalizer = weakref.finalize(self, _abandon, room, self._what)
            self._room = room
        except BaseException:
            opened.add_done_callback(_leave_at_once)
            raise

    def close(self) -> None:
        """End what still runs, and the thread."""
        if self.is_elsewhere:
            return
        with self._turn:
            room = self._room
            if room is None:
                return
            room.end_soon()  # first: an interruption may come between any two lines
            self._room = None
        if self._finalizer is not None:
            self._finalizer.detach()
        next_of(room.ended)
        room.thread.join()

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the thread, and wait for what it returns.

        :raises ClientClosed: The client is not open.
        :raises ForkedClient: The thread belongs to the process that this one was forked from.
        :raises WrongEventLoop: This is the thread itself, which cannot wait for itself.

        What interrupts the waiting, such as ``KeyboardInterrupt``, cancels the call, waits for its
        end, and is raised; a second one does not wait.
        """
        return self.finish(Call(partial(function, *args, **kwargs)))

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain function in the thread; it must not block."""

        async def run() -> T:
            return function(*args, **kwargs)

        return self.call(run)

    def look(self, function: Callable[[], T]) -> T:
        """Run a function that looks at something: in the thread, or here when that is no more."""
        return function() if self._room is None else self.run(function)

    def finish(self, call: Call[T], relay: Relay | None = None) -> T:
        """Begin a call, wait for its end, and return what it returned.

        :param relay: Callbacks that are to be called here meanwhile.
        """
        try:
            self.begin(call)
            if relay is None:
                call.wait()
            else:
                relay.deliver_during(call)
        except BaseException:
            self.give_up(call)
            raise
        return call.outcome()

    def begin(self, call: Call[Any]) -> None:
        """Begin a call without waiting for it."""
        self._check()
        with self._turn:  # it is not closed in between
            try:
                self._check().portal.start_task_soon(call.run)
            except RuntimeError as error:
                raise ClientClosed("the thread of this client has ended") from error

    def give_up(self, call: Call[Any]) -> None:
        """Cancel a call and wait for its end, if it was begun."""
        if self._room is None or not self._room.is_reachable:
            return
        with self._turn:
            if self._room is None:
                return
            try:
                # comes after the call itself, if that was on its way when the waiting ended
                self._room.portal.start_task_soon(call.give_up)
            except RuntimeError:  # the thread has ended, and the call with it
                return
        call.wait()

    def show_out(self, but: Stay[Any]) -> None:
        """End the stays that were not ended where they were begun."""
        room = self._check()
        self.call(room.show_out, but)

    def note(self, stay: Stay[Any]) -> None:
        """Remember a stay, which is to end before the client does."""
        stays = self._check().stays
        stays[:] = [each for each in stays if each() is not None]
        stays.append(weakref.ref(stay))

    def _check(self) -> _Room:
        if self._room is None:
            raise ClientClosed("this client is not open: use it inside 'with'")
        self._room.check(self._what)
        return self._room


class _Room:
    """What belongs to the thread. It must know nothing of the portal, which it would keep alive."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.portal = portal
        self.loop = asyncio.get_running_loop()
        self.thread = threading.current_thread()
        self.stays: list[weakref.ref[Stay[Any]]] = []
        self.ended: SimpleQueue[None] = SimpleQueue()
        self._process = os.getpid()
        self._ending: asyncio.Task[None] | None = None

    @property
    def is_elsewhere(self) -> bool:
        return os.getpid() != self._process

    @property
    def is_reachable(self) -> bool:
        return not self.is_elsewhere and threading.current_thread() is not self.thread

    def check(self, what: str) -> None:
        if self.is_elsewhere:
            raise ForkedClient(
                f"{what} was entered in process {self._process} and is used in process "
                f"{os.getpid()}, which was forked from it: its thread and its connections belong "
                "to the first one; make and enter another KooDrive here"
            )
        if not self.is_reachable:
            raise WrongEventLoop(
                f"{what} was called in its own thread, which would wait for itself: functions "
                "that are called there, such as one that gives a token, use an asynchronous client"
            )

    async def show_out(self, but: Stay[Any] | None = None) -> None:
        for stay in reversed([each() for each in self.stays]):
            if stay is not None and stay is not but:
                await stay.show_out()

    def end_soon(self) -> None:
        """End everything; may be called in any thread, and waits for nothing."""
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self.loop.call_soon_threadsafe(self._begin_to_end)

    def _begin_to_end(self) -> None:
        if self._ending is None:
            self._ending = self.loop.create_task(self._end())

    async def _end(self) -> None:
        try:
            await self.show_out()
        finally:
            await self.portal.stop(cancel_remaining=True)


def _live(opened: Future[_Room]) -> None:
    async def live() -> None:
        async with BlockingPortal() as portal:
            room = _Room(portal)
            opened.set_result(room)
            await portal.sleep_until_stopped()

    try:
        anyio.run(live)
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        if not opened.done():
            opened.set_exception(error)
    finally:
        if opened.exception() is None:
            opened.result().ended.put(None)


def _leave_at_once(opened: Future[_Room]) -> None:
    if opened.exception() is None:
        opened.result().end_soon()


def _abandon(room: _Room, what: str) -> None:
    """End a thread that nobody can reach any more."""
    if room.is_elsewhere:
        return
    room.end_soon()
    warnings.warn(f"{what} was never left: use it inside 'with'", ResourceWarning, stacklevel=2)
