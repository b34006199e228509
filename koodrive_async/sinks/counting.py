"""What most sinks have in common: they know where the backup stands, and some draw it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from koodrive_async.sinks.painter import PATIENCE, Painter
from koodrive_async.sinks.sink import Sink
from koodrive_async.sinks.standing import Standing

if TYPE_CHECKING:
    from koodrive_async.sinks.painter import Picture
    from koodrive_async.upload.events import Event


class CountingSink(Sink):
    """A sink that knows where the backup stands.

    :param total: Bytes that there are to back up, where that is known.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total
        self._standing = Standing()

    def start(self) -> None:
        """Begin to count."""
        self._standing = Standing()

    def update(self, event: Event) -> None:
        """Count an event."""
        self._standing.take(event)

    def _look(self) -> Standing:
        """Take the speeds, and return where all stands; called by one thread."""
        standing = self._standing
        standing.total = self.total
        standing.look(time.monotonic())
        return standing

    def _end_text(self, error: BaseException | None) -> tuple[str, str]:
        """Return in a word how it ended, and in a line what became of everything."""
        standing = self._standing
        summary = standing.summary(time.monotonic() - standing.began)
        return "done" if error is None else "stopped", summary


class DrawnSink(CountingSink):
    """A sink that draws, in a thread of its own.

    :param picture: What it draws.
    :param every: Seconds between two drawings.
    """

    def __init__(self, picture: Picture, *, every: float, total: int | None) -> None:
        super().__init__(total)
        self._picture = picture
        self._every = every
        self._painter: Painter | None = None

    def start(self) -> None:
        """Begin to draw."""
        super().start()
        self._painter = Painter(self._picture, every=self._every)
        self._painter.start()

    def close(self, error: BaseException | None = None) -> None:  # noqa: ARG002 - of no interest
        """Draw for the last time; whoever does not look is left after two seconds."""
        if self._painter is not None:
            self._painter.close(PATIENCE)
