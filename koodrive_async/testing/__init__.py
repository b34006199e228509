"""For testing code that uses this package, against a real server on this machine.

Load the fixtures once, in the ``conftest.py`` at the root of your tests::

    pytest_plugins = ["koodrive_async.testing.fixtures"]

They work with any plugin for async tests, because they are not async themselves::

    from koodrive_async.testing import connect

    async def test_my_backup(koodrive_emulator):
        async with connect(koodrive_emulator) as drive:
            await my_backup(drive)
        assert koodrive_emulator.seen.count("files.complete") == 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koodrive_async.client import KooDrive
from koodrive_async.config import RetryPolicy
from koodrive_async.transport.auth import BearerToken

if TYPE_CHECKING:
    from koodrive_async.emulator import Emulator

__all__ = ["INSTANT_RETRIES", "connect"]

INSTANT_RETRIES = RetryPolicy(base_delay=0.0, per_second=None, outage=0)
"""Repeats as often as usual, without waiting, also for an outage: tests should not be slow where a
service would be."""


def connect(emulator: Emulator, **settings: Any) -> KooDrive:
    """Return a client of an emulator, to be entered with ``async with``.

    :param emulator: One that is running.
    :param settings: As for :class:`KooDrive`; the emulator's own token and user, and
        :data:`INSTANT_RETRIES`, no journal and no proxy, by default.
    """
    settings.setdefault("auth", BearerToken(emulator.token))
    settings.setdefault("user_id", emulator.user_id)
    settings.setdefault("retry", INSTANT_RETRIES)
    settings.setdefault("journal", None)
    settings.setdefault("proxy", None)
    return KooDrive(emulator.url, **settings)
