"""What one client sees of the edition of the service, and says once: the files do without it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from koodrive_async.hashing import Fingerprint
    from koodrive_async.models import CreatedBackupFile

logger: logging.Logger = logging.getLogger(__name__)

MOST_REMEMBERED: Final = 10_000
"""Stored files of which the bytes are remembered, until flash upload has been seen or missed."""


class Edition:
    """Says once what the answers to one client show to be missing.

    No answer says that there is no flash upload: only bytes that this client has stored before,
    and that the service wants all the same, show it.
    """

    def __init__(self) -> None:
        # hashes of digests; None when there is nothing left to find out
        self._stored: set[int] | None = set()
        self._says_that_parts_are_one = True

    def stored(self, fingerprint: Fingerprint) -> None:
        """Note that the bytes of a file are stored."""
        if self._stored is not None and fingerprint.size and len(self._stored) < MOST_REMEMBERED:
            self._stored.add(hash(fingerprint.sha256))

    def created(self, name: str, fingerprint: Fingerprint, created: CreatedBackupFile) -> None:
        """Note the answer to a call that has created a file."""
        if self._stored is None or created.exist:
            return
        if created.rapid_upload:
            self._stored = None
        elif hash(fingerprint.sha256) in self._stored:
            self._stored = None
            logger.warning(
                "%s is sent in full though this client has stored the same bytes before: "
                "the service seems to offer no flash upload",
                name,
            )

    def parts_are_one(self, name: str) -> None:
        """Note that the service gives one URL for a file that was announced in several parts."""
        if self._says_that_parts_are_one:
            self._says_that_parts_are_one = False
            logger.warning(
                "%s was announced in parts, and the service has one URL for it: "
                "files are sent as a whole",
                name,
            )
