"""What a worker is told to do, and what it tells: lines of JSON through its pipes."""

from __future__ import annotations

import json
from typing import IO, Any, Final

import attrs

LOCK_SECONDS: Final = 6.0
"""Life of a lock; short, so that a process that stands still for a while loses its own."""

COMPLETED: Final = 0
GAVE_UP: Final = 3
CANCELLED: Final = 4
"""How a worker ends by itself; everything else is a crash."""

Event = dict[str, Any]


@attrs.frozen(kw_only=True)
class Order:
    """A backup to make.

    :param resume: The record to go on with; None for a new one.
    :param part_size: Bytes of a part.
    """

    endpoint: str
    user_id: str
    account: str
    password: str = attrs.field(repr=False)
    device_id: str
    root: str
    journal: str
    part_size: int
    resume: str | None = None

    def write(self, stream: IO[str]) -> None:
        """Give it to a worker."""
        with stream:
            json.dump(attrs.asdict(self), stream)

    @classmethod
    def read(cls, stream: IO[str]) -> Order:
        """Take it from whoever started this process."""
        return cls(**json.load(stream))
