"""Where the bytes of a file come from."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import (
    AbstractContextManager,
    ExitStack,
    aclosing,
    asynccontextmanager,
)
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import anyio
import attrs

from koodrive_async.descriptors import open_one, when_one_is_free
from koodrive_async.errors import ClientClosed, SourceChanged
from koodrive_async.hashing import Fingerprint
from koodrive_async.os_errors import name_file, naming
from koodrive_async.resources.files import check_length
from koodrive_async.upload.folders import check_kind
from koodrive_async.upload.journal import FileIdentity
from koodrive_async.upload.paths import os_path
from koodrive_async.upload.streams import AsyncReader, Buffer, chunks, flat

if TYPE_CHECKING:
    from koodrive_async.hashing import Fingerprinter
    from koodrive_async.threads import ThreadPool
    from koodrive_async.upload.budget import MemoryBudget
    from koodrive_async.upload.folders import FoundFile

Source = (
    str
    | os.PathLike[str]
    | Buffer
    | BinaryIO
    | AsyncReader
    | Iterable[Buffer]
    | AsyncIterable[Buffer]
)
"""A path, bytes, a binary file object or async reader, or an (async) iterable of bytes; all but the
first two are spooled."""

SLICE = 1024 * 1024
"""Bytes hashed at a time: smaller ones cost speed, larger ones memory."""

SMALL = SLICE
"""Bytes up to which a file is read once, and kept until it has been sent."""

_NO_MIDSTATES = 2 * SMALL
"""A grid with no points in a small file, which is one part."""

_TO_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""How a file is opened: a pipe in its place must not wait for its other end."""

_GATHERED = 64 * 1024
"""Bytes of a stream that are gathered before they are written to its spool."""

Checkpoint = Callable[[int], None]
"""Hears in the hashing thread how many bytes have been hashed; raises to end the hashing."""


@attrs.frozen
class Places:
    """How many sources may be open at a time.

    Streams have places of their own, for one that never ends must not keep files from being
    uploaded.

    :ivar files: For files that stay open until they are sent; what is kept in memory does not.
    :ivar streams: For streams, from their first byte until they are sent.
    """

    files: anyio.Semaphore
    streams: anyio.Semaphore

    @classmethod
    def of(cls, files: int, streams: int) -> Places:
        """Make so many places."""
        return cls(anyio.Semaphore(files), anyio.Semaphore(streams))


class Content(Protocol):
    """The bytes of an opened source. Its methods block and are called in worker threads."""

    @property
    def size(self) -> int:
        """Bytes, as of opening."""
        ...

    @property
    def descriptor(self) -> int | None:
        """A file that the kernel can read; None when all bytes are in memory."""

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What opening it has found out already."""

    @property
    def identity(self) -> FileIdentity | None:
        """What tells it from other files later on; None for what no journal keeps."""

    def hash_some(self, fingerprinter: Fingerprinter, limit: int, checkpoint: Checkpoint) -> int:
        """Hash up to ``limit`` more bytes; return their number, less than that at the end."""
        ...

    def read(self, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes from ``offset``, and at least one.

        :raises SourceChanged: There are none.
        """
        ...

    def check_unchanged(self) -> None:
        """Look whether this is still what was opened.

        :raises SourceChanged: It is not.
        """


def name_of(source: object) -> str | None:
    """Return the name a source brings along: that of a path or of a named file object.

    :raises InvalidArgument: The source looks like a path, and is no path.
    """
    if isinstance(source, str | os.PathLike):
        path = source if isinstance(source, str) else os_path("source", source)
        return os.path.basename(path.rstrip(os.sep))  # noqa: PTH119 - a Path takes ten times as long
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) else None


@asynccontextmanager
async def open_source(
    source: Source,
    threads: ThreadPool,
    memory: MemoryBudget,
    places: Places | None = None,
    found: FoundFile | None = None,
) -> AsyncIterator[Content]:
    """Open a source of any kind.

    :param threads: Where files are touched.
    :param memory: What small files may be kept in.
    :param places: For files that stay open, and for streams; without it no other is waited for.
    :param found: Where a walk over a tree found this path.
    :raises OSError: The file is missing, a folder, or may not be read; the path is in it.
    :raises SourceChanged: The file that was found has become a link, or lies behind one.
    :raises InvalidArgument: It is neither bytes nor anything that gives bytes.

    Cancellation closes what was opened and removes what was spooled.
    """
    places = places or Places.of(1, 1)
    if isinstance(source, str | os.PathLike):
        path = source if isinstance(source, str) else os_path("source", source)
        file = FileContent(path, memory, found)
        opened, has_place = partial(threads.run, file.open), False
        try:
            await when_one_is_free(opened)
            stays_open = file.descriptor is not None
            has_place = stays_open and _take_at_once(places.files)
            if stays_open and not has_place:
                file.close()
                await places.files.acquire()
                has_place = True
                await when_one_is_free(opened)
            yield file
        finally:
            file.close()
            if has_place:
                places.files.release()
    elif isinstance(source, bytes | bytearray | memoryview):
        yield BytesContent(flat(cast("Buffer", source)))
    else:
        async with places.streams, _spooled(source, threads) as spool:
            yield spool


def _take_at_once(places: anyio.Semaphore) -> bool:
    try:
        places.acquire_nowait()
    except anyio.WouldBlock:
        return False
    return True


@asynccontextmanager
async def _spooled(source: object, threads: ThreadPool) -> AsyncIterator[SpooledContent]:
    """Write a stream to a temporary file."""
    spool = SpooledContent()
    try:
        await when_one_is_free(partial(threads.run, spool.open))
        await _fill(spool, source, threads)
        spool.rewind()
        yield spool
    finally:
        try:
            with anyio.CancelScope(shield=True), contextlib.suppress(ClientClosed):
                await threads.run(spool.close)  # to free many bytes takes a while
        finally:
            spool.close()  # no thread has come to it


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

    def of_path(self, path: str) -> FileIdentity:
        """Return what tells this version of this file from everything else."""
        return FileIdentity(
            path=os.path.abspath(path),  # noqa: PTH100 - links are not followed
            size=self.size,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
            inode=self.inode,
        )

    def changes(self, now: FileVersion) -> str:
        """Name what is different, for a person."""
        pairs = zip(attrs.asdict(self).items(), attrs.asdict(now).values(), strict=True)
        return ", ".join(f"{name} {old} -> {new}" for (name, old), new in pairs if old != new)


class FileContent:
    """A file that was opened by its path.

    A small one is read, hashed and closed at once when there is memory for it. Larger ones are read
    again when they are sent.

    :param found: Where a walk found it, if one did: no link below its root is followed then.
    """

    fingerprint: Fingerprint | None = None
    identity: FileIdentity | None = None

    def __init__(self, path: str, memory: MemoryBudget, found: FoundFile | None = None) -> None:
        self.path = path
        self._found = found
        self._memory = memory
        self._kept: bytes | None = None
        self._closers = ExitStack()

    def open(self) -> None:
        """Open the file, which must be a regular one; once more after :meth:`close`.

        :raises OSError: It is missing, not a regular file, or may not be read.
        :raises SourceChanged: It was written to while it was read.
        """
        try:
            self._open_and_keep()
        except OSError as error:
            name_file(error, self.path)
            raise

    def _open_and_keep(self) -> None:
        descriptor = self._open()
        try:
            status = os.fstat(descriptor)
            check_kind(self.path, status.st_mode)
            self._version = FileVersion.of(status)
            self.identity = self._version.of_path(self.path)
            if self.size <= SMALL and self._memory.take(self.size):
                self._closers.callback(self._memory.give_back, self.size)
                self._keep(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if self._kept is not None:
            os.close(descriptor)
            return
        opened = open(descriptor, "rb", buffering=0)  # noqa: SIM115, PTH123 - closed by close()
        self._file = self._closers.enter_context(opened)
        self._read_at = _positional_reader(descriptor)

    def _open(self) -> int:
        if self._found is not None:
            return self._found.open(_TO_READ)
        try:
            # Looked at first: to open a pipe or a device does something to it.
            check_kind(self.path, os.stat(self.path).st_mode)  # noqa: PTH116 - as it was spelt
            return os.open(self.path, _TO_READ)
        except ValueError:  # a NUL, or half of a character
            os_path("source", self.path)
            raise

    def _keep(self, descriptor: int) -> None:
        """Read and hash it; few system calls, for each is a chance to lose the GIL."""
        kept = b""
        # some file systems give a file bit by bit; one byte more than there should be is too much
        while len(kept) <= self.size and (some := os.read(descriptor, self.size + 1 - len(kept))):
            kept += some
            if len(kept) == self.size:
                break
        now = FileVersion.of(os.fstat(descriptor))
        if now != self._version or len(kept) != self.size:
            raise SourceChanged(self.path, self._version.changes(now) or "it was being written")
        self.fingerprint = Fingerprint(self.size, sha256(kept).hexdigest(), _NO_MIDSTATES, b"")
        self._kept = kept

    @property
    def size(self) -> int:
        """Bytes, as of opening."""
        return self._version.size

    @property
    def descriptor(self) -> int | None:
        """The open file, unless its bytes are kept in memory."""
        return self._file.fileno() if self._kept is None else None

    def start_at(self, offset: int) -> None:
        """Hash from there: what is before it has been hashed by an earlier run."""
        with naming(self.path):
            self._file.seek(offset)

    def hash_some(self, fingerprinter: Fingerprinter, limit: int, checkpoint: Checkpoint) -> int:
        """Hash up to ``limit`` more bytes.

        :raises SourceChanged: The file is not what it was, found at its end.
        """
        with naming(self.path):
            seen = fingerprinter.read_from(self._file, checkpoint, limit=limit)
        if seen < limit:
            self.check_unchanged()
            if fingerprinter.length != self.size:
                raise SourceChanged(self.path, f"size {self.size} -> {fingerprinter.length}")
        return seen

    def read(self, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes from ``offset``, and at least one.

        :raises SourceChanged: There are none.
        """
        if self._kept is not None:
            return memoryview(self._kept)[offset : offset + length]
        with naming(self.path):
            data = self._read_at(offset, length)
        if data:
            return data
        self.check_unchanged()
        raise SourceChanged(self.path, f"no bytes at offset {offset}")

    def check_unchanged(self) -> None:
        """Compare size, times and inode with those at opening.

        What is kept in memory cannot change any more.

        :raises SourceChanged: Something is different; the message names it.
        """
        if self._kept is not None:
            return
        try:
            now = FileVersion.of(os.stat(self.path))  # noqa: PTH116 - as it was opened
        except FileNotFoundError:
            raise SourceChanged(self.path, "it is gone") from None
        if now != self._version:
            raise SourceChanged(self.path, self._version.changes(now))

    def close(self) -> None:
        """Close the file, if it was opened, and give its memory back."""
        with naming(self.path):
            self._closers.close()
        self._kept = None


class SpooledContent:
    """A temporary file that holds what came as a stream."""

    fingerprint = None
    identity = None

    def __init__(self) -> None:
        self._closers = ExitStack()
        self._folder: str | None = None

    def open(self) -> None:
        """Make the file; it has no name where the system allows it: no kill leaves it behind.

        :raises OSError: The file cannot be made; the folder is in the error.
        """
        self._folder = _spool_folder()
        with self._naming_the_folder():
            opened = tempfile.TemporaryFile("wb+", buffering=0)  # noqa: SIM115 - closed by close()
        self._file = self._closers.enter_context(opened)
        self._read_at = _positional_reader(self._file.fileno())

    def write(self, data: Buffer) -> None:
        """Write more of the stream.

        :raises OSError: The disk is full, or fails; the folder is in the error.
        """
        with self._naming_the_folder(), memoryview(data) as rest:
            written = 0
            while written < len(rest):
                written += self._file.write(rest[written:]) or 0

    def _naming_the_folder(self) -> AbstractContextManager[None]:
        return naming(self._folder, "streams are kept there until they are sent, see TMPDIR")

    def rewind(self) -> None:
        """Be read from the start: all has been written."""
        with self._naming_the_folder():
            self._file.seek(0)
            self._size = os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file, which is gone with that."""
        with self._naming_the_folder():
            self._closers.close()

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    @property
    def descriptor(self) -> int:
        """The temporary file."""
        return self._file.fileno()

    def hash_some(self, fingerprinter: Fingerprinter, limit: int, checkpoint: Checkpoint) -> int:
        """Hash up to ``limit`` more bytes."""
        with self._naming_the_folder():
            return fingerprinter.read_from(self._file, checkpoint, limit=limit)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``, and at least one.

        :raises OSError: The disk fails, or has lost bytes; the folder is in the error.
        """
        with self._naming_the_folder():
            data = self._read_at(offset, length)
            if not data:
                raise OSError(errno.EIO, f"no bytes at offset {offset} of a temporary file")
            return data

    def check_unchanged(self) -> None:
        """Nobody else can reach a temporary file."""


def _spool_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        # the first call tries folders out, and finds none when it can open no file at all
        open_one()
        raise


class BytesContent:
    """Bytes that are in memory already."""

    descriptor = None
    fingerprint = None
    identity = None

    def __init__(self, view: memoryview) -> None:
        self._view = view

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._view)

    def hash_some(self, fingerprinter: Fingerprinter, limit: int, checkpoint: Checkpoint) -> int:
        """Hash up to ``limit`` more bytes."""
        start = fingerprinter.length
        end = min(start + limit, self.size)
        while fingerprinter.length < end:
            fingerprinter.update(
                self._view[fingerprinter.length : min(fingerprinter.length + SLICE, end)]
            )
            checkpoint(fingerprinter.length)
        return end - start

    def read(self, offset: int, length: int) -> memoryview:
        """Return a view of up to ``length`` bytes from ``offset``."""
        return self._view[offset : offset + length]

    def check_unchanged(self) -> None:
        """Whoever lends a buffer keeps it as it is until the upload is done."""


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


async def _fill(spool: SpooledContent, source: object, threads: ThreadPool) -> None:
    """Write a stream to a file, in pieces that are worth a write however small it comes."""
    size, gathered = 0, bytearray()
    async with aclosing(chunks(source)) as stream:
        async for chunk in stream:
            gathered += chunk
            if len(gathered) >= _GATHERED:
                size += len(gathered)
                check_length(size)  # an endless stream must not fill the disk
                await threads.run(spool.write, gathered)
                gathered = bytearray()
    await threads.run(spool.write, gathered)
