"""Sending one part to its presigned URL."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import anyio
import yarl
from aiohttp.payload import Payload
from anyio import CapacityLimiter

from koodrive_async.errors import ClientClosed, DeadlineExceeded, PartRejected, SourceChanged
from koodrive_async.threads import in_thread
from koodrive_async.transport.answer import retry_after
from koodrive_async.transport.http import raise_transport_error
from koodrive_async.upload.source import SLICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter

    from koodrive_async.config import Timeouts
    from koodrive_async.upload.plan import PlannedPart
    from koodrive_async.upload.source import Buffer, Content

MEMORY_FOR_A_PART = 3 * SLICE
"""Bytes that a part on its way holds: a slice read ahead, one being sent, one in the transport."""

_STEP = 128 * 1024
"""Bytes handed to the transport at a time; each one that it takes counts as movement."""

_ERROR_LIMIT = 64 * 1024


class PartSender(Protocol):
    """Sends a part: the seam between the engine and the way the bytes travel."""

    async def send(self, part: PlannedPart, content: Content, url: str) -> None:
        """Send one part, all of it, once.

        :raises PartRejected: The object store refused it.
        :raises TransportError: It did not answer.
        :raises SourceChanged: The source has not the bytes it had.
        """


class AiohttpPartSender:
    """Sends parts through an aiohttp session, in the caller's event loop.

    The bytes are read in worker threads, one slice ahead of the one that is being sent.
    """

    def __init__(
        self, session: aiohttp.ClientSession, io: CapacityLimiter, timeouts: Timeouts
    ) -> None:
        self._session = session
        self._io = io
        self._timeouts = timeouts

    async def send(self, part: PlannedPart, content: Content, url: str) -> None:
        """Send one part, all of it, once.

        There is no limit on the time a part takes as long as bytes keep moving.
        """
        stall, answer = self._timeouts.stall, self._timeouts.answer
        with anyio.move_on_after(stall) as watchdog:

            def moved(*, last: bool = False) -> None:
                # what the transport has taken last is still to be carried, and to be answered
                watchdog.deadline = anyio.current_time() + stall + (answer if last else 0.0)

            body = _PartBody(part, content, self._io, moved)
            try:
                await self._put(part, url, body)
            finally:
                await body.settle()
        if watchdog.cancelled_caught:
            raise DeadlineExceeded(
                f"nothing of part {part.number} moved for {stall:g} s (Timeouts.stall), "
                f"or no answer came within {answer:g} s after it (Timeouts.answer)",
                method="PUT",
                path=f"part {part.number}",
            )

    async def _put(self, part: PlannedPart, url: str, body: _PartBody) -> None:
        try:
            async with self._session.put(
                yarl.URL(url, encoded=True),  # byte for byte: the URL is signed as it is
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            ) as response:
                if response.status // 100 != 2:  # noqa: PLR2004 - success in HTTP
                    raise _rejection(part, response, await response.content.read(_ERROR_LIMIT))
        except RuntimeError as error:
            if self._session.closed:
                raise ClientClosed("the client was closed while a part was on its way") from error
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if body.failure is not None:
                # not a matter of the network: the source could not be read
                raise body.failure from None
            raise_transport_error(
                error,
                method="PUT",
                path=f"part {part.number}",
                waits="for the object store",
                connect=self._timeouts.connect,
            )


def _rejection(part: PlannedPart, response: aiohttp.ClientResponse, raw: bytes) -> PartRejected:
    text = raw.decode("utf-8", "replace")
    code = re.search(r"<Code>([^<]{1,200})</Code>", text)
    message = re.search(r"<Message>([^<]{1,500})</Message>", text)
    return PartRejected(
        part_number=part.number,
        status=response.status,
        code=code[1] if code else None,
        msg=message[1] if message else "",
        retry_after=retry_after(response.headers, time.time()),
    )


class _PartBody(Payload):
    """A request body of known length that is read slice by slice while it is being sent."""

    _autoclose = True

    def __init__(
        self,
        part: PlannedPart,
        content: Content,
        io: CapacityLimiter,
        moved: Callable[..., None],
    ) -> None:
        super().__init__(part, content_type="application/octet-stream")
        self._size = part.size  # becomes Content-Length, which the URL is signed for
        self._part = part
        self._content = content
        self._io = io
        self._moved = moved
        self._writer: asyncio.Task[Any] | None = None
        self.failure: Exception | None = None

    def decode(self, *_: object, **__: object) -> str:
        raise TypeError("a part is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, _: int | None) -> None:
        self._consumed = True
        self._writer = asyncio.current_task()
        end = self._part.offset + self._part.size
        offset = self._part.offset
        ahead = asyncio.create_task(self._read(offset, end))
        try:
            while offset < end:
                piece = memoryview(await ahead)
                offset += len(piece)
                ahead = asyncio.create_task(self._read(offset, end))
                # in steps that even a slow link takes within Timeouts.stall
                for start in range(0, len(piece), _STEP):
                    await writer.write(piece[start : start + _STEP])
                    self._moved()
            self._moved(last=True)
        finally:
            ahead.cancel()
            await asyncio.wait([ahead])

    async def _read(self, offset: int, end: int) -> Buffer:
        length = min(SLICE, end - offset)
        if not length:
            return b""
        try:
            return await in_thread(self._read_some, offset, length, limiter=self._io)
        except Exception as error:
            self.failure = error
            raise

    def _read_some(self, offset: int, length: int) -> Buffer:
        if piece := self._content.read(offset, length):
            return piece
        self._content.check_unchanged()
        raise SourceChanged(f"part {self._part.number}", f"no bytes at offset {offset}")

    async def settle(self) -> None:
        """End the writing, which an early answer or a cancellation may have left running."""
        if self._writer is None or self._writer.done() or self._writer is asyncio.current_task():
            return
        self._writer.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self._writer])
