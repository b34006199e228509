"""One request and its answer over HTTP; whatever goes wrong becomes an exception of our tree."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import aiohttp
import attrs

from koodrive_async.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    MalformedResponse,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.transport.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import yarl

    from koodrive_async.config import Timeouts
    from koodrive_async.transport.clock import ServiceTime

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes an answer may have once unpacked; one with 10,000 presigned URLs takes about 10 MB."""

LARGE = 256 * 1024
"""Bytes from which on a body is written in pieces, and JSON read in a worker thread."""


@attrs.frozen(kw_only=True)
class Exchange:
    """A request that is ready to be sent, and how long its answer may take.

    :param path: Without the query, for errors.
    :param completes: True when :attr:`Timeouts.complete` is the limit.
    """

    method: str
    path: str
    url: yarl.URL
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    trace_id: str
    timeouts: Timeouts
    completes: bool

    async def run(self, session: aiohttp.ClientSession, service_time: ServiceTime) -> Answer:
        """Send it and read the whole answer; neither redirects nor cookies are followed.

        :param service_time: Learns from the answer.
        :raises MalformedResponse: The answer is too large.
        :raises TransportError: It did not come.
        """
        failed: aiohttp.ClientError | OSError
        try:
            async with session.request(
                self.method,
                self.url,
                headers=self.headers,
                # aiohttp wants to write what is large in pieces
                data=io.BytesIO(self.body) if len(self.body) > LARGE else self.body or None,
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=self._patience, sock_connect=self.timeouts.connect
                ),
            ) as response:
                service_time.learn(response.headers)
                return Answer(
                    status=response.status,
                    headers=response.headers,
                    raw=await self._read(response),
                    method=self.method,
                    path=self.path,
                    trace_id=self.trace_id,
                    service_time=service_time.now(),
                )
        except (aiohttp.ClientError, OSError) as error:
            failed = error
        # out here, or aiohttp's error with the headers that were sent would be its context
        raise self._failure(failed)

    @property
    def _patience(self) -> float:
        return self.timeouts.complete if self.completes else self.timeouts.answer

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > ANSWER_LIMIT:
                response.close()
                raise MalformedResponse(
                    f"the answer is larger than {ANSWER_LIMIT} bytes",
                    method=self.method,
                    path=self.path,
                    status=response.status,
                    trace_id=self.trace_id,
                )
        return bytes(body)

    def _failure(self, error: aiohttp.ClientError | OSError) -> TransportError:
        kind: type[TransportError]
        sent = True
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            kind, sent = DeadlineExceeded, False
            problem = f"connecting took longer than {self.timeouts.connect:g} s (Timeouts.connect)"
        elif isinstance(error, TimeoutError):
            kind = DeadlineExceeded
            setting = "complete" if self.completes else "answer"
            problem = f"waited {self._patience:g} s for the answer (Timeouts.{setting})"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            kind, sent = UntrustedCertificate, False
            problem = f"cannot connect to {error.host}:{error.port} ({error.certificate_error})"
        else:
            kind, problem = ConnectionFailed, _problem(error)
            sent = not isinstance(error, aiohttp.ClientConnectorError)
        return kind(problem, method=self.method, path=self.path, trace_id=self.trace_id, sent=sent)


def _problem(error: aiohttp.ClientError | OSError) -> str:
    # the text of many of aiohttp's errors carries the URL or bytes of the answer: it is not used
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer came"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the answer was cut off or garbled{_detail(error.__cause__)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port} ({_reason(error.os_error)})"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what came is not an HTTP answer{_detail(error)}"
    if isinstance(error, aiohttp.ClientError):
        number = getattr(error, "errno", None)
        return os.strerror(number) if number else f"the exchange failed ({type(error).__name__})"
    return _reason(error)


def _detail(error: BaseException | None) -> str:
    """Return what aiohttp's parser found, without the bytes that it quotes behind a colon."""
    first_line = str(getattr(error, "message", "")).partition("\n")[0]
    said = first_line.partition(":")[0].strip(" .")
    return f" ({said})" if said else ""


def _reason(error: OSError) -> str:
    # asyncio wraps several failed addresses into one error without a number
    return error.strerror or str(error) or type(error).__name__
