"""Tokens that renew themselves, also when several processes do so at once."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import attrs
from anyio import to_thread

from koodrive_async.cli.known_settings import SettingsError
from koodrive_async.cli.private_files import make_private
from koodrive_async.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

    from koodrive_async.cli.credentials import Credentials, Vault
    from koodrive_async.client import KooDrive

_PATIENCE: Final = 120.0
"""Seconds to wait for another process that is renewing the token."""

_BETWEEN: Final = 0.05
_SHIELD: Final = 20.0
"""Seconds for which a cancellation does not stop a renewal: its answer is the only way back in."""


@attrs.define(kw_only=True, eq=False)
class Renewal:
    """The token function of a session that is kept in a vault.

    A refresh token is used up by using it. Whoever renews holds a lock and looks into the vault
    first: another process may have done it already.

    :param lock: The file that says who renews.
    """

    vault: Vault
    lock: Path
    profile: str
    _kept: Credentials = attrs.field(repr=False, alias="kept")
    _drive: KooDrive | None = attrs.field(default=None, repr=False)
    _given: str | None = attrs.field(default=None, repr=False)

    def attach(self, drive: KooDrive) -> None:
        """Renew with this client."""
        self._drive = drive

    async def __call__(self) -> str:
        """Return the kept token; when that was refused, another one.

        :raises ConfigurationError: The session is over.
        :raises KooDriveError: The service did not answer.
        """
        if self._given is None and self._kept.token is not None:
            self._given = self._kept.token
            return self._given
        async with _turn(self.lock):
            kept = await to_thread.run_sync(self.vault.read)
            if kept is None or not kept.are_for(self._kept.endpoint, self._kept.user_id):
                raise self._over("this profile was signed out, or in as another user, meanwhile")
            if kept.token is None or kept.token == self._given:
                kept = await self._renewed(kept)
        if kept.token is None:
            raise self._over("there is no token")
        self._given = kept.token
        return self._given

    async def _renewed(self, kept: Credentials) -> Credentials:
        if self._drive is None or kept.refresh_token is None:
            raise self._over("it cannot be renewed")
        with anyio.move_on_after(_SHIELD, shield=True):
            try:
                session = await self._drive.tokens.refresh(
                    kept.refresh_token, access_token=kept.token
                )
            except ApiError as error:
                if error.retry_after is None and error.status in {400, 401, 403}:
                    raise self._over(
                        f"the service does not renew it (HTTP {error.status})"
                    ) from None
                raise
            kept = kept.renewed(session)
            await to_thread.run_sync(self.vault.write, kept)
            return kept
        raise SettingsError(
            "the token could not be renewed in time",
            hint="try again; koodrive doctor looks at the service",
        )

    def _over(self, why: str) -> SettingsError:
        return SettingsError(
            f"the session of profile {self.profile!r} is over: {why}",
            hint=f"koodrive login --profile {self.profile}",
        )


@asynccontextmanager
async def _turn(file: Path) -> AsyncIterator[None]:
    lock = await to_thread.run_sync(_lock, file)
    try:
        with anyio.move_on_after(_PATIENCE):
            while not await to_thread.run_sync(_taken, lock):  # noqa: ASYNC110 - a file tells nobody
                await anyio.sleep(_BETWEEN)
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(lock.release)


@contextmanager
def turn(file: Path) -> Iterator[None]:
    """Keep other processes from renewing the token meanwhile. It blocks.

    :param file: The file that says who renews.
    """
    from filelock import Timeout  # noqa: PLC0415 - takes 40 ms

    lock = _lock(file)
    # one that hangs must not keep anybody from signing in again
    with suppress(Timeout, OSError, NotImplementedError):
        lock.acquire(timeout=_BETWEEN * 100)
    try:
        yield
    finally:
        lock.release()


def _lock(file: Path) -> BaseFileLock:
    from filelock import FileLock  # noqa: PLC0415 - takes 40 ms

    with suppress(OSError):
        make_private(file.parent)
    # the thread that gives it back need not be the one that took it
    return FileLock(file, mode=0o600, thread_local=False)


def _taken(lock: BaseFileLock) -> bool:
    from filelock import Timeout  # noqa: PLC0415 - takes 40 ms

    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except (OSError, NotImplementedError):
        return True  # nothing can be locked here: it goes without
    return True
