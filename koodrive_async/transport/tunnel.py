"""The way through a proxy, and what to say of one that does not do its work."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from koodrive_async.transport.proxy import authority

if TYPE_CHECKING:
    import socket

    from koodrive_async.transport.proxy import Proxy

_HEAD_LIMIT = 16 * 1024
_SAID_AT_ONCE = 4096
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r\n]")
_SCHEMES_OFFERED = re.compile(rb"\nProxy-Authenticate: *([A-Za-z0-9-]{1,20})", re.IGNORECASE)

_SUCCESS = 2
_WANTS_USER = 407
"""The one status that is always the proxy's own: it wants to know who is asking."""

_FAULT = 500
_OF_GATEWAYS = frozenset({403, 502, 503, 504})


class ProxyProblemError(Exception):
    """A proxy did not do what it is for; the text says what, and what can be done.

    :ivar status: Of its answer, if that was one.
    :ivar sent: Whether the host may have got the request.
    """

    def __init__(
        self, proxy: Proxy, problem: str, status: int | None = None, *, sent: bool = False
    ) -> None:
        super().__init__(problem)
        self.proxy = proxy
        self.status = status
        self.sent = sent


async def open_tunnel(
    sock: socket.socket, proxy: Proxy, host: str, port: int, user_agent: str
) -> None:
    """Have a proxy connect a socket to a host (``CONNECT``).

    :param sock: Connected to the proxy, non-blocking; closed if this fails.
    :raises ProxyProblemError: It did not.

    It takes as long as the proxy does: the caller sets the deadline, at which the socket is closed.
    """
    loop = asyncio.get_running_loop()
    there = authority(host, port)
    lines = [
        f"CONNECT {there} HTTP/1.1",
        f"Host: {there}",
        f"User-Agent: {user_agent}",
        *(f"{name}: {value}" for name, value in proxy.headers.items()),
    ]
    try:
        await loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        _check(proxy, there, await _answer(sock))
    except OSError:
        sock.close()
        raise _no_answer(proxy, there, b"") from None
    except BaseException:
        sock.close()
        raise


def answered_itself(
    proxy: Proxy, there: str, status: int, content_type: str | None
) -> ProxyProblemError | None:
    """Return what to say of an answer to a request without TLS, if the proxy made it.

    An error in HTML is the proxy's or another gateway's: KooDrive speaks JSON, object stores XML.
    """
    if status != _WANTS_USER and (
        status not in _OF_GATEWAYS or "html" not in (content_type or "").lower()
    ):
        return None
    return _refused(proxy, there, status, sent=status >= _FAULT)


def _refused(
    proxy: Proxy, there: str, status: int, head: bytes = b"", *, sent: bool = False
) -> ProxyProblemError:
    if status == _WANTS_USER:
        if proxy.authorization:
            does, advice = "refused the user and password", f"check those in {proxy.named_by}"
        else:
            does = "asks for a user and a password"
            advice = f"put user:password@ before its host in {proxy.named_by}"
        offered = [scheme.decode() for scheme in _SCHEMES_OFFERED.findall(head)]
        if offered and "basic" not in map(str.lower, offered):
            advice = f"it takes {', '.join(offered)} only, and this package speaks Basic"
    elif status < _FAULT:
        does = f"does not let through to {there}"
        advice = f"ask its administrator to allow this host, or go past it: {proxy.way_past}"
    else:
        does = f"could not reach {there}"
        advice = f"see whether this host is known behind it, or go past it: {proxy.way_past}"
    return ProxyProblemError(
        proxy, f"the proxy {proxy.name} {does} (HTTP {status}): {advice}", status, sent=sent
    )


def unreachable(proxy: Proxy, reason: str) -> ProxyProblemError:
    """Return what to say of a proxy that there is no connection to."""
    return ProxyProblemError(
        proxy,
        f"cannot connect to the proxy {proxy.name} ({reason}): check {proxy.named_by}, "
        f"or go past it: {proxy.way_past}",
    )


def too_slow(seconds: float, proxy: Proxy | None, there: str) -> str:
    """Return what to say of a connection that took longer than ``Timeouts.connect``."""
    late = f"took longer than {seconds:g} s (Timeouts.connect)"
    if proxy is None:
        return f"connecting {late}"
    return f"connecting to {there}{through(proxy)} {late}: check {proxy.named_by}"


def through(proxy: Proxy | None) -> str:
    """Return which way a connection takes, to be put behind where it leads to."""
    return "" if proxy is None else f" through the proxy {proxy.name}"


def if_it_intercepts(proxy: Proxy | None) -> str:
    """Return what to do about a certificate that is the proxy's own, to be put behind its error."""
    if proxy is None:
        return ""
    return f": if the proxy {proxy.name} looks into TLS, name its authority: Tls(ca_file=...)"


async def _answer(sock: socket.socket) -> bytes:
    """Read until the head of an answer is there, or it is certain that it is none."""
    loop = asyncio.get_running_loop()
    said = b""
    while b"\r\n\r\n" not in said and len(said) < _HEAD_LIMIT and _may_be_http(said):
        some = await loop.sock_recv(sock, _SAID_AT_ONCE)
        if not some:
            break
        said += some
    return said


def _may_be_http(said: bytes) -> bool:
    return said.startswith(b"HTTP/1."[: len(said)])


def _check(proxy: Proxy, there: str, said: bytes) -> None:
    head, end, rest = said.partition(b"\r\n\r\n")
    found = _STATUS.match(said)
    if found is None or not end:
        raise _no_answer(proxy, there, said)
    status = int(found[1])
    if status // 100 != _SUCCESS:
        raise _refused(proxy, there, status, head)
    if rest:
        raise ProxyProblemError(
            proxy,
            f"the proxy {proxy.name} says more than that it has connected to {there}: "
            f"see whether {proxy.named_by} names an HTTP proxy",
        )


def _no_answer(proxy: Proxy, there: str, said: bytes) -> ProxyProblemError:
    what = "what it answered is not HTTP" if said else "it closed the connection"
    return ProxyProblemError(
        proxy,
        f"the proxy {proxy.name} did not connect to {there}, {what}: "
        f"see whether {proxy.named_by} names an HTTP proxy that allows CONNECT to this port",
    )
