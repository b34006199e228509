"""Backup locks: createBackupLock, renewalBackupLock, releaseBackupLock.

A lock is per user and module, or what the dialect says. The module in its id is not compared with
the record that it is used for: the documented examples use a lock of module 102 for a record of
module 101.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import invalid, lock_refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call
    from koodrive_async.emulator.dialect import Dialect
    from koodrive_async.emulator.routes import Route
    from koodrive_async.emulator.service import Service

# Calls of an upload whose pages do not mention the header.
PART_CALLS: Final = frozenset({"files.part_urls", "files.complete"})
# Calls whose tables do not have the header, and whose examples send it.
READING_CALLS: Final = frozenset({"records.list", "records.get", "files.list"})


def create(call: Call) -> Mapping[str, Any]:
    """createBackupLock: refused while a lock of the same scope is alive."""
    module = call.body["moduleCode"]
    if _alive(call, module, call.session) is not None:
        raise lock_refused("held")
    lock_id = f"{uuid.uuid4()}@{module}"
    call.service.store.run(
        "INSERT INTO locks (lock_id, user_id, module, expires, session) VALUES (?, ?, ?, ?, ?)",
        lock_id,
        call.user_id,
        module,
        call.now + call.service.settings.lock_seconds,
        call.session,
    )
    return {"data": {"lockId": lock_id}}


def renew(call: Call) -> Mapping[str, Any]:
    """renewalBackupLock: the lease counts from now.

    Where an expired lock can be renewed, its lease counts from when it ran out, unless another
    lock was taken since.

    :raises RefusedError: when the lock ran out, and cannot be renewed.
    """
    store, lock_id = call.service.store, call.lock_id
    row = store.row("SELECT * FROM locks WHERE lock_id = ?", lock_id)
    if row is None:
        raise lock_refused("unknown")
    start = call.now
    if row["expires"] <= call.now:
        if _alive(call, row["module"], row["session"]) is not None:
            raise lock_refused("expired")
        start = row["expires"]
    store.run(
        "UPDATE locks SET expires = ? WHERE lock_id = ?",
        start + call.service.settings.lock_seconds,
        lock_id,
    )
    return {}


def release(call: Call) -> Mapping[str, Any]:
    """releaseBackupLock: the lock is gone."""
    call.service.store.run("DELETE FROM locks WHERE lock_id = ?", call.lock_id)
    return {}


def _alive(call: Call, module: str, session: str) -> str | None:
    """Return the lock that is alive in the scope of a module and the device that calls.

    createBackupLock sends no device id, so a service that locks by device can distinguish devices
    only by their credentials: another token counts as another device.
    """
    scope = call.service.dialect.lock_scope
    alive: str | None = call.service.store.value(
        "SELECT lock_id FROM locks WHERE user_id = ? AND expires > ?"
        " AND (module = ? OR ?) AND (session = ? OR ?) LIMIT 1",
        call.user_id,
        call.now,
        module,
        scope == "user",
        session,
        scope != "device",
    )
    return alive


def locked_call(route: Route, dialect: Dialect) -> bool:
    """Return whether a call wants ``x-backup-lock-id``."""
    wanted = dialect.lock_header
    return (
        route.locked
        or (wanted in {"parts-too", "everywhere"} and route.name in PART_CALLS)
        or (wanted in {"reads-too", "everywhere"} and route.name in READING_CALLS)
    )


def used_lock(call: Call, route: Route, lock_id: str | None) -> str:
    """Rule: a call that wants a lock is made with one that is alive.

    :returns: the id of the lock; empty for a call that wants none.
    :raises RefusedError: with the reason.
    """
    dialect = call.service.dialect
    if not locked_call(route, dialect):
        if lock_id is not None and dialect.lock_header == "refused-elsewhere":
            raise invalid("the header x-backup-lock-id does not belong to this call")
        return ""
    renewable = route.name == "locks.renew" and dialect.expired_lock == "renewable"
    return _checked(call, lock_id, even_expired=renewable)


def _checked(call: Call, lock_id: str | None, *, even_expired: bool) -> str:
    """Rule: the lock is given, known, this user's, and not expired."""
    if not lock_id:
        raise lock_refused("missing")
    row = call.service.store.row("SELECT user_id, expires FROM locks WHERE lock_id = ?", lock_id)
    if row is None:
        gone_is_fine = call.service.dialect.second_release == "accepted"
        if gone_is_fine and call.route == "locks.release":
            return lock_id
        raise lock_refused("unknown")
    if row["user_id"] != call.user_id:
        raise lock_refused("foreign")
    if call.now >= row["expires"] and not even_expired:
        raise lock_refused("expired")
    return lock_id


def expire_lock(service: Service, lock_id: str | None, now: float) -> None:
    """Let a lock run out now."""
    service.store.run("UPDATE locks SET expires = ? WHERE lock_id = ?", now, lock_id)
