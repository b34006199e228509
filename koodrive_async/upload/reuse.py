"""Whether connections to one place carry more than one part: some end after each answer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger(__name__)

_LOSSES = 3
"""How many kept connections may be lost in a row before connections are no longer kept."""

_PAUSE = 60.0
"""Seconds for which they are not kept then."""


class Reuse:
    """What is known of the kept connections to one origin.

    HTTP/1.1 connections live on unless an answer says otherwise (RFC 9112, 9.3). Some proxies close
    each of them all the same, a moment after the answer, as tinyproxy 1.11 does, and a part that is
    sent at that very moment is lost. So through a proxy one part at a time tries a kept connection,
    until one has worked.

    What restarts closes all of its connections at once: that is one loss. Where connections are no
    longer kept, one part tries it again after a minute.

    :param place: What it is, for the log.
    :param proven: Whether kept connections are taken to work until they fail.
    :param now: Seconds of a clock that never goes back.
    :ivar counted: Losses so far, those at one time being one.
    """

    def __init__(
        self, place: str, *, proven: bool, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.proven: bool = proven
        self._place = place
        self._now = now
        self._again_at: float | None = None
        self._losses = 0
        self._trying = False
        self.counted: int = 0

    @property
    def refused(self) -> bool:
        """Whether connections are not kept at this moment."""
        return self._again_at is not None and self._now() < self._again_at

    def begin(self) -> bool:
        """Return whether a kept connection may be used now; :meth:`end` follows then."""
        if self._trying or self.refused:
            return False
        self._trying = not self.proven
        return True

    def end(self) -> None:
        """Note that the part is over, however it went."""
        self._trying = False

    def worked(self) -> None:
        """Note that a kept connection carried another part."""
        self.proven, self._losses, self._again_at = True, 0, None

    def lost(self, since: int) -> None:
        """Note that a kept connection was closed before any answer to another part.

        :param since: How many losses were :attr:`counted` when it had answered for the last time:
            connections from before one loss that are lost after it are no further losses.
        """
        if since < self.counted:
            return
        self.counted += 1
        self._losses += 1
        if self.proven and self._losses < _LOSSES:
            return
        log = logger.info if self._again_at is None else logger.debug
        log(
            "%s closes connections unannounced: each part has one of its own for %.0f s",
            self._place,
            _PAUSE,
        )
        self._again_at = self._now() + _PAUSE
        self.proven = False

    def keeps(self, idle: int) -> bool:
        """Return whether to keep a connection.

        :param idle: Connections that are kept already.
        """
        return not self.refused and (self.proven or not idle)
