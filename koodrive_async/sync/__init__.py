"""A synchronous face of the client, for scripts, shells and notebooks.

Use it like this::

    from koodrive_async.sync import KooDrive

    with KooDrive.from_env() as drive:
        device = drive.devices.bind("my_laptop")
        with drive.backup(device.device_id, "100") as session:
            receipt = session.upload("report.pdf")

Everything is done by the asynchronous client, in a thread of its own; methods, parameters and
exceptions are the same. ``aclose`` is called ``close`` here.
"""

from __future__ import annotations

from koodrive_async.sync.backup import BackupSession, Events, UploadBatch
from koodrive_async.sync.client import KooDrive
from koodrive_async.sync.listing import ItemIterator, PageIterator, Pager
from koodrive_async.sync.resources import (
    Configs,
    Devices,
    Files,
    Lease,
    Locks,
    Records,
    Scopes,
    Spaces,
    Tokens,
)
from koodrive_async.sync.stay import Interrupted

__all__ = [
    "BackupSession",
    "Configs",
    "Devices",
    "Events",
    "Files",
    "Interrupted",
    "ItemIterator",
    "KooDrive",
    "Lease",
    "Locks",
    "PageIterator",
    "Pager",
    "Records",
    "Scopes",
    "Spaces",
    "Tokens",
    "UploadBatch",
]
