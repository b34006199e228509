"""Devices bound to the signed-in user."""

from __future__ import annotations

from datetime import datetime

import attrs


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
