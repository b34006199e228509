"""Creating a record once, whatever becomes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from koodrive_async.errors import ApiError, KooDriveError, TransportError
from koodrive_async.models import RecordStatus
from koodrive_async.transport.retry import may_have_acted

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Collection

    from koodrive_async.models import BackupRecord
    from koodrive_async.transport.clock import ServiceTime
    from koodrive_async.transport.retry import Attempts

Create = Callable[[str], "Awaitable[BackupRecord]"]
"""Creates the record under the lock of this id."""

_TOLERANCE = 2.0
"""Seconds that a record may seem older than the call that made it: dates come in whole seconds."""


_FAR = 86400.0
"""Seconds after which a record is of another day; a date far ahead may stand for "never"."""


class RecordCreation:
    """A record that is to be created once, though a call that creates may not be sent twice.

    When a call ends without saying whether it worked, the record is looked for before another one
    is sent.

    :param create: The call that creates it.
    :param records: Begins a listing of the device's records of the module.
    :param properties: JSON text that the record is to have, or None.
    :param known: Ids of records that it certainly is not.
    """

    def __init__(
        self,
        create: Create,
        records: Callable[[], AsyncIterable[BackupRecord]],
        *,
        properties: str | None,
        known: Collection[str],
        service_time: ServiceTime,
        attempts: Callable[[], Attempts],
    ) -> None:
        self._create = create
        self._records = records
        self._properties = _meaning(properties)
        self._known = known
        self._service_time = service_time
        self._attempts = attempts
        self._began: float | None = None

    async def run(self, lock_id: str) -> BackupRecord:
        """Create the record; called again after a call that was cancelled, it looks first.

        :param lock_id: A lock that is alive.
        :raises ApiError: The service refused.
        :raises TransportError: No usable answer arrived, and the record was not found.
        """
        if self._began is not None and (record := await self._found()):
            return record
        if self._began is None:
            # on the local clock: what the service's is may yet have to be learnt
            self._began = self._service_time.now() - self._service_time.offset
        attempts = self._attempts()
        while True:
            try:
                return await self._create(lock_id)
            except (ApiError, TransportError) as error:
                if not may_have_acted(error):
                    raise
                if record := await self._settled(error, attempts):
                    return record

    async def _settled(
        self, error: ApiError | TransportError, attempts: Attempts
    ) -> BackupRecord | None:
        """Return the record if there is one; None when it is right to ask again."""
        try:
            await attempts.after(error)
        except (ApiError, TransportError):
            if record := await self._found_after(error):
                return record
            raise
        return await self._found_after(error)

    async def _found_after(self, error: ApiError | TransportError) -> BackupRecord | None:
        try:
            return await self._found()
        except KooDriveError as second:
            # not knowing is no reason to create another one
            raise error from second

    async def _found(self) -> BackupRecord | None:
        records = [record async for record in self._records() if self._may_be_ours(record)]
        return max(records, key=_created_at, default=None)

    def _may_be_ours(self, record: BackupRecord) -> bool:
        began = (self._began or 0.0) + self._service_time.offset
        return (
            record.status == RecordStatus.NEW
            and record.record_id not in self._known
            and _meaning(record.properties) == self._properties
            and began - _TOLERANCE <= _created_at(record) < began + _FAR
        )


def _created_at(record: BackupRecord) -> float:
    try:
        return record.create_time.timestamp() if record.create_time else 0.0
    except (OverflowError, ValueError, OSError):  # a day that the calendar has not: not of today
        return 0.0


def _meaning(properties: str | None) -> Any:
    """Return what a JSON text says; the service may write it differently."""
    if not properties:
        return None
    try:
        return json.loads(properties) or None
    except ValueError:
        return properties
