"""A lock that is kept alive, as those see it who write under it: :class:`Lease`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import anyio

from koodrive_async.errors import InvalidRequest, LockLost, NotFound, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from koodrive_async.resources.keeper import Keeper

T = TypeVar("T")

LOCK_REFUSALS = (InvalidRequest, PermissionDenied, NotFound)
"""What the service may refuse a lock with that is no more: it has no code of its own for that."""

_REFUSALS_OF_ONE_WRITE = 3


class Lease:
    """A lock that is being kept alive.

    :ivar lock_id: Goes into ``x-backup-lock-id``; another one after a loss.
    :ivar expires_at: Seconds since 1970 on the local clock when it ends unless it is renewed.
    :ivar losses: How often the lock was lost and another one taken.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    @property
    def lock_id(self) -> str:  # noqa: D102 - documented on the class
        return self._keeper.lock_id

    @property
    def expires_at(self) -> float:  # noqa: D102 - documented on the class
        return self._keeper.expires_at

    @property
    def losses(self) -> int:  # noqa: D102 - documented on the class
        return self._keeper.losses

    def check(self) -> None:
        """Raise what ended the keeping of this lock, if anything did.

        :raises LockLost: It is lost for good.
        """
        self._keeper.check()

    async def run(self, write: Callable[[], Awaitable[T]]) -> T:
        """Run something that writes under the lock; it reads :attr:`lock_id` itself.

        When the lock is lost the write is cancelled at once, and begun again when there is another
        lock. When a write is refused in a way that a lost lock may be the reason of, the lock is
        renewed to find out.

        :param write: Makes the awaitable; called once more each time it is begun again.
        :returns: What the write returns.
        :raises LockLost: The lock is lost for good; nothing is written any more.

        Whatever else the write raises is raised as it is. Cancelling the caller cancels the write.
        """
        refusals = 0
        while True:
            await self._keeper.until_held()
            losses = self.losses
            try:
                return await self._attempt(write)
            except _InterruptedError:
                continue
            except LOCK_REFUSALS as refusal:
                if not await self._keeper.lost_since(losses):
                    raise
                refusals += 1
                if refusals == _REFUSALS_OF_ONE_WRITE:
                    reason = f"a write was refused {refusals} times, under new locks too: {refusal}"
                    raise LockLost(self.lock_id, reason) from refusal

    async def _attempt(self, write: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        with anyio.CancelScope() as scope, self._keeper.writing(scope):
            try:
                return await write()
            except Exception:
                # how a write ends that was stopped is no news of the write
                if not scope.cancel_called:
                    raise
        if task and task.cancelling() > cancelling:
            # the caller was cancelled at the same moment, and that goes first
            raise asyncio.CancelledError
        raise _InterruptedError

    def __repr__(self) -> str:
        return f"Lease(lock_id={self.lock_id!r}, expires_at={self.expires_at:.0f})"


class _InterruptedError(Exception):
    """The write was cancelled because the lock was lost."""
