"""Whether connections to one place carry more than one part: some end after each answer."""

from __future__ import annotations

import logging

logger: logging.Logger = logging.getLogger(__name__)

_LOSSES = 3
"""How many kept connections may be lost in a row before connections are no longer kept."""


class Reuse:
    """The experience with kept connections to one origin.

    HTTP/1.1 connections live on unless an answer says otherwise (RFC 9112, 9.3). Some proxies close
    each of them all the same, a moment after the answer, as tinyproxy 1.11 does, and a part that is
    sent at that very moment is lost. So through a proxy one part at a time tries a kept connection,
    until one has worked.

    :param place: The name of the place, for the log.
    :param proven: Whether kept connections are taken to work until they fail.
    """

    def __init__(self, place: str, *, proven: bool) -> None:
        self.proven: bool = proven
        self.refused: bool = False
        self._place = place
        self._losses = 0
        self._trying = False

    def begin(self) -> bool:
        """Return whether a kept connection may be used now; :meth:`end` follows then."""
        if self.refused or self._trying:
            return False
        self._trying = not self.proven
        return True

    def end(self) -> None:
        """Note that the part is over, however it went."""
        self._trying = False

    def worked(self) -> None:
        """Note that a kept connection carried another part."""
        self.proven, self._losses = True, 0

    def lost(self) -> None:
        """Note that a kept connection was closed before any answer to another part."""
        self._losses += 1
        if not self.refused and (not self.proven or self._losses >= _LOSSES):
            self.refused = True
            logger.info(
                "%s closes connections unannounced: each part has one of its own from now on",
                self._place,
            )

    def keeps(self, idle: int) -> bool:
        """Return whether to keep a connection.

        :param idle: Connections that are kept already.
        """
        return not self.refused and (self.proven or not idle)
