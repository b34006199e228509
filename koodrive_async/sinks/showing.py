""":func:`show`: the events of a session, passed to a sink."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, overload

import anyio
from anyio import to_thread

from koodrive_async.callbacks import check_nothing_to_await, check_plain
from koodrive_async.errors import ClientClosed
from koodrive_async.sinks.places import is_notebook, is_terminal
from koodrive_async.sinks.plain import PlainSink
from koodrive_async.sinks.sink import Sink
from koodrive_async.threads import until_done

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    from koodrive_async import sync
    from koodrive_async.backup import BackupSession
    from koodrive_async.upload.watching import Events

S = TypeVar("S", bound=Sink)

_log = logging.getLogger(__name__)

_TO_CLOSE: Final = 5.0
"""Seconds that a sink has to close; ours need two where nobody looks."""

_AT_ONCE: Final = 200
"""Events after which others in the event loop have a turn."""


@overload
def show(
    session: BackupSession, sink: None = None, *, total: int | None = None
) -> AbstractAsyncContextManager[Sink]: ...


@overload
def show(
    session: BackupSession, sink: S, *, total: int | None = None
) -> AbstractAsyncContextManager[S]: ...


@overload
def show(
    session: sync.BackupSession, sink: None = None, *, total: int | None = None
) -> AbstractContextManager[Sink]: ...


@overload
def show(
    session: sync.BackupSession, sink: S, *, total: int | None = None
) -> AbstractContextManager[S]: ...


def show(
    session: BackupSession | sync.BackupSession,
    sink: Sink | None = None,
    *,
    total: int | None = None,
) -> AbstractAsyncContextManager[Sink] | AbstractContextManager[Sink]:
    """Show how a session's uploads go, while a block runs.

    The block is one of ``async with``, or of ``with`` for a session of :mod:`koodrive_async.sync`;
    inside the block of the session, or around it. What fails in a sink is logged and shown no more;
    nothing of it reaches the backup.

    :param session: The session.
    :param sink: Where to show it; by default what :func:`sink_for_here` chooses.
    :param total: Bytes that there are to back up, for the time left. Without it a time left is that
        of the files that have begun, and followed by ``+``.
    :raises InvalidArgument: ``sink`` is no sink, or has async methods, which nothing would await.
    :returns: A context manager that gives the sink; its ``total`` may be set when it becomes known.

    Cancellation is passed on when the sink has been closed, which takes five seconds at most.
    """
    from koodrive_async.sync import BackupSession as BlockingSession  # noqa: PLC0415 - loads much

    chosen = sink_for_here() if sink is None else sink
    for name in ("start", "update", "close"):
        check_plain(f"{type(chosen).__name__}.{name}", getattr(chosen, name, None))
    if total is not None:
        chosen.total = total
    if isinstance(session, BlockingSession):
        return _OnceBlocking(_showing_from_outside(session, chosen))
    return _Once(_showing(session, chosen))


class _Entered:
    """Refuses a second block, with an error of this package."""

    _is_entered = False

    def _enter(self) -> None:
        if self._is_entered:
            raise ClientClosed("what show() returns is entered once: call show() again")
        self._is_entered = True


class _Once(_Entered, AbstractAsyncContextManager[Sink, bool | None]):
    def __init__(self, manager: AbstractAsyncContextManager[Sink, bool | None]) -> None:
        self._manager = manager

    async def __aenter__(self) -> Sink:
        self._enter()
        return await self._manager.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)


class _OnceBlocking(_Entered, AbstractContextManager[Sink, bool | None]):
    def __init__(self, manager: AbstractContextManager[Sink, bool | None]) -> None:
        self._manager = manager

    def __enter__(self) -> Sink:
        self._enter()
        return self._manager.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._manager.__exit__(kind, error, traceback)


@asynccontextmanager
async def _showing(session: BackupSession, sink: S) -> AsyncIterator[S]:
    teller = _Teller(sink)
    async with teller.telling(session):
        try:
            yield sink
            teller.error = session._seems_incomplete()  # noqa: SLF001 - of the same package
        except BaseException as error:
            teller.error = error
            raise


@contextmanager
def _showing_from_outside(session: sync.BackupSession, sink: S) -> Iterator[S]:
    from koodrive_async.sync.stay import Stay  # noqa: PLC0415 - loads much

    portal = session._portal  # noqa: SLF001 - of the same package
    # begun here and not in the session's thread, which knows nothing of a notebook's cell
    teller = _Teller(sink)
    stay = Stay(teller.telling(session._of))  # noqa: SLF001 - the same
    stay.enter(portal)
    try:
        yield sink
        teller.error = portal.look(session._of._seems_incomplete)  # noqa: SLF001 - the same
    except BaseException as error:
        teller.error = error
        raise
    finally:
        stay.leave(portal, None)


def sink_for_here(*, total: int | None = None) -> Sink:
    """Return the sink for the place where the program runs.

    In a notebook that is a table, on a terminal bars, where rich is installed, and anywhere else
    plain lines.

    :param total: Bytes that there are to back up, for the time left.
    """
    sink = _notebook_sink() or _terminal_sink() or PlainSink()
    sink.total = total
    return sink


def _notebook_sink() -> Sink | None:
    if not is_notebook():
        return None
    from koodrive_async.sinks.notebook import NotebookSink  # noqa: PLC0415 - needs IPython

    return NotebookSink()


def _terminal_sink() -> Sink | None:
    if not is_terminal(sys.stderr):
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - may be missing
    except ModuleNotFoundError:
        return None
    from koodrive_async.sinks.terminal import RichSink  # noqa: PLC0415 - needs rich

    console = Console(stderr=True, highlight=False)
    return RichSink(console) if console.is_terminal and not console.is_dumb_terminal else None


class _Teller:
    """Tells a sink what happens, until either has had enough.

    :ivar error: What the block ended with.
    """

    def __init__(self, sink: Sink) -> None:
        self.error: BaseException | None = None
        self._sink = sink
        self._has_started = self._works = self._attempt("start", sink.start)

    @asynccontextmanager
    async def telling(self, session: BackupSession) -> AsyncIterator[None]:
        """Tell what happens in a session while the block runs."""
        events = session.events()
        name = f"koodrive {type(self._sink).__name__}"
        task = asyncio.create_task(self._tell(events), name=name)
        try:
            yield
        finally:
            await until_done(asyncio.create_task(self._end(events, task)))

    async def _tell(self, events: Events) -> None:
        told = 0
        async for event in events:
            if not self._works:
                await events.aclose()
                return
            self._works = self._attempt("update", partial(self._sink.update, event))
            told += 1
            if told % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _end(self, events: Events, task: asyncio.Task[None]) -> None:
        """Tell what has happened until now, and close the sink."""
        events.end()
        await asyncio.wait([task])
        if not self._has_started:
            return
        close = partial(self._attempt, "close", partial(self._sink.close, self.error))
        with anyio.move_on_after(_TO_CLOSE) as scope:
            await to_thread.run_sync(close, abandon_on_cancel=True)
        if scope.cancelled_caught:
            _log.warning("%s was left behind: it did not close", type(self._sink).__name__)

    def _attempt(self, what: str, function: Callable[[], None]) -> bool:
        """Return whether a function of the sink works."""
        try:
            result: object = function()  # type: ignore[func-returns-value]  # of anyone's sink
            check_nothing_to_await(what, result)
        # a plain function is in no await that a cancellation could end
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - a backup does not need it
            name = type(self._sink).__name__
            _log.exception("%s failed in %s: it shows nothing more", name, what)
            return False
        return True
