"""What tests put into a journal."""

from __future__ import annotations

import time
from typing import Any

from koodrive_async.hashing import Fingerprinter
from koodrive_async.upload.journal import FileIdentity, SavedRecord, UploadKey
from tests.sample import sample

ACCOUNT = "100@http://127.0.0.1"
GRID = 64
LONG_AGO = 10**18 + 1
"""Nanoseconds since 1970, in 2001."""


def identity_of(path="/data/film.mkv", size=1000, changed=LONG_AGO, inode=7):
    return FileIdentity(path, size, changed, changed, inode)


def fingerprint_of(identity, grid=GRID):
    """Hash bytes that are the same for the same identity."""
    return hashed_bytes(identity, identity.size, grid).finish()


def hashed_bytes(identity, count, grid=GRID):
    fingerprinter = Fingerprinter(grid)
    fingerprinter.update(sample(identity.size, seed=repr(identity))[:count])
    return fingerprinter


def record_of(record_id="r1", **other):
    settings: dict[str, Any] = {
        "account": ACCOUNT,
        "device_id": "d1",
        "module": "FOLDER",
        "root": "/data",
        "begun": time.time(),
    }
    return SavedRecord(record_id=record_id, **(settings | other))


def key_of(identity=None, name="film.mkv", **other):
    settings: dict[str, Any] = {
        "description": None,
        "part_size": 8 * 2**20,
        "parent_folder": None,
        "container_id": None,
    }
    return UploadKey(identity=identity or identity_of(), name=name, **(settings | other))
