"""SHA-256 through the Init, Update and Final functions of a C library, by ctypes."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import ReadableBuffer

    from koodrive_async.hashing.protocol import Midstate

SPARE_BYTES = 256
"""Room behind the documented fields of a context, so that a library with a larger one, before the
self-test finds it out, does not write over memory that is not its own."""

_DIGEST_SIZE = 32
_SUCCESS = 1

_UPDATE_LIMIT = 1 << 30
"""Bytes in one call of Update: CommonCrypto takes the length in 32 bits."""


@attrs.frozen
class CtypesBackend:
    """A loaded library: the layout of its context and its three functions.

    The functions belong to a ``ctypes.CDLL``, so the GIL is released while they run.
    """

    name: str
    origin: str
    context_type: type[Context]
    functions: Functions = attrs.field(repr=False)

    def begin(self) -> CtypesState:
        """Return a state that has hashed nothing."""
        context = self.context_type()
        _check(self.functions.init(ctypes.addressof(context)))
        return CtypesState(context, self.functions)

    def resume(self, words: Midstate, length: int) -> CtypesState:
        """Return a state that goes on after ``length`` bytes."""
        state = self.begin()
        state.context.place(words, length)
        return state


class Context(ctypes.Structure):
    """The C structure of a running SHA-256; a subclass names the fields of one library."""

    def place(self, words: Midstate, length: int) -> None:
        """Write the running words and the count of ``length`` bytes, none of them pending."""
        raise NotImplementedError

    def words(self) -> Midstate:
        """Read the running words."""
        raise NotImplementedError


@attrs.frozen
class Functions:
    """Init, Update and Final of one library."""

    init: Callable[[int], int]
    update: Callable[[int, int, int], int]
    final: Callable[[int, int], int]

    @classmethod
    def of(cls, library: ctypes.CDLL, names: Sequence[str], length_type: type) -> Self:
        """Look the functions up.

        :param library: the library that should have them.
        :param names: of Init, Update and Final, in this order.
        :param length_type: the C type of the length that Update takes.
        :raises AttributeError: if the library does not export one of them.
        """
        init, update, final = (getattr(library, name) for name in names)
        init.argtypes = (ctypes.c_void_p,)
        update.argtypes = (ctypes.c_void_p, ctypes.c_void_p, length_type)
        final.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        for function in (init, update, final):
            function.restype = ctypes.c_int
        return cls(init, update, final)


class CtypesState:
    """One running SHA-256 in the context of a C library.

    The library changes the context while the GIL is released, so only one thread at a time may
    use a state, reading included. Different states share nothing.
    """

    __slots__ = ("_address", "_functions", "context")

    def __init__(self, context: Context, functions: Functions) -> None:
        self.context = context
        self._address = ctypes.addressof(context)
        self._functions = functions

    def update(self, buffer: ReadableBuffer) -> int:
        """Hash a buffer in place, without a copy, and return its length in bytes."""
        view = _BufferView()
        _get_buffer(buffer, ctypes.byref(view), _PYBUF_SIMPLE)
        try:
            for offset in range(0, view.len, _UPDATE_LIMIT):
                length = min(view.len - offset, _UPDATE_LIMIT)
                _check(self._functions.update(self._address, view.buf + offset, length))
            return int(view.len)
        finally:
            _release_buffer(ctypes.byref(view))

    def words(self) -> Midstate:
        """Return the running words."""
        return self.context.words()

    def digest(self) -> bytes:
        """Return the digest of all bytes so far, leaving the state as it is."""
        digest = (ctypes.c_char * _DIGEST_SIZE)()
        # Final pads and wipes the context it is given.
        context = type(self.context).from_buffer_copy(self.context)
        _check(self._functions.final(ctypes.addressof(digest), ctypes.addressof(context)))
        return digest.raw

    def copy(self) -> CtypesState:
        """Return an independent state that has hashed the same bytes."""
        return CtypesState(type(self.context).from_buffer_copy(self.context), self._functions)


def _check(status: int) -> None:
    if status != _SUCCESS:
        raise RuntimeError(f"a SHA-256 function of the C library returned {status}, not success")


class _BufferView(ctypes.Structure):
    """``Py_buffer``, whose layout belongs to the stable ABI since Python 3.11."""

    _fields_: ClassVar = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]

    buf: int
    len: int


# The buffer protocol itself, because ``from_buffer`` refuses read-only memory and every other
# way to the address of a read-only memoryview copies it.
_PYBUF_SIMPLE = 0
_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.c_void_p, ctypes.c_int)
_get_buffer.restype = ctypes.c_int
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.c_void_p,)
_release_buffer.restype = None
