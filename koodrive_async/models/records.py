"""Backup runs."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

import attrs

from koodrive_async import html
from koodrive_async.models.devices import BoundDevice
from koodrive_async.models.modules import Module


class RecordStatus(IntEnum):
    """Where a backup record stands."""

    NEW = 0
    COMPLETED = 1
    TO_BE_DELETED = 2


@attrs.frozen(kw_only=True)
class BackupRecord:
    """One backup run of one module from one device.

    :ivar status: A status this version does not know stays a plain number.
    :ivar properties: Text in JSON that the client stored with the record.
    :ivar end_time: None until the record is completed.
    """

    record_id: str
    module: Module | str | None = attrs.field(default=None, metadata={"wire": "moduleCode"})
    status: RecordStatus | int | None = None
    properties: str | None = None
    version: int | None = None
    create_time: datetime | None = None
    end_time: datetime | None = None
    device_info: BoundDevice | None = None

    def _html_row_(self) -> html.Cells:
        device = self.device_info
        return {
            "record": html.code(self.record_id),
            "module": html.name_of(self.module),
            "status": html.name_of(self.status),
            "begun": html.moment(self.create_time),
            "completed": html.moment(self.end_time),
            "device": None
            if device is None
            else html.text(device.device_name or device.machine_code),
            "device id": html.detail(None if device is None else html.code(device.device_id)),
            "version": html.detail(html.number(self.version)),
            "properties": html.detail(html.code(self.properties)),
        }

    def _repr_html_(self) -> str:
        return html.card("Backup record", self._html_row_())
