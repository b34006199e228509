"""Events of a session that nobody has to run, told by what tells them in a real one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from koodrive_async.upload import UploadItem, UploadReceipt
from koodrive_async.upload.trace import PartClock
from koodrive_async.upload.watching import SessionWatch


class Story:
    """A session's events, as they were told until they are taken."""

    def __init__(self):
        self.watch = SessionWatch()
        self._events = self.watch.events()

    def taken(self):
        """Return what was told since the last time."""
        events = list(self._events._waiting.values())
        self._events._waiting.clear()
        return events

    def begun(self, path, size=1000):
        """Begin with a file and hash half of it."""
        item = UploadItem(source=path, name=path.rpartition("/")[2], description=path)
        file = self.watch.file(item, None)
        file.opened(size)
        file.hashing(size // 2)
        return file

    def finished(self, path, size=1000, outcome="uploaded"):
        """Back up a file."""
        file = self.begun(path, size)
        file.hashed()
        if outcome == "uploaded":
            file.sent(PartClock().span(1, size))
        file.completed()
        file.finished(receipt(path, size, outcome))

    def failed(self, path, error):
        """Begin with a file and fail."""
        file = self.begun(path)
        with suppress(type(error)), file.told():
            raise error

    def cancelled(self, path):
        """Begin with a file and let it be."""
        file = self.begun(path)
        with suppress(asyncio.CancelledError), file.told():
            raise asyncio.CancelledError

    def retried(self, path, error):
        """Begin with a file whose first part has to be sent again."""
        self.begun(path).retried(1, 1, error)


def receipt(path, size=1000, outcome="uploaded"):
    return UploadReceipt(
        outcome=outcome,
        file_id=f"id of {path}",
        name=path,
        sha256="ab" * 32,
        size=size,
        parts=1,
        retries=0,
        seconds=0.5,
    )
