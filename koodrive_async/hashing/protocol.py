"""What a SHA-256 backend is: the seam between hashing and whatever does the compression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Midstate: TypeAlias = tuple[int, int, int, int, int, int, int, int]
"""The eight running 32-bit words of SHA-256, H0 first, after a multiple of 64 bytes."""

BLOCK_SIZE = 64
"""Bytes that SHA-256 compresses at a time."""

LENGTH_LIMIT = 2**61
"""Bytes that SHA-256 cannot count any more: it counts bits in 64 of them."""

INITIAL_MIDSTATE: Midstate = (
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
)
"""The words before the first byte."""


class Sha256State(Protocol):
    """One running SHA-256. Used by one thread at a time."""

    def update(self, buffer: ReadableBuffer) -> int:
        """Hash the bytes of a C-contiguous buffer and return how many there were.

        :param buffer: any C-contiguous bytes-like object.
        :returns: the length of the buffer in bytes.
        :raises TypeError: if the object is not bytes-like.
        :raises BufferError: if the buffer is not C-contiguous.
        """
        ...

    def words(self) -> Midstate:
        """Return the running words; asked for only at a multiple of 64 bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all bytes so far, leaving the state as it is."""
        ...

    def copy(self) -> Self:
        """Return an independent state that has hashed the same bytes."""
        ...


class Sha256Backend(Protocol):
    """A way to compute SHA-256 whose running words can be read and set.

    A backend is shared by all threads; the states it makes are not. A backend that runs several
    states in the lanes of one vector unit keeps that to itself: each state is still one message.
    """

    @property
    def name(self) -> str:
        """What :func:`koodrive_async.hashing.backend` calls it."""
        ...

    def begin(self) -> Sha256State:
        """Return a state that has hashed nothing."""
        ...

    def resume(self, words: Midstate, length: int) -> Sha256State:
        """Return a state that goes on after ``length`` bytes.

        :param words: the running words at that length, already checked.
        :param length: bytes hashed so far, a multiple of 64 below ``2**61``.
        """
        ...
