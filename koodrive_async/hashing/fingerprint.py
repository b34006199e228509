"""What one pass over a file finds out: its size, its SHA-256, and the midstates on a grid."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import attrs

from koodrive_async.hashing.protocol import BLOCK_SIZE, INITIAL_MIDSTATE
from koodrive_async.hashing.sha256 import NotContiguousError, Sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from koodrive_async.hashing.protocol import Midstate

MIDSTATE_GRID = 1 << 20
"""Bytes between two midstates of a fingerprint, by default: 1 MiB."""

# Of 64 KiB to 1 MiB the fastest, by one thread or two: 4 % over 256 KiB, 10 % over 64 KiB. Much
# more than 1 MiB falls out of the processor's cache.
_SLICE = 1 << 20

_WORDS = struct.Struct(">8I")

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class ReadsInto(Protocol):
    """A binary file object that reads into memory it is given."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read up to as many bytes as fit; 0 at the end."""
        ...


def fingerprint(
    file: str | os.PathLike[str] | ReadsInto,
    *,
    grid: int = MIDSTATE_GRID,
    checkpoint: Callable[[int], None] | None = None,
) -> Fingerprint:
    """Read a file once, from one end to the other, and return what identifies it.

    It blocks: an asyncio program calls it in a worker thread, whose GIL is released nearly all
    the time. To cancel it, let the checkpoint raise.

    :param file: a path, or a binary file object, best an unbuffered one. An object is read from
        where it stands to its end and left open.
    :param grid: bytes between two midstates, a multiple of 64.
    :param checkpoint: called in the same thread with the number of bytes hashed so far, after
        every slice of at most 1 MiB. What it raises ends the pass and reaches the caller.
    :returns: the fingerprint of the bytes that were read.
    :raises ValueError: if the grid is not a positive multiple of 64.
    :raises ValueError: also if the path has a NUL, or the file object is closed.
    :raises TypeError: if the file is neither a path nor a binary file object.
    :raises OSError: as opening and reading raise it: ``FileNotFoundError``,
        ``IsADirectoryError``, ``PermissionError``; with the path, where one was given.
    """
    fingerprinter = Fingerprinter(grid)
    if isinstance(file, (str, os.PathLike)):
        try:
            with Path(file).open("rb", buffering=0) as opened:
                fingerprinter.read_from(opened, checkpoint)
        except OSError as error:
            # reading has only a descriptor; without a number the path would replace the text
            if error.filename is None and error.errno is not None:
                error.filename = os.fspath(file)
            raise
    else:
        fingerprinter.read_from(file, checkpoint)
    return fingerprinter.finish()


class Fingerprinter:
    """Makes a :class:`Fingerprint` of bytes as they come, or as a file gives them.

    Used by one thread at a time. An interrupted one goes on later from what
    :attr:`midstates` and :attr:`resume_offset` said, without reading the bytes before again::

        fingerprinter = Fingerprinter.resume(midstates, resume_offset)
        file.seek(resume_offset)
        fingerprinter.read_from(file)

    :param grid: bytes between two midstates, a multiple of 64.
    :raises ValueError: if the grid is not a positive multiple of 64.
    """

    __slots__ = ("_grid", "_midstates", "_sha256")

    _grid: int
    _midstates: bytearray
    _sha256: Sha256

    def __init__(self, grid: int = MIDSTATE_GRID) -> None:
        _check_grid(grid)
        self._grid = grid
        self._midstates = bytearray()
        self._sha256 = Sha256()

    @classmethod
    def resume(cls, midstates: bytes, resume_offset: int, *, grid: int = MIDSTATE_GRID) -> Self:
        """Go on where another one had got to.

        :param midstates: its :attr:`midstates`.
        :param resume_offset: its :attr:`resume_offset`; the next byte is the one there.
        :param grid: its grid in bytes.
        :returns: a fingerprinter that has seen ``resume_offset`` bytes.
        :raises ValueError: if the three do not belong together.
        """
        fingerprinter = cls(grid)
        if len(midstates) % _WORDS.size or resume_offset != len(midstates) // _WORDS.size * grid:
            raise ValueError(
                f"{len(midstates)} bytes of midstates on a grid of {grid} bytes do not lead to"
                f" offset {resume_offset}"
            )
        if midstates:
            words = _WORDS.unpack_from(midstates, len(midstates) - _WORDS.size)
            fingerprinter._sha256 = Sha256.resume(words, resume_offset)
            fingerprinter._midstates += midstates
        return fingerprinter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after {self.length} bytes>"

    @property
    def length(self) -> int:
        """Bytes seen so far."""
        return self._sha256.length

    @property
    def midstates(self) -> bytes:
        """The midstates of the grid points passed so far, packed as in :class:`Fingerprint`."""
        return bytes(self._midstates)

    def midstates_from(self, offset: int) -> bytes:
        """Return the midstates of the grid points behind an offset, and copy no others.

        :param offset: a multiple of the grid, such as an earlier :attr:`resume_offset`.
        """
        return bytes(self._midstates[offset // self._grid * _WORDS.size :])

    @property
    def resume_offset(self) -> int:
        """The last grid point passed, in bytes from the start."""
        return self.length - self.length % self._grid

    def update(self, buffer: ReadableBuffer) -> None:
        """See more bytes, however many.

        :param buffer: any C-contiguous bytes-like object, read-only or not. It must not change
            until this returns.
        :raises TypeError: if the object is not bytes-like.
        :raises NotContiguousError: if the buffer is not C-contiguous.
        """
        with memoryview(buffer) as given:
            if not given.c_contiguous:
                raise NotContiguousError("a fingerprint needs a C-contiguous buffer")
            # A view of several dimensions with nothing in it cannot be cast.
            if given.nbytes:
                with given.cast("B") as view:
                    self._update(view)

    def _update(self, view: memoryview) -> None:
        start = 0
        while start < len(view):
            to_grid_point = self._grid - self._sha256.length % self._grid
            with view[start : start + to_grid_point] as piece:
                self._sha256.update(piece)
                start += len(piece)
            if self._sha256.length % self._grid == 0:
                self._midstates += _WORDS.pack(*self._sha256.midstate())

    def read_from(
        self,
        file: ReadsInto,
        checkpoint: Callable[[int], None] | None = None,
        *,
        limit: int | None = None,
    ) -> int:
        """See the bytes of a file object from where it stands to its end, and leave it open.

        The kernel is advised that the file is read in sequence, where it takes such advice.

        :param file: a binary file object, best an unbuffered one.
        :param checkpoint: called with :attr:`length` after every slice of at most 1 MiB. What it
            raises ends the reading and reaches the caller; everything up to then has been seen.
        :param limit: most bytes to see; another call goes on from there.
        :returns: the number of bytes seen; less than the limit at the end of the file.
        :raises TypeError: if it is not a binary file object.
        :raises BlockingIOError: if it is non-blocking and has nothing to read yet.
        :raises OSError: as reading raises it, or if it says that it read more than there is room.
        """
        if not hasattr(file, "readinto"):
            raise TypeError(f"a path or a binary file object is needed, not {file!r}")
        _advise_sequential(file)
        start = self.length
        with memoryview(bytearray(_SLICE)) as buffer:
            while limit is None or self.length - start < limit:
                room = _SLICE if limit is None else min(_SLICE, limit - (self.length - start))
                count = file.readinto(buffer[:room])
                if count is None:
                    raise BlockingIOError("the file is non-blocking and has nothing to read yet")
                if not count:
                    break
                if not 0 < count <= room:
                    raise OSError(f"readinto returned {count} for a buffer of {room} bytes")
                self.update(buffer[:count])
                if checkpoint is not None:
                    checkpoint(self.length)
        return self.length - start

    def finish(self) -> Fingerprint:
        """Return the fingerprint of the bytes seen so far; more may follow."""
        return Fingerprint(
            size=self.length,
            sha256=self._sha256.hexdigest(),
            grid=self._grid,
            midstates=bytes(self._midstates),
        )


@attrs.frozen
class Fingerprint:
    """What identifies the bytes of a file, and lets its parts be hashed apart.

    It takes 32 bytes for each grid point: 6 MB for 200 GB on a grid of 1 MiB. It compares,
    hashes and pickles by value.

    :param size: bytes.
    :param sha256: the digest as 64 lower-case hexadecimal digits.
    :param grid: bytes between two midstates, a multiple of 64.
    :param midstates: for each multiple of the grid above 0, up to the size and including it, the
        eight words as unsigned 32-bit big-endian integers.
    :raises ValueError: if these do not fit together.
    """

    size: int
    sha256: str
    grid: int
    midstates: bytes = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        _check_grid(self.grid)
        if self.size < 0:
            raise ValueError(f"a file has no negative size: {self.size}")
        if not _SHA256_HEX.fullmatch(self.sha256):
            raise ValueError(f"no lower-case hexadecimal SHA-256: {self.sha256!r}")
        if len(self.midstates) != self.size // self.grid * _WORDS.size:
            raise ValueError(
                f"{self.size} bytes on a grid of {self.grid} have {self.size // self.grid}"
                f" midstates of {_WORDS.size} bytes, not {len(self.midstates)} bytes"
            )

    def midstate(self, offset: int) -> Midstate:
        """Return the eight words after the first ``offset`` bytes, H0 first.

        :param offset: bytes from the start, a multiple of the grid up to the size; 0 gives the
            initial words.
        :returns: eight integers of 32 bits, unsigned.
        :raises TypeError: if the offset is not an integer.
        :raises ValueError: if there is no midstate at this offset; the message names the nearest.
        """
        if not isinstance(offset, int):
            raise TypeError(f"an offset is an integer, not {type(offset).__name__}")
        if offset % self.grid or not 0 <= offset <= self.size:
            raise ValueError(self._off_grid(offset))
        if offset == 0:
            return INITIAL_MIDSTATE
        return _WORDS.unpack_from(self.midstates, (offset // self.grid - 1) * _WORDS.size)

    def _off_grid(self, offset: int) -> str:
        last = self.size - self.size % self.grid
        below = min(max(offset - offset % self.grid, 0), last)
        above = min(below + self.grid, last) if offset > 0 else 0
        nearest = f"{below} and {above}" if below != above else f"{below}"
        return (
            f"no midstate at offset {offset}: they lie at multiples of the grid of {self.grid}"
            f" bytes up to the size of {self.size}, the nearest at {nearest}"
        )


def _check_grid(grid: object) -> None:
    if not isinstance(grid, int) or grid <= 0 or grid % BLOCK_SIZE:
        raise ValueError(
            f"a midstate grid is a positive multiple of {BLOCK_SIZE} bytes, not {grid}"
        )


def _advise_sequential(file: ReadsInto) -> None:
    """Double the kernel's read-ahead: a file not in memory yet was hashed a third faster."""
    fileno = getattr(file, "fileno", None)
    if sys.platform != "linux" or fileno is None:
        return
    # Objects without a descriptor and pipes say so here; the advice is no condition.
    with contextlib.suppress(OSError, ValueError, TypeError, OverflowError):
        os.posix_fadvise(fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
