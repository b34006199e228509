"""The documented calls, as blocking methods."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from koodrive_async import resources as aio
from koodrive_async.sync.facade import Facade, blocking, described_by
from koodrive_async.sync.listing import listing
from koodrive_async.sync.stay import Stay

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from koodrive_async.sync.portal import Portal

A = TypeVar("A")
P = ParamSpec("P")


class Devices(Facade[aio.Devices]):
    """Bind, list and unbind devices."""

    bind: Final = blocking(aio.Devices.bind)
    list: Final = blocking(aio.Devices.list)
    unbind: Final = blocking(aio.Devices.unbind)


class Configs(Facade[aio.Configs]):
    """Read and update config entries; the service alone creates and deletes them."""

    list: Final = blocking(aio.Configs.list)
    get: Final = blocking(aio.Configs.get)
    update: Final = blocking(aio.Configs.update)


class Scopes(Facade[aio.Scopes]):
    """List, add and delete backup scopes."""

    list: Final = blocking(aio.Scopes.list)
    add: Final = blocking(aio.Scopes.add)
    delete: Final = blocking(aio.Scopes.delete)


class Records(Facade[aio.Records]):
    """List, create, complete and delete backup records."""

    list: Final = listing(aio.Records.list)
    create: Final = blocking(aio.Records.create)
    create_once: Final = blocking(aio.Records.create_once)
    unfinished: Final = blocking(aio.Records.unfinished)
    get: Final = blocking(aio.Records.get)
    complete: Final = blocking(aio.Records.complete)
    delete: Final = blocking(aio.Records.delete)


class Files(Facade[aio.Files]):
    """List, create and complete backup files, and fetch the URLs of their bytes."""

    list: Final = listing(aio.Files.list)
    create: Final = blocking(aio.Files.create)
    part_urls: Final = blocking(aio.Files.part_urls)
    complete: Final = blocking(aio.Files.complete)
    details: Final = blocking(aio.Files.details)
    download_urls: Final = blocking(aio.Files.download_urls)


class Spaces(Facade[aio.Spaces]):
    """Find the spaces of a user."""

    get: Final = blocking(aio.Spaces.get)
    list: Final = blocking(aio.Spaces.list)


class Tokens(Facade[aio.Tokens]):
    """Buy access tokens."""

    login: Final = blocking(aio.Tokens.login)
    refresh: Final = blocking(aio.Tokens.refresh)


class Lease(Facade[aio.Lease]):
    """A lock that is being kept alive.

    A blocking call cannot be stopped at the moment when the lock is lost, as
    :meth:`koodrive_async.Lease.run` does it: ask :meth:`check` before what writes under it.
    """

    @property
    def lock_id(self) -> str:
        """Goes into ``x-backup-lock-id``; another one after a loss."""
        return self._of.lock_id

    @property
    def expires_at(self) -> float:
        """Seconds since 1970 on the local clock when it ends unless it is renewed."""
        return self._of.expires_at

    @property
    def losses(self) -> int:
        """How often the lock was lost and another one taken."""
        return self._of.losses

    def check(self) -> None:
        """Raise what ended the keeping of this lock, if anything did.

        :raises LockLost: It is lost for good.
        """
        self._of.check()


class Holding(AbstractContextManager[Lease]):
    """A lock that is held as long as the block lasts."""

    def __init__(
        self, manager: AbstractAsyncContextManager[aio.Lease, bool | None], portal: Portal
    ) -> None:
        self._stay = Stay(manager)
        self._portal = portal

    def __enter__(self) -> Lease:
        return Lease(self._stay.enter(self._portal), self._portal)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._stay.leave(self._portal, error)


def holding(
    method: Callable[Concatenate[A, P], AbstractAsyncContextManager[aio.Lease]],
) -> Callable[Concatenate[Facade[A], P], Holding]:
    """Return a method that holds a lock as an asynchronous one does; the same in all else."""

    def hold(facade: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> Holding:
        manager = method(facade._of, *args, **kwargs)  # noqa: SLF001 - its own method
        return Holding(manager, facade._portal)  # noqa: SLF001 - the same

    described: Callable[Concatenate[Facade[A], P], Holding] = described_by(method, hold)
    return described


class Locks(Facade[aio.Locks]):
    """Take, renew and give back backup locks."""

    hold: Final = holding(aio.Locks.hold)
    create: Final = blocking(aio.Locks.create)
    renew: Final = blocking(aio.Locks.renew)
    release: Final = blocking(aio.Locks.release)
