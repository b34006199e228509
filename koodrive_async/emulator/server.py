"""The emulator: its settings, its lifetime and what it says about itself."""

from __future__ import annotations

import asyncio
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

from koodrive_async.emulator.dialect import Dialect
from koodrive_async.emulator.faults import Faults
from koodrive_async.emulator.holdings import held_content, held_files, held_locks, held_records
from koodrive_async.emulator.run import Run
from koodrive_async.emulator.seen import Seen
from koodrive_async.emulator.service import (
    DEFAULT_CONFIGS,
    DEFAULT_CONTAINER,
    DEFAULT_USER,
    MIB,
    Clock,
    Settings,
)
from koodrive_async.sequences import check_many

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from koodrive_async.emulator.credentials import Account
    from koodrive_async.emulator.holdings import HeldFile, HeldLock, HeldRecord


_RUNNING: weakref.WeakValueDictionary[Path, Emulator] = weakref.WeakValueDictionary()
"""The emulators of this process that run, by their directories."""


class Emulator:
    """A KooDrive on this machine: real HTTP, strict rules, a state that survives a restart.

    Use it as a context manager, with ``with`` or ``async with``; neither blocks an event loop for
    longer than a thread takes to begin, since the service lives in a thread of its own. After it
    has stopped it can be started again, with the same state.

    :param directory: where state, contents and credentials live; created if absent.
    :param host: address to listen on. The name in URLs is this one, or the loopback address when
        it is a wildcard.
    :param port: port of the interface; 0 for the one of the last run in this directory, if that is
        free, or else any other.
    :param object_port: port of the object store, which is another site; 0 likewise.
    :param faults: what goes wrong; ``emulator.faults`` can be changed at any time.
    :param lock_seconds: life of a backup lock.
    :param url_seconds: life of a presigned URL; that of the dialect unless given.
    :param token_seconds: life of a token since it was last used.
    :param min_part_size: smallest size of a part that is not the last, in bytes; the service's own
        5 MiB unless tests need less.
    :param etags: answer a part with its MD5 as ``ETag``, as such stores do; without it, which is
        quicker, the ``ETag`` means nothing.
    :param users: ids of the users who have an account; the first is :attr:`user_id`.
    :param containers: ids of the storage spaces; the first is :attr:`container_id`.
    :param configs: names and values of the config entries that a new device gets in each module.
    :param ssl_context: serve HTTPS with it.
    :param clock: returns epoch seconds; everything that expires is measured with it.
    :param dialect: the answers to what the reference leaves open; also ``emulator.dialect``. Its
        ``url_scheme`` is that of the object store; the interface has the other one.
    :raises ValueError: when there is no user or no container, or ``url_scheme`` is given without
        ``ssl_context``.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        object_port: int = 0,
        faults: Faults | None = None,
        lock_seconds: float = 600.0,
        url_seconds: float | None = None,
        token_seconds: float = 1200.0,
        min_part_size: int = 5 * MIB,
        etags: bool = True,
        users: Sequence[str] = (DEFAULT_USER,),
        containers: Sequence[str] = (DEFAULT_CONTAINER,),
        configs: Mapping[str, str] = DEFAULT_CONFIGS,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock = time.time,
        dialect: Dialect | None = None,
    ) -> None:
        # first: an emulator that could not be made has a repr as well
        self._directory = Path(directory)
        self._run: Run | None = None
        users = check_many("users", users, "user ids")
        containers = check_many("containers", containers, "container ids")
        if not users or not containers:
            raise ValueError("there must be at least one user and one container")
        self.dialect: Dialect = Dialect() if dialect is None else dialect
        if self.dialect.url_scheme != "same" and ssl_context is None:
            raise ValueError(
                f"url_scheme={self.dialect.url_scheme}: needs ssl_context, to serve "
                "either the interface or the object store with TLS"
            )
        self.faults: Faults = Faults() if faults is None else faults
        self.seen: Seen = Seen()
        self._host = host
        self._ports = (port, object_port)
        self._users = users
        self._ssl_context = ssl_context
        self._clock = clock
        self._settings = Settings(
            lock_seconds=lock_seconds,
            url_seconds=float(self.dialect.url_life) if url_seconds is None else url_seconds,
            token_seconds=token_seconds,
            min_part_size=min_part_size,
            etags=etags,
            containers=containers,
            configs=dict(configs),
            dialect=self.dialect,
        )

    @classmethod
    def running(cls, directory: str | os.PathLike[str]) -> Self:
        """Return the emulator that this process runs in a directory; one is started if need be.

        For a notebook, whose cells may run more than once. It ends with the process, or
        :meth:`stop`.

        :raises OSError: when the directory cannot be used.
        """
        here = _RUNNING.get(Path(directory).resolve())
        if isinstance(here, cls):
            return here
        emulator = cls(directory)
        emulator.start()
        return emulator

    @property
    def url(self) -> str:
        """Base URL of the interface."""
        return self._running.url

    @property
    def object_url(self) -> str:
        """Base URL of the object store; presigned URLs begin with it."""
        return self._running.object_url

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Everyone who can sign in, the default account first."""
        return self._running.credentials.accounts

    @property
    def user_id(self) -> str:
        """User id of the default account."""
        return self.accounts[0].user_id

    @property
    def token(self) -> str:
        """A complete ``Authorization`` value of the default account, such as ``Bearer+60f4...``."""
        return self.accounts[0].token

    @property
    def account(self) -> str:
        """Account name of the default account."""
        return self.accounts[0].account

    @property
    def password(self) -> str:
        """Password of the default account."""
        return self.accounts[0].password

    @property
    def app_id(self) -> str:
        """AppId for the app signature."""
        return self._running.credentials.app_id

    @property
    def app_secret(self) -> str:
        """AppSecret for the app signature."""
        return self._running.credentials.app_secret

    @property
    def container_id(self) -> str:
        """Id of the default storage space."""
        return self._settings.containers[0]

    def environment(self) -> dict[str, str]:
        """Return the variables that point a client at this emulator."""
        return {
            "KOODRIVE_ENDPOINT": self.url,
            "KOODRIVE_USER_ID": self.user_id,
            "KOODRIVE_TOKEN": self.token,
        }

    def new_token(self) -> str:
        """Sign the default account in once more, and return the ``Authorization`` value."""
        return self._running.ask(lambda service: service.new_token(self.user_id))

    def files(self) -> tuple[HeldFile, ...]:
        """Return every file of all users, complete or not, in the order of their creation.

        This and the calls below wait for the service's thread; they may be made in an event loop.
        """
        return self._running.ask(held_files)

    def content(self, file_id: str) -> bytes:
        """Return the bytes of a file as they are stored; zeros where a part is missing.

        :raises KeyError: when there is no such file.
        """
        return self._running.ask(lambda service: held_content(service, file_id))

    def locks(self) -> tuple[HeldLock, ...]:
        """Return the locks that are alive."""
        return self._running.ask(held_locks)

    def records(self) -> tuple[HeldRecord, ...]:
        """Return every record of all users, in the order of their creation."""
        return self._running.ask(held_records)

    def start(self) -> None:
        """Start the service, and return when it listens; blocks, so not for an event loop.

        :raises RuntimeError: when it runs already.
        :raises OSError: when the directory cannot be used, or a port is in use.
        """
        run = self._begin()
        try:
            run.ready.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the service: no thread, socket or open file is left; nothing if it does not run."""
        run, self._run = self._run, None
        if run is not None:
            run.ask_to_stop()
            run.join()
            self._forget()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        run = self._begin()
        try:
            await asyncio.wrap_future(run.ready)
        except BaseException:
            await self._stopped()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stopped()

    def __repr__(self) -> str:
        directory = getattr(self, "_directory", None)
        if directory is None:  # it is no path, or the constructor was not called
            return "<Emulator, not made>"
        state = "stopped" if self._run is None else "running"
        return f"<Emulator {str(directory)!r}, {state}>"

    @property
    def _running(self) -> Run:
        if self._run is None or not self._run.ready.done():
            raise RuntimeError("the emulator is not running")
        return self._run

    def _begin(self) -> Run:
        if self._run is not None:
            raise RuntimeError("the emulator is running already")
        place = self._directory.resolve()
        if place in _RUNNING:
            raise RuntimeError(
                f"this process runs an emulator in {self._directory} already: stop that one, or "
                f"get it with Emulator.running({str(self._directory)!r})"
            )
        _RUNNING[place] = self
        self._run = Run(
            directory=self._directory,
            host=self._host,
            ports=self._ports,
            users=self._users,
            settings=self._settings,
            faults=self.faults,
            seen=self.seen,
            ssl_context=self._ssl_context,
            clock=self._clock,
        )
        self._run.thread.start()
        return self._run

    def _forget(self) -> None:
        _RUNNING.pop(self._directory.resolve(), None)

    async def _stopped(self) -> None:
        """Stop, and see it through even when the caller is cancelled meanwhile."""
        run, self._run = self._run, None
        if run is None:
            return
        run.ask_to_stop()
        ended = asyncio.ensure_future(asyncio.wrap_future(run.ended))
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError as error:
                cancelled = error
        run.join()
        self._forget()
        if cancelled is not None:
            raise cancelled
