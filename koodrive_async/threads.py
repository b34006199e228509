"""Blocking work in threads, seen through or given up when its caller is cancelled.

Cancellation reaches an asyncio program in two ways: by anyio's scopes, and by ``Task.cancel``,
which is what ``asyncio.timeout`` uses. anyio's own ``to_thread`` waits for its thread in the first
case only; in the second the thread would go on with files that its caller has closed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.to_thread

from koodrive_async.errors import ClientClosed, OutOfThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

T = TypeVar("T")

_LOOKS_EVERY = 0.01
"""Seconds between two looks at threads that are to end, where nobody can wait for them."""


_PATIENCE = 60.0
"""Seconds for which another thread's end is waited for where no more can be started."""

_FOR_THE_EXECUTOR = 0.5
"""The same for a thread of the event loop's own executor."""

_SOURCE = "koodrive source"


def start(thread: threading.Thread) -> None:
    """Start a thread.

    :raises OutOfThreads: The system has no more of them.
    """
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise OutOfThreads(f"{error}: {_NO_MORE}") from None


_NO_MORE = "this user or container has as many as it may (ulimit -u, pids.max)"


async def in_thread(
    function: Callable[..., T], *arguments: Any, abandon_on_cancel: bool = False
) -> T:
    """Run a function that ends by itself in a thread that anyio keeps.

    :param abandon_on_cancel: Whether cancellation leaves the function behind, instead of taking
        effect when it has returned.
    :raises OutOfThreads: No thread can be started, and no running one will become free.
    """
    return await _patiently(
        lambda: anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=abandon_on_cancel),
        lambda: anyio.to_thread.current_default_thread_limiter().borrowed_tokens > 0,
    )


async def with_a_thread(attempt: Callable[[], Awaitable[T]]) -> T:
    """Await what takes a thread of the event loop's executor.

    Threads of the executor that are busy do not say when they are free: it is tried again for a
    moment.

    :raises OutOfThreads: No thread became free in that time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FOR_THE_EXECUTOR
    return await _patiently(attempt, lambda: loop.time() < deadline)


async def _patiently(attempt: Callable[[], Awaitable[T]], may_be_free: Callable[[], bool]) -> T:
    """Try again to work in a thread while a running one may become free.

    :raises OutOfThreads: No thread can become free.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while True:
        try:
            return await attempt()
        except RuntimeError as error:
            if not no_more(error):
                raise
            if not may_be_free() or loop.time() >= deadline:
                raise OutOfThreads(f"{error}: {_NO_MORE}") from None
        await asyncio.sleep(_LOOKS_EVERY)


def no_more(error: RuntimeError) -> bool:
    """Return whether an error is how Python says that the system has no more threads."""
    return "can't start new thread" in str(error)


class ThreadPool:
    """Worker threads of one event loop, for blocking work that ends by itself.

    Results come back in bunches when they come fast: a hop through the standard library's executor
    costs an event loop four times as much (14 against 3 microseconds).

    :param size: How many there are at the most; they begin as they are needed.
    :param on_lag: Told in the loop how many seconds it took to hear of results.
    """

    def __init__(self, size: int, *, on_lag: Callable[[float], None] | None = None) -> None:
        self._size = size
        self._on_lag = on_lag
        self._called_at = 0.0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []
        # a token for each idle thread: a deque needs no lock, which threads would queue up for
        self._idle: deque[None] = deque()
        self._ended: deque[_Job] = deque()
        self._settling = False
        self._closed = False

    async def run(
        self,
        function: Callable[..., T],
        *arguments: Any,
        on_cancel: Callable[[], None] | None = None,
    ) -> T:
        """Run a function in a worker thread.

        :param on_cancel: Called when the caller is cancelled, to tell the function to hurry.
        :raises ClientClosed: The pool has been closed.
        :raises OutOfThreads: The system starts not even one thread.

        Cancellation takes effect when the function has returned, whichever way it came.
        """
        if self._closed:
            raise ClientClosed("the client was closed")
        loop = asyncio.get_running_loop()
        job = _Job(partial(function, *arguments), loop.create_future())
        if not self._threads:
            self._begin_another(loop)
        self._jobs.put(job)
        try:
            result: T = await job.answer
        except asyncio.CancelledError:
            if job.answer.cancelled() and not job.begin():
                if on_cancel is not None:
                    on_cancel()
                await until_done(job.end(loop))
            raise
        return result

    def _begin_another(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._turn:
            if self._closed or self._idle or len(self._threads) >= self._size:
                return
            # a daemon: a client that is never left must not keep the process from ending
            thread = threading.Thread(target=self._work, args=(loop,), name="koodrive", daemon=True)
            self._idle.append(None)
            try:
                start(thread)
            except BaseException:
                self._idle.pop()
                raise
            self._threads.append(thread)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            self._idle.pop()
            if not self._idle and len(self._threads) < self._size:
                # here and not in the loop: to begin a thread is to wait for it
                with contextlib.suppress(OutOfThreads):  # fewer threads have to suffice
                    self._begin_another(loop)
            if job.begin():
                job.run()
            self._ended.append(job)
            del job
            if not self._settling:
                self._settling = True
                self._called_at = time.perf_counter()
                with contextlib.suppress(RuntimeError):  # the loop may be gone by now
                    loop.call_soon_threadsafe(self._hear)
            self._idle.append(None)

    def _hear(self) -> None:
        late = time.perf_counter() - self._called_at
        self._settling = False  # first: what ends from now on asks for another call
        self._settle()
        if self._on_lag is not None:
            self._on_lag(late)

    def _settle(self) -> None:
        while self._ended:
            self._ended.popleft().settle()

    async def aclose(self) -> None:
        """Take no more work, and wait for what is running."""
        self._closed = True
        done: Future[None] = Future()

        def join() -> None:
            try:
                for thread in self._dismiss():
                    thread.join()
            finally:
                done.set_result(None)

        joined: asyncio.Future[None]
        try:
            start(threading.Thread(target=join, name="koodrive end", daemon=True))
        except OutOfThreads:
            joined = asyncio.ensure_future(self._see_them_end())
        else:
            joined = asyncio.wrap_future(done)
        try:
            await until_done(joined)
        finally:
            self._settle()

    def _dismiss(self) -> tuple[threading.Thread, ...]:
        """Let every thread end after what it is at."""
        with self._turn:  # whoever began another one has ended doing so
            threads = tuple(self._threads)
        for _ in threads:
            self._jobs.put(None)
        return threads

    async def _see_them_end(self) -> None:
        threads = self._dismiss()
        # not joined here: what they are at may wait for the loop
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 - nobody can tell it
            await asyncio.sleep(_LOOKS_EVERY)


class _Job:
    """A call on its way through a worker thread."""

    __slots__ = ("_call", "_claim", "_end", "_error", "_result", "_settled", "answer")

    def __init__(self, call: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self._call = call
        self._claim = threading.Lock()
        self._result: Any = None
        self._error: BaseException | None = None
        self._end: asyncio.Future[None] | None = None
        self._settled = False
        self.answer = answer

    def begin(self) -> bool:
        """Return True to the first who asks: the thread that runs it, or who takes it back."""
        return self._claim.acquire(blocking=False)

    def run(self) -> None:
        try:
            self._result = self._call()
        except StopIteration as stop:
            self._error = RuntimeError(f"the function raised {stop!r}")  # no future carries it
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._error = error

    def end(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done when the thread is."""
        self._end = loop.create_future()
        if self._settled:
            self._end.set_result(None)
        return self._end

    def settle(self) -> None:
        self._settled = True
        if self._end is not None:
            self._end.set_result(None)
        elif self.answer.done():
            pass
        elif self._error is None:
            self.answer.set_result(self._result)
        else:
            self.answer.set_exception(self._error)
        self._error = None  # it holds the frames that hold this


async def until_done(work: asyncio.Future[Any]) -> None:
    """Wait for a future, and only then for a cancellation to take effect."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled


class AbandonableThread:
    """A thread for calls that may block for ever, such as a user's ``read``; used in ``with``.

    They all run in one copy of the context in which this was made.

    Cancellation takes effect at once and leaves the thread behind with the call it is in. It does
    not keep the process from ending, and what the call returns is dropped.

    :param at_end: Called in the thread when nothing more is to come, such as to close a generator.
    :param name: What the thread is called. Where no thread can be started, those of sources wait
        for the end of one another, and for no others.
    """

    def __init__(self, at_end: Callable[[], object] | None = None, *, name: str = _SOURCE) -> None:
        self._at_end = at_end
        self._name = name
        self._context = copy_context()
        self._started = False
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.put(None)
        if not self._started and self._at_end is not None:
            with contextlib.suppress(OutOfThreads):  # nothing was begun that must be ended
                self._start()

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function; one at a time.

        Where no thread can be started, the end of another one like this is waited for.

        :raises OutOfThreads: No such thread is running whose end could be waited for.
        :raises RuntimeError: It raised ``StopIteration``, which no future can carry.
        """
        if not self._started:
            await _patiently(self._begin, _has_sources)
        return await self.submit(function, *arguments)

    async def _begin(self) -> None:
        self._start()

    def _start(self) -> None:
        start(threading.Thread(target=self._work, name=self._name, daemon=True))
        self._started = True

    def submit(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Begin to run a function, and return what it will return.

        :raises OutOfThreads: No thread can be started for it.
        """
        if not self._started:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]  # T may be None
            else:
                future.set_exception(error)

        def call() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = self._context.run(function, *arguments)
            except StopIteration as stop:
                error = RuntimeError(f"the source raised {stop!r}")
                error.__cause__ = stop
            except BaseException as raised:  # noqa: BLE001 - raised again in the caller
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop may be gone by now
                loop.call_soon_threadsafe(settle, result, error)

        self._calls.put(call)
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
        if self._at_end is not None:
            # nothing waits for it
            with contextlib.suppress(Exception, asyncio.CancelledError):
                self._context.run(self._at_end)


def _has_sources() -> bool:
    return any(thread.name == _SOURCE for thread in threading.enumerate())


def call_in_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a loop, from a worker thread, and wait for what it returns."""
    done: Future[T] = Future()

    def call() -> None:
        try:
            done.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread
            done.set_exception(error)

    loop.call_soon_threadsafe(call)
    return done.result()
