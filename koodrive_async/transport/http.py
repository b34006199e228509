"""Sending a call to the interface and getting its payload back."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import logging
import random
from typing import TYPE_CHECKING, Any, TypeVar, cast

import aiohttp
import anyio
import attrs
import yarl

from koodrive_async.callbacks import OwnFailure
from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    DeadlineExceeded,
    KooDriveError,
    TransportError,
)
from koodrive_async.threads import in_thread
from koodrive_async.transport.auth import RequestHead, canonical_query, token_failure
from koodrive_async.transport.call import LOCK_HEADER, Call, lock_of
from koodrive_async.transport.connector import WaryConnector
from koodrive_async.transport.dialing import Dialer
from koodrive_async.transport.exchange import LARGE, Exchange
from koodrive_async.transport.home import Home
from koodrive_async.transport.plain_http import PlainHttp
from koodrive_async.transport.proxy import is_host
from koodrive_async.transport.refusals import (
    may_be_of_the_credentials,
    may_be_of_the_lock,
    passes,
)
from koodrive_async.transport.retry import Attempts, RetryBudget
from koodrive_async.transport.wire import encode

if TYPE_CHECKING:
    import ssl

    from koodrive_async.config import RetryPolicy, Timeouts
    from koodrive_async.pace import Pace
    from koodrive_async.transport.answer import Answer
    from koodrive_async.transport.auth import Auth, Credential
    from koodrive_async.transport.call import BodyFrom
    from koodrive_async.transport.clock import Clock, ServiceTime
    from koodrive_async.transport.outage import Outage
    from koodrive_async.transport.wire import Reader

T = TypeVar("T")

logger: logging.Logger = logging.getLogger(__name__)

_MANY_PARTS = 100
"""Parts from which on a body is written in a worker thread."""

KEEP_ALIVE = 15.0
"""Seconds an idle connection is kept: less than servers do, which close it under a new request."""

_URGENT_CONNECTIONS = 10
"""Connections for calls that keep locks, at most; a session has one such call at a time."""

_DOUBT_EVERY = 60.0
"""Seconds between two times that another token is asked for because of a refusal that may be one of
the token's, and may be one of a lock's or a field's."""

_CLOCK_REFUSALS = frozenset({400, 401, 403})


class InterfaceHttp:
    """Sends calls to the interface: signs, repeats what is safe to repeat, raises our errors.

    Credentials go to ``endpoint`` only: redirects are not followed and cookies not kept.

    :param pace: Limits the calls per second, repeated ones included, urgent ones not.
    :param budget: Spaces repeated calls, urgent ones not; one of its own by default.
    :param dialer: Knows the proxies; by default there are none.
    :param outage: Follows whether the service can be reached.
    :param plain: Hosts that may be spoken to without TLS; by default this machine only.
    :raises ConfigurationError: The endpoint is no URL, or would carry credentials without TLS.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        auth: Auth,
        user_id: str,
        timeouts: Timeouts,
        retry: RetryPolicy,
        clock: Clock,
        service_time: ServiceTime,
        pace: Pace | None = None,
        budget: RetryBudget | None = None,
        dialer: Dialer | None = None,
        plain: PlainHttp | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._origin, self._base_path, self._host = _split_endpoint(endpoint)
        self._place = tls, host, port = _place(self._origin)
        self._plain = plain or PlainHttp()
        if not tls:
            self._plain.check_service(host, port)
        self._credentials = auth.open()
        self.user_id: str = user_id
        self._timeouts = timeouts
        self._retry = retry
        self._clock = clock
        self.service_time = service_time
        self._pace = pace
        self._budget = budget or RetryBudget(retry.per_second)
        self._dialer = dialer or Dialer()
        self._outage = outage
        self._waits = False
        self._door = _Door()

    @property
    def owner(self) -> object:
        """What all that send for one client have in common, and no two clients."""
        return self._door

    @property
    def speaks_tls(self) -> bool:
        """Whether the endpoint is ``https``."""
        return self._place[0]

    def check_link(self, what: str, url: str) -> None:
        """Refuse a presigned URL without TLS, where the service itself speaks TLS.

        :param what: The link is for, for the error.
        :raises ConfigurationError: The URL leads to another machine that is not allowed by name.
        """
        if not self.speaks_tls:
            return
        with contextlib.suppress(ValueError):  # a text that is no URL leads nowhere
            link = yarl.URL(url, encoded=True)
            if link.scheme == "http":
                self._plain.check_link(what, link.raw_host or "", link.port or 0)

    def use(self, sessions: Sessions | None) -> None:
        """Send through these sessions from now on, in this event loop; None closes the door."""
        if sessions is not None:
            # seeded here: a client may be made before its process forks, and entered in each child
            self._door.chance = random.Random()  # noqa: S311 - trace ids are no secret
            self._door.home = Home()
            self._door.locked = set()
        self._door.sessions = sessions

    def waiting(self) -> InterfaceHttp:
        """Return this, with calls that wait for the end of an outage."""
        patient = copy.copy(self)
        patient._waits = True  # noqa: SLF001 - its own
        return patient

    async def send(self, call: Call, reader: Reader[T]) -> T:
        """Send a call until it is answered or repeating it would be unsafe or pointless.

        :param reader: Takes what the call is about out of its answer.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        :raises TokenRefreshFailed: The token function raised something.
        :raises ClientClosed: The client is not open.
        :raises ForkedClient: It was opened in another process.
        :raises WrongEventLoop: It was opened in another event loop.

        Cancellation closes the connection that the call is using.
        """
        lock = lock_of(self.owner) if call.may_want_lock and call.lock_id is None else None
        if lock is None:
            return await self._send(call, reader)
        if call.may_want_lock in self._door.locked:
            return await self._send(attrs.evolve(call, lock_id=lock()), reader)
        try:
            return await self._send(call, reader)
        except ApiError as refusal:
            if not may_be_of_the_lock(refusal):
                raise
            result = await self._with_lock(call, reader, lock(), refusal)
        self._door.locked.add(call.may_want_lock or "")
        return result

    async def _with_lock(self, call: Call, reader: Reader[T], lock_id: str, refusal: ApiError) -> T:
        """Send a call that was refused without a lock once more, with the one that is held."""
        try:
            return await self._send(attrs.evolve(call, lock_id=lock_id), reader)
        except ApiError as second:
            if passes(second):
                raise
            raise refusal from None

    async def _send(self, call: Call, reader: Reader[T]) -> T:
        self._opened()
        # a call that comes before signing in may well be how the token is got
        credential = await self._credential(call) if call.signed_in else None
        attempts = self._attempts(call)
        clock_corrected = renewed = False
        while True:
            if self._pace is not None and not call.urgent:
                await self._wait_for_turn(self._pace)
            sent = _Sent()
            try:
                result = await self._send_once(call, reader, credential, sent)
            except (ApiError, TransportError) as error:
                if not clock_corrected and self._refused_for_its_date(error, sent.stamp):
                    clock_corrected = True
                    logger.info(
                        "the local clock is off by %.0f s; X-Date is corrected from now on",
                        -self.service_time.offset,
                    )
                    attempts.at_once(error)
                elif not renewed and credential and self._is_in_doubt(error):
                    renewed = True
                    fresh = await self._another(call, credential, error)
                    if fresh is credential:
                        await attempts.after(error)
                    else:
                        credential = fresh
                        attempts.at_once(error)
                else:
                    await attempts.after(error)
            else:
                attempts.succeeded()
                if renewed:  # the refusal was for the token
                    self._door.doubted_at = None
                    self._door.replaced += 1
                return result

    @property
    def tokens_replaced(self) -> int:
        """How often a call was refused with one token and accepted with the next."""
        return self._door.replaced

    @staticmethod
    def _is_in_doubt(error: ApiError | TransportError) -> bool:
        if isinstance(error, AuthenticationError):
            return True
        if not isinstance(error, ApiError) or passes(error):
            return False
        return may_be_of_the_credentials(error)

    async def _another(
        self, call: Call, credential: Credential, refusal: ApiError | TransportError
    ) -> Credential:
        """Ask for another credential than the one refused; return that one when there is no other.

        A refusal that may mean something else asks only now and then, or every write under a lost
        lock, refused with 403, would have the token renewed. In between it takes what another call
        has got meanwhile. The call that checks the credentials means nothing else, and always asks.
        """
        if isinstance(refusal, AuthenticationError):
            return await self._credential(call, refused=credential)
        now, doubted_at = self._clock.time(), self._door.doubted_at
        asks = (
            call.checks_credentials
            or doubted_at is None
            or not 0 <= now - doubted_at < _DOUBT_EVERY
        )
        if asks:
            self._door.doubted_at = now
        try:
            return await self._credential(call, refused=credential if asks else None)
        except KooDriveError as error:
            # the refusal may be about something else, and is the more precise error
            logger.info("a refusal may be one of the token, and there is no other: %s", error)
            return credential

    def _attempts(self, call: Call) -> Attempts:
        budget = RetryBudget(None) if call.urgent else self._budget
        return Attempts(
            self._retry,
            self._clock,
            budget,
            repeatable=call.repeatable,
            outage=self._outage,
            waits=self._waits and not call.urgent,
        )

    async def _wait_for_turn(self, pace: Pace) -> None:
        if not (wait := pace.delay(1)):
            return
        try:
            await self._clock.sleep(wait)
        except BaseException:
            pace.give_back(1)
            raise

    async def _credential(self, call: Call, refused: Credential | None = None) -> Credential:
        # one that never changes is not waited for; credentials need not say whether it does
        lasting: Credential | None = getattr(self._credentials, "lasting", None)
        if lasting is not None:
            return lasting
        own = OwnFailure()
        with anyio.move_on_after(self._timeouts.answer):
            try:
                return await self._credentials.current(refused)
            except asyncio.CancelledError as error:
                if own.is_one():
                    raise token_failure(error) from error
                raise
        raise DeadlineExceeded(
            f"waited {self._timeouts.answer:g} s for the token function (Timeouts.answer)",
            method=call.method,
            path=call.path,
            sent=False,
        )

    def _refused_for_its_date(self, error: KooDriveError, stamp: str) -> bool:
        return (
            isinstance(error, ApiError)
            and error.status in _CLOCK_REFUSALS
            and self.service_time.known
            and not self.service_time.accepts(stamp)
        )

    async def _send_once(
        self, call: Call, reader: Reader[T], credential: Credential | None, sent: _Sent
    ) -> T:
        body = await self._body(call, credential)
        # waiting for a connection has no deadline: each request with a connection has its own
        async with self._opened().place(call):
            answer = await self._exchange(call, credential, sent, body)
        if len(answer.raw) > LARGE:
            return await in_thread(lambda: answer.read(reader))
        return answer.read(reader)

    async def _exchange(
        self, call: Call, credential: Credential | None, sent: _Sent, body: bytes
    ) -> Answer:
        sessions = self._opened()  # it may have been closed meanwhile
        sent.stamp = stamp = self.service_time.stamp()
        query = canonical_query(call.query.items())
        trace_id = f"{self._door.chance.getrandbits(232):058x}"
        headers = self._headers(call, credential, stamp, query, body)
        headers["X-Traceid"] = trace_id
        target = f"{self._base_path}{call.path}{'?' + query if query else ''}"
        proxy = await self._dialer.proxies.toward(*self._place)
        if not self.speaks_tls:
            self._plain.check_way(self._place[1], proxy)
        exchange = Exchange(
            method=call.method,
            path=call.path,
            url=yarl.URL(self._origin + target, encoded=True),
            headers=headers,
            body=body,
            trace_id=trace_id,
            timeouts=self._timeouts,
            completes=call.completes,
            proxy=proxy,
            secret=call.secret,
        )
        return await exchange.run(sessions.session(call), self.service_time)

    async def _body(self, call: Call, credential: Credential | None) -> bytes:
        if call.body is None:
            return b""
        if callable(call.body):
            origin = credential.proof_origin(self.user_id) if credential else ""
            body = await cast("BodyFrom", call.body)(origin)
        else:
            body = call.body
        if len(getattr(body, "multi_parts", ())) > _MANY_PARTS:
            return await in_thread(encode, body)
        return encode(body)

    def _headers(
        self, call: Call, credential: Credential | None, stamp: str, query: str, body: bytes
    ) -> dict[str, str]:
        headers = {"Host": self._host, "X-User-Id": self.user_id, "X-Date": stamp, **call.headers}
        if body:
            headers["Content-Type"] = "application/json"
        if call.lock_id is not None:
            headers[LOCK_HEADER] = call.lock_id
        if credential is not None:
            headers["Authorization"] = credential.authorization(
                RequestHead(
                    method=call.method,
                    path=self._base_path + call.path,
                    query=query,
                    headers={"host": self._host, "x-date": stamp, "x-user-id": self.user_id},
                    body=body,
                )
            )
        return headers

    def _opened(self) -> Sessions:
        door = self._door
        if door.sessions is None or door.home is None:
            raise ClientClosed("this client is not open: use it inside 'async with KooDrive(...)'")
        door.home.check()
        return door.sessions


class _Door:
    """The sessions of an open client, shared by everything that sends for it."""

    sessions: Sessions | None = None
    home: Home | None = None
    doubted_at: float | None = None
    replaced: int = 0
    chance: random.Random
    locked: set[str]
    """Kinds of calls that want the lock, though not every page says so."""


class _Sent:
    """The facts about an attempt that failed.

    :ivar stamp: The ``X-Date`` that it had.
    """

    stamp: str = ""


# --- sessions ----------------------------------------------------------------------------------


# What stands before a service adds headers: aiohttp takes 128 of 8 KiB if it is not asked for more.
_HEAD_LIMITS: dict[str, Any] = {
    name: limit
    for name, limit in {
        "max_line_size": 32 * 1024,
        "max_field_size": 32 * 1024,
        "max_headers": 500,
    }.items()
    if name in inspect.signature(aiohttp.ClientSession).parameters
}


class Sessions:
    """The sessions of a client: one for urgent calls, which wait behind no others.

    :param connections: Connections that calls may have at a time; urgent calls have their own.
    :param dialer: Makes the connections through proxies, and gives the user agent.
    """

    def __init__(self, connections: int, tls: ssl.SSLContext, dialer: Dialer) -> None:
        # they do not bound their connections: to wait inside would count as a slow service
        self._many, self._urgent = open_session(0, tls, dialer), open_session(0, tls, dialer)
        self._places = asyncio.Semaphore(connections)
        self._urgent_places = asyncio.Semaphore(_URGENT_CONNECTIONS)

    def place(self, call: Call) -> asyncio.Semaphore:
        """Return what bounds the connections that this call may wait for."""
        return self._urgent_places if call.urgent else self._places

    def session(self, call: Call) -> aiohttp.ClientSession:
        """Return the session to send this call through."""
        return self._urgent if call.urgent else self._many

    @property
    def closed(self) -> bool:
        """Whether every connection is closed."""
        return self._many.closed and self._urgent.closed

    async def aclose(self) -> None:
        """Close every connection."""
        try:
            await self._many.close()
        finally:
            await self._urgent.close()


def open_session(connections: int, tls: ssl.SSLContext, dialer: Dialer) -> aiohttp.ClientSession:
    """Open a session that keeps connections alive, keeps no cookies and follows its caller only.

    :param connections: Connections it may have at a time; 0 for any number.
    :param dialer: Makes the connections through proxies, and gives the user agent.
    """
    session = aiohttp.ClientSession(
        connector=WaryConnector(dialer, limit=connections, ssl=tls, keepalive_timeout=KEEP_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": dialer.user_agent},
        auto_decompress=True,
        trust_env=False,
        **_HEAD_LIMITS,
    )
    # When a kept connection breaks, aiohttp would send a DELETE or the PUT of a part a second time
    # by itself: transport/retry.py alone decides what is repeated.
    session._retry_connection = False  # noqa: SLF001 - aiohttp has no public name for it
    return session


def _split_endpoint(endpoint: str) -> tuple[str, str, str]:
    """Return scheme and host, the path without a slash at its end, and the ``Host`` header."""
    # what stands before an @ may be a password
    given = "one with a user or password" if "@" in endpoint else repr(endpoint)
    refusal = ConfigurationError(f"the endpoint must look like 'https://host', not {given}")
    try:
        url = yarl.URL(endpoint)
    except ValueError:
        raise refusal from None
    if url.scheme not in {"https", "http"} or not url.raw_host or not is_host(url.raw_host):
        raise refusal
    if "@" in url.raw_authority or url.raw_query_string or url.raw_fragment:
        raise refusal
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    if not url.is_default_port():
        host = f"{host}:{url.port}"
    return f"{url.scheme}://{host}", url.raw_path.rstrip("/"), host


def _place(origin: str) -> tuple[bool, str, int]:
    """Return whether TLS is spoken there, the host without brackets, and the port."""
    url = yarl.URL(origin)
    return url.scheme == "https", url.raw_host or "", url.port or 0
