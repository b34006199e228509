"""A lock that is kept alive, as those see it who write under it: :class:`Lease`."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from koodrive_async.callbacks import OwnFailure, raised_alone
from koodrive_async.errors import ApiError, AuthenticationError, InvalidArgument, LockLost
from koodrive_async.transport.call import HeldLock, held_lock
from koodrive_async.transport.refusals import (
    as_kind,
    may_be_of_the_credentials,
    may_be_of_the_lock,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from koodrive_async.resources.keeper import Keeper
    from koodrive_async.transport.refusals import CredentialsWork

T = TypeVar("T")

_REFUSALS_OF_ONE_WRITE = 3
_NEVER: Final = object()

_FRESH = 5.0
"""Seconds for which a look at a refusal answers for the next refusals with the same code."""


class Lease:
    """A lock that is being kept alive.

    :ivar lock_id: Goes into ``x-backup-lock-id``; another one after a loss.
    :ivar expires_at: Seconds since 1970 on the local clock when it ends unless it is renewed.
    :ivar losses: How often the lock was lost and another one taken.
    """

    def __init__(
        self, keeper: Keeper, credentials_work: CredentialsWork, owner: object = None
    ) -> None:
        self._keeper = keeper
        self._credentials_work = credentials_work
        self._owner = owner
        self._held = HeldLock(owner, lambda: self.lock_id, None)
        # by code: when the credentials were seen to work, and a lock to live under two refusals
        self._worked_at: dict[str, float] = {}
        self._lived_at: dict[str, tuple[float, int]] = {}

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

    async def run(
        self,
        write: Callable[[], Awaitable[T]],
        *,
        progress: Callable[[], object] | None = None,
    ) -> T:
        """Run something that writes under the lock; it reads :attr:`lock_id` itself.

        When the lock is lost the write is cancelled at once, and begun again when there is another
        lock. When a write is refused, and not plainly for something else, the lock is renewed to
        find out whether it is lost, for no page lists the codes of that; then the write is made
        once more, and again whenever it has got further in between.

        :param write: Makes the awaitable; called once more each time it is begun again.
        :param progress: Returns how far a write has got that goes on from there when it is begun
            again: another value means further. By default a write always starts from nothing.
        :returns: What the write returns.
        :raises LockLost: The lock is lost for good; nothing more is written.
        :raises InvalidArgument: ``write`` returned nothing that can be awaited.
        :raises AuthenticationError: The write was refused for the credentials.

        Whatever else the write raises is raised as it is. Cancelling the caller cancels the write.
        """
        refusals, verified_at = 0, _NEVER
        while True:
            await self._keeper.until_held()
            losses = self.losses
            try:
                return await self._attempt(write)
            except _InterruptedError:
                verified_at = _NEVER
                continue
            except ApiError as refusal:
                if not may_be_of_the_lock(refusal):
                    raise
                if not await self._is_of_the_lock(refusal, losses):
                    got_to = progress() if progress is not None else None
                    if got_to == verified_at or self._lived(refusal):
                        self._lived_at[refusal.code] = time.monotonic(), self.losses
                        raise
                    # the renewal may have brought a lock back that had run out
                    verified_at = got_to
                    continue
                refusals, verified_at = refusals + 1, _NEVER
                if refusals == _REFUSALS_OF_ONE_WRITE:
                    reason = f"a write was refused {refusals} times, under new locks too: {refusal}"
                    raise LockLost(self.lock_id, reason) from refusal

    async def _is_of_the_lock(self, refusal: ApiError, losses: int) -> bool:
        if may_be_of_the_credentials(refusal):
            asked_at, worked_at = time.monotonic(), self._worked_at.get(refusal.code)
            if worked_at is None or asked_at - worked_at > _FRESH:
                if not await self._credentials_work():
                    raise as_kind(AuthenticationError, refusal) from refusal
                self._worked_at[refusal.code] = asked_at
        return await self._keeper.lost_since(losses)

    def _lived(self, refusal: ApiError) -> bool:
        """Return whether the lock certainly lived while a write was refused.

        It was seen to live a moment before, as it is seen now: it did not run out in between.
        """
        lived_at, losses = self._lived_at.get(refusal.code, (-math.inf, 0))
        return losses == self.losses and time.monotonic() - lived_at <= _FRESH

    async def _attempt(self, write: Callable[[], Awaitable[T]]) -> T:
        own = OwnFailure()
        token = held_lock.set(self._quoted(held_lock.get()))
        try:
            with anyio.CancelScope() as scope, self._keeper.writing(scope):
                try:
                    return await _awaitable(write())
                except asyncio.CancelledError as error:
                    if own.is_one() and not scope.cancel_called:
                        raise raised_alone("write") from error
                    raise
                except Exception:
                    # how a write ends that was stopped is no news of the write
                    if not scope.cancel_called:
                        raise
        finally:
            held_lock.reset(token)
        if not own.is_one():
            # the caller was cancelled at the same moment, and that goes first
            raise asyncio.CancelledError
        raise _InterruptedError

    def _quoted(self, outer: HeldLock | None) -> HeldLock:
        if self._held.outer is not outer:  # once for each context, not for each small file
            self._held = HeldLock(self._owner, lambda: self.lock_id, outer)
        return self._held

    def __repr__(self) -> str:
        return f"Lease(lock_id={self.lock_id!r}, expires_at={self.expires_at:.0f})"


def _awaitable(given: Awaitable[T]) -> Awaitable[T]:
    if not (isinstance(given, CoroutineType) or isawaitable(given)):
        raise InvalidArgument("write: an async function, which this one is not")
    return given


@contextmanager
def quoting(lease: Lease) -> Iterator[None]:
    """Have calls quote a lock that may want one, though not every page says so."""
    held = lease._quoted(held_lock.get())  # noqa: SLF001 - of this module
    token = held_lock.set(held)
    try:
        yield
    finally:
        held_lock.reset(token)


class _InterruptedError(Exception):
    """The write was cancelled because the lock was lost."""
