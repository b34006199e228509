"""Numbers and names as a person reads them."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

_STEP: Final = 1000
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def size_text(size: float) -> str:
    """Return a number of bytes such as ``12.3 MB``, in decimal units as speeds are."""
    if size < _STEP:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= _STEP
        if size < _STEP - 0.05:  # what rounds to 1000.0 is of the next unit
            return f"{size:.1f} {unit}"
    return f"{size / _STEP:.1f} TB"


def count_text(count: int, thing: str) -> str:
    """Return a count with its noun, such as ``1 file`` or ``1,234 files``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def time_text(seconds: float) -> str:
    """Return a length of time such as ``0:42``, ``1:02:03`` or ``2 d 3 h``."""
    whole = round(seconds)
    if whole >= _DAY:
        return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
    minutes = f"{whole % _HOUR // _MINUTE}"
    rest = f"{whole % _MINUTE:02}"
    return f"{whole // _HOUR}:{minutes:0>2}:{rest}" if whole >= _HOUR else f"{minutes}:{rest}"


def in_zone(moment: datetime, zone: tzinfo | None = UTC) -> datetime:
    """Return a moment in a time zone, or as it is where the calendar of Python has no such day.

    A service may send the first or the last day that there is, as "never", and in its own zone.

    :param zone: None for the zone of this machine.
    """
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return moment


def moment_text(moment: datetime) -> str:
    """Return a moment to the second, such as ``2026-11-21T07:30:05+00:00``, in UTC if it can be."""
    return in_zone(moment).isoformat(timespec="seconds")


def printable(text: str) -> str:
    """Return a name that takes one line and no control of the terminal.

    A file name may hold a tab, a new line, an escape sequence, or bytes that are no text at all.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def shortened(text: str, longest: int) -> str:
    """Return a text of at most so many characters; one that is cut ends with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
