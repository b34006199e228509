"""SHA-256 by CommonCrypto, which every macOS has, for interpreters without a usable libcrypto.

Written from Apple's header and published source. The project's own tests run where there is no
macOS and see it only being passed over; on a Mac the self-test decides whether it may be used.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, ClassVar

from koodrive_async.hashing._ctypes_state import SPARE_BYTES, Context, CtypesBackend, Functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.hashing.protocol import Midstate

NAME = "commoncrypto"

_LIBRARY = "/usr/lib/libSystem.B.dylib"
_FUNCTIONS = ("CC_SHA256_Init", "CC_SHA256_Update", "CC_SHA256_Final")


def candidates() -> Iterator[CtypesBackend]:
    """Yield the backend on Apple's systems, nothing elsewhere."""
    try:
        # Not looked for on disk first: system libraries live in the loader's shared cache.
        functions = Functions.of(ctypes.CDLL(_LIBRARY), _FUNCTIONS, ctypes.c_uint32)
    except (OSError, AttributeError):
        return
    yield CtypesBackend(NAME, _LIBRARY, CcSha256Ctx, functions)


class CcSha256Ctx(Context):
    """``CC_SHA256_CTX`` of ``CommonCrypto/CommonDigest.h``.

    The header declares ``count`` as two 32-bit words; the code behind it keeps one 64-bit count
    there, of bytes and not of bits, and takes the pending bytes from its remainder by 64.
    """

    _fields_: ClassVar = [
        ("count", ctypes.c_uint64),
        ("hash", ctypes.c_uint32 * 8),
        ("wbuf", ctypes.c_uint32 * 16),
        ("_spare", ctypes.c_char * SPARE_BYTES),
    ]

    hash: ctypes.Array[ctypes.c_uint32]

    def place(self, words: Midstate, length: int) -> None:
        """Write the running words and the count of bytes."""
        self.hash[:] = list(words)
        self.count = length

    def words(self) -> Midstate:
        """Read the running words."""
        h0, h1, h2, h3, h4, h5, h6, h7 = self.hash
        return h0, h1, h2, h3, h4, h5, h6, h7
