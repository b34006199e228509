"""One request and its answer over HTTP; whatever goes wrong becomes an exception of our tree."""

from __future__ import annotations

import asyncio
import io
import json
import os
from typing import TYPE_CHECKING

import aiohttp
import attrs

from koodrive_async.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    MalformedResponse,
    ProxyFailed,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.transport.answer import Answer
from koodrive_async.transport.connector import ON_CONNECTED
from koodrive_async.transport.dialing import reason_of
from koodrive_async.transport.proxy import authority
from koodrive_async.transport.tunnel import (
    ProxyProblemError,
    answered_itself,
    if_it_intercepts,
    through,
    too_slow,
    unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import yarl

    from koodrive_async.config import Timeouts
    from koodrive_async.transport.clock import ServiceTime
    from koodrive_async.transport.proxy import Proxy

ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes an answer may have once unpacked; one with 10,000 presigned URLs takes about 10 MB."""

_TLS = "[SSL"
_WANTS_CERTIFICATE = "certificate required"
"""What OpenSSL says, with numbers that mean something else to the system."""

_SECRETS_OF_BODIES = ("password", "captchaToken", "refreshToken")

LARGE = 256 * 1024
"""Bytes from which on a body is written in pieces, and JSON read in a worker thread."""


@attrs.frozen(kw_only=True)
class Exchange:
    """A request that is ready to be sent, and how long its answer may take.

    :param path: Without the query, for errors.
    :param completes: True when :attr:`Timeouts.complete` is the limit.
    :param proxy: What leads there.
    :param secret: True when the very body may be a secret, and that of the answer.
    """

    method: str
    path: str
    url: yarl.URL
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    trace_id: str
    timeouts: Timeouts
    completes: bool
    proxy: Proxy | None = None
    secret: bool = False

    async def run(self, session: aiohttp.ClientSession, service_time: ServiceTime) -> Answer:
        """Send it and read the whole answer; neither redirects nor cookies are followed.

        :param service_time: Learns from the answer.
        :raises MalformedResponse: The answer is too large.
        :raises TransportError: It did not come.
        """
        failed: aiohttp.ClientError | OSError | ProxyProblemError
        sending = _Sending(self._patience)
        token = ON_CONNECTED.set(sending.connected)
        # with TLS the proxy has no part in requests: it made the connection
        asked = self.proxy if self.url.scheme == "http" else None
        try:
            async with (
                sending.deadline,
                session.request(
                    self.method,
                    self.url,
                    headers={**self.headers, **asked.headers} if asked else self.headers,
                    proxy=asked.url if asked else None,
                    # aiohttp wants to write what is large in pieces
                    data=io.BytesIO(self.body) if len(self.body) > LARGE else self.body or None,
                    skip_auto_headers=("Content-Type",),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect),
                ) as response,
            ):
                if asked:
                    self._check_who_answers(asked, response)
                service_time.learn(response.headers)
                return Answer(
                    status=response.status,
                    headers=response.headers,
                    raw=await self._read(response),
                    method=self.method,
                    path=self.path,
                    trace_id=self.trace_id,
                    service_time=service_time.now(),
                    secrets=self._secrets(asked),
                    may_be_shown=not self.secret,
                )
        except (aiohttp.ClientError, OSError, ProxyProblemError) as error:
            failed = error
        finally:
            ON_CONNECTED.reset(token)
        # out here, or aiohttp's error with the headers that were sent would be its context
        raise self._failure(failed, sent=sending.may_have_arrived)

    def _check_who_answers(self, asked: Proxy, response: aiohttp.ClientResponse) -> None:
        kind = response.headers.get("Content-Type")
        if problem := answered_itself(asked, self._there, response.status, kind):
            raise problem

    def _secrets(self, asked: Proxy | None) -> tuple[str, ...]:
        authorization = self.headers.get("Authorization", "")
        proxy = (asked.authorization if asked else None) or ""
        if not self.secret or not self.body:
            return authorization, proxy
        in_body = json.loads(self.body)
        return authorization, proxy, *(str(in_body.get(each) or "") for each in _SECRETS_OF_BODIES)

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

    @property
    def _there(self) -> str:
        return authority(self.url.raw_host or "", self.url.port or 0)

    def _failure(
        self, error: aiohttp.ClientError | OSError | ProxyProblemError, *, sent: bool
    ) -> TransportError:
        if self.proxy and isinstance(error, aiohttp.ClientProxyConnectionError):
            error = unreachable(self.proxy, reason_of(error.os_error))
        if isinstance(error, ProxyProblemError):
            return ProxyFailed(
                str(error),
                proxy=error.proxy.name,
                status=error.status,
                method=self.method,
                path=self.path,
                trace_id=self.trace_id,
                sent=error.sent,
            )
        kind: type[TransportError]
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            kind, sent = DeadlineExceeded, False
            problem = too_slow(self.timeouts.connect, self.proxy, self._there)
        elif isinstance(error, TimeoutError):
            kind = DeadlineExceeded
            setting = "complete" if self.completes else "answer"
            problem = f"waited {self._patience:g} s for the answer (Timeouts.{setting})"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            kind, sent = UntrustedCertificate, False
            problem = f"cannot connect to {self._there} ({error.certificate_error})"
            problem += if_it_intercepts(self.proxy)
        elif isinstance(error, aiohttp.ClientConnectorError):
            kind, sent = ConnectionFailed, False
            reason = _reason(error.os_error)
            problem = f"cannot connect to {self._there}{through(self.proxy)} ({reason})"
        else:
            kind, problem = ConnectionFailed, _problem(error)
        return kind(problem, method=self.method, path=self.path, trace_id=self.trace_id, sent=sent)


class _Sending:
    """A request from the moment when it has a connection: it may have arrived, and time counts.

    :param patience: Seconds from then to the last byte of the answer.
    :ivar deadline: To be entered before it is sent.
    :ivar may_have_arrived: Whether the request had a connection.
    """

    def __init__(self, patience: float) -> None:
        self.deadline = asyncio.timeout(None)
        self.may_have_arrived = False
        self._patience = patience

    def connected(self) -> None:
        self.may_have_arrived = True
        self.deadline.reschedule(asyncio.get_running_loop().time() + self._patience)


def _problem(error: aiohttp.ClientError | OSError) -> str:
    # the text of many of aiohttp's errors carries the URL or bytes of the answer: it is not used
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer came"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the answer was cut off or garbled{_detail(error.__cause__)}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what came is not an HTTP answer{_detail(error)}"
    if isinstance(error, aiohttp.ClientError):
        return _of_the_system(error)
    return _reason(error)


def _of_the_system(error: aiohttp.ClientError) -> str:
    number, said = getattr(error, "errno", None), getattr(error, "strerror", None) or ""
    if _WANTS_CERTIFICATE in said:
        return "the other side asks for a client certificate: Tls(client_cert=...)"
    if said.startswith(_TLS):
        return said
    return os.strerror(number) if number else f"the exchange failed ({type(error).__name__})"


def _detail(error: BaseException | None) -> str:
    """Return what aiohttp's parser found, without the bytes that it quotes behind a colon."""
    first_line = str(getattr(error, "message", "")).partition("\n")[0]
    said = first_line.partition(":")[0].strip(" .")
    return f" ({said})" if said else ""


def _reason(error: OSError) -> str:
    # asyncio puts the address in the place of the reason
    if error.errno and str(error.strerror).startswith("Connect call failed"):
        return os.strerror(error.errno)
    # asyncio wraps several failed addresses into one error without a number
    return error.strerror or str(error) or type(error).__name__
