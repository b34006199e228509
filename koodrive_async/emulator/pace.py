"""Slow lines: bodies that move no faster than so many bytes per second."""

from __future__ import annotations

import asyncio
from typing import Final

SMOOTHNESS: Final = 0.05  # seconds: a slow body moves in pieces of about this long
SMALLEST: Final = 512


class Pace:
    """A line of limited speed, used by one body or shared by many.

    :param bytes_per_second: its speed.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self._speed = bytes_per_second
        self._free_at = 0.0

    @property
    def piece(self) -> int:
        """How many bytes to move at a time."""
        return max(SMALLEST, int(self._speed * SMOOTHNESS))

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes have had time to move; cancelling gives nothing back."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size / self._speed
        await asyncio.sleep(self._free_at - now)
