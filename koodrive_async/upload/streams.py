"""Reading streams of every kind: file objects, async readers, iterables of bytes.

Only an empty buffer from a reading call, or the end of an iteration, ends a stream. ``None`` says
that a non-blocking reader has nothing yet (:meth:`io.RawIOBase.read`), and everything that is not
bytes is an error.
"""

from __future__ import annotations

import errno
import inspect
import io
import os
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import anyio

from koodrive_async.callbacks import failing_alone
from koodrive_async.errors import InvalidArgument
from koodrive_async.os_errors import name_file
from koodrive_async.threads import AbandonableThread

T = TypeVar("T")

Buffer = bytes | bytearray | memoryview
_Read = Callable[[int], Any]


class AsyncReader(Protocol):
    """A stream that is read with ``await``, such as an ``asyncio.StreamReader``."""

    async def read(self, size: int, /) -> Buffer:
        """Return up to ``size`` bytes, and at least one but at the end."""
        ...


READ_SIZE = 64 * 1024
"""Bytes asked for when a stream is read."""

_READING_METHODS = ("read", "receive", "read_chunk")
"""Methods that take a number of bytes: of files and asyncio's readers, of anyio's byte streams, and
of the parts of aiohttp's multipart readers, whose ``read`` takes none. They come before iteration,
which would go by lines or hand out everything at once."""

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.25
"""Seconds between two readings of a stream that has nothing though its descriptor is ready."""


async def chunks(source: object) -> AsyncGenerator[Buffer, None]:
    """Yield the bytes of a stream as they come, in buffers that are not empty.

    :param source: A file object, an async reader, or an iterable of bytes, sync or async.
    :raises InvalidArgument: The source is of another kind, gives something else than bytes, has
        nothing to read yet and no descriptor to wait for, or raises ``CancelledError`` by itself.
    :raises BaseException: Reading the source raised it; it passes unchanged.

    What may block runs in a thread of its own, in the context of the caller. Cancellation takes
    effect at once and leaves such a thread behind with the call that it is in.
    """
    read = reading_method(source)
    if read is not None:
        found = _read(source, read)
    elif isinstance(source, AsyncIterable):
        found = closing_each(source)
    elif isinstance(source, Iterable):
        found = _iterate(source)
    else:
        raise InvalidArgument(_none_of_these(source))
    async with aclosing(failing_alone("a source", found)) as checked:
        async for chunk in checked:
            if buffer := _checked(chunk):
                yield buffer


def reading_method(source: object) -> _Read | None:
    """Return the method of a stream that reads up to so many bytes; None when it has none."""
    for name in _READING_METHODS:
        method = getattr(source, name, None)
        if callable(method) and _takes_size(method):
            return method  # type: ignore[no-any-return]  # callable says no more
    return None


def _takes_size(method: Callable[..., Any]) -> bool:
    try:
        inspect.signature(method).bind(READ_SIZE)
    except TypeError:
        return False
    except ValueError:  # it is written in C and says nothing of its parameters
        return True
    return True


def _none_of_these(source: object) -> str:
    if any(callable(getattr(source, name, None)) for name in _READING_METHODS):
        return (
            f"{type(source).__name__} does not read by size: pass what does, or an iterator of its "
            "bytes, such as response.content or response.aiter_bytes()"
        )
    return (
        "a source is a path, bytes, a binary file object, an async reader, or an (async) iterable "
        f"of bytes, not {type(source).__name__}"
    )


def _checked(chunk: object) -> Buffer:
    if isinstance(chunk, bytes | bytearray):
        return chunk
    if not isinstance(chunk, memoryview):
        raise InvalidArgument(f"a source must give bytes, not {type(chunk).__name__}")
    return flat(chunk)


def flat(buffer: Buffer) -> memoryview:
    """Return a view of the single bytes of a buffer.

    :raises InvalidArgument: It is not contiguous, was released, or has items of another system.
    """
    try:
        view = memoryview(buffer)
        # a view of several dimensions without a byte cannot be cast
        return view.cast("B") if view.nbytes else memoryview(b"")
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"a buffer must be contiguous: {error}") from None


# --- reading by size ---------------------------------------------------------------------------


async def _read(source: object, read: _Read) -> AsyncGenerator[object, None]:
    """Read until there is an empty buffer."""
    if inspect.iscoroutinefunction(read):
        async with aclosing(_read_on(source, read, read)) as found:
            async for chunk in found:
                yield chunk
        return
    # a user's read may block for ever: it must not take a thread that others need
    with AbandonableThread() as thread:

        async def read_there(size: int) -> object:
            chunk = await thread.run(read, size)
            return await chunk if inspect.isawaitable(chunk) else chunk

        async with aclosing(_read_on(source, read, read_there)) as found:
            async for chunk in found:
                yield chunk


async def _read_on(
    source: object, read: _Read, call: Callable[[int], Awaitable[object]]
) -> AsyncGenerator[object, None]:
    pause = 0.0
    while True:
        chunk = await _called(source, read, call)
        if isinstance(chunk, _NotReady):
            await chunk.wait(source)
            await anyio.sleep(pause)
            pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            continue
        if not (buffer := _checked(chunk)):
            return
        yield buffer
        pause = 0.0


async def _called(source: object, read: _Read, call: Callable[[int], Awaitable[object]]) -> object:
    """Read once; end, not ready and closed look the same for every kind of stream."""
    name = getattr(read, "__name__", "read")
    try:
        chunk = await call(READ_SIZE)
    except anyio.EndOfStream:
        return b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return _NotReady(anyio.wait_readable)
    except ssl.SSLWantWriteError:
        return _NotReady(anyio.wait_writable)
    except (StopIteration, StopAsyncIteration) as stop:
        # raised in a generator they would be taken for the end of that generator
        raise InvalidArgument(f"{name}() of a source raised {type(stop).__name__}") from stop
    except RuntimeError as error:  # what a thread or a coroutine makes of the same
        if not isinstance(error.__cause__, StopIteration | StopAsyncIteration):
            raise
        stop_name = type(error.__cause__).__name__
        raise InvalidArgument(f"{name}() of a source raised {stop_name}") from error
    except (OSError, ValueError) as error:
        _check_usable(source, error)
        raise
    return _NotReady(anyio.wait_readable) if chunk is None else chunk


def _check_usable(source: object, error: OSError | ValueError) -> None:
    """Put the path of a file into its error, unless the file cannot be read at all.

    :raises InvalidArgument: It is closed, or open for writing alone.
    """
    if isinstance(error, io.UnsupportedOperation):
        raise InvalidArgument(f"a source must be open for reading: {error}") from error
    if isinstance(error, OSError):
        name_file(error, _path_of(source))
    elif getattr(source, "closed", False) is True:
        raise InvalidArgument(f"a source must be open: {error}") from error


def _path_of(source: object) -> str | None:
    name = getattr(source, "name", None)  # of a file opened from a descriptor it is the number
    return name if isinstance(name, str) else None


class _NotReady:
    """A stream has nothing to read yet.

    :param ready: Waits until it may have.
    """

    def __init__(self, ready: Callable[[int], Awaitable[None]]) -> None:
        self._ready = ready

    async def wait(self, source: object) -> None:
        """Wait until reading again makes sense.

        :raises InvalidArgument: The stream has nothing that could be waited for.
        """
        number = _descriptor(source)
        if number is None:
            raise InvalidArgument(
                f"{type(source).__name__} is non-blocking, had nothing to read yet, and has no "
                "descriptor to wait for: pass a blocking file or an async iterable of bytes"
            )
        try:
            # one of our own: the loop may watch the other for its user
            own = number if os.name == "nt" else os.dup(number)
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            return  # it is read again after a pause
        try:
            await self._ready(own)
        except PermissionError:
            raise InvalidArgument(
                f"{type(source).__name__} had nothing to read yet, and its descriptor is of a kind "
                "that cannot be waited for"
            ) from None
        finally:
            if own != number:
                os.close(own)


def _descriptor(source: object) -> int | None:
    try:
        number = source.fileno()  # type: ignore[attr-defined]  # many have none
    except Exception:  # noqa: BLE001 - a user's object says in its own way that it has none
        return None
    if inspect.iscoroutine(number):
        number.close()
    return number if isinstance(number, int) and number >= 0 else None


# --- iterating ---------------------------------------------------------------------------------


async def _iterate(source: Iterable[object]) -> AsyncGenerator[object, None]:
    items, end = iter(source), object()
    with AbandonableThread(getattr(items, "close", None)) as thread:
        while (item := await thread.run(next, items, end)) is not end:
            yield item


async def closing_each(items: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Go over an async iterable; an async generator is closed at once when this is left."""
    iterator = aiter(items)
    try:
        async for item in iterator:
            yield item
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            with anyio.CancelScope(shield=True):
                await close()
