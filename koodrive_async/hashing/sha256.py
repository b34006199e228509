"""SHA-256 whose running words can be read and set, on the best backend this machine has."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, Self

from koodrive_async.hashing import commoncrypto, libcrypto, portable
from koodrive_async.hashing.protocol import BLOCK_SIZE, INITIAL_MIDSTATE, LENGTH_LIMIT
from koodrive_async.hashing.selftest import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from _typeshed import ReadableBuffer

    from koodrive_async.hashing.protocol import Midstate, Sha256Backend, Sha256State

_log = logging.getLogger(__name__)


class NotContiguousError(BufferError, ValueError):
    """A buffer does not lie in one piece in memory."""


class Sha256:
    """A running SHA-256 that gives away its words at every multiple of 64 bytes.

    Like a file, an instance is used by one thread at a time, reading included: while a large
    buffer is hashed the GIL is released. Instances share nothing, so threads with one each run
    in parallel.

    :param backend: what computes it; by default the one that :func:`backend` names.
    """

    __slots__ = ("_length", "_state")

    _state: Sha256State
    _length: int

    def __init__(self, *, backend: Sha256Backend | None = None) -> None:
        self._state = (backend or selected()).begin()
        self._length = 0

    @classmethod
    def resume(
        cls, midstate: Sequence[int], length: int, *, backend: Sha256Backend | None = None
    ) -> Self:
        """Go on from a midstate, as if the bytes before it had been hashed here.

        :param midstate: the eight words at ``length``, H0 first; may be empty when ``length`` is
            0, as the interface sends it for the first part.
        :param length: bytes hashed so far, a multiple of 64.
        :param backend: what computes it; by default the one that :func:`backend` names.
        :returns: a running SHA-256.
        :raises TypeError: if the length is not an integer, or the midstate no sequence.
        :raises ValueError: if the words or the length cannot be those of a SHA-256.
        """
        words = _checked_midstate(midstate, length)
        return cls._running((backend or selected()).resume(words, length), length)

    @classmethod
    def _running(cls, state: Sha256State, length: int) -> Self:
        running: Self = cls.__new__(cls)
        running._state = state
        running._length = length
        return running

    def __repr__(self) -> str:
        return f"<{type(self).__name__} after {self._length} bytes>"

    @property
    def length(self) -> int:
        """Bytes hashed so far, those before a :meth:`resume` included."""
        return self._length

    def update(self, buffer: ReadableBuffer) -> None:
        """Hash more bytes, in place and with the GIL released.

        :param buffer: any C-contiguous bytes-like object, read-only or not. It must not change
            until this returns.
        :raises TypeError: if the object is not bytes-like.
        :raises NotContiguousError: if the buffer is not C-contiguous.
        """
        try:
            self._length += self._state.update(buffer)
        except BufferError as error:
            raise NotContiguousError(str(error)) from None

    def midstate(self) -> Midstate:
        """Return the eight running words, H0 first.

        :returns: eight integers of 32 bits, unsigned.
        :raises ValueError: if :attr:`length` is not a multiple of 64; there is no midstate inside
            a block.
        """
        if past := self._length % BLOCK_SIZE:
            raise ValueError(
                f"SHA-256 has a midstate only at a multiple of {BLOCK_SIZE} bytes;"
                f" {self._length} is {past} past one and {BLOCK_SIZE - past} before the next"
            )
        return self._state.words()

    def digest(self) -> bytes:
        """Return the digest of all bytes so far; more may follow."""
        return self._state.digest()

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far as 64 lower-case hexadecimal digits."""
        return self._state.digest().hex()

    def copy(self) -> Self:
        """Return an independent SHA-256 that has hashed the same bytes."""
        return self._running(self._state.copy(), self._length)


def backend() -> str:
    """Return the name of the backend in use: ``libcrypto``, ``commoncrypto`` or ``portable``.

    The first call, or the first hash, chooses it for the life of the process: the first of these
    three that passes its self-test, or the one that the environment variable
    ``KOODRIVE_SHA256_BACKEND`` names.

    :returns: the name.
    :raises ValueError: if the environment variable names no backend.
    :raises RuntimeError: if it names one that this machine does not have.
    """
    return selected().name


def selected() -> Sha256Backend:
    """Return the backend in use, choosing it at the first call.

    :raises ValueError: if the environment variable names no backend.
    :raises RuntimeError: if it names one that this machine does not have.
    """
    return _selection.get()


_VARIABLE = "KOODRIVE_SHA256_BACKEND"

_CANDIDATES: Mapping[str, Callable[[], Iterable[Sha256Backend]]] = {
    libcrypto.NAME: libcrypto.candidates,
    commoncrypto.NAME: commoncrypto.candidates,
    portable.NAME: portable.candidates,
}
"""What to try for each name, the best first."""


def choose(
    forced: str | None = None,
    candidates: Mapping[str, Callable[[], Iterable[Sha256Backend]]] = _CANDIDATES,
) -> Sha256Backend:
    """Return the first backend that passes its self-test.

    :param forced: the only name to try.
    :param candidates: what to try for each name, in this order.
    :raises ValueError: if ``forced`` is not one of the names.
    :raises RuntimeError: if nothing tried is there and passes.
    """
    if forced and forced not in candidates:
        raise ValueError(f"{_VARIABLE}={forced!r} is not one of {', '.join(candidates)}")
    names = [forced] if forced else list(candidates)
    for name in names:
        for candidate in candidates[name]():
            fault = fault_of(candidate)
            if fault is None:
                _log.debug("SHA-256 by %r", candidate)
                return candidate
            _log.debug("SHA-256 backend %r passed over, self-test: %s", candidate, fault)
        _log.debug("SHA-256 backend %s is not usable here", name)
    raise RuntimeError(f"no usable SHA-256 backend among {', '.join(names)}")


class _Selection:
    """The choice of this process, made once by whichever thread comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._backend: Sha256Backend | None = None

    def begin_again(self) -> None:
        """Take another lock: in a forked process nothing may be left to release the old one."""
        self._lock = threading.Lock()

    def get(self) -> Sha256Backend:
        if self._backend is not None:
            return self._backend
        forced = os.environ.get(_VARIABLE, "").strip().lower() or None
        with self._lock:
            if self._backend is not None:
                return self._backend
            self._backend = chosen = choose(forced)
        # Outside of the lock: a warning runs code that is not ours.
        if chosen.name == portable.NAME and not forced:
            warnings.warn(_SLOW, RuntimeWarning, stacklevel=4)
        return chosen


_selection = _Selection()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_selection.begin_again)

_SLOW = (
    "SHA-256 runs in plain Python, about 0.6 MB/s instead of 1 GB/s or more, and stalls other"
    " threads while it runs: no libcrypto with SHA256_Init was found for this interpreter."
    " Use a Python that is linked to a shared OpenSSL, or install one (libcrypto.so.3,"
    f" libcrypto.3.dylib) where the loader finds it. {_VARIABLE}=portable accepts the speed and"
    " silences this warning."
)


def _checked_midstate(midstate: Sequence[int], length: int) -> Midstate:
    if not isinstance(length, int):
        raise TypeError(f"a length is an integer, not {type(length).__name__}")
    if length % BLOCK_SIZE or not 0 <= length < LENGTH_LIMIT:
        raise ValueError(
            f"SHA-256 resumes at a multiple of {BLOCK_SIZE} bytes below 2**61, not at {length}"
        )
    words = tuple(midstate)
    if not words and length == 0:
        return INITIAL_MIDSTATE
    if len(words) != len(INITIAL_MIDSTATE):
        raise ValueError(f"a SHA-256 midstate has 8 words, not {len(words)}")
    for index, word in enumerate(words):
        if not _is_uint32(word):
            raise ValueError(f"word {index} of the SHA-256 midstate is no uint32: {word!r}")
    if length == 0 and words != INITIAL_MIDSTATE:
        raise ValueError("at length 0 the SHA-256 midstate is empty or the initial words")
    h0, h1, h2, h3, h4, h5, h6, h7 = words
    return h0, h1, h2, h3, h4, h5, h6, h7


def _is_uint32(word: object) -> bool:
    return isinstance(word, int) and 0 <= word < 2**32
