"""URLs in texts for people: the one place that decides what of them is shown.

A presigned URL grants access like a password, and a URL with a user in it may contain one.
"""

from __future__ import annotations

import re

SHOWN_AS = "<URL>"

# Also as JSON escapes its slashes, and as another URL carries it.
_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}(?:://|:\\/\\/|%3[aA]%2[fF]%2[fF])"
_URL = re.compile(rf"{_SCHEME}[^\s<>]*")
_WITH_SECRETS = re.compile(rf"{_SCHEME}[^\s<>?#@]*(?:[?#@]|%3[fF]|%40)[^\s<>]*")
_PARAMETER = re.compile(
    r"((?:X-(?:Amz|Obs|Goog)-|OSS)?"
    r"(?:Signature|Credential|Security-?Token|(?:OSS|AWS)?AccessKeyId))=[^&\s<>\"']+",
    re.IGNORECASE,
)


def without_urls(text: str) -> str:
    """Return a text with :data:`SHOWN_AS` instead of every URL, and no part of a signed query."""
    return _without(_URL, text)


def without_secret_urls(text: str) -> str:
    """Return a text without the URLs that have a query, a fragment or a user in them."""
    return _without(_WITH_SECRETS, text)


def _without(pattern: re.Pattern[str], text: str) -> str:
    if "//" in text or "\\/" in text or "%2" in text:
        text = pattern.sub(SHOWN_AS, text)
    if "=" in text:  # a query alone, or the rest of a URL that was cut
        text = _PARAMETER.sub(r"\1=...", text)
    return text
