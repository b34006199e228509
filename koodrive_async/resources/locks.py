"""``drive.locks``: the lease that backup writes must quote, and keeping it alive."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from koodrive_async.errors import (
    ApiError,
    KooDriveError,
    LockLost,
    RateLimited,
    ServerFault,
    TransportError,
)
from koodrive_async.models import BackupLock, Module
from koodrive_async.resources.arguments import check_module
from koodrive_async.tasks import task_group
from koodrive_async.transport.call import Call, path
from koodrive_async.transport.wire import entity, nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from koodrive_async.transport.clock import Clock
    from koodrive_async.transport.http import InterfaceHttp

logger = logging.getLogger(__name__)

_NO_RENEWAL = "its life ran out"
_LEAST_PAUSE = 30
"""Fraction of a lock's life that lies between two attempts to renew it, at the least."""

_GRACE = 10.0
"""Seconds that a cancelled holder waits to give its lock back; it runs out by itself anyway."""


class Lease:
    """A lock that is being kept alive.

    :ivar lock_id: Goes into ``x-backup-lock-id``.
    :ivar expires_at: Seconds since 1970 on the local clock when it ends unless it is renewed.
    """

    def __init__(self, lock_id: str, granted_at: float, life: float) -> None:
        self.lock_id = lock_id
        self._life = life
        self.extend(granted_at)

    def extend(self, granted_at: float) -> None:
        """Note a renewal that was sent at ``granted_at`` (the life counts from before sending)."""
        self.renew_at = granted_at + self._life / 3
        self.expires_at = granted_at + self._life

    def __repr__(self) -> str:
        return f"Lease(lock_id={self.lock_id!r}, expires_at={self.expires_at:.0f})"


class Locks:
    """Take, renew and give back backup locks.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp, clock: Clock, life: float) -> None:
        self._http = http
        self._clock = clock
        self._life = life

    async def create(self, module: Module | str) -> BackupLock:
        """Take a lock (page ``createBackupLock``); it lives for 10 minutes.

        What the service answers while somebody else holds it is not documented: an
        :class:`~koodrive_async.errors.ApiError` carries its code and message.
        """
        call = Call(
            method="POST",
            path=path("backup", "lock"),
            body={"moduleCode": check_module(module)},
            repeatable=False,
        )
        return await self._http.send(call, entity(BackupLock))

    async def renew(self, lock_id: str) -> None:
        """Set a lock's life back to 10 minutes (page ``renewalBackupLock``).

        :param lock_id: A lock that has not expired.
        """
        await self._send("PATCH", lock_id)

    async def release(self, lock_id: str) -> None:
        """Give a lock back (page ``releaseBackupLock``)."""
        await self._send("DELETE", lock_id)

    async def _send(self, method: str, lock_id: str) -> None:
        call = Call(
            method=method,
            path=path("backup", "lock"),
            lock_id=lock_id,
            repeatable=True,
            urgent=True,
        )
        await self._http.send(call, nothing)

    @asynccontextmanager
    async def hold(self, module: Module | str) -> AsyncIterator[Lease]:
        """Take a lock, keep it renewed, and give it back at the end, also after a failure.

        It is renewed at a third of its life (:attr:`Timeouts.lease`).

        :raises LockLost: It could not be renewed in time: the block is cancelled at once.

        Cancellation gives the lock back, for which it takes 10 seconds at the most.
        """
        asked_at = self._clock.time()
        lease = Lease(await self._take(module), asked_at, self._life)
        try:
            async with task_group() as group:
                group.start_soon(self._keep, lease)
                yield lease
                group.cancel_scope.cancel()
        finally:
            await self._give_back(lease.lock_id)

    async def _take(self, module: Module | str) -> str:
        """Create a lock; one that is granted while the caller is being cancelled is given back."""
        granted: list[str] = []
        answered = anyio.Event()
        shield = anyio.CancelScope(shield=True)

        async def ask() -> None:
            with shield:
                granted.append((await self.create(module)).lock_id)
            answered.set()

        try:
            async with task_group() as group:
                group.start_soon(ask)
                try:
                    await answered.wait()
                except anyio.get_cancelled_exc_class():
                    shield.deadline = anyio.current_time() + _GRACE
                    raise
        except BaseException:
            for lock_id in granted:
                await self._give_back(lock_id)
            raise
        return granted[0]

    async def _keep(self, lease: Lease) -> None:
        reason = _NO_RENEWAL
        while True:
            await self._clock.sleep(max(0.0, lease.renew_at - self._clock.time()))
            asked_at = self._clock.time()
            # one real attempt in any case: the clock may have been set forward, not the life ended
            time_left = max(lease.expires_at - asked_at, self._life / _LEAST_PAUSE)
            with anyio.move_on_after(time_left):
                try:
                    await self.renew(lease.lock_id)
                except (TransportError, ServerFault, RateLimited) as error:
                    logger.warning("backup lock %s was not renewed: %s", lease.lock_id, error)
                    reason = str(error)
                    # not at once again, and not ever faster: the renewal was repeated already
                    pause = max((lease.expires_at - asked_at) / 3, self._life / _LEAST_PAUSE)
                    lease.renew_at = min(asked_at + pause, lease.expires_at)
                except ApiError as error:
                    raise LockLost(lease.lock_id, f"its renewal was refused: {error}") from error
                else:
                    lease.extend(asked_at)
                    reason = _NO_RENEWAL
            if self._clock.time() >= lease.expires_at:
                raise LockLost(lease.lock_id, f"it could not be renewed in time: {reason}")

    async def _give_back(self, lock_id: str) -> None:
        with anyio.move_on_after(_GRACE, shield=True):
            try:
                await self.release(lock_id)
            except KooDriveError as error:
                logger.warning(
                    "backup lock %s was not given back, it runs out by itself: %s",
                    lock_id,
                    error,
                )
