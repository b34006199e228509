"""Cursors: opaque text that says where a listing goes on, and that fits one listing only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any, Final

from koodrive_async.emulator.answers import invalid

MARK_SIZE: Final = 12


def cursor_after(position: list[Any], listing: tuple[str | None, ...], secret: str) -> str:
    """Make the cursor of the page after a position.

    :param position: the key of the last row of this page, and what else the next page begins from.
    :param listing: what makes the listing what it is: its route, its owner, its filters.
    :param secret: key of the mark that makes garbage recognisable.
    """
    text = json.dumps(position).encode()
    return base64.b64encode(_mark(text, listing, secret) + text).decode()


def position_in(cursor: str, listing: tuple[str | None, ...], secret: str) -> list[Any]:
    """Return the position that a cursor holds.

    :raises RefusedError: when this listing never gave it out.
    """
    try:
        raw = base64.b64decode(cursor.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    mark, text = raw[:MARK_SIZE], raw[MARK_SIZE:]
    if not hmac.compare_digest(mark, _mark(text, listing, secret)):
        raise invalid("cursor: not one that this listing gave out")
    position: list[Any] = json.loads(text)
    return position


def _mark(text: bytes, listing: tuple[str | None, ...], secret: str) -> bytes:
    message = json.dumps(listing).encode() + b"\n" + text
    return hmac.digest(secret.encode(), message, hashlib.sha256)[:MARK_SIZE]
