"""What the service saw, held against what was promised."""

from __future__ import annotations

import threading
import time
from collections import Counter

from koodrive_async.emulator import Seen, SeenRequest

Slot = tuple[str, int]
"""A part: the name of its object, and its number."""


class Witness(Seen):
    """Counts every request, and notices parts that need not have been sent.

    :ivar answered: How many requests of each route there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answered: Counter[str] = Counter()
        self._guarded: dict[Slot, float] = {}
        self._sent_again: set[Slot] = set()
        self._looking = threading.Lock()

    def guard(self, slots: set[Slot]) -> None:
        """Expect that these parts, which are known to have arrived, are not sent from now on."""
        with self._looking:
            for slot in slots:
                self._guarded.setdefault(slot, time.time())

    def sent_again(self) -> set[Slot]:
        """Return the guarded parts that were sent all the same, and guard nothing any more."""
        with self._looking:
            found, self._sent_again = self._sent_again, set()
            self._guarded.clear()
            return found

    def add(self, request: SeenRequest) -> None:
        """Look at a request."""
        super().add(request)
        with self._looking:
            self.answered[request.route] += 1
            if request.part_number is None:
                return
            slot = (request.path.removeprefix("/"), request.part_number)
            if request.at > self._guarded.get(slot, float("inf")):
                self._sent_again.add(slot)
