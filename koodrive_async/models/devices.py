"""Devices bound to the signed-in user."""

from __future__ import annotations

from datetime import datetime

import attrs

from koodrive_async import html


@attrs.frozen(kw_only=True)
class BoundDevice:
    """A machine bound to the user (``BoundDeviceEntity``, ``DeviceEntity``).

    :ivar device_id: Id of the device, a decimal number above 2**53: always a string.
    :ivar machine_code: What identifies the machine, chosen by the client.
    """

    device_id: str
    machine_code: str | None = None
    device_name: str | None = None
    device_os: str | None = attrs.field(default=None, metadata={"wire": "deviceOS"})
    create_time: datetime | None = None

    def _html_row_(self) -> html.Cells:
        return {
            "device": html.code(self.device_id),
            "name": html.text(self.device_name),
            "system": html.text(self.device_os),
            "machine code": html.code(self.machine_code),
            "bound": html.moment(self.create_time),
        }

    def _repr_html_(self) -> str:
        return html.card("Device", self._html_row_())
