""":class:`KooDrive`: where the parts are put together, and how long they live."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

from koodrive_async.backup import BackupSession
from koodrive_async.blocks import OpenBlocks
from koodrive_async.config import Limits, RetryPolicy, Timeouts, is_off, read_environment
from koodrive_async.descriptors import (
    DescriptorShares,
    enough_descriptors,
    when_one_is_free,
)
from koodrive_async.errors import ClientClosed, ConfigurationError
from koodrive_async.pace import Pace
from koodrive_async.resources import (
    Configs,
    Devices,
    Files,
    Locks,
    Records,
    Scopes,
    Spaces,
    Tokens,
)
from koodrive_async.resources.arguments import check_module
from koodrive_async.telemetry import instruments
from koodrive_async.threads import in_thread, until_done
from koodrive_async.transport.auth import AppSignature, Auth, BearerToken, check_header_setting
from koodrive_async.transport.clock import Clock, ServiceTime, SystemClock
from koodrive_async.transport.dialing import USER_AGENT, Dialer
from koodrive_async.transport.home import check_loop
from koodrive_async.transport.http import InterfaceHttp, Sessions
from koodrive_async.transport.outage import Outage
from koodrive_async.transport.plain_http import (
    ALLOW_PLAIN_HTTP,
    ALLOW_PLAIN_PART_URLS,
    PlainHttp,
    plain_hosts,
)
from koodrive_async.transport.proxy import Proxies
from koodrive_async.transport.retry import Attempts, RetryBudget
from koodrive_async.transport.tls import tls_contexts
from koodrive_async.unfinished import left_behind
from koodrive_async.upload import Journal, LockNotes, Uploader, default_path
from koodrive_async.upload.paths import absolute, os_path

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from types import TracebackType

    from koodrive_async.models import BackupRecord, Module
    from koodrive_async.telemetry import Telemetry
    from koodrive_async.transport.tls import Tls

_INTERFACE_CONNECTIONS = 100


class KooDrive:
    """A client of the KooDrive backup interface, used inside ``async with``.

    One client belongs to one event loop and serves any number of tasks in it. It is entered once.
    Leaving it, or :meth:`aclose`, ends the sessions and held locks that other tasks have open.

    :param endpoint: Base URL of the deployment, for example ``https://host``.
    :param auth: :class:`BearerToken` or :class:`AppSignature`.
    :param user_id: KooDrive user id, sent as ``X-User-Id``.
    :param limits: What the client may use.
    :param timeouts: How long each wait may take.
    :param retry: How patiently requests are repeated.
    :param clock: Time as the client sees it; for tests.
    :param tls: A :class:`Tls`, or a TLS context of your own, which then serves the object store as
        well; by default the system's trust store, or what ``SSL_CERT_FILE`` names.
    :param proxy: The URL of an HTTP proxy for everything, or None for none. By default, ``"env"``,
        what ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` of the environment say
        (or, without any of them, the settings of macOS or Windows).
    :param user_agent: Your program, such as ``myapp/1.0``, to be named before this package in the
        ``User-Agent`` of calls and parts.
    :param journal: Where to keep what a later run needs to go on where this one was interrupted: a
        file of your choice, on a local disk; None or ``"off"`` keeps nothing. By default,
        ``"auto"``, what ``KOODRIVE_JOURNAL`` of the environment says (a path, or ``off``), or a
        file in the place that the system has for such state. How far they are is kept of uploads
        by path, of others the name and digest; never a token or a presigned URL.
    :param verify_parts: Hash every part once more while it is sent, and compare with what was
        announced; without it the service alone does that. It costs processor time.
    :param allow_plain_http: Hosts, each as ``"host"`` or ``"host:port"``, that credentials may go
        to over ``http``, without TLS; this machine's own addresses need not be named.
    :param allow_plain_part_urls: Hosts that an ``https`` service may lead parts and downloads to
        over ``http``; any other such URL is refused with a ``ConfigurationError``.
    :param telemetry: Where spans and metrics go (:mod:`koodrive_async.telemetry`): by default to
        OpenTelemetry's global providers in a program that has loaded it; None for nowhere.
    :raises ConfigurationError: The endpoint is not a URL, or is ``http`` on another machine that
        ``allow_plain_http`` does not name; the user id or user agent cannot stand in
        a header, or this package cannot use the proxy.

    :ivar devices: Machines bound to the user.
    :ivar configs: Config entries.
    :ivar scopes: Backup scopes.
    :ivar locks: Backup locks.
    :ivar records: Backup records.
    :ivar files: Backup files.
    :ivar spaces: Storage spaces of the user.
    :ivar tokens: Access tokens.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        auth: Auth,
        user_id: str,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        tls: ssl.SSLContext | Tls | None = None,
        proxy: str | None = "env",
        user_agent: str | None = None,
        journal: str | os.PathLike[str] | None = "auto",
        verify_parts: bool = False,
        allow_plain_http: Sequence[str] = (),
        allow_plain_part_urls: Sequence[str] = (),
        telemetry: Telemetry | Literal["auto"] | None = "auto",
    ) -> None:
        check_header_setting("user id", user_id)
        _check_kind("endpoint", endpoint, str)
        _check_kind("limits", limits, Limits | None)
        _check_kind("timeouts", timeouts, Timeouts | None)
        _check_kind("retry", retry, RetryPolicy | None)
        _check_auth(auth)
        self.endpoint = endpoint
        self.limits: Limits = limits or Limits()
        self.timeouts: Timeouts = timeouts or Timeouts()
        self.retry: RetryPolicy = retry or RetryPolicy()
        self._tls = tls
        self._dialer = Dialer(Proxies(proxy), _user_agent(user_agent))
        clock = clock or SystemClock()
        self.service_time: ServiceTime = ServiceTime(clock)
        rate = self.limits.requests_per_second
        self._budget = budget = RetryBudget(self.retry.per_second)
        self._telemetry: Telemetry | Literal["auto"] | None = telemetry
        outage = Outage("the service", clock, self.retry.outage, once_reached=True)
        plain = PlainHttp(
            services=plain_hosts(ALLOW_PLAIN_HTTP, allow_plain_http),
            stores=plain_hosts(ALLOW_PLAIN_PART_URLS, allow_plain_part_urls),
        )
        self._account = f"{user_id}@{endpoint.rstrip('/')}"
        self._http = InterfaceHttp(
            endpoint,
            auth=auth,
            user_id=user_id,
            timeouts=self.timeouts,
            retry=self.retry,
            clock=clock,
            service_time=self.service_time,
            pace=None if rate is None else Pace(rate),
            budget=budget,
            dialer=self._dialer,
            plain=plain,
            outage=outage,
        )
        attempts = partial(Attempts, self.retry, clock, budget, repeatable=True)
        waiting, waiting_attempts = self._http.waiting(), partial(attempts, outage=outage)
        self.devices: Devices = Devices(self._http, attempts)
        self.configs: Configs = Configs(self._http)
        self.scopes: Scopes = Scopes(self._http)
        self._blocks = OpenBlocks(self.timeouts.cleanup)
        outage_of_lock = self.retry.outage if self.retry.attempts > 1 else 0.0
        self._lock_notes = LockNotes(self._account)
        self.locks: Locks = Locks(
            self._http,
            clock,
            self.timeouts,
            blocks=self._blocks,
            notes=self._lock_notes,
            outage=outage_of_lock,
        )
        self.records: Records = Records(self._http, attempts)
        self.files: Files = Files(self._http)
        self.spaces: Spaces = Spaces(self._http)
        self.tokens: Tokens = Tokens(self._http)
        self._records_of_sessions = Records(waiting, waiting_attempts)
        self._files_of_sessions = Files(waiting)
        self._uploader = Uploader(
            self._files_of_sessions,
            spaces=self.spaces,
            limits=self.limits,
            timeouts=self.timeouts,
            retry=self.retry,
            budget=budget,
            service_time=self.service_time,
            clock=clock,
            verify=verify_parts,
            dialer=self._dialer,
            plain=plain if self._http.speaks_tls else None,
            outage=outage,
        )
        self._journal: str | os.PathLike[str] | None = journal
        if not isinstance(journal, str | None):
            self._journal = Path(os_path("journal", journal))
        self._records_begun: set[str] = set()
        self._open = AsyncExitStack()
        self._entered = False
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        tls: ssl.SSLContext | Tls | None = None,
        proxy: str | None = "env",
        user_agent: str | None = None,
        journal: str | os.PathLike[str] | None = "auto",
        verify_parts: bool = False,
        allow_plain_http: Sequence[str] | None = None,
        allow_plain_part_urls: Sequence[str] | None = None,
        telemetry: Telemetry | Literal["auto"] | None = "auto",
    ) -> Self:
        """Make a client from the environment.

        Reads ``KOODRIVE_ENDPOINT``, ``KOODRIVE_USER_ID``, and either ``KOODRIVE_TOKEN`` or both of
        ``KOODRIVE_APP_ID`` and ``KOODRIVE_APP_SECRET``. ``KOODRIVE_ALLOW_PLAIN_HTTP`` and
        ``KOODRIVE_ALLOW_PLAIN_PART_URLS`` list hosts, with commas between them, where the arguments
        of these names are not given.

        :param environ: The variables; the process's own by default.
        :raises ConfigurationError: Something is missing: all of it is listed.
        """
        found = read_environment(environ)
        auth: Auth
        if found.token is not None:
            auth = BearerToken(found.token)
        else:
            auth = AppSignature(app_id=found.app_id or "", app_secret=found.app_secret or "")
        return cls(
            found.endpoint,
            auth=auth,
            user_id=found.user_id,
            limits=limits,
            timeouts=timeouts,
            retry=retry,
            clock=clock,
            tls=tls,
            proxy=proxy,
            user_agent=user_agent,
            journal=journal,
            verify_parts=verify_parts,
            allow_plain_http=(
                found.allow_plain_http if allow_plain_http is None else allow_plain_http
            ),
            allow_plain_part_urls=(
                found.allow_plain_part_urls
                if allow_plain_part_urls is None
                else allow_plain_part_urls
            ),
            telemetry=telemetry,
        )

    def __enter__(self) -> NoReturn:
        raise TypeError(
            "use 'async with', or the KooDrive of koodrive_async.sync, which takes a plain 'with'"
        )

    def __exit__(self, *_: object) -> None:
        """Nothing can be left that was not entered."""

    async def __aenter__(self) -> Self:
        check_loop()
        if self._entered:
            raise ClientClosed("a KooDrive client is entered once: make another one")
        self._entered = True
        told = instruments(self._telemetry)
        self._budget.on_retry = told.retried
        # without a descriptor OpenSSL would trust no authority, and not say why
        free = await when_one_is_free(partial(in_thread, enough_descriptors))
        descriptors = DescriptorShares.of(free)
        tls = await tls_contexts(self._tls)
        async with AsyncExitStack() as stack:
            calls = min(_INTERFACE_CONNECTIONS, descriptors.calls)
            sessions = Sessions(calls, tls.interface, self._dialer)
            stack.push_async_callback(sessions.aclose)
            self._http.use(sessions)
            self._lock_notes.journal = journal = await self._open_journal()
            self._uploader.open(tls.parts, journal, told, descriptors)
            self._open = stack.pop_all()
        if self._closing is not None:
            await until_done(asyncio.create_task(self._close()))
            raise ClientClosed("this client was closed while it was being entered")
        return self

    async def _open_journal(self) -> Journal:
        place = self._journal
        if isinstance(place, str) and is_off(place):
            place = None
        elif isinstance(place, str) and place.strip().lower() == "auto":
            place = await in_thread(default_path)  # what it imports takes a while
        journal = Journal(place)
        await journal.open()
        return journal

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave()

    async def aclose(self) -> None:
        """Close the client, as leaving its block does; a second call waits for the first one.

        Sessions and held locks that other tasks have open end first: their uploads are cancelled,
        their locks given back, for which they have :attr:`Timeouts.cleanup`, and their records stay
        unfinished, to be resumed. Those tasks get ``ClientClosed``.

        :raises ClientClosed: The calling task is itself inside of such a block. Nothing was closed.

        Cancellation takes effect when the client is closed.
        """
        self._blocks.check_none_of_this_task()
        await self._leave()

    async def _leave(self) -> None:
        """Close the client, also where a block of this task was never left."""
        if not self._entered:
            return
        try:
            await self._blocks.end_own()
        finally:
            if self._closing is None:
                self._closing = asyncio.create_task(self._close())
            await until_done(self._closing)
        self._closing.result()

    async def _close(self) -> None:
        try:
            await self._blocks.end_all()
        finally:
            self._http.use(None)
            try:
                await self._uploader.aclose()
            finally:
                await self._open.aclose()

    def backup(
        self,
        device_id: str,
        module: Module | str,
        *,
        properties: str | Mapping[str, Any] | None = None,
        resume: str | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> BackupSession:
        """Begin a backup: use it as ``async with drive.backup(...) as session``.

        :param device_id: The device that is backed up.
        :param module: What is backed up.
        :param properties: JSON text or a mapping, kept with the record. Without it the session
            writes the ids of the spaces its files went to, which a restore needs.
        :param resume: Id of an unfinished record to go on with, instead of a new one. Entering
            raises ``RecordInUse`` when another process of this machine is at it, and
            ``InvalidArgument`` when it is completed.
        :param root: The folder that is backed up, by which its record is found again: it is noted
            in the journal, and a digest of it kept with the record unless it has ``properties``.
        :raises InvalidArgument: There is no such module, an id is not valid, or ``properties`` is
            not JSON.
        """
        return BackupSession(
            device_id,
            module,
            properties=properties,
            resume=resume,
            root=root,
            account=self._account,
            begun_before=self._records_begun,
            locks=self.locks,
            records=self._records_of_sessions,
            files=self._files_of_sessions,
            uploader=self._uploader,
            blocks=self._blocks,
        )

    @property
    def journal_path(self) -> Path | None:
        """The journal of this client; None when it keeps none.

        :raises ClientClosed: The client is not open.
        """
        return self._uploader.means.journal.path

    async def find_unfinished(
        self,
        device_id: str,
        module: Module | str,
        *,
        root: str | os.PathLike[str] | None = None,
    ) -> BackupRecord | None:
        """Find the record that an interrupted backup has left, for ``backup(resume=...)``.

        The journal is asked first, then the service for all records of the device. Records that
        another process of this machine is writing are passed over.

        :param root: The folder that was backed up, as given to :meth:`backup`; any by default.
        :returns: The newest record that takes files still; None when there is none.
        :raises InvalidArgument: There is no such module.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        """
        async with aclosing(await self._left_behind(device_id, module, root)) as records:
            return await anext(records, None)

    async def list_unfinished(
        self,
        device_id: str,
        module: Module | str,
        *,
        root: str | os.PathLike[str] | None = None,
    ) -> tuple[BackupRecord, ...]:
        """List all records that interrupted backups have left; their number is its length.

        Runs that are interrupted and never resumed leave one each. What :meth:`find_unfinished`
        returns comes first. :meth:`Records.delete` removes one with its files.

        :param root: The folder that was backed up, as given to :meth:`backup`; any by default.
        :raises InvalidArgument: There is no such module.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        """
        async with aclosing(await self._left_behind(device_id, module, root)) as records:
            return tuple([record async for record in records])

    async def _left_behind(
        self, device_id: str, module: Module | str, root: str | os.PathLike[str] | None
    ) -> AsyncGenerator[BackupRecord, None]:
        place = None if root is None else os_path("root", root)
        if place is not None:
            place = await in_thread(absolute, place)
        return left_behind(
            self.records,
            self._uploader.means.journal,
            account=self._account,
            device_id=device_id,
            module=check_module(module),
            root=place,
        )

    def __repr__(self) -> str:
        return f"KooDrive({self.endpoint!r})"


def _check_auth(auth: object) -> None:
    # a path can be opened, too
    can_open = callable(getattr(auth, "open", None))
    if not can_open or isinstance(auth, type | os.PathLike):
        raise ConfigurationError(
            f"auth must be a BearerToken, an AppSignature or an Auth of your own, not "
            f"{type(auth).__name__}"
        )


def _check_kind(setting: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{setting} cannot be a {type(value).__name__}")


def _user_agent(program: str | None) -> str:
    if program is None:
        return USER_AGENT
    check_header_setting("user agent", program)
    return f"{program} {USER_AGENT}"
