"""Where the bytes of a file come from."""

from __future__ import annotations

import errno
import inspect
import os
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import ExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

import aiofiles.tempfile
import anyio
import attrs
from anyio import CapacityLimiter, to_process

from koodrive_async.errors import InvalidArgument, SourceChanged
from koodrive_async.hashing import Fingerprint, Fingerprinter, backend, fingerprint
from koodrive_async.resources.files import check_length
from koodrive_async.threads import in_abandonable_thread, in_thread

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase

T = TypeVar("T")

Buffer = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Buffer | BinaryIO | Iterable[Buffer] | AsyncIterable[Buffer]
"""A path, bytes, a binary file object, or an iterable of bytes; the last two are spooled."""

SLICE = 1024 * 1024
"""Bytes read at a time: smaller ones cost speed, larger ones memory."""


class Content(Protocol):
    """The bytes of an opened source. Its methods block and are called in worker threads."""

    @property
    def size(self) -> int:
        """Bytes, as of opening."""

    def read(self, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end."""

    def check_unchanged(self) -> None:
        """Look whether this is still what was opened.

        :raises SourceChanged: It is not.
        """

    async def fingerprint(
        self, grid: int, limiter: CapacityLimiter, on_hashed: OnHashed
    ) -> Fingerprint:
        """Hash everything in one pass, with midstates on a grid of ``grid`` bytes."""


class OnHashed(Protocol):
    """Hears how many bytes have been hashed."""

    def __call__(self, done: int, /) -> None:
        """Take note, in the hashing thread; raise to end the hashing."""

    def stop(self) -> None:
        """See that the next call raises."""


def name_of(source: object) -> str | None:
    """Return the name a source brings along: that of a path or of a named file object."""
    if isinstance(source, str | os.PathLike):
        return Path(source).name
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) else None


@asynccontextmanager
async def open_source(source: Source, io: CapacityLimiter) -> AsyncIterator[Content]:
    """Open a source of any kind.

    :param io: Limits the worker threads that touch files.
    :raises OSError: The file is missing, a folder, or may not be read; the path is in it.
    :raises InvalidArgument: It is neither bytes nor anything that gives bytes.

    Cancellation closes what was opened and removes what was spooled.
    """
    if isinstance(source, str | os.PathLike):
        file = FileContent(os.fspath(source))
        try:
            await in_thread(file.open, limiter=io)
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(file.close, limiter=io)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield BytesContent(_flat(source))
    else:
        # TemporaryFile has no name where the system allows it: not even a kill leaves it behind.
        spool = await aiofiles.tempfile.TemporaryFile("wb+")
        try:
            await _fill(spool, source)
            yield SpooledContent(spool.fileno())
        finally:
            with anyio.CancelScope(shield=True):
                await spool.close()


# --- files -------------------------------------------------------------------------------------


@attrs.frozen
class FileVersion:
    """What tells one version of a file from another."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileVersion:
        """Take it from a stat."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def changes(self, now: FileVersion) -> str:
        """Name what is different, for a person."""
        pairs = zip(attrs.asdict(self).items(), attrs.asdict(now).values(), strict=True)
        return ", ".join(f"{name} {old} -> {new}" for (name, old), new in pairs if old != new)


class FileContent:
    """A file that was opened by its path."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._closers = ExitStack()

    def open(self) -> None:
        """Open the file, which must be a regular one.

        :raises OSError: It is missing, not a regular file, or may not be read.
        """
        # Looked at before it is opened: opening a pipe would wait for its other end.
        kind = os.stat(self._path).st_mode  # noqa: PTH116 - the path is kept as it was spelt
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "not a regular file; open it and pass the file", self._path)
        opened = open(self._path, "rb", buffering=0)  # noqa: SIM115, PTH123 - closed by close()
        self._file = self._closers.enter_context(opened)
        self._version = FileVersion.of(os.fstat(self._file.fileno()))
        self._read_at = _positional_reader(self._file.fileno())

    @property
    def size(self) -> int:
        """Bytes, as of opening."""
        return self._version.size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``."""
        return self._read_at(offset, length)

    def check_unchanged(self) -> None:
        """Compare size, times and inode with those at opening.

        :raises SourceChanged: Something is different; the message names it.
        """
        try:
            now = FileVersion.of(os.stat(self._path))  # noqa: PTH116 - as it was opened
        except FileNotFoundError:
            raise SourceChanged(self._path, "it is gone") from None
        if now != self._version:
            raise SourceChanged(self._path, self._version.changes(now))

    async def fingerprint(
        self, grid: int, limiter: CapacityLimiter, on_hashed: OnHashed
    ) -> Fingerprint:
        """Hash the file in a worker thread, or in a process where hashing would hold the GIL."""
        if backend() == "portable":
            found = await to_process.run_sync(
                partial(fingerprint, self._path, grid=grid), cancellable=True, limiter=limiter
            )
        else:
            work = partial(fingerprint, self._file, grid=grid, checkpoint=on_hashed)
            found = await in_thread(work, limiter=limiter, on_cancel=on_hashed.stop)
        if found.size != self.size:
            raise SourceChanged(self._path, f"size {self.size} -> {found.size}")
        return found

    def close(self) -> None:
        """Close the file, if it was opened."""
        self._closers.close()


class SpooledContent:
    """A temporary file that holds what came as a stream."""

    def __init__(self, descriptor: int) -> None:
        self._read_at = _positional_reader(descriptor)
        self._size = os.fstat(descriptor).st_size

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``."""
        return self._read_at(offset, length)

    def check_unchanged(self) -> None:
        """Nobody else can reach a temporary file."""

    async def fingerprint(
        self, grid: int, limiter: CapacityLimiter, on_hashed: OnHashed
    ) -> Fingerprint:
        """Hash what was spooled, in a worker thread."""
        work = partial(_hash, self, grid, on_hashed)
        return await in_thread(work, limiter=limiter, on_cancel=on_hashed.stop)


class BytesContent:
    """Bytes that are in memory already."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._view)

    def read(self, offset: int, length: int) -> memoryview:
        """Return a view of up to ``length`` bytes from ``offset``."""
        return self._view[offset : offset + length]

    def check_unchanged(self) -> None:
        """Whoever lends a buffer keeps it as it is until the upload is done."""

    async def fingerprint(
        self, grid: int, limiter: CapacityLimiter, on_hashed: OnHashed
    ) -> Fingerprint:
        """Hash the bytes in a worker thread."""
        work = partial(_hash, self, grid, on_hashed)
        return await in_thread(work, limiter=limiter, on_cancel=on_hashed.stop)


def _hash(content: Content, grid: int, on_hashed: OnHashed) -> Fingerprint:
    hasher = Fingerprinter(grid)
    while piece := content.read(hasher.length, SLICE):
        hasher.update(piece)
        on_hashed(hasher.length)
    return hasher.finish()


def _flat(buffer: Buffer) -> memoryview:
    try:
        return memoryview(buffer).cast("B")
    except TypeError as error:
        raise InvalidArgument(f"a buffer must be contiguous: {error}") from None


class _Reader(Protocol):
    def __call__(self, offset: int, length: int, /) -> bytes: ...


def _positional_reader(descriptor: int) -> _Reader:
    """Return a function that reads at an offset and leaves no shared position behind."""
    if hasattr(os, "pread"):
        return lambda offset, length: os.pread(descriptor, length, offset)
    turn = threading.Lock()

    def read(offset: int, length: int) -> bytes:
        with turn:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)

    return read


# --- streams -----------------------------------------------------------------------------------


async def _fill(spool: AsyncBufferedIOBase, source: object) -> None:
    """Write a stream to a file, in pieces of :data:`SLICE` bytes or more however small it comes."""
    size, gathered = 0, bytearray()
    async with aclosing(_chunks(source)) as chunks:
        async for chunk in chunks:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise InvalidArgument(f"a source must give bytes, not {type(chunk).__name__}")
            gathered += chunk
            if len(gathered) >= SLICE:
                size += len(gathered)
                check_length(size)  # an endless stream must not fill the disk
                await spool.write(gathered)
                gathered = bytearray()
    await spool.write(gathered)
    await spool.flush()


async def _chunks(source: object) -> AsyncGenerator[object, None]:
    # A user's read or iterator may block for ever: it must not take a thread that others need.
    if isinstance(source, AsyncIterable):
        async with aclosing(closing_each(source)) as items:
            async for chunk in items:
                yield chunk
    elif callable(read := getattr(source, "read", None)):
        read_one = read if inspect.iscoroutinefunction(read) else None
        while chunk := await (read_one(SLICE) if read_one else in_abandonable_thread(read, SLICE)):
            yield chunk
    elif isinstance(source, Iterable):
        chunks, end = iter(source), object()
        while (chunk := await in_abandonable_thread(next, chunks, end)) is not end:
            yield chunk
    else:
        raise InvalidArgument(
            "a source is a path, bytes, a binary file object, or an (async) iterable of bytes, "
            f"not {type(source).__name__}"
        )


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
