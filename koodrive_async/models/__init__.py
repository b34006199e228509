"""What travels: frozen values with the documented fields in snake_case."""

from __future__ import annotations

from koodrive_async.models.configs import ConfigInfo, SimpleConfigInfo
from koodrive_async.models.devices import BoundDevice
from koodrive_async.models.files import (
    AutoRename,
    BackupFile,
    CreatedBackupFile,
    Download,
    Downloads,
    MultiPartInfo,
    NewBackupFile,
)
from koodrive_async.models.locks import BackupLock
from koodrive_async.models.modules import Module
from koodrive_async.models.records import BackupRecord, RecordStatus
from koodrive_async.models.scopes import AddedScopes, DeletedScopes, FailedScope, NewScope, Scope
from koodrive_async.models.spaces import FileDetails, Space
from koodrive_async.models.tokens import SessionInfo, UserInfo

__all__ = [
    "AddedScopes",
    "AutoRename",
    "BackupFile",
    "BackupLock",
    "BackupRecord",
    "BoundDevice",
    "ConfigInfo",
    "CreatedBackupFile",
    "DeletedScopes",
    "Download",
    "Downloads",
    "FailedScope",
    "FileDetails",
    "Module",
    "MultiPartInfo",
    "NewBackupFile",
    "NewScope",
    "RecordStatus",
    "Scope",
    "SessionInfo",
    "SimpleConfigInfo",
    "Space",
    "UserInfo",
]
