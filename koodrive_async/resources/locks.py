"""``drive.locks``: the lease that backup writes must quote, and keeping it alive."""

from __future__ import annotations

import logging
import random
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from koodrive_async.blocks import Block
from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    KooDriveError,
    LockLost,
    LockRefused,
)
from koodrive_async.models import BackupLock, Module
from koodrive_async.resources.arguments import check_module
from koodrive_async.resources.keeper import Grant, Keeper
from koodrive_async.resources.lease import Lease
from koodrive_async.tasks import task_group
from koodrive_async.transport.call import Call, path
from koodrive_async.transport.refusals import (
    as_kind,
    may_be_of_the_credentials,
    may_be_of_the_lock,
    passes,
)
from koodrive_async.transport.wire import entity, nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection
    from contextlib import AbstractAsyncContextManager

    from koodrive_async.blocks import OpenBlocks
    from koodrive_async.config import Timeouts
    from koodrive_async.resources.keeper import Retake
    from koodrive_async.transport.clock import Clock
    from koodrive_async.transport.http import InterfaceHttp

logger: logging.Logger = logging.getLogger(__name__)

_ENDED = "it is no longer held"
_MOST_TRIED = 8
"""Locks of ended processes that are tried: most of those that a journal may know are long gone."""

_ASK_EVERY = (1.0, 5.0)
"""Seconds between two attempts to get a lock that somebody else holds: a random number of them."""


class Notes(Protocol):
    """Which locks this machine holds, noted where a kill of this process does not erase it."""

    def granted(self, module: Module, lock_id: str) -> None:
        """Note a lock that this process holds from now on."""

    async def committed(self) -> None:
        """Wait until everything noted so far outlives this process."""

    def gone(self, lock_id: str) -> None:
        """Forget a lock that nothing holds any longer."""

    def left(self, lock_id: str) -> None:
        """Let other processes have a lock that may be alive still."""

    async def claim(self, module: Module, passed_over: Collection[str]) -> tuple[str, bool] | None:
        """Hold a lock whose process has certainly ended.

        :param module: Its locks come first.
        :param passed_over: Locks that are of no use.
        :returns: The lock's id, and whether it is of the module; None when there is none.
        """


class Locks:
    """Take, renew and give back backup locks.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(
        self,
        http: InterfaceHttp,
        clock: Clock,
        timeouts: Timeouts,
        *,
        blocks: OpenBlocks,
        notes: Notes,
        outage: float = 0.0,
    ) -> None:
        self._http = http
        self._notes = notes
        self._blocks = blocks
        self._clock = clock
        self._timeouts = timeouts
        self._outage = outage

    async def create(self, module: Module | str) -> BackupLock:
        """Take a lock (page ``createBackupLock``); it lives for 10 minutes.

        Asks again when no answer comes: a lock that the lost call took is then in the way of the
        next one. It is in no journal, unlike a lock of :meth:`hold`.

        :raises LockRefused: Most likely the lock is held already. No page lists what the service
            answers then: every refusal counts that does not plainly say something else.
        :raises AuthenticationError: The credentials were refused.
        """
        call = Call(
            method="POST",
            path=path("backup", "lock"),
            body={"moduleCode": check_module(module)},
            repeatable=True,
            urgent=True,
        )
        was_repeated = False
        while True:
            replaced = self._http.tokens_replaced
            try:
                return await self._http.send(call, entity(BackupLock))
            except ApiError as refusal:
                if not may_be_of_the_lock(refusal):
                    raise
                if may_be_of_the_credentials(refusal):
                    if not await self._credentials_work():
                        raise as_kind(AuthenticationError, refusal) from refusal
                    if self._http.tokens_replaced != replaced and not was_repeated:
                        was_repeated = True  # once: a token may be good for one call only
                        continue  # the refusal was for the token, which the check has replaced
                raise _lock_refused(refusal) from refusal

    async def renew(self, lock_id: str) -> None:
        """Set a lock's life back to 10 minutes (page ``renewalBackupLock``).

        :param lock_id: A lock that has not expired.
        """
        await self._send("PATCH", lock_id)

    async def release(self, lock_id: str) -> None:
        """Give a lock back (page ``releaseBackupLock``)."""
        await self._send("DELETE", lock_id)

    async def _credentials_work(self) -> bool:
        """Find out whether a refusal was for the credentials: a call without a lock shows it."""
        try:
            await self._http.send(
                Call(
                    method="GET",
                    path=path("backup", "device"),
                    repeatable=True,
                    checks_credentials=True,
                ),
                nothing,
            )
        except ApiError as refusal:
            if passes(refusal):
                raise
            # an edition without a list of devices refuses for any credentials
            return not may_be_of_the_credentials(refusal)
        return True

    async def _send(self, method: str, lock_id: str) -> None:
        call = Call(
            method=method,
            path=path("backup", "lock"),
            lock_id=lock_id,
            repeatable=True,
            urgent=True,
        )
        await self._http.send(call, nothing)

    def hold(
        self,
        module: Module | str,
        *,
        lock_id: str | None = None,
        retake: Retake | None = None,
    ) -> AbstractAsyncContextManager[Lease, bool | None]:
        """Take a lock, keep it renewed, and give it back at the end, also after a failure.

        It is renewed at a third of its life (:attr:`Timeouts.lease`) and given up when that has
        not worked by its end. What is to stop at that moment is run by :meth:`Lease.run`.

        The lock is noted in the journal of the client, and one that a killed process of this
        machine has left is taken over as soon as it is in the way. The service decides whether
        such a lock is still alive; that of a living process is left alone.

        :param lock_id: A lock of an earlier run, which is taken over if it is still alive.
        :param retake: Called under the new lock when one was lost and another one taken, before
            anything is written: looks whether going on is right, and raises what forbids it.
            Without it a lost lock is not replaced.
        :returns: An async context manager that gives the :class:`Lease`; enter and leave it in one
            task.
        :raises InvalidArgument: There is no such module.
        :raises LockLost: The lock is lost for good: the block is cancelled at once.
        :raises LockRefused: Somebody else holds it, for longer than :attr:`Timeouts.lock`.
        :raises ClientClosed: The client is not open, or was closed meanwhile, which cancels the
            block and gives the lock back.

        Cancellation gives the lock back, for which it takes :attr:`Timeouts.cleanup` at most.
        """
        held: list[Keeper] = []
        return Block(
            self._hold(check_module(module), lock_id, retake, held),
            self._blocks,
            "backup lock",
            at_worst=partial(self._give_up, held),
        )

    @asynccontextmanager
    async def _hold(
        self, module: Module, lock_id: str | None, retake: Retake | None, held: list[Keeper]
    ) -> AsyncIterator[Lease]:
        keeper = Keeper(
            await self._take_over(lock_id, module),
            life=self._timeouts.lease,
            clock=self._clock,
            renew=self.renew,
            take=partial(self._take_another, module, held),
            retake=retake,
            outage=self._outage,
        )
        held.append(keeper)
        try:
            async with task_group() as group:
                group.start_soon(keeper.keep, group.cancel_scope.cancel)
                await self._notes.committed()
                yield Lease(keeper, self._credentials_work, self._http.owner)
                group.cancel_scope.cancel()
            keeper.check()
        except BaseException:
            keeper.end(_ENDED)
            if held:  # or it was given back already, since this took too long
                with anyio.move_on_after(self._timeouts.cleanup, shield=True):
                    await self._give_back(keeper.lock_id, lost=keeper.gone)
            raise
        keeper.end(_ENDED)
        if held:
            await self._see_through(partial(self._give_back, keeper.lock_id))

    async def _give_up(self, held: list[Keeper]) -> None:
        """Give a lock back whose block cannot be ended."""
        while held:
            keeper = held.pop()
            keeper.end(_ENDED)
            with anyio.move_on_after(self._timeouts.cleanup, shield=True):
                async with task_group() as group:
                    # which gives back what it is being granted in this moment
                    group.start_soon(keeper.until_ended)
                    await self._give_back(keeper.lock_id, lost=keeper.gone)

    # --- taking --------------------------------------------------------------------------------

    async def _take_over(self, lock_id: str | None, module: Module) -> Grant:
        """Take over a lock of an earlier run when it is alive, and another one when it is not."""
        if lock_id is None:
            return await self._take(module)
        try:
            return await self._revive(lock_id, module)
        except ApiError as refusal:
            # whatever it was refused for, another one will do
            refused = refusal
        try:
            return await self._take(module)
        except LockRefused:
            if passes(refused):
                raise refused from None
            raise

    async def _revive(self, lock_id: str, module: Module) -> Grant:
        """Renew a lock that no run uses; when that fails it is given back, for it may be alive."""
        asked_at = self._clock.time()
        try:
            await self.renew(lock_id)
        except ApiError:
            await self._see_through(partial(self._give_back, lock_id, lost=True))
            raise
        except BaseException:
            with anyio.move_on_after(self._timeouts.cleanup, shield=True):
                await self._give_back(lock_id, lost=True)
            raise
        self._notes.granted(module, lock_id)
        return Grant(lock_id, asked_at)

    async def _take_another(self, module: Module, held: list[Keeper]) -> Grant:
        """Take a lock in the place of a lost one, unless the block was given up meanwhile."""
        lost = [keeper.lock_id for keeper in held]
        grant = await self._take(module)
        if not held:
            await self._see_through(partial(self._give_back, grant.lock_id))
            raise LockLost(grant.lock_id, _ENDED)
        for lock_id in lost:
            self._notes.gone(lock_id)
        return grant

    async def _take(self, module: Module) -> Grant:
        """Take a lock, waiting for whoever holds it as long as the settings say."""
        give_up_at = self._clock.time() + self._timeouts.lock
        tried: set[str] = set()
        while True:
            try:
                return await self._ask(module)
            except LockRefused as refusal:
                if len(tried) < _MOST_TRIED and (left := await self._notes.claim(module, tried)):
                    lock_id, is_of_module = left
                    tried.add(lock_id)
                    if is_of_module:
                        with suppress(ApiError):
                            return await self._revive(lock_id, module)
                    else:  # where a service has one lock for all modules it is in the way, too
                        await self._see_through(partial(self._give_back, lock_id, lost=True))
                    continue
                if (rest := give_up_at - self._clock.time()) <= 0:
                    raise
                logger.info("waiting for the backup lock, at most %.0f s more: %s", rest, refusal)
            # no secret: those who wait need only ask at different times
            await self._clock.sleep(min(rest, random.uniform(*_ASK_EVERY)))  # noqa: S311

    async def _ask(self, module: Module) -> Grant:
        """Create a lock; one that is granted while the caller is being cancelled is given back."""
        granted: list[Grant] = []

        async def create() -> None:
            asked_at = self._clock.time()
            lock_id = (await self.create(module)).lock_id
            self._notes.granted(module, lock_id)  # at once: this process may be killed
            granted.append(Grant(lock_id, asked_at))

        try:
            await self._see_through(create)
        except BaseException:
            for grant in granted:
                with anyio.move_on_after(self._timeouts.cleanup, shield=True):
                    await self._give_back(grant.lock_id)
            raise
        return granted[0]

    async def _see_through(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Do work that has ``Timeouts.cleanup`` seconds more when its caller is cancelled."""
        ended = anyio.Event()
        shield = anyio.CancelScope(shield=True)

        async def run() -> None:
            with shield:
                await work()
            ended.set()

        async with task_group() as group:
            group.start_soon(run)
            try:
                await ended.wait()
            except anyio.get_cancelled_exc_class():
                shield.deadline = anyio.current_time() + self._timeouts.cleanup
                raise

    # --- giving back ---------------------------------------------------------------------------

    async def _give_back(self, lock_id: str, *, lost: bool = False) -> None:
        """Release a lock; failing at it is no failure, the lock runs out by itself.

        :param lost: That it may be gone is known.
        """
        is_gone = False
        try:
            is_gone = await self._released(lock_id, lost=lost)
        finally:  # also when this is cancelled
            if is_gone:
                self._notes.gone(lock_id)
            else:
                self._notes.left(lock_id)

    async def _released(self, lock_id: str, *, lost: bool) -> bool:
        """Release a lock, and return whether it certainly is no more."""
        try:
            await self.release(lock_id)
        except ApiError as refusal:
            if passes(refusal) or isinstance(refusal, AuthenticationError):
                _log_that_it_runs_out(lock_id, refusal)
                return False
            # a repeated call is refused when only the first one's answer was lost
            known = lost or refusal.attempts > 1
            logger.log(
                logging.DEBUG if known else logging.WARNING,
                "backup lock %s was not given back, it is not known any more: %s",
                lock_id,
                refusal,
            )
        except KooDriveError as error:
            _log_that_it_runs_out(lock_id, error)
            return False
        return True


def _log_that_it_runs_out(lock_id: str, error: KooDriveError) -> None:
    logger.warning("backup lock %s was not given back, it runs out by itself: %s", lock_id, error)


def _lock_refused(refusal: ApiError) -> LockRefused:
    refused = as_kind(LockRefused, refusal)
    if refusal.history:
        refused.advice = f"{_MAY_BE_OURS}; {LockRefused.advice}"
    return refused


_MAY_BE_OURS = (
    "an earlier call failed: if only its answer was lost, this may be our own lock, that it took"
)
