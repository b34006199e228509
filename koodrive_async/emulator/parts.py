"""The rules of a part list: numbers, sizes, offsets and midstates (createBackupFile, uploadUrl)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import attrs

from koodrive_async.emulator.answers import invalid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

BLOCK: Final = 64
WORDS: Final = struct.Struct(">8I")


@attrs.frozen(kw_only=True)
class Part:
    """A part as declared.

    :param offset: bytes of the file before this part.
    :param hash_ctx: the state of SHA-256 before this part; ``None`` for the first part and in
        sequential mode.
    """

    number: int
    offset: int
    size: int
    hash_ctx: tuple[int, ...] | None

    @property
    def end(self) -> int:
        """The offset of the byte after this part."""
        return self.offset + self.size

    @classmethod
    def stored(cls, row: sqlite3.Row) -> Part:
        """Return the part of a row of the table ``parts``."""
        words = row["hash_ctx"]
        return cls(
            number=row["number"],
            offset=row["offset"],
            size=row["size"],
            hash_ctx=None if words is None else WORDS.unpack(words),
        )


def declared(
    given: Sequence[Mapping[str, Any]], known: Mapping[int, Part], *, concurrent: bool
) -> list[Part]:
    """Return the parts of a request, offsets worked out where they are left out.

    :param given: ``multiParts``, field rules already checked.
    :param known: the parts declared earlier, by number.
    :param concurrent: whether parts may arrive in any order, and so must carry ``hashCtx``.
    :raises RefusedError: when a number comes twice, an offset cannot be worked out, or a known
        part is given with another size, offset or state.
    """
    parts: dict[int, Part] = {}
    for fields in sorted(given, key=lambda fields: int(fields["partNumber"])):
        number = fields["partNumber"]
        if number in parts:
            raise invalid(f"multiParts: part {number} is given twice")
        before = parts.get(number - 1) or known.get(number - 1)
        parts[number] = (
            _same_as_known(fields, known[number])
            if number in known
            else _new_part(fields, before, concurrent=concurrent)
        )
    return list(parts.values())


def is_concurrent(given: Sequence[Mapping[str, Any]]) -> bool:
    """Rule: a list in which no part has ``partOffset`` or ``hashCtx`` is a sequential upload."""
    return any("partOffset" in fields or "hashCtx" in fields for fields in given)


def check_list(
    parts: Sequence[Part], *, length: int, min_size: int, concurrent: bool, whole: bool
) -> None:
    """Check a part list against the length of its file.

    :param parts: in the order of their numbers.
    :param length: bytes of the file.
    :param min_size: smallest size of a part that is not the last, in bytes.
    :param whole: whether the list must be complete, without gaps.
    :raises RefusedError: with 13000102 and the part that breaks a rule.
    """
    if whole:
        _check_whole(parts, length)
    for before, part in zip((None, *parts), parts, strict=False):
        _check_position(before, part)
        is_last = part is parts[-1] and part.end == length
        if part.end > length:
            raise invalid(f"multiParts: part {part.number} goes beyond length {length}")
        if not is_last and part.size < min_size:
            raise invalid(f"multiParts: part {part.number} is smaller than {min_size} bytes")
        if concurrent and (part.offset % BLOCK or (not is_last and part.size % BLOCK)):
            raise invalid(f"multiParts: part {part.number} is not on multiples of {BLOCK} bytes")


def _same_as_known(fields: Mapping[str, Any], part: Part) -> Part:
    words = tuple(fields.get("hashCtx", ())) or part.hash_ctx
    if (fields["partSize"], fields.get("partOffset", part.offset), words) != (
        part.size,
        part.offset,
        part.hash_ctx,
    ):
        raise invalid(
            f"multiParts: part {part.number} was declared with another size, offset or hashCtx"
        )
    return part


def _new_part(fields: Mapping[str, Any], before: Part | None, *, concurrent: bool) -> Part:
    number = fields["partNumber"]
    offset = fields.get("partOffset")
    if offset is None:
        if number > 1 and before is None:
            raise invalid(f"multiParts: part {number} needs partOffset")
        offset = 0 if before is None else before.end
    words = tuple(fields.get("hashCtx", ())) or None
    if number == 1 and words is not None:
        raise invalid("multiParts: part 1 has nothing before it, its hashCtx must be empty")
    if number > 1 and concurrent and words is None:
        raise invalid(f"multiParts: part {number} needs hashCtx")
    if not concurrent and is_concurrent([fields]):
        raise invalid("multiParts: partOffset and hashCtx do not go with a sequential upload")
    return Part(number=number, offset=offset, size=fields["partSize"], hash_ctx=words)


def _check_whole(parts: Sequence[Part], length: int) -> None:
    if [part.number for part in parts] != list(range(1, len(parts) + 1)):
        raise invalid("multiParts: the part numbers must be 1, 2, 3, ... without a gap")
    if sum(part.size for part in parts) != length:
        raise invalid(f"multiParts: the sizes of the parts do not add up to length {length}")


def _check_position(before: Part | None, part: Part) -> None:
    expected = 0 if before is None else before.end
    follows = part.number == (1 if before is None else before.number + 1)
    if (follows and part.offset != expected) or part.offset < expected:
        raise invalid(
            f"multiParts: part {part.number} starts at {part.offset}, not behind the part before it"
        )
