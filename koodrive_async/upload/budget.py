"""How ``Limits.memory`` is shared out, so that no part of an upload ever waits for another's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs

from koodrive_async.descriptors import DescriptorShares
from koodrive_async.upload.connection import READ_AT_ONCE
from koodrive_async.upload.source import SLICE

if TYPE_CHECKING:
    from koodrive_async.config import Limits

AUTO_MOST = 64
"""Connections that ``connections="auto"`` may come to."""


OPEN_FILES = 256
"""Files that stay open at a time: more than are hashed and sent at a time, so that none waits."""


@attrs.frozen
class Shares:
    """Who may hold how much file content at the same time.

    Half of the limit is for hashing (a slice of 1 MiB for each worker), a quarter for sending (128
    KiB for each connection on which the kernel cannot send a file by itself), and a quarter keeps
    small files between being hashed and being sent. At 4 MiB that is two workers, eight connections
    and 1 MiB of small files. A stream that is being spooled takes
    about a quarter of a MiB beside that.

    Files that stay open, streams and connections each take a descriptor, and a stream may take a
    thread: where the system has few, there are fewer of them.

    :ivar hash_workers: Files hashed at the same time.
    :ivar connections: Parts sent at the same time, at the most.
    :ivar kept: Bytes of small files.
    :ivar open_files: Files that stay open until they are sent.
    :ivar streams: Streams that are read, or wait to be sent.
    """

    hash_workers: int
    connections: int
    kept: int
    open_files: int = OPEN_FILES
    streams: int = 32

    @classmethod
    def of(cls, limits: Limits, descriptors: DescriptorShares | None = None) -> Shares:
        """Share out what a client may use.

        :param descriptors: How many the client may use; None when there are enough.
        """
        descriptors = descriptors or DescriptorShares()
        wanted = AUTO_MOST if limits.connections == "auto" else limits.connections
        return cls(
            hash_workers=min(limits.hash_workers, limits.memory // 2 // SLICE),
            connections=min(wanted, limits.memory // 4 // READ_AT_ONCE, descriptors.connections),
            kept=limits.memory // 4,
            open_files=min(OPEN_FILES, descriptors.files),
            streams=min(limits.files_in_flight, descriptors.streams),
        )


class MemoryBudget:
    """Bytes that may be held at the same time; who gets none does without. Safe for threads.

    :param limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = 0
        self._turn = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes taken at the moment; never more than the limit."""
        return self._held

    def take(self, size: int) -> bool:
        """Take ``size`` bytes if they are there."""
        with self._turn:
            if self._held + size > self.limit:
                return False
            self._held += size
            return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._turn:
            self._held -= size
