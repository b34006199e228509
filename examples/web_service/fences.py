"""What keeps other sites out of this one, as plain ASGI: bodies and streams pass untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page has no script, style or picture but its own, and cannot be put into a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Fences:
    """Adds headers to every answer, and refuses what a page of another site sends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        headers = Headers(scope=scope)
        is_welcome = is_same_origin(headers) or is_followed_link(scope["method"], headers)
        app = self._app if is_welcome else _REFUSAL
        await app(scope, receive, send_fenced)


def is_same_origin(headers: Headers) -> bool:
    """Return whether a request comes from our own page, or from no page at all.

    Browsers say so in ``Sec-Fetch-Site``, older ones in ``Origin``; a page cannot change either.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def is_followed_link(method: str, headers: Headers) -> bool:
    """Return whether somebody comes here by a link of another site, which gets to read nothing."""
    return (method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "GET",
        "navigate",
        "document",
    )


_REFUSAL = JSONResponse({"error": "This service takes nothing from other sites."}, status_code=403)
