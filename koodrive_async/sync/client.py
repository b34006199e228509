""":class:`KooDrive`, for programs without an event loop, or inside one that may wait."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from koodrive_async import client as aio
from koodrive_async.errors import ClientClosed
from koodrive_async.sync.backup import backing_up
from koodrive_async.sync.facade import Facade, blocking, like
from koodrive_async.sync.portal import Portal
from koodrive_async.sync.resources import (
    Configs,
    Devices,
    Files,
    Locks,
    Records,
    Scopes,
    Spaces,
    Tokens,
)
from koodrive_async.sync.stay import Stay

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from koodrive_async.config import Limits, RetryPolicy, Timeouts
    from koodrive_async.transport.clock import ServiceTime


class KooDrive(Facade[aio.KooDrive]):
    """A client of the KooDrive backup interface, used inside ``with``.

    Its parameters are those of :class:`koodrive_async.KooDrive`, which does the work, in a thread
    of its own. Any number of threads may use one client, also where an event loop is running: a
    call then holds that loop up until it is done. It is entered once.

    Ctrl-C, or any other signal handler that raises, cancels the call that is waited for; it is over
    when the exception is raised, unless a second one comes. (Inside ``asyncio.run`` the first
    Ctrl-C raises nothing: it is asyncio's, and cancels the task after the call.)

    Functions that are given to the client run in its thread, such as the one of
    :class:`~koodrive_async.BearerToken`, but for ``on_progress``: that is called where the call is
    waited for.

    :ivar devices: Machines bound to the user.
    :ivar configs: Config entries.
    :ivar scopes: Backup scopes.
    :ivar locks: Backup locks.
    :ivar records: Backup records.
    :ivar files: Backup files.
    :ivar spaces: Storage spaces of the user.
    :ivar tokens: Access tokens.
    """

    @like(aio.KooDrive)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._set_up(aio.KooDrive(*args, **kwargs))

    @classmethod
    @like(aio.KooDrive.from_env)
    def from_env(cls, *args: Any, **kwargs: Any) -> KooDrive:
        """Make a client from the environment, as :meth:`koodrive_async.KooDrive.from_env` does."""
        return cls.of(aio.KooDrive.from_env(*args, **kwargs))

    @classmethod
    def of(cls, client: aio.KooDrive) -> Self:
        """Make one of an asynchronous client that is not entered anywhere else.

        :param client: For example what :func:`koodrive_async.testing.connect` returns.
        """
        self = cls.__new__(cls)
        self._set_up(client)
        return self

    def _set_up(self, client: aio.KooDrive) -> None:
        super().__init__(client, portal := Portal(f"sync.{client!r}"))
        self.endpoint: str = client.endpoint
        self.limits: Limits = client.limits
        self.timeouts: Timeouts = client.timeouts
        self.retry: RetryPolicy = client.retry
        self.service_time: ServiceTime = client.service_time
        self.devices: Devices = Devices(client.devices, portal)
        self.configs: Configs = Configs(client.configs, portal)
        self.scopes: Scopes = Scopes(client.scopes, portal)
        self.locks: Locks = Locks(client.locks, portal)
        self.records: Records = Records(client.records, portal)
        self.files: Files = Files(client.files, portal)
        self.spaces: Spaces = Spaces(client.spaces, portal)
        self.tokens: Tokens = Tokens(client.tokens, portal)
        self._stay: Stay[aio.KooDrive] | None = None
        self._closing = threading.RLock()
        self._is_closing = False

    backup: Final = backing_up(aio.KooDrive.backup)
    find_unfinished: Final = blocking(aio.KooDrive.find_unfinished)
    list_unfinished: Final = blocking(aio.KooDrive.list_unfinished)

    @property
    def journal_path(self) -> Path | None:
        """The journal of this client; None when it keeps none.

        :raises ClientClosed: The client is not open.
        """
        return self._portal.run(lambda: self._of.journal_path)

    async def __aenter__(self) -> NoReturn:
        raise TypeError("use a plain 'with', or the KooDrive of koodrive_async")

    async def __aexit__(self, *_: object) -> None:
        """Nothing can be left that was not entered."""

    def __enter__(self) -> Self:
        if self._stay is not None:
            raise ClientClosed("a KooDrive client is entered once: make another one")
        self._stay = Stay(self._of)
        try:
            self._portal.open()
            self._stay.enter(self._portal)
        except BaseException:
            self._portal.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._stay is None or self._portal.is_elsewhere:
            return None
        with self._closing:
            if not self._portal.is_open or self._is_closing:  # a signal handler may close it too
                return None
            self._is_closing = True
            try:
                self._portal.show_out(but=self._stay)
                return self._stay.leave(self._portal, error)
            finally:
                self._portal.close()

    def close(self) -> None:
        """Close the client, as leaving its block does; a second call does nothing.

        Sessions and held locks that other threads have open end first: their uploads are cancelled,
        their locks given back, and their records stay unfinished, to be resumed. What those threads
        call next raises ``ClientClosed``.
        """
        self.__exit__(None, None, None)
