"""The transfer half: from a source to a completed backup file."""

from __future__ import annotations

from koodrive_async.upload.batch import UploadBatch
from koodrive_async.upload.delivery import Destination
from koodrive_async.upload.engine import Uploader
from koodrive_async.upload.events import (
    Event,
    FileCancelled,
    FileFailed,
    FileFinished,
    FileStarted,
    OnProgress,
    PartRetried,
    Phase,
    Progress,
    Totals,
)
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.journal import Journal, SavedRecord, boot_id, default_path
from koodrive_async.upload.lock_notes import LockNotes
from koodrive_async.upload.paths import path_from_text, path_text
from koodrive_async.upload.plan import Plan, PlannedPart, plan_parts
from koodrive_async.upload.receipt import Outcome, Seconds, UploadFailure, UploadReceipt
from koodrive_async.upload.record_files import RecordFiles
from koodrive_async.upload.source import Source
from koodrive_async.upload.streams import AsyncReader
from koodrive_async.upload.trace import FileTrace, HashSpan, PartSpan
from koodrive_async.upload.tree import permitted_name, tree_items
from koodrive_async.upload.watching import Events, FileWatch, SessionWatch

__all__ = [
    "AsyncReader",
    "Destination",
    "Event",
    "Events",
    "FileCancelled",
    "FileFailed",
    "FileFinished",
    "FileStarted",
    "FileTrace",
    "FileWatch",
    "HashSpan",
    "Journal",
    "LockNotes",
    "OnProgress",
    "Outcome",
    "PartRetried",
    "PartSpan",
    "Phase",
    "Plan",
    "PlannedPart",
    "Progress",
    "RecordFiles",
    "SavedRecord",
    "Seconds",
    "SessionWatch",
    "Source",
    "Totals",
    "UploadBatch",
    "UploadFailure",
    "UploadItem",
    "UploadReceipt",
    "Uploader",
    "boot_id",
    "default_path",
    "path_from_text",
    "path_text",
    "permitted_name",
    "plan_parts",
    "tree_items",
]
