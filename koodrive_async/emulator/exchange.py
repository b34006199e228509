"""One request on its way: the faults that hit it, its body, its place in the log, its date."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import attrs
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage

from koodrive_async.emulator.answers import http_date
from koodrive_async.emulator.cut import CutError, is_over
from koodrive_async.emulator.pace import Pace
from koodrive_async.emulator.routes import OBJECT_GET
from koodrive_async.emulator.seen import SeenRequest
from koodrive_async.emulator.spoiled import send_spoiled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from koodrive_async.emulator.fault import Moment
    from koodrive_async.emulator.faults import Strike
    from koodrive_async.emulator.service import Service


# How often a silent connection is looked at, in seconds.
LOOK_EVERY: Final = 0.02
# Closing with this sends a reset at once instead of an orderly end.
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
LOST: Final = (OSError, BadHttpMessage, web.RequestPayloadError)


class BodyLostError(Exception):
    """The caller went away before all of the body came."""


@attrs.define(eq=False)
class Exchange:
    """One request, the faults that hit it, and what is known of it so far."""

    service: Service
    request: web.BaseRequest
    route: str
    strike: Strike
    paces: tuple[Pace, ...]
    handling: ExitStack
    began: float
    body_size: int = 0
    part_number: int | None = None
    noted: bool = False

    async def arrive(self) -> None:
        """Be as late as ordered.

        :raises CutError: when a fault cuts the connection before the body.
        """
        await asyncio.sleep(self.strike.latency)
        await self.stop("before")

    async def stop(self, moment: Moment) -> None:
        """Go on, unless a fault stops the request here; in silence, until the other side leaves.

        :raises CutError: when a fault does.
        """
        rule = self.strike.stops(moment)
        if rule is None:
            return
        if rule.kind == "silence":
            self._note(None)
            await self.left()
        raise CutError(reset=True)

    async def left(self) -> None:
        """Wait until the other side has left.

        One that leaves while more of its body is on the way than fits the buffers is not noticed.
        """
        while not is_over(self.request.transport):  # noqa: ASYNC110 - nobody tells of a reset while nothing is read
            await asyncio.sleep(LOOK_EVERY)

    def lose_answer(self) -> None:
        """Stop here if the answer is to be lost.

        :raises CutError: when it is.
        """
        if self.strike.has("lost-answer"):
            raise CutError(reset=False)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        :raises BodyLostError: when the caller goes away before all of it came.
        :raises CutError: when a fault cuts the connection here.
        """
        stop_at = self._stop_at()
        if self.request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await self.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while data := await self._piece():
            self.body_size += len(data)
            await self.pace(len(data))
            if stop_at is not None and self.body_size >= stop_at:
                await self.stop("middle")
            yield data
        if stop_at is not None:
            await self.stop("middle")
        await self.stop("after")

    async def pace(self, size: int) -> None:
        """Wait as long as ``size`` bytes take on this line."""
        for pace in self.paces:
            await pace.take(size)

    def piece_size(self, most: int) -> int:
        """Return how many bytes to move at a time, ``most`` on a line without limit."""
        return min([most, *(pace.piece for pace in self.paces)])

    def stamp(self, response: web.StreamResponse) -> None:
        """Date an answer and put the request into the log; before its first byte goes out."""
        response.headers[hdrs.DATE] = http_date(self.service.clock())
        if self.strike.closes:
            response.force_close()
        self._note(response.status)

    def leave(self) -> None:
        """Count the request as handled; before the last byte of its answer goes out."""
        self.handling.close()

    def cut(self, *, reset: bool) -> None:
        """Close the connection, and put the request into the log."""
        self._note(None)
        self.leave()
        transport = self.request.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        if reset:
            transport.abort()
        else:
            transport.close()

    async def _piece(self) -> bytes:
        content = self.request.content
        try:
            if self.paces:
                return await content.read(self.piece_size(2**20))
            return await content.readany()
        except LOST as error:
            raise BodyLostError from error

    def _stop_at(self) -> int | None:
        if self.route == OBJECT_GET or self.strike.stops("middle") is None:
            return None
        return max(1, (self.request.content_length or 0) // 2)

    def _note(self, status: int | None) -> None:
        if self.noted:
            return
        self.noted = True
        self.service.seen.add(
            SeenRequest(
                route=self.route,
                method=self.request.method,
                raw_path=self.request.raw_path,
                status=status,
                headers=self.request.headers,
                body_size=self.body_size,
                part_number=self.part_number,
                at=self.began,
            )
        )


async def exchanged(
    service: Service,
    request: web.BaseRequest,
    route: str,
    answer: Callable[[Exchange], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Let a request pass its faults, be answered and be logged.

    :param answer: acts and returns the answer.
    :returns: the answer; an empty one, which cannot be sent, when the connection was cut.
    """
    task = asyncio.current_task()
    with ExitStack() as handling:
        if task is not None:
            service.tasks.add(task)
            handling.callback(service.tasks.discard, task)
        handling.enter_context(service.seen.handling(route))
        strike = service.faults.strike(route)
        paces = _paces(service, strike)
        exchange = Exchange(service, request, route, strike, paces, handling, began=service.clock())
        try:
            await exchange.arrive()
            response = await answer(exchange)
            exchange.lose_answer()
            await send_spoiled(exchange, response)
        except CutError as cut:
            exchange.cut(reset=cut.reset)
            return web.Response()
        if not response.prepared:
            exchange.stamp(response)
        return response


def _paces(service: Service, strike: Strike) -> tuple[Pace, ...]:
    paces = []
    if (own := strike.speed("bandwidth")) is not None:
        paces.append(Pace(own))
    if (shared := strike.speed("total-bandwidth")) is not None:
        paces.append(service.shared_paces.setdefault(shared, Pace(shared)))
    return tuple(paces)
