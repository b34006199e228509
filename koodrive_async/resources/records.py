"""``drive.records``: backup runs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from koodrive_async.errors import ApiError, KooDriveError, TransportError
from koodrive_async.models import BackupRecord, Module, RecordStatus
from koodrive_async.paging import Pager, check_page_request
from koodrive_async.resources.arguments import check_module, json_text
from koodrive_async.resources.listing import fetch_page
from koodrive_async.resources.record_creation import RecordCreation
from koodrive_async.sequences import check_many
from koodrive_async.transport.call import Call, check_id, path
from koodrive_async.transport.wire import entity, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from koodrive_async.transport.http import InterfaceHttp
    from koodrive_async.transport.retry import Attempts


class Records:
    """List, create, complete and delete backup records.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp, attempts: Callable[[], Attempts]) -> None:
        self._http = http
        self._attempts = attempts

    def list(
        self,
        module: Module | str,
        device_id: str | None = None,
        page_size: int = 100,
        cursor: str | None = None,
        *,
        lock_id: str | None = None,
    ) -> Pager[BackupRecord]:
        """List records (page ``listBackupRecord``); nothing is sent before the first iteration.

        :param device_id: Only records of this device.
        :param page_size: Records fetched at a time, 1 to 100.
        :param cursor: Where to start, from :attr:`Pager.cursor` or :attr:`Page.next_cursor`.
        :param lock_id: A lock to quote: the page's example has one, its table does not.
        :raises InvalidArgument: An argument breaks its rule.
        """
        check_page_request(page_size, cursor)
        query = {"moduleCode": check_module(module).value, "pageSize": str(page_size)}
        if device_id is not None:
            query["deviceId"] = check_id(device_id, "device_id")
        fetch = fetch_page(
            self._http,
            path("backup", "record"),
            query,
            BackupRecord,
            name="records.list",
            lock_id=lock_id,
        )
        return Pager(fetch, cursor=cursor, model=BackupRecord)

    async def create(
        self,
        device_id: str,
        module: Module | str,
        *,
        lock_id: str,
        properties: str | Mapping[str, Any] | None = None,
    ) -> BackupRecord:
        """Begin a backup run (page ``createBackupRecord``).

        :param lock_id: A lock that is alive.
        :param properties: JSON text, or a mapping that is written as such, kept with the record.
        :raises InvalidArgument: ``properties`` is not JSON, or the device id is empty.
        """
        body = {"moduleCode": check_module(module), "deviceId": check_id(device_id, "device_id")}
        if (text := json_text(properties)) is not None:
            body["properties"] = text
        call = Call(
            method="POST",
            path=path("backup", "record"),
            body=body,
            lock_id=lock_id,
            repeatable=False,
        )
        return await self._http.send(call, entity(BackupRecord))

    async def create_once(
        self,
        device_id: str,
        module: Module | str,
        *,
        lock_id: str,
        properties: str | Mapping[str, Any] | None = None,
        known: Collection[str] = (),
    ) -> BackupRecord:
        """Begin a backup run as :meth:`create` does, also when an answer is lost.

        Before it is asked for again the record is looked for among those of the device: the newest
        one that is not completed, has the same properties, and was created since.

        :param known: Ids of records that it certainly is not.
        """
        creation = self.creation(device_id, module, properties=properties, known=known)
        return await creation.run(lock_id)

    def creation(
        self,
        device_id: str,
        module: Module | str,
        *,
        properties: str | Mapping[str, Any] | None = None,
        known: Collection[str] = (),
    ) -> RecordCreation:
        """Return :meth:`create_once` as something that may be run again after it was cancelled."""
        text = json_text(properties)
        known = frozenset(check_many("known", known, "ids"))

        async def create(lock_id: str) -> BackupRecord:
            return await self.create(device_id, module, lock_id=lock_id, properties=text)

        return RecordCreation(
            create,
            partial(self.list, module, device_id),
            properties=text,
            known=known,
            service_time=self._http.service_time,
            attempts=self._attempts,
        )

    async def unfinished(
        self, module: Module | str, device_id: str | None = None
    ) -> tuple[BackupRecord, ...]:
        """Return the records that are not completed, newest first; their number is its length.

        All records are looked through, for no page says in which order they are listed.

        :param device_id: Only records of this device.
        :raises InvalidArgument: There is no such module.
        """
        found = [
            record
            async for record in self.list(module, device_id)
            if record.status is RecordStatus.NEW
        ]
        found.sort(key=_created_at, reverse=True)
        return tuple(found)

    async def get(self, record_id: str, *, lock_id: str | None = None) -> BackupRecord:
        """Return a record (page ``getBackupRecord``).

        :param lock_id: A lock to quote: the page's example has one, its table does not.
        :raises NotFound: There is no such record.
        """
        call = Call(
            method="GET",
            path=path("backup", "record", record_id),
            lock_id=lock_id,
            may_want_lock="records.get",
            repeatable=True,
        )
        return await self._http.send(call, entity(BackupRecord))

    async def complete(
        self,
        record_id: str,
        *,
        lock_id: str,
        properties: str | Mapping[str, Any] | None = None,
    ) -> None:
        """End a backup run: its status becomes ``COMPLETED`` (page ``completeBackup``).

        :param properties: Replaces the record's properties when given.
        :raises InvalidArgument: ``properties`` is not JSON.
        """
        text = json_text(properties)
        call = Call(
            method="PATCH",
            path=path("backup", "record", record_id),
            body={} if text is None else {"properties": text},
            lock_id=lock_id,
            repeatable=True,
        )
        try:
            await self._http.send(call, nothing)
        except (ApiError, TransportError):
            # an answer may be all that was lost, and the repeated call refused for that
            if not await self._is_completed(record_id):
                raise

    async def _is_completed(self, record_id: str) -> bool:
        with suppress(KooDriveError):
            return (await self.get(record_id)).status is RecordStatus.COMPLETED
        return False

    async def delete(self, record_id: str, *, lock_id: str) -> None:
        """Delete a record with its files (page ``deleteBackupRecord``).

        :raises NotFound: There is no such record.
        """
        call = Call(
            method="DELETE",
            path=path("backup", "record", record_id),
            lock_id=lock_id,
            repeatable=False,
        )
        await self._http.send(call, nothing)


def _created_at(record: BackupRecord) -> float:
    return 0.0 if record.create_time is None else record.create_time.timestamp()
