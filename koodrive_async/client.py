""":class:`KooDrive`: where the parts are put together, and how long they live."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread

from koodrive_async.backup import BackupSession
from koodrive_async.config import Limits, RetryPolicy, Timeouts, read_environment
from koodrive_async.errors import ClientClosed
from koodrive_async.pace import Pace
from koodrive_async.resources import Configs, Devices, Files, Locks, Records, Scopes, Tokens
from koodrive_async.resources.arguments import check_module
from koodrive_async.threads import until_done
from koodrive_async.transport.auth import AppSignature, Auth, BearerToken, check_header_setting
from koodrive_async.transport.clock import Clock, ServiceTime, SystemClock
from koodrive_async.transport.http import InterfaceHttp, open_session, tls_context
from koodrive_async.transport.retry import Attempts, RetryBudget
from koodrive_async.unfinished import find_unfinished
from koodrive_async.upload import Journal, Uploader, default_path

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from koodrive_async.models import BackupRecord, Module

_INTERFACE_CONNECTIONS = 100


class KooDrive:
    """A client of the KooDrive backup interface, used inside ``async with``.

    One client belongs to one event loop and serves any number of tasks in it. It is entered once.

    :param endpoint: Base URL of the deployment, for example ``https://host``.
    :param auth: :class:`BearerToken` or :class:`AppSignature`.
    :param user_id: KooDrive user id, sent as ``X-User-Id``.
    :param limits: What the client may use.
    :param timeouts: How long each wait may take.
    :param retry: How patiently requests are repeated.
    :param clock: Time as the client sees it; for tests.
    :param tls: A TLS context of your own; by default the system's trust store.
    :param journal: Where to keep what a later run needs to go on where this one was interrupted: a
        file of your choice, on a local disk; None or ``"off"`` keeps nothing. By default,
        ``"auto"``, what ``KOODRIVE_JOURNAL`` of the environment says (a path, or ``off``), or a
        file in the place that the system has for such state. How far they are is kept of uploads
        by path, of others the name and digest; never a token or a presigned URL.
    :param verify_parts: Hash every part once more while it is sent, and compare with what was
        announced; without it the service alone does that. It costs processor time.
    :raises ConfigurationError: The endpoint is not a URL, or the user id cannot stand in a header.

    :ivar devices: Machines bound to the user.
    :ivar configs: Config entries.
    :ivar scopes: Backup scopes.
    :ivar locks: Backup locks.
    :ivar records: Backup records.
    :ivar files: Backup files.
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
        tls: ssl.SSLContext | None = None,
        journal: str | os.PathLike[str] | None = "auto",
        verify_parts: bool = False,
    ) -> None:
        check_header_setting("user id", user_id)
        self.endpoint = endpoint
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        self.retry = retry or RetryPolicy()
        self._tls = tls
        clock = clock or SystemClock()
        self.service_time = ServiceTime(clock)
        rate = self.limits.requests_per_second
        budget = RetryBudget(self.retry.per_second)
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
        )
        attempts = partial(Attempts, self.retry, clock, budget, repeatable=True)
        self.devices = Devices(self._http, attempts)
        self.configs = Configs(self._http)
        self.scopes = Scopes(self._http)
        self.locks = Locks(self._http, clock, self.timeouts)
        self.records = Records(self._http, attempts)
        self.files = Files(self._http)
        self.tokens = Tokens(self._http)
        self._uploader = Uploader(
            self.files,
            limits=self.limits,
            timeouts=self.timeouts,
            retry=self.retry,
            budget=budget,
            service_time=self.service_time,
            clock=clock,
            verify=verify_parts,
        )
        self._journal = journal
        self._records_begun: set[str] = set()
        self._open = AsyncExitStack()
        self._entered = False

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
        journal: str | os.PathLike[str] | None = "auto",
        verify_parts: bool = False,
    ) -> Self:
        """Make a client from the environment.

        Reads ``KOODRIVE_ENDPOINT``, ``KOODRIVE_USER_ID``, and either ``KOODRIVE_TOKEN`` or both of
        ``KOODRIVE_APP_ID`` and ``KOODRIVE_APP_SECRET``.

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
            journal=journal,
            verify_parts=verify_parts,
        )

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ClientClosed("a KooDrive client is entered once: make another one")
        self._entered = True
        tls = self._tls or await tls_context()
        async with AsyncExitStack() as stack:
            interface = await stack.enter_async_context(open_session(_INTERFACE_CONNECTIONS, tls))
            self._http.use(interface)
            self._uploader.open(tls, await self._open_journal())
            self._open = stack.pop_all()
        return self

    async def _open_journal(self) -> Journal:
        place = self._journal
        if place == "off":
            place = None
        elif place == "auto":
            place = await anyio.to_thread.run_sync(default_path)  # what it imports takes a while
        journal = Journal(place)
        await journal.open()
        return journal

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.use(None)
        try:
            await self._uploader.aclose()
        finally:
            # aiohttp does not take it well to be cancelled while it closes
            await until_done(asyncio.ensure_future(self._open.aclose()))

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
        :raises InvalidArgument: There is no such module, or ``properties`` is not JSON.
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
            records=self.records,
            files=self.files,
            uploader=self._uploader,
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

        The journal is asked first, then the service, of which the last hundred records of the
        device are looked at. Records that a process of this machine is at are passed over.

        :param root: The folder that was backed up, as given to :meth:`backup`; any by default.
        :returns: The newest record that takes files still; None when there is none.
        :raises InvalidArgument: There is no such module.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived.
        """
        place = None if root is None else await anyio.to_thread.run_sync(os.path.abspath, root)
        return await find_unfinished(
            self.records,
            self._uploader.means.journal,
            account=self._account,
            device_id=device_id,
            module=check_module(module),
            root=None if place is None else os.fspath(place),
        )

    def __repr__(self) -> str:
        return f"KooDrive({self.endpoint!r})"
