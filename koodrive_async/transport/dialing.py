"""Connecting sockets to hosts, straight or through the proxy that leads there."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import aiohttp

from koodrive_async._version import __version__
from koodrive_async.errors import OutOfThreads
from koodrive_async.threads import AbandonableThread, in_thread
from koodrive_async.transport.proxy import Proxies, is_host
from koodrive_async.transport.tunnel import open_tunnel, unreachable

if TYPE_CHECKING:
    from koodrive_async.transport.proxy import Proxy

USER_AGENT = (
    f"koodrive-async/{__version__} "
    f"python/{sys.version_info.major}.{sys.version_info.minor} aiohttp/{aiohttp.__version__}"
)

Addresses = list[Any]
"""As :func:`socket.getaddrinfo` returns them."""

_LOOK_UP = "koodrive look-up"

_ADDRESSES_LAST = 10.0
"""Seconds for which the addresses of a host are taken to stay what they are."""

_SECOND_ADDRESS_AFTER = 0.25
"""Seconds after which another address of a host is tried beside the first (RFC 8305)."""


class Dialer:
    """Makes the connections of one client, in one event loop.

    :param proxies: Which proxies lead where; by default there are none.
    :param user_agent: What to be called in requests.
    """

    def __init__(self, proxies: Proxies | None = None, user_agent: str = USER_AGENT) -> None:
        self.proxies: Proxies = proxies or Proxies(None)
        self.user_agent: str = user_agent
        self._asked: dict[tuple[str, int], tuple[float, asyncio.Future[Addresses]]] = {}

    async def dial(self, tls: bool, host: str, port: int, proxy: Proxy | None) -> socket.socket:
        """Connect a socket to a host; through a proxy what is not TLS gets no further than it.

        :param proxy: As :meth:`Proxies.toward` said for this origin.
        :raises ProxyProblemError: The proxy cannot be reached, or did not connect to the host.
        :raises OSError: The connection could not be made, or broke.

        There is no deadline but the caller's. Cancellation leaves no socket behind.
        """
        if proxy is None:
            return await self._connect(host, port)
        try:
            sock = await self._connect(proxy.host, proxy.port)
        except TimeoutError:
            raise
        except OSError as error:
            raise unreachable(proxy, reason_of(error)) from None
        if tls:
            await open_tunnel(sock, proxy, host, port, self.user_agent)
        return sock

    async def _connect(self, host: str, port: int) -> socket.socket:
        addresses = await self._addresses(host, port)
        try:
            return await aiohappyeyeballs.start_connection(
                addresses,
                happy_eyeballs_delay=_SECOND_ADDRESS_AFTER,
                interleave=1,
            )
        except RuntimeError as error:  # which uvloop raises for some that fail
            raise OSError(str(error)) from None

    async def _addresses(self, host: str, port: int) -> Addresses:
        """Look a host up; once for all who ask, and again after some seconds."""
        if not is_host(host):
            raise OSError(errno.EINVAL, f"no host can be called {host!r}")
        loop = asyncio.get_running_loop()
        asked = self._asked.get((host, port))
        if asked is None or asked[0] + _ADDRESSES_LAST < loop.time() or _failed(asked[1]):
            look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            try:
                # it may take a minute, and a cancelled caller does not wait for it
                with AbandonableThread(name=_LOOK_UP) as thread:
                    answer = thread.submit(look)
            except OutOfThreads:
                return await in_thread(look, abandon_on_cancel=True)
            # whoever asked may be gone by the time that it fails
            answer.add_done_callback(_failed)
            asked = self._asked[host, port] = (loop.time(), answer)
        return await asyncio.shield(asked[1])


def reason_of(error: OSError) -> str:
    """Return why there is no connection."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    # several failed addresses are one error without a number of its own
    return os.strerror(error.errno) if error.errno else str(error)


def _failed(answer: asyncio.Future[Addresses]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)
