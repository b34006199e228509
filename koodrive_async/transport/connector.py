"""Kept connections, and when not to trust one; new ones, straight or through a proxy."""

from __future__ import annotations

import asyncio
import select
import weakref
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from koodrive_async.descriptors import when_one_is_free
from koodrive_async.threads import with_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from koodrive_async.transport.dialing import Dialer


ON_CONNECTED: ContextVar[Callable[[], None] | None] = ContextVar("ON_CONNECTED", default=None)
"""Called when the request of this context has a connection, so that it may now reach the server."""


class WaryConnector(aiohttp.TCPConnector):
    """Uses a kept connection again only when nothing has come on it since the last answer.

    What came unasked is the end of the connection, which would fail a request that may not be
    repeated, or an answer that the next request would take for its own.

    :param dialer: Makes the way through proxies, for whose answer aiohttp would wait for ever.
    """

    def __init__(self, dialer: Dialer, **settings: Any) -> None:
        super().__init__(**settings)
        self._dialer = dialer
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(self, *arguments: Any, **named: Any) -> Connection:
        """Return a quiet kept connection, or a new one; :data:`ON_CONNECTED` is called with it."""
        while True:
            connection = await super().connect(*arguments, **named)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used:
                break
            if _is_quiet(protocol):
                break
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        if (on_connected := ON_CONNECTED.get()) is not None:
            on_connected()
        return connection

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        origin = (req.is_ssl(), req.host, req.port or 0)
        proxy = await self._dialer.proxies.toward(*origin)
        create = super()._create_connection

        async def straight() -> ResponseHandler:
            # looking the host up takes time that aiohttp's own limit leaves out
            async with asyncio.timeout(timeout.sock_connect):
                return await create(req, traces, timeout)

        try:
            if proxy is None or not req.is_ssl():
                return await when_one_is_free(partial(with_a_thread, straight))
            async with asyncio.timeout(timeout.sock_connect):
                sock = await when_one_is_free(partial(self._dialer.dial, *origin, proxy))
                _, protocol = await self._wrap_existing_connection(
                    self._factory,
                    req=req,
                    timeout=timeout,
                    sock=sock,
                    ssl=self._get_ssl_context(req),
                    server_hostname=req.host.rstrip("."),
                )
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        return protocol


def _is_quiet(protocol: ResponseHandler) -> bool:
    if protocol.should_close or protocol.transport is None:
        return False
    sock = protocol.transport.get_extra_info("socket")
    # the event loop may not have come round yet to what waits in the system
    return sock is not None and sock.fileno() >= 0 and not _is_readable(sock.fileno())


def _is_readable(number: int) -> bool:
    if not hasattr(select, "poll"):  # Windows, where any number will do for select
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
