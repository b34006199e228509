"""Keeping a lock alive by the wall clock, and getting another one when it is lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import attrs

from koodrive_async.callbacks import FailingAlone
from koodrive_async.errors import (
    ApiError,
    KooDriveError,
    LockLost,
    LockRefused,
)
from koodrive_async.tasks import task_group
from koodrive_async.transport.refusals import passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.transport.clock import Clock

logger: logging.Logger = logging.getLogger(__name__)

_LEAST_PAUSE = 30
"""Fraction of a life that lies between two looks at the clock, or two renewals, at the least."""

_LONGEST_STEP = 5.0
_PATIENCE = 30
"""Times that a lock whose life has run out is asked for without getting an answer."""


@attrs.frozen
class Grant:
    """A lock as it was granted.

    :ivar asked_at: Seconds since 1970 on the local clock before the request was sent: its life
        counts from then.
    """

    lock_id: str
    asked_at: float


Renew = Callable[[str], Awaitable[None]]
Take = Callable[[], Awaitable[Grant]]
Retake = Callable[[], Awaitable[object]]
"""Looks, under a new lock, whether going on is right; raises what forbids it."""


class Keeper:
    """Keeps one lock, in a task of its own (:meth:`keep`).

    It sleeps in short steps and looks at the wall clock after each: where a machine was suspended
    the time of sleeping stands still, and the lock's life does not.

    :param life: Seconds that a lock lives.
    :param retake: Without it a loss is final.
    :param outage: Seconds that a service out of reach is waited for; another lock is asked for
        that long, at least, when the life of this one has run out.
    """

    lock_id: str
    expires_at: float
    _renew_at: float

    def __init__(
        self,
        grant: Grant,
        *,
        life: float,
        clock: Clock,
        renew: Renew,
        take: Take,
        retake: Retake | None,
        outage: float = 0.0,
    ) -> None:
        self.losses: int = 0
        self._life = life
        self._clock = clock
        self._renew = renew
        self._take = take
        self._retake = retake
        self._step = min(life / _LEAST_PAUSE, _LONGEST_STEP)
        self._patience = max(_PATIENCE, math.ceil(outage / self._step))
        self._nap = anyio.CancelScope()
        self._summoned = False
        self._tending = anyio.CancelScope()
        self._at_work: anyio.Event | None = None
        self._writes: set[anyio.CancelScope] = set()
        self._held = anyio.Event()
        self._held.set()
        self._question: anyio.Event | None = None
        self._being_answered: list[anyio.Event] = []
        self._refusal: ApiError | None = None
        self._unchecked = False
        self._fruitless = 0
        self._end: tuple[str, BaseException | None] | None = None
        self._adopt(grant)

    @property
    def gone(self) -> bool:
        """Whether the service has said that the lock is no more."""
        return self._refusal is not None

    # --- for those who write -------------------------------------------------------------------

    def check(self) -> None:
        """Raise what ended the keeping of this lock, if anything did.

        :raises LockLost: It is lost for good.
        """
        if self._end is not None:
            reason, cause = self._end
            # one for each who asks: an exception raised twice collects the ways of both
            raise LockLost(self.lock_id, reason) from cause

    async def until_held(self) -> None:
        """Wait until the lock is certainly held; returns at once while it is.

        :raises LockLost: It never will be.
        """
        while True:
            self.check()
            if self._held.is_set() and self._clock.time() >= self.expires_at:
                self._suspend()
                self._summon()
            if self._held.is_set():
                return
            await self._held.wait()

    @contextmanager
    def writing(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Have a scope cancelled when the lock is lost meanwhile."""
        self._writes.add(scope)
        try:
            yield
        finally:
            self._writes.discard(scope)

    async def lost_since(self, losses: int) -> bool:
        """Find out whether the lock was lost after there had been so many losses.

        :raises LockLost: It was, for good.
        """
        if self.losses == losses and self._end is None:
            if self._question is None:
                self._question = anyio.Event()
                self._summon()
            await self._question.wait()
        await self.until_held()
        return self.losses != losses

    # --- the task ------------------------------------------------------------------------------

    async def keep(self, stop: Callable[[], None]) -> None:
        """Renew the lock, and replace it when it is lost, until cancelled or ended.

        :param stop: Called when it is lost for good.
        """
        self._at_work = at_work = anyio.Event()
        try:
            while self._end is None:
                await self._until_due()
                if self._end is None:
                    await self._tend()
        except LockLost as lost:
            if self._end is not None:
                return
            # who writes or waits hears of it first hand
            self.end(lost.reason, lost.__cause__)
            stop()
        except Exception as error:
            self.end(str(error), error)
            raise
        finally:
            at_work.set()

    async def until_ended(self) -> None:
        """Wait until :meth:`keep`, which has ended or was cancelled, has nothing under way."""
        if self._at_work is not None:
            await self._at_work.wait()

    def end(self, reason: str, cause: BaseException | None = None) -> None:
        """Let nobody write any more; the first reason stays."""
        if self._end is not None:
            return
        self._end = reason, cause
        # the task ends: a lock that was given back is neither renewed nor replaced
        self._summon()
        self._tending.cancel()
        self._stop_writes()
        self._held.set()
        self._answer()

    async def _until_due(self) -> None:
        while not self._summoned and (left := self._renew_at - self._clock.time()) > 0:
            with anyio.CancelScope() as self._nap:
                began, step = self._clock.time(), min(left, self._step)
                await self._clock.sleep(step)
                self._follow_back(began, step)

    def _follow_back(self, began: float, slept: float) -> None:
        # a clock that was set back takes our times with it, or the lock would end unnoticed
        now = self._clock.time()
        if now < began:
            self.expires_at += now - began - slept
            self._renew_at += now - began - slept

    def _summon(self) -> None:
        self._summoned = True
        self._nap.cancel()

    async def _tend(self) -> None:
        self._summoned = False
        if self._question is not None:
            self._being_answered.append(self._question)
            self._question = None
        if self._clock.time() >= self.expires_at:
            self._suspend()
        try:
            async with task_group() as group:
                self._tending = group.cancel_scope
                group.start_soon(self._watch)
                await self._settle()
                group.cancel_scope.cancel()
        except (KooDriveError, TimeoutError) as error:
            if not passes(error):
                raise
            self._try_later(error)
        else:
            if self._end is None:
                self._resume()

    async def _watch(self) -> None:
        """Let nobody write when the lock's life ends while a call is on its way."""
        while True:
            began = self._clock.time()
            # not the clock's sleep: a call takes real time, whichever clock a test brings
            await anyio.sleep(self._step)
            self._follow_back(began, self._step)
            if self._clock.time() >= self.expires_at:
                self._suspend()

    async def _settle(self) -> None:
        if self._refusal is None:
            await self._prolong()
        if self._refusal is not None:
            await self._replace(self._refusal)
        if self._unchecked:
            await self._check()

    async def _prolong(self) -> None:
        asked_at = self._clock.time()
        # one real attempt in any case: the clock may have been set forward, not the life ended
        with anyio.fail_after(max(self.expires_at - asked_at, self._life / _LEAST_PAUSE)):
            try:
                await self._renew(self.lock_id)
            except ApiError as error:
                if passes(error):
                    raise
                self._refusal = error
                self._suspend()
            else:
                self._extend(asked_at)

    async def _replace(self, refusal: ApiError) -> None:
        reason = f"its renewal was refused: {refusal}"
        if self._retake is None:
            raise LockLost(self.lock_id, reason) from refusal
        try:
            grant = await self._take()
        except LockRefused as error:
            # who holds it may well be ourselves, and the renewal refused for another reason
            if await self._is_renewed():
                return
            raise LockLost(self.lock_id, f"{reason}; there is no other: {error}") from error
        except KooDriveError as error:
            if passes(error):
                raise
            raise LockLost(self.lock_id, f"{reason}; there is no other: {error}") from error
        logger.warning("backup lock %s was lost, taken anew: %s", self.lock_id, grant.lock_id)
        self._adopt(grant)
        self.losses += 1
        self._refusal = None
        self._unchecked = True

    async def _is_renewed(self) -> bool:
        asked_at = self._clock.time()
        try:
            await self._renew(self.lock_id)
        except ApiError as error:
            if passes(error):
                raise
            return False
        self._refusal = None
        self._extend(asked_at)
        return True

    async def _check(self) -> None:
        if self._retake is None:
            return
        try:
            with anyio.fail_after(self._life / 3), FailingAlone("retake"):
                await self._retake()
        except Exception as error:
            if passes(error):
                raise
            raise LockLost(
                self.lock_id, f"nothing may be written under the one taken anew: {error}"
            ) from error
        self._unchecked = False

    def _try_later(self, error: Exception) -> None:
        what = str(error) or "no answer came in time"
        logger.warning("backup lock %s was not renewed: %s", self.lock_id, what)
        now = self._clock.time()
        if now >= self.expires_at:
            self._suspend()
        if self._held.is_set():
            # not at once again, and not ever faster: the renewal was repeated already
            pause = max((self.expires_at - now) / 3, self._life / _LEAST_PAUSE)
            self._renew_at = min(now + pause, self.expires_at)
            return
        self._fruitless += 1
        if self._retake is None or self._fruitless >= self._patience:
            raise LockLost(self.lock_id, f"it could not be renewed in time: {what}") from error
        self._renew_at = now + self._step

    # --- what it leads to ----------------------------------------------------------------------

    def _adopt(self, grant: Grant) -> None:
        self.lock_id = grant.lock_id
        self._extend(grant.asked_at)

    def _extend(self, asked_at: float) -> None:
        granted_at = min(asked_at, self._clock.time())
        self._renew_at = granted_at + self._life / 3
        self.expires_at = granted_at + self._life

    def _suspend(self) -> None:
        if not self._held.is_set() or self._end is not None:
            return
        logger.warning("backup lock %s may be lost: nothing is written meanwhile", self.lock_id)
        self._held = anyio.Event()
        self._stop_writes()

    def _resume(self) -> None:
        if self._clock.time() >= self.expires_at:  # the machine slept while this was settled
            self._suspend()
            self._summoned = True
            return
        self._fruitless = 0
        self._held.set()
        self._answer()

    def _stop_writes(self) -> None:
        for scope in tuple(self._writes):
            scope.cancel()

    def _answer(self) -> None:
        for question in self._being_answered:
            question.set()
        self._being_answered.clear()
        if self._end is not None and self._question is not None:
            self._question.set()
