"""How a file is cut into parts: every rule of the interface, in one pure function."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from koodrive_async import html
from koodrive_async.errors import InvalidArgument
from koodrive_async.resources.files import check_length

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

ALIGNMENT = 64
"""Bytes: SHA-256 works on blocks of this size, and a midstate exists only between two of them."""

MIN_PART_SIZE = 5 * MIB
MAX_PART_SIZE = 5 * GIB
MAX_PARTS = 10_000
DEFAULT_PART_SIZE = 8 * MIB


class PlannedPart(NamedTuple):
    """One part: its number from 1, its offset and size in bytes."""

    number: int
    offset: int
    size: int


@attrs.frozen
class Plan:
    """How a file is cut.

    :ivar size: Bytes of the file.
    :ivar part_size: Bytes of every part but the last, which may be shorter.
    :ivar parts: In order, without gaps; an empty file has one empty part.
    """

    size: int
    part_size: int
    parts: tuple[PlannedPart, ...] = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.parts)

    def _repr_html_(self) -> str:
        cells = {
            "size": html.size(self.size),
            "part size": html.size(self.part_size),
            "parts": html.number(len(self.parts)),
        }
        rows = [_PartRow(part) for part in self.parts]
        return html.card("Plan", cells, below=html.listing("Parts", rows))


@attrs.frozen
class _PartRow:
    part: PlannedPart

    def _html_row_(self) -> html.Cells:
        return {
            "number": html.number(self.part.number),
            "offset": html.number(self.part.offset),
            "size": html.size(self.part.size),
        }


def plan_parts(size: int, part_size: int | None = None) -> Plan:
    """Cut a file into parts by the rules of page ``createBackupFile``.

    :param size: Bytes of the file, 0 to 200 GB.
    :param part_size: Bytes of a part: a multiple of 64 from 5 MiB to 5 GiB that gives at most
        10,000 parts. By default 8 MiB, or what a large file needs, in whole MiB.
    :returns: The plan.
    :raises FileTooLarge: The file is over 200 GB.
    :raises InvalidArgument: ``part_size`` breaks a rule (the message says which, and the nearest
        size that does not), ``size`` is negative, or one of them is no whole number. It is a
        ``ValueError``.
    """
    for name, given in (("size", size), ("part_size", 0 if part_size is None else part_size)):
        if type(given) is not int:
            raise InvalidArgument(f"{name} must be a whole number of bytes, not {given!r}")
    if size < 0:
        raise InvalidArgument(f"a file cannot have {size} bytes")
    check_length(size)
    if part_size is None:
        part_size = max(DEFAULT_PART_SIZE, _round_up(-(-size // MAX_PARTS), MIB))
    else:
        _check_part_size(size, part_size)
    offsets = range(0, max(size, 1), part_size)
    return Plan(
        size,
        part_size,
        tuple(
            PlannedPart(number, offset, min(part_size, size - offset))
            for number, offset in enumerate(offsets, start=1)
        ),
    )


def _check_part_size(size: int, part_size: int) -> None:
    smallest = max(MIN_PART_SIZE, _round_up(-(-size // MAX_PARTS), ALIGNMENT))
    nearest = min(MAX_PART_SIZE, max(smallest, _round(part_size, ALIGNMENT)))
    if part_size < MIN_PART_SIZE:
        broken = f"at least 5 MiB ({MIN_PART_SIZE} bytes)"
    elif part_size > MAX_PART_SIZE:
        broken = f"at most 5 GiB ({MAX_PART_SIZE} bytes)"
    elif part_size % ALIGNMENT:
        broken = f"a multiple of {ALIGNMENT} bytes"
    elif part_size < smallest:
        broken = f"large enough for {size} bytes in {MAX_PARTS} parts"
    else:
        return
    raise InvalidArgument(
        f"part_size must be {broken}, not {part_size}; the nearest legal size is {nearest}"
    )


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _round(value: int, step: int) -> int:
    return (value + step // 2) // step * step
