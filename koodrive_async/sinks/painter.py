"""A thread that draws, so that no terminal and no front end can hold up the event loop."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

PATIENCE: Final = 2.0
"""Seconds that whoever looks has to take the last of it."""


class Picture(Protocol):
    """Something that can be drawn; each call may block."""

    def begin(self) -> None:
        """Draw for the first time."""

    def draw(self) -> None:
        """Draw anew."""

    def end(self) -> None:
        """Draw for the last time; called in any case, also where the others failed."""


class Painter:
    """Draws a picture a few times a second, in a thread of its own, until it is closed.

    What fails is no longer drawn; a thread that blocks is left behind.

    :param picture: What to draw.
    :param every: Seconds between two drawings.
    """

    def __init__(self, picture: Picture, *, every: float) -> None:
        self._picture = picture
        self._every = every
        self._closed = threading.Event()
        # a notebook's front end is told by a context variable which cell to draw below
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._work,), name="koodrive painter", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, patience: float | None) -> None:
        """Draw for the last time, and wait for that.

        :param patience: Seconds to wait at most; None: for as long as it takes.
        """
        self._closed.set()
        self._thread.join(patience)

    def _work(self) -> None:
        _attempt(self._draw_on)
        _attempt(self._picture.end)

    def _draw_on(self) -> None:
        self._picture.begin()
        while not self._closed.wait(self._every):
            self._picture.draw()


def _attempt(draw: Callable[[], None]) -> None:
    try:
        draw()
    except Exception:  # noqa: BLE001 - the terminal is gone, or the pipe; a backup goes on
        _log.debug("progress cannot be shown any more", exc_info=True)
