"""A KooDrive on this machine: real HTTP, state in SQLite, contents on disk, faults on order."""

from __future__ import annotations

from koodrive_async.emulator.credentials import Account
from koodrive_async.emulator.dialect import Dialect
from koodrive_async.emulator.fault import Fault
from koodrive_async.emulator.faults import Faults
from koodrive_async.emulator.holdings import HeldFile, HeldLock, HeldRecord, HeldStatus
from koodrive_async.emulator.routes import ROUTES
from koodrive_async.emulator.seen import Seen, SeenRequest
from koodrive_async.emulator.server import Emulator

__all__ = [
    "ROUTES",
    "Account",
    "Dialect",
    "Emulator",
    "Fault",
    "Faults",
    "HeldFile",
    "HeldLock",
    "HeldRecord",
    "HeldStatus",
    "Seen",
    "SeenRequest",
]
