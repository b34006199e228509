"""A short description of a body that is no answer, without secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from koodrive_async.url_text import without_urls

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOKED_AT = 2048
_SHOWN = 100
_KIND_SHOWN = 60
_SHORTEST_SECRET = 4
_HIDDEN = "..."
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
    for secret in secrets:
        for piece in {secret, *re.split(r"[\s+,;]", secret)}:
            if len(piece) >= _SHORTEST_SECRET:
                text = text.replace(piece, _HIDDEN)
    text = _printable(_LIKE_A_KEY.sub(_HIDDEN, without_urls(text)))
    return f"{kind}: {text[:_SHOWN]}{_HIDDEN if len(text) > _SHOWN else ''}"


def _printable(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
