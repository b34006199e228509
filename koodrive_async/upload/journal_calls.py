"""Calls made in one transaction, of which one that is not right must not spoil the others."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from koodrive_async.upload.journal_store import Call, JournalStore

logger: logging.Logger = logging.getLogger(__name__)

_ONE_CALL: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)
"""What is wrong with a single call, and no reason to do without the others."""


def make(
    connection: sqlite3.Connection, store: JournalStore, calls: Sequence[Call[Any]]
) -> tuple[list[Any], bool]:
    """Make calls, and return what they gave, and whether the journal took them all.

    :param connection: In a transaction.
    :raises sqlite3.Error: None of them can be made.
    """
    connection.execute("SAVEPOINT calls")
    try:
        return [call.function(store) for call in calls], True
    except sqlite3.Error as error:
        if not isinstance(error, _ONE_CALL):
            raise
    except Exception:  # noqa: BLE001, S110 - found out, and told, below
        pass
    connection.execute("ROLLBACK TO calls")
    # one of them is not right: the others have to do without
    made = [_make_one(connection, store, call) for call in calls]
    return [result for result, _ in made], all(taken for _, taken in made)


def _make_one(
    connection: sqlite3.Connection, store: JournalStore, call: Call[Any]
) -> tuple[Any, bool]:
    connection.execute("SAVEPOINT call")
    try:
        result = call.function(store)
    except sqlite3.Error as error:
        if not isinstance(error, _ONE_CALL):
            raise
        logger.warning("the journal does not take this: %s", error)
    except Exception:
        logger.exception("the journal does not take this")
    else:
        connection.execute("RELEASE call")
        return result, True
    connection.execute("ROLLBACK TO call")
    connection.execute("RELEASE call")
    return call.otherwise, False
