"""What of an answer may be shown: the text of it without what was sent to sign in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from koodrive_async.url_text import without_urls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOOKED_AT = 2048
_SHOWN = 100
_KIND_SHOWN = 60
_SHORTEST_SECRET = 4
_HIDDEN = "..."
_PART = 12
"""Characters of a key that are hidden also where the rest of it is missing."""

_KEY = 16
"""Characters from which on a piece with a digit is a key, and no word."""

_WORD = 8
"""Letters with fewer of which a piece may well be a word of the message, such as ``Bearer``."""

_KIND = "hmac-sha256"
"""A piece of an ``Authorization`` value that is no secret."""

_LOWER = str.maketrans({chr(upper): chr(upper + 32) for upper in range(ord("A"), ord("Z") + 1)})
# Keys, digests and tokens are long and have digits in them; words of a sentence have none.
_LIKE_A_KEY = re.compile(r"(?=[A-Za-z_+/=.~-]*[0-9])[A-Za-z0-9_+/=.~-]{20,}")


def excerpt(raw: bytes, content_type: str | None, secrets: Iterable[str] = ()) -> str:
    """Return the kind of a body and how it begins.

    Of JSON nothing is shown but its size: tokens and links stand in it.

    :param secrets: Texts that must not be shown: a service may send back what it received.
    """
    kind = _printable(without_urls(content_type or ""))[:_KIND_SHOWN] or "of no content type"
    if not raw.strip():
        return f"{kind}, {len(raw):,} bytes"
    text = raw[:_LOOKED_AT].decode("utf-8", "replace").strip()
    if text[0] in '{["':
        return f"{kind}, {len(raw):,} bytes of JSON"
    text = _printable(_LIKE_A_KEY.sub(_HIDDEN, without_urls(hidden(text, secrets))))
    return f"{kind}: {text[:_SHOWN]}{_HIDDEN if len(text) > _SHOWN else ''}"


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, their pieces, and the parts of those that are keys.

    A service may repeat what it received: as it came, in other letter case, cut, or quoted.
    """
    for piece in _pieces(secrets):
        text = text.replace(piece, _HIDDEN)
        if len(piece) >= _KEY and any(map(str.isdigit, piece)):
            text = _without_parts(text, piece)
    return text


def _pieces(secrets: Iterable[str]) -> Iterator[str]:
    """Give each secret, and what stands in it between separators, the longest first."""
    found = {piece for secret in secrets for piece in (secret, *re.split(r"[\s+,;]", secret))}
    for piece in sorted(found, key=len, reverse=True):
        is_word = len(piece) < _WORD and piece.isalpha()
        if len(piece) >= _SHORTEST_SECRET and not is_word and piece.translate(_LOWER) != _KIND:
            yield piece


def _without_parts(text: str, key: str) -> str:
    """Hide what a text has in common with a key, where that is long enough to be no accident."""
    plain, sought = text.translate(_LOWER), key.translate(_LOWER)
    ranges: list[tuple[int, int]] = []
    for start in range(len(sought) - _PART + 1):
        place = plain.find(sought[start : start + _PART])
        while place >= 0:
            ranges.append((place, place + _PART))
            place = plain.find(sought[start : start + _PART], place + 1)
    kept, end = "", 0
    for first, last in sorted(ranges):
        if first > end or not kept:
            kept += text[end:first] + _HIDDEN
        end = max(end, last)
    return kept + text[end:]


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
