"""What the client does not survive yet: each dialect with the reason, until it is mended."""

from __future__ import annotations

KNOWN: dict[str, str] = {}
