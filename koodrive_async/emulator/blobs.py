"""The bytes of files on disk: one file per upload, every part at its offset."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Blobs:
    """Contents by name under one folder, which is created if absent.

    :param folder: where they live; readable by its owner only.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder

    @contextmanager
    def writing(self, name: str) -> Iterator[int]:
        """Open a content for parts at their offsets, and yield its file descriptor.

        :raises OSError: when it cannot be opened.
        """
        fd = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def reading(self, name: str) -> Iterator[int]:
        """Open a content for reading, and yield its file descriptor.

        :raises OSError: when it cannot be opened.
        """
        fd = os.open(self._folder / name, os.O_RDONLY)
        try:
            yield fd
        finally:
            os.close(fd)

    def read(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes of ``[start, end)``.

        :raises OSError: when the content cannot be read.
        """
        with self.reading(name) as fd:
            return os.pread(fd, end - start, start)

    def whole(self, name: str) -> bytes:
        """Return all bytes that were written; none when nothing was."""
        path = self._folder / name
        return path.read_bytes() if path.exists() else b""

    def remove(self, name: str) -> None:
        """Remove a content; one without bytes was never written, and that is fine."""
        (self._folder / name).unlink(missing_ok=True)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``; ``os.pwrite`` alone may write less.

    :raises OSError: when the disk refuses, for example because it is full.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
