"""Proof that what is sent is what was hashed: each part leads from one midstate to the next."""

from __future__ import annotations

import re
from hashlib import md5
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import SourceChanged
from koodrive_async.hashing import Sha256
from koodrive_async.upload.source import SLICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.upload.plan import Plan, PlannedPart
    from koodrive_async.upload.source import Content
    from koodrive_async.upload.streams import Buffer

_MD5_ETAG = re.compile(r'(?:W/)?"?([0-9a-fA-F]{32})"?')


@attrs.frozen
class PartChain:
    """One link of the chain: where the hash of a part begins, and what it must lead to.

    :param name: Of the file, for the error.
    :param fingerprint: With midstates at every boundary of the parts.
    """

    name: str
    part: PlannedPart
    fingerprint: Fingerprint

    def begin(self) -> Sha256:
        """Return a running hash that is to see the bytes of the part, and no others."""
        offset = self.part.offset
        return Sha256.resume(self.fingerprint.midstate(offset), offset)

    @property
    def end(self) -> int:
        """Bytes of the file up to the end of the part."""
        return self.part.offset + self.part.size

    def leads_on(self, seen: Sha256) -> bool:
        """Return whether these were the bytes that the fingerprint was taken of."""
        if seen.length != self.end:
            return False
        if self.end == self.fingerprint.size:
            return seen.hexdigest() == self.fingerprint.sha256
        return seen.midstate() == self.fingerprint.midstate(self.end)

    def check(self, seen: Sha256) -> None:
        """See that a part leads to where the next one begins, if all of it was seen.

        :raises SourceChanged: It does not.
        """
        if seen.length >= self.end and not self.leads_on(seen):
            raise SourceChanged(
                self.name, f"the bytes of part {self.part.number} are not those that were hashed"
            )


def wrong_parts(
    content: Content,
    plan: Plan,
    fingerprint: Fingerprint,
    checkpoint: Callable[[int], None] | None = None,
) -> tuple[int, ...]:
    """Read a source once more, and name the parts that are not what was hashed; blocks.

    :param fingerprint: With midstates at every boundary of the parts.
    :param checkpoint: Hears the bytes read so far, after every MiB; raises to end the reading.
    :returns: Their numbers, in order.
    :raises OSError: The source cannot be read.
    """
    wrong = []
    for part in plan.parts:
        chain = PartChain("", part, fingerprint)
        seen = chain.begin()
        for piece in _pieces(content, part, checkpoint):
            seen.update(piece)
        if not chain.leads_on(seen):
            wrong.append(part.number)
    return tuple(wrong)


def suspects(
    content: Content,
    plan: Plan,
    etags: Mapping[int, str | None],
    checkpoint: Callable[[int], None] | None = None,
) -> tuple[int, ...]:
    """Name the parts that the object store seems to have stored otherwise than they are; blocks.

    Many object stores give the MD5 of a part as its ETag. Where not one of them is the MD5 of what
    was sent, they are something else, and tell nothing.

    :param etags: As the object store gave them, by part number.
    :param checkpoint: As for :func:`wrong_parts`.
    :returns: The numbers of parts whose ETag does not fit while that of another does.
    :raises OSError: The source cannot be read.
    """
    unlike, fitting = [], 0
    for part in plan.parts:
        found = _MD5_ETAG.fullmatch(etags.get(part.number) or "")
        if found is None:
            continue
        seen = md5(usedforsecurity=False)
        for piece in _pieces(content, part, checkpoint):
            seen.update(piece)
        if seen.hexdigest() == found[1].lower():
            fitting += 1
        else:
            unlike.append(part.number)
    return tuple(unlike) if fitting else ()


def _pieces(
    content: Content, part: PlannedPart, checkpoint: Callable[[int], None] | None
) -> Iterator[Buffer]:
    """Read a part piece by piece; it ends early where the source does."""
    offset, end = part.offset, part.offset + part.size
    while offset < end:
        try:
            piece = content.read(offset, min(SLICE, end - offset))
        except SourceChanged:
            return  # it has become shorter, which whoever compares will see
        if not piece:
            return
        yield piece
        offset += len(piece)
        if checkpoint is not None:
            checkpoint(offset)
