"""Answers of calls that went well, or were refused, and that do not come as they should."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from koodrive_async.emulator.cut import CutError

if TYPE_CHECKING:
    from koodrive_async.emulator.exchange import Exchange

NO_HTTP: Final = b"\x00\xff\xfe this is no HTTP\r\n\r\n"


async def send_spoiled(exchange: Exchange, response: web.StreamResponse) -> None:
    """Send an answer the way its fault orders; without such a fault, do nothing.

    :raises CutError: after the answer, or what there is of it: the connection ends.
    """
    fault = exchange.strike.spoiled
    transport = exchange.request.transport
    if fault is None or transport is None or not isinstance(response, web.Response):
        return
    if fault.kind == "garbage":
        transport.write(NO_HTTP)
        raise CutError(reset=False)
    exchange.stamp(response)
    body = response.body if isinstance(response.body, bytes) else b""
    if fault.kind == "half-answer":
        transport.write(_head(response, len(body) or None) + body[: len(body) // 2])
    elif fault.kind == "headers-only":
        transport.write(_head(response, len(body) or None))
        await exchange.left()
    else:
        for byte in _head(response, len(body)) + body:
            await asyncio.sleep(fault.seconds)
            if transport.is_closing():
                break
            transport.write(bytes([byte]))
    raise CutError(reset=False)


def _head(response: web.Response, length: int | None) -> bytes:
    """Return the head of an answer of so many bytes; ``None`` for a chunked body, still to come."""
    headers = response.headers.copy()
    headers[hdrs.CONNECTION] = "close"
    if length is None:
        headers[hdrs.TRANSFER_ENCODING] = "chunked"
    else:
        headers[hdrs.CONTENT_LENGTH] = str(length)
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
