"""When what happened to a file: what timelines are drawn from.

All moments are seconds of :func:`time.perf_counter`: only their differences mean something.
"""

from __future__ import annotations

import time

import attrs


@attrs.frozen(kw_only=True)
class HashSpan:
    """The pass that hashes a file.

    :ivar queued: From when on it waited for a place in the hash pool.
    :ivar began: When its first byte was read.
    :ivar ended: When its digest was known, or the file was given up.
    """

    queued: float
    began: float
    ended: float


@attrs.frozen(kw_only=True)
class PartSpan:
    """One attempt to send one part.

    :ivar number: Of the part in its file, from 1.
    :ivar size: Bytes of the part.
    :ivar connection: Number of the connection in its client, from 1; None when none came about.
    :ivar queued: From when on it waited for its turn.
    :ivar began: When it was its turn.
    :ivar reading: Seconds of it that went into reading the source; 0 where the kernel does that
        while it sends.
    :ivar ended: When it was acknowledged, or had failed.
    :ivar error: Why it did not arrive; None when it did.
    """

    number: int
    size: int
    connection: int | None
    queued: float
    began: float
    reading: float
    ended: float
    error: str | None = None


@attrs.frozen(kw_only=True)
class FileTrace:
    """What happened to one file, and when.

    :ivar began: When work on it began.
    :ivar ended: When it was there, had failed, or was cancelled.
    :ivar cancelled: Whether it was cancelled, by its caller or by the end of the session.
    :ivar hashing: None when nothing had to be hashed.
    :ivar parts: Attempts in the order in which they ended; not those that were cancelled.
    """

    name: str
    description: str | None = None
    began: float
    ended: float
    cancelled: bool = False
    hashing: HashSpan | None = None
    parts: tuple[PartSpan, ...] = ()


@attrs.define
class PartClock:
    """Notes what becomes of one attempt to send a part.

    :ivar connection: Set by whoever sends it, as is :attr:`reading`.
    """

    queued: float = attrs.field(factory=time.perf_counter)
    began: float | None = None
    connection: int | None = None
    reading: float = 0.0

    def span(self, number: int, size: int, error: Exception | None = None) -> PartSpan:
        """Return what became of it, as of now."""
        ended = time.perf_counter()
        return PartSpan(
            number=number,
            size=size,
            connection=self.connection,
            queued=self.queued,
            began=ended if self.began is None else self.began,
            reading=self.reading,
            ended=ended,
            error=None if error is None else str(error) or type(error).__name__,
        )
