"""The server: uvicorn, with a graceful end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from fastapi import FastAPI

    from examples.web_service.backups import Backups

CLOSING = 5
"""Seconds that connections have to close when the service has stopped."""


class Server(uvicorn.Server):
    """Ends uploads and event streams before it waits for the connections to close.

    Uvicorn tells the application of the end only when all connections are closed, and an event
    stream is never done by itself.
    """

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        # names of files are part of the paths, which an access log would keep
        config = uvicorn.Config(
            app, host=host, port=port, access_log=False, timeout_graceful_shutdown=CLOSING
        )
        super().__init__(config)
        self.listening = asyncio.Event()
        self._app = app
        self._is_hurried = False

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port, *_ = self.servers[0].sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.listening.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first one lets uploads finish, a second one does not."""
        self._is_hurried = self.should_exit
        super().handle_exit(sig, frame)
        # uvicorn would leave uploads and the record as they are; what ends in order ends soon
        self.force_exit = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; a second Ctrl-C gives up what is on its way."""
        backups: Backups = self._app.state.backups
        stopping = asyncio.create_task(backups.stop())
        while not stopping.done() and not self._is_hurried:
            await asyncio.wait([stopping], timeout=0.1)
        if self._is_hurried:
            await backups.stop(within=0)
        await stopping
        await super().shutdown(sockets)
