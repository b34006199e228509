"""proofCode: proof that the client of a SHA-256 also has the bytes (page ``koodrive_05_0036``)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_FRAGMENT = 8
"""Bytes of the file that are proved."""

_WITHOUT_SIGN = 0x7FFF_FFFF_FFFF_FFFF


class ProofCode(Protocol):
    """A formula for the proof, with the signature of :func:`proof_code`."""

    def __call__(self, origin: str, size: int, read: Callable[[int, int], bytes], /) -> str | None:
        """Return the proof, or None if the field is to be left out."""
        ...


class TruncatedReadError(OSError, EOFError):
    """A file gave another number of bytes than it was asked for, or said that it had given."""


def proof_code(origin: str, size: int, read: Callable[[int, int], bytes]) -> str | None:
    """Return the proof that a file is at hand: the digest of eight bytes the origin points at.

    :param origin: a header value of the very request that carries the proof: ``X-User-Id`` with
        app-id authentication, the whole ``Authorization`` with any other.
    :param size: of the file, in bytes.
    :param read: called once with an offset and a length in bytes; returns these bytes of the file.
    :returns: 64 lower-case hexadecimal digits, or None for an empty file, which has no proof.
    :raises TypeError: if the size is not an integer, the origin no text, or ``read`` returns
        something else than bytes.
    :raises ValueError: if the size is negative, or the origin is not Unicode.
    :raises TruncatedReadError: if ``read`` returns another number of bytes than asked for: the file
        changed.
    """
    given: tuple[object, object] = origin, size
    if not isinstance(given[0], str) or not isinstance(given[1], int):
        kinds = " and ".join(type(each).__name__ for each in given)
        raise TypeError(f"origin and size are a text and an integer, not {kinds}")
    if size < 0:
        raise ValueError(f"a file has no negative size: {size}")
    if size == 0:
        return None
    seed = sha256(origin.encode()).hexdigest()
    # The sign bit is removed, which is neither the absolute value nor an unsigned reading.
    number = int.from_bytes(sha256(seed.encode()).digest()[24:32], "big") & _WITHOUT_SIGN
    start = number % size
    end = min(start + _FRAGMENT, size)
    data: object = read(start, end - start)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"read must return bytes, not {type(data).__name__}")
    if len(data) != end - start:
        raise TruncatedReadError(
            f"the file changed: {len(data)} bytes at offset {start} instead of {end - start},"
            f" though its size was {size}"
        )
    return sha256(data).hexdigest()
