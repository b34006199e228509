"""Numbers, names and errors as a person reads them."""

from __future__ import annotations

from typing import Final

from koodrive_async.errors import LockRefused

_STEP: Final = 1000


def size_text(size: float) -> str:
    """Return a number of bytes such as ``12.3 MB``, in decimal units as speeds are."""
    if size < _STEP:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= _STEP
        if size < _STEP:
            return f"{size:.1f} {unit}"
    return f"{size / _STEP:.1f} TB"


def speed_text(size: int, seconds: float) -> str:
    """Return a speed such as ``123.4 MB/s``."""
    return f"{size / max(seconds, 1e-6) / _STEP**2:.1f} MB/s"


def count_text(count: int, thing: str) -> str:
    """Return a count with its noun, such as ``1 file`` or ``1,234 files``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return a name that takes one line and no control of the terminal.

    A file name may hold a tab, a new line, an escape sequence, or bytes that are no text at all.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


_ABOUT_LOCKS: Final = (
    "somebody else is backing up, or a backup that was killed has left its lock behind; --resume "
    "takes over one of this folder, --wait SECONDS waits, and after 10 minutes it is free by itself"
)


def reason(error: BaseException) -> str:
    """Return what went wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return printable(f"{where}{error.strerror}")
    if isinstance(error, LockRefused):
        return printable(f"{error.msg}: {_ABOUT_LOCKS}")
    return printable(str(error) or type(error).__name__)
