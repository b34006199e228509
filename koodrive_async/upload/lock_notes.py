"""The backup locks of one account, as its journal knows them: :class:`LockNotes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.upload.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Collection

    from koodrive_async.models import Module


class LockNotes:
    """Notes which locks this process holds, and finds those that an ended process has left.

    A note is a hint: whoever finds one has the service say whether the lock is still alive.

    :param account: User and service.
    :ivar journal: Where the notes are; one that keeps nothing until the client is open.
    """

    def __init__(self, account: str) -> None:
        self.journal: Journal = Journal.off()
        self._account = account

    def granted(self, module: Module, lock_id: str) -> None:
        """Note a lock that this process holds from now on; it is committed some time soon."""
        self.journal.hold_lock(self._account, module.value, lock_id)

    async def committed(self) -> None:
        """Wait until everything noted so far is committed."""
        await self.journal.committed()

    def gone(self, lock_id: str) -> None:
        """Forget a lock that nothing holds any longer."""
        self.journal.forget_lock(self._account, lock_id)

    def left(self, lock_id: str) -> None:
        """Hold a lock no longer that may be alive still: it stays noted."""
        self.journal.leave_lock(self._account, lock_id)

    async def claim(self, module: Module, passed_over: Collection[str]) -> tuple[str, bool] | None:
        """Hold a lock that a process of this machine has left, which certainly has ended.

        :param module: Its locks come first.
        :param passed_over: Locks that are of no use.
        :returns: The lock's id, and whether it is of the module; None when there is none.
        """
        left = await self.journal.claim_lock(self._account, module.value, passed_over)
        return None if left is None else (left.lock_id, left.module == module.value)
