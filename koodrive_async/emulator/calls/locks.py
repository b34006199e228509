"""Backup locks: createBackupLock, renewalBackupLock, releaseBackupLock.

A lock is per user and module. The module in its id is not compared with the record that it is
used for: the documented examples use a lock of module 102 for a record of module 101.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from koodrive_async.emulator.answers import lock_refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call
    from koodrive_async.emulator.service import Service


def create(call: Call) -> Mapping[str, Any]:
    """createBackupLock: refused while the user holds one of the module that is alive."""
    store, module = call.service.store, call.body["moduleCode"]
    alive = store.value(
        "SELECT lock_id FROM locks WHERE user_id = ? AND module = ? AND expires > ?",
        call.user_id,
        module,
        call.now,
    )
    if alive is not None:
        raise lock_refused("held")
    lock_id = f"{uuid.uuid4()}@{module}"
    store.run(
        "INSERT INTO locks VALUES (?, ?, ?, ?)",
        lock_id,
        call.user_id,
        module,
        call.now + call.service.settings.lock_seconds,
    )
    return {"data": {"lockId": lock_id}}


def renew(call: Call) -> Mapping[str, Any]:
    """renewalBackupLock: the lease counts anew from now."""
    call.service.store.run(
        "UPDATE locks SET expires = ? WHERE lock_id = ?",
        call.now + call.service.settings.lock_seconds,
        call.lock_id,
    )
    return {}


def release(call: Call) -> Mapping[str, Any]:
    """releaseBackupLock: the lock is gone."""
    call.service.store.run("DELETE FROM locks WHERE lock_id = ?", call.lock_id)
    return {}


def check_lock(service: Service, lock_id: str | None, user_id: str, now: float) -> str:
    """Rule: the lock is given, known, this user's, and not expired.

    :returns: the id of the lock.
    :raises RefusedError: with the reason.
    """
    if not lock_id:
        raise lock_refused("missing")
    row = service.store.row("SELECT user_id, expires FROM locks WHERE lock_id = ?", lock_id)
    if row is None:
        raise lock_refused("unknown")
    if row["user_id"] != user_id:
        raise lock_refused("foreign")
    if now >= row["expires"]:
        raise lock_refused("expired")
    return lock_id


def expire_lock(service: Service, lock_id: str | None, now: float) -> None:
    """Let a lock run out now."""
    service.store.run("UPDATE locks SET expires = ? WHERE lock_id = ?", now, lock_id)
