"""SHA-256 by the libcrypto that Python's own hashlib and ssl use: OpenSSL or a relative of it."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from koodrive_async.hashing._ctypes_state import SPARE_BYTES, Context, CtypesBackend, Functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.hashing.protocol import Midstate

NAME = "libcrypto"

# Deprecated since OpenSSL 3.0 in favour of EVP, whose contexts are opaque, but still exported.
_FUNCTIONS = ("SHA256_Init", "SHA256_Update", "SHA256_Final")


def candidates() -> Iterator[CtypesBackend]:
    """Yield a backend for each library found, the one this interpreter already uses first."""
    for origin in _origins():
        try:
            library = ctypes.CDLL(origin)
            functions = Functions.of(library, _FUNCTIONS, ctypes.c_size_t)
        except (OSError, AttributeError):
            continue
        yield CtypesBackend(NAME, origin or "the interpreter", Sha256Ctx, functions)


class Sha256Ctx(Context):
    """``SHA256_CTX`` of ``openssl/sha.h``: the same in OpenSSL, LibreSSL, BoringSSL and AWS-LC."""

    _fields_: ClassVar = [
        ("h", ctypes.c_uint * 8),
        ("Nl", ctypes.c_uint),
        ("Nh", ctypes.c_uint),
        ("data", ctypes.c_uint * 16),
        ("num", ctypes.c_uint),
        ("md_len", ctypes.c_uint),
        ("_spare", ctypes.c_char * SPARE_BYTES),
    ]

    h: ctypes.Array[ctypes.c_uint]
    Nh: int
    Nl: int

    def place(self, words: Midstate, length: int) -> None:
        """Write the running words, and the count of bits as its low and its high word."""
        self.h[:] = list(words)
        self.Nh, self.Nl = divmod(length * 8, 2**32)

    def words(self) -> Midstate:
        """Read the running words."""
        h0, h1, h2, h3, h4, h5, h6, h7 = self.h
        return h0, h1, h2, h3, h4, h5, h6, h7


def _origins() -> Iterator[str | None]:
    """Yield what to give to ``ctypes.CDLL``, the likeliest first; None is the interpreter."""
    modules = [path for name in ("_hashlib", "_ssl") if (path := _file_of(name))]
    if sys.platform == "win32":
        yield from _windows_libraries(modules)
        return
    # A symbol is looked up in a module and in what it is linked to, so this is the very library
    # that hashlib uses, wherever it lies.
    yield from map(str, modules)
    yield None
    if sys.platform == "darwin":
        # Never by bare name: macOS aborts a process that loads /usr/lib/libcrypto.dylib.
        yield from _mac_libraries()
        return
    yield from ("libcrypto.so.3", "libcrypto.so.1.1")
    # Last, because it starts ldconfig or a compiler to ask them.
    if found := ctypes.util.find_library("crypto"):
        yield found


def _file_of(module: str) -> Path | None:
    try:
        path = getattr(importlib.import_module(module), "__file__", None)
    except ImportError:
        return None
    return Path(path) if path else None


def _windows_libraries(modules: list[Path]) -> Iterator[str]:
    """Yield the DLLs that Python, conda or MSYS2 brings, of any version and architecture."""
    base = Path(sys.base_prefix)
    folders = [path.parent for path in modules]
    folders += [base / "DLLs", base, base / "Library" / "bin", base / "bin"]
    for folder in dict.fromkeys(folders):
        yield from map(str, sorted(folder.glob("libcrypto-*.dll"), reverse=True))


def _mac_libraries() -> Iterator[str]:
    """Yield the libraries that Python, Homebrew or MacPorts brings, if they are there."""
    folders = (
        f"{sys.base_prefix}/lib",
        "/opt/homebrew/opt/openssl@3/lib",
        "/usr/local/opt/openssl@3/lib",
        "/opt/local/lib",
    )
    for folder in folders:
        # The loader looks elsewhere for a path that does not exist.
        if (path := Path(folder) / "libcrypto.3.dylib").exists():
            yield str(path)
