"""Kept connections, and when not to trust one."""

from __future__ import annotations

import select
import weakref
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection


class WaryConnector(aiohttp.TCPConnector):
    """Uses a kept connection again only when nothing has come on it since the last answer.

    What came unasked is the end of the connection, which would fail a request that may not be
    repeated, or an answer that the next request would take for its own.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(self, *arguments: Any, **named: Any) -> Connection:
        """Return a quiet kept connection, or a new one."""
        while True:
            connection = await super().connect(*arguments, **named)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used:
                break
            if _is_quiet(protocol):
                return connection
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        return connection


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
