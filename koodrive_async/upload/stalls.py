"""Whether a part still moves: what counts is what the other side takes, not what a buffer does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = 1024
"""Bytes that have to move in a window: a byte a second is a stall as well."""

_LOOKS = 8
"""How often in a window somebody looks."""


class StallError(Exception):
    """Nothing came for too long."""


class StandstillError(StallError):
    """A part has as good as stopped moving; the text says how far it got."""


class StallWatch:
    """Watches a part on its way, and gives it up when it has not moved for a whole window.

    Time counts only while its thread waits for the socket: reading a slow disk, waiting for a
    processor or for a limited bandwidth is no stall. So nothing is done while bytes flow.

    :param size: Bytes that are to go.
    :param window: Seconds in which :data:`LEAST` bytes have to move.
    :param queued: Returns the bytes taken by the system that the other side has not taken yet.
    :ivar taken: Bytes that the system has taken.
    """

    def __init__(self, size: int, window: float, queued: Callable[[], int]) -> None:
        self.taken = 0
        self._size = size
        self._window = window
        self._queued = queued
        self._began = time.monotonic()
        self._moved = 0
        self._waited = 0.0
        self._look_at = window / _LOOKS

    @property
    def next_look(self) -> float:
        """Seconds to wait until :meth:`waited` has to be called."""
        return self._look_at - self._waited

    def waited(self, seconds: float) -> None:
        """Hear how long the socket was waited for.

        :raises StandstillError: A window is over in which nothing much moved.
        """
        self._waited += seconds
        if self._waited < self._look_at:
            return
        moved = self.taken - self._queued()
        if moved - self._moved >= LEAST:
            self._moved, self._waited = moved, 0.0
        elif self._waited >= self._window:
            raise StandstillError(self._story(moved))
        self._look_at = self._waited + self._window / _LOOKS

    def _story(self, moved: int) -> str:
        seconds = time.monotonic() - self._began
        return (
            f"it stalled: {max(0, moved):,} of {self._size:,} bytes went in {seconds:.0f} s, "
            f"{max(0, moved - self._moved):,} of them in the last {self._waited:.3g} s of waiting "
            f"(Timeouts.stall is {self._window:g} s). If the link is that slow, raise "
            "Timeouts.stall, or share it among fewer parts with Limits.connections or a lower "
            "Limits.bandwidth"
        )
