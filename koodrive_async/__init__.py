"""Asyncio SDK for the backup interface of Huawei Cloud KooDrive."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from koodrive_async._version import __version__
from koodrive_async.errors import (
    ApiError,
    Attempt,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    DuplicateFileName,
    FileTooLarge,
    ForkedClient,
    InsufficientSpace,
    IntegrityCheckFailed,
    InvalidArgument,
    InvalidFileName,
    InvalidRequest,
    KooDriveError,
    LockLost,
    LockRefused,
    MalformedResponse,
    NotFound,
    PagingError,
    PartRejected,
    PermissionDenied,
    RateLimited,
    RecordInUse,
    ServerFault,
    SourceChanged,
    TokenRefreshFailed,
    TransportError,
    UntrustedCertificate,
    UploadError,
    UploadTaskGone,
    WrongEventLoop,
)

if TYPE_CHECKING:
    from koodrive_async.backup import BackupSession
    from koodrive_async.client import KooDrive
    from koodrive_async.config import Limits, RetryPolicy, Timeouts
    from koodrive_async.models import (
        AddedScopes,
        AutoRename,
        BackupFile,
        BackupLock,
        BackupRecord,
        BoundDevice,
        ConfigInfo,
        CreatedBackupFile,
        DeletedScopes,
        Download,
        Downloads,
        FailedScope,
        Module,
        MultiPartInfo,
        NewBackupFile,
        NewScope,
        RecordStatus,
        Scope,
        SessionInfo,
        SimpleConfigInfo,
        UserInfo,
    )
    from koodrive_async.paging import ItemIterator, Page, PageIterator, Pager
    from koodrive_async.resources import Lease
    from koodrive_async.transport.auth import AppSignature, Auth, BearerToken
    from koodrive_async.transport.clock import Clock
    from koodrive_async.upload import (
        Phase,
        Plan,
        Progress,
        UploadBatch,
        UploadFailure,
        UploadItem,
        UploadReceipt,
        plan_parts,
    )

__all__ = [
    "AddedScopes",
    "ApiError",
    "AppSignature",
    "Attempt",
    "Auth",
    "AuthenticationError",
    "AutoRename",
    "BackupFile",
    "BackupLock",
    "BackupRecord",
    "BackupSession",
    "BearerToken",
    "BoundDevice",
    "ClientClosed",
    "Clock",
    "ConfigInfo",
    "ConfigurationError",
    "ConnectionFailed",
    "CreatedBackupFile",
    "DeadlineExceeded",
    "DeletedScopes",
    "Download",
    "Downloads",
    "DuplicateFileName",
    "FailedScope",
    "FileTooLarge",
    "ForkedClient",
    "InsufficientSpace",
    "IntegrityCheckFailed",
    "InvalidArgument",
    "InvalidFileName",
    "InvalidRequest",
    "ItemIterator",
    "KooDrive",
    "KooDriveError",
    "Lease",
    "Limits",
    "LockLost",
    "LockRefused",
    "MalformedResponse",
    "Module",
    "MultiPartInfo",
    "NewBackupFile",
    "NewScope",
    "NotFound",
    "Page",
    "PageIterator",
    "Pager",
    "PagingError",
    "PartRejected",
    "PermissionDenied",
    "Phase",
    "Plan",
    "Progress",
    "RateLimited",
    "RecordInUse",
    "RecordStatus",
    "RetryPolicy",
    "Scope",
    "ServerFault",
    "SessionInfo",
    "SimpleConfigInfo",
    "SourceChanged",
    "Timeouts",
    "TokenRefreshFailed",
    "TransportError",
    "UntrustedCertificate",
    "UploadBatch",
    "UploadError",
    "UploadFailure",
    "UploadItem",
    "UploadReceipt",
    "UploadTaskGone",
    "UserInfo",
    "WrongEventLoop",
    "__version__",
    "plan_parts",
]

# Loaded at first use: aiohttp alone takes ten times as long as everything that is loaded at once.
_MODULES = {
    "backup": ("BackupSession",),
    "client": ("KooDrive",),
    "config": ("Limits", "RetryPolicy", "Timeouts"),
    "models": (
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
        "Module",
        "MultiPartInfo",
        "NewBackupFile",
        "NewScope",
        "RecordStatus",
        "Scope",
        "SessionInfo",
        "SimpleConfigInfo",
        "UserInfo",
    ),
    "paging": ("ItemIterator", "Page", "PageIterator", "Pager"),
    "resources": ("Lease",),
    "transport.auth": ("AppSignature", "Auth", "BearerToken"),
    "transport.clock": ("Clock",),
    "upload": (
        "Phase",
        "Plan",
        "Progress",
        "UploadBatch",
        "UploadFailure",
        "UploadItem",
        "UploadReceipt",
        "plan_parts",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
