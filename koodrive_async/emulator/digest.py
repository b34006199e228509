"""The SHA-256 of one part, gone on with from the state before it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from koodrive_async.emulator.parts import BLOCK
from koodrive_async.hashing import Sha256

if TYPE_CHECKING:
    from collections.abc import Sequence


class PartDigest:
    """Hashes a part as its bytes arrive, and keeps the state at the last block boundary in it.

    :param state: eight words after ``offset`` bytes, rounded down to a block; ``None`` at the start
        of a file.
    :param tail: the bytes between that boundary and ``offset``; empty in a concurrent upload,
        whose parts begin on boundaries.
    :param offset: bytes before the part.
    :param size: bytes of the part.
    :param md5: whether :attr:`etag` is the MD5 of the part, which costs more than its SHA-256.
    """

    def __init__(
        self, state: Sequence[int] | None, *, tail: bytes, offset: int, size: int, md5: bool
    ) -> None:
        boundary = offset - len(tail)
        self._sha256 = Sha256() if state is None else Sha256.resume(tuple(state), boundary)
        self._last_boundary = (offset + size) // BLOCK * BLOCK
        self._position = boundary
        self._end_state: tuple[int, ...] | None = None
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._keep_state()
        self._hash(tail)

    @property
    def etag(self) -> str:
        """The ``ETag`` of the bytes so far: their MD5, or 32 digits that mean nothing."""
        name = self._sha256.hexdigest()[:32] if self._md5 is None else self._md5.hexdigest()
        return f'"{name}"'

    def update(self, data: bytes) -> None:
        """Hash the next bytes of the part."""
        if self._md5 is not None:
            self._md5.update(data)
        self._hash(data)

    def end(self) -> tuple[tuple[int, ...], str]:
        """Return the state at the last block boundary, and the digest of all bytes so far."""
        if self._end_state is None:
            raise ValueError("the part has not been hashed to its end")
        return self._end_state, self._sha256.hexdigest()

    def _hash(self, data: bytes) -> None:
        to_boundary = self._last_boundary - self._position
        if 0 < to_boundary < len(data):
            self._take(data[:to_boundary])
            self._take(data[to_boundary:])
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._sha256.update(data)
        self._position += len(data)
        self._keep_state()

    def _keep_state(self) -> None:
        if self._position == self._last_boundary and self._end_state is None:
            self._end_state = self._sha256.midstate()
