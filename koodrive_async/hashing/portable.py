"""SHA-256 in plain Python: the reference that tests compare with, and the last resort.

It does about 0.6 MB/s and holds the GIL, so it is no way to hash files of any size.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from koodrive_async.hashing.protocol import BLOCK_SIZE, INITIAL_MIDSTATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

    from koodrive_async.hashing.protocol import Midstate

NAME = "portable"


def candidates() -> Iterator[PortableBackend]:
    """Yield the backend, which is always there."""
    yield PortableBackend()


class PortableBackend:
    """Makes states that compress in plain Python."""

    name = NAME

    def begin(self) -> PortableState:
        """Return a state that has hashed nothing."""
        return PortableState(INITIAL_MIDSTATE, 0)

    def resume(self, words: Midstate, length: int) -> PortableState:
        """Return a state that goes on after ``length`` bytes."""
        return PortableState(words, length)


class PortableState:
    """One running SHA-256: its words, its length, and the bytes that do not fill a block yet."""

    __slots__ = ("_length", "_pending", "_words")

    def __init__(self, words: Midstate, length: int, pending: bytes = b"") -> None:
        self._words = words
        self._length = length
        self._pending = pending

    def update(self, buffer: ReadableBuffer) -> int:
        """Hash a buffer and return its length in bytes."""
        with memoryview(buffer) as view:
            if not view.c_contiguous:
                raise BufferError("SHA-256 needs a C-contiguous buffer")
            data = self._pending + view.tobytes()
            length = view.nbytes
        whole = len(data) - len(data) % BLOCK_SIZE
        for offset in range(0, whole, BLOCK_SIZE):
            self._words = _compress(self._words, data, offset)
        self._pending = data[whole:]
        self._length += length
        return length

    def words(self) -> Midstate:
        """Return the running words."""
        return self._words

    def digest(self) -> bytes:
        """Return the digest of all bytes so far, leaving the state as it is."""
        zeros = -(len(self._pending) + 1 + 8) % BLOCK_SIZE
        bits = (self._length * 8).to_bytes(8, "big")
        last = self.copy()
        last.update(b"\x80" + bytes(zeros) + bits)
        return struct.pack(">8I", *last.words())

    def copy(self) -> PortableState:
        """Return an independent state that has hashed the same bytes."""
        return PortableState(self._words, self._length, self._pending)


_MASK = 0xFFFFFFFF

_unpack_block = struct.Struct(">16I").unpack_from

# Times this, a word stands twice in 64 bits, and a shift of it leaves a rotation in the low half.
_TWICE = 0x1_0000_0001

# fmt: off
_ROUND_CONSTANTS = (
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
)
# fmt: on


def _compress(words: Midstate, data: bytes, offset: int) -> Midstate:
    """Compress the block of ``data`` at ``offset``, in the letters of FIPS 180-4.

    Shorter than it could be: unrolled by four or in full it was no faster on Python 3.11, and a
    third slower on 3.13.
    """
    schedule = list(_unpack_block(data, offset))
    for t in range(16, BLOCK_SIZE):
        early, late = schedule[t - 15], schedule[t - 2]
        x, y = early * _TWICE, late * _TWICE
        sigma0 = (x >> 7 ^ x >> 18) & _MASK ^ early >> 3
        sigma1 = (y >> 17 ^ y >> 19) & _MASK ^ late >> 10
        schedule.append((schedule[t - 16] + sigma0 + schedule[t - 7] + sigma1) & _MASK)

    a, b, c, d, e, f, g, h = words
    for constant, word in zip(_ROUND_CONSTANTS, schedule, strict=True):
        x, y = e * _TWICE, a * _TWICE
        sum1 = (x >> 6 ^ x >> 11 ^ x >> 25) & _MASK
        sum0 = (y >> 2 ^ y >> 13 ^ y >> 22) & _MASK
        t1 = h + sum1 + (g ^ e & (f ^ g)) + constant + word
        t2 = sum0 + (a & b | c & (a | b))
        h, g, f, e = g, f, e, (d + t1) & _MASK
        d, c, b, a = c, b, a, (t1 + t2) & _MASK

    h0, h1, h2, h3, h4, h5, h6, h7 = words
    return (
        (h0 + a) & _MASK,
        (h1 + b) & _MASK,
        (h2 + c) & _MASK,
        (h3 + d) & _MASK,
        (h4 + e) & _MASK,
        (h5 + f) & _MASK,
        (h6 + g) & _MASK,
        (h7 + h) & _MASK,
    )
