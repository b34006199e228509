"""The documented calls, one file for each group."""

from __future__ import annotations

from koodrive_async.resources.configs import Configs
from koodrive_async.resources.devices import Devices
from koodrive_async.resources.files import Files
from koodrive_async.resources.lease import Lease
from koodrive_async.resources.locks import Locks
from koodrive_async.resources.records import Records
from koodrive_async.resources.scopes import Scopes
from koodrive_async.resources.spaces import Spaces
from koodrive_async.resources.tokens import Tokens

__all__ = [
    "Configs",
    "Devices",
    "Files",
    "Lease",
    "Locks",
    "Records",
    "Scopes",
    "Spaces",
    "Tokens",
]
