"""What every page shows: the newest state of each upload, and who wants to hear of changes."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UPLOADS_KEPT = 100
"""Uploads that have ended and are still shown."""

PAUSE = 0.1
"""Seconds between two looks at what has changed, for each page."""

State = Literal["waiting", "receiving", "hashing", "sending", "done", "failed", "cancelled"]


@attrs.define(kw_only=True, eq=False)
class Upload:
    """One file on its way.

    :ivar id: Chosen by the page that sends it.
    :ivar size: Bytes, as far as they are known.
    :ivar received: Bytes that the browser has sent to this service.
    :ivar hashed: Bytes of which the digest is known.
    :ivar sent: Bytes that KooDrive has.
    :ivar retries: Parts that were sent again.
    :ivar error: What went wrong, for a person.
    """

    id: str
    name: str
    size: int | None
    state: State = "waiting"
    received: int = 0
    hashed: int = 0
    sent: int = 0
    retries: int = 0
    error: str | None = None
    outcome: str | None = None
    stored_name: str | None = None
    file_id: str | None = None
    sha256: str | None = None
    record: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing happens to it any more."""
        return self.state in {"done", "failed", "cancelled"}


@attrs.define(kw_only=True, eq=False)
class Status:
    """The service itself.

    :ivar max_bytes: The largest file that is taken.
    :ivar record: The newest backup record.
    :ivar record_state: ``"open"``, ``"completed"`` or ``"unfinished"``; ``"waiting"`` while another
        backup holds the lock.
    :ivar is_stopping: Whether no more files are taken.
    :ivar uses_emulator: Whether there is no KooDrive behind it.
    """

    max_bytes: int
    record: str | None = None
    record_state: str | None = None
    is_stopping: bool = False
    uses_emulator: bool = False


@attrs.frozen
class Change:
    """What something is like now.

    :ivar id: Of this change; whoever has it needs only what came later.
    :ivar kind: ``"status"`` or ``"upload"``.
    :ivar data: All there is to say about it, ready for JSON.
    """

    id: str
    kind: str
    data: dict[str, Any]


class Board:
    """The newest state of everything, and the order in which it has changed.

    A page that watches has no queue: it is told what things are like when it is ready to hear. One
    that is slow misses what lay between, and costs neither memory nor anybody's time.
    """

    def __init__(self, status: Status) -> None:
        self._status = status
        # ids of another run of the service mean nothing to this one
        self._run = secrets.token_hex(4)
        self._version = 0
        self._news: dict[str, tuple[int, Status | Upload]] = {}  # the latest change comes last
        self._changed = asyncio.Event()
        self._closed = False
        self._touch("", status)

    @property
    def status(self) -> Status:
        """The state of the service; told to the pages by :meth:`set_status`."""
        return self._status

    def set_status(self, **changes: Any) -> None:
        """Change something about the service."""
        _set(self._status, changes)
        self._touch("", self._status)

    def add(self, upload: Upload) -> None:
        """Show another upload.

        :raises ValueError: Its id is that of another one.
        """
        if upload.id in self._news:
            raise ValueError("there is an upload with this id already")
        self._touch(upload.id, upload)
        self._forget_some()

    def set(self, upload: Upload, **changes: Any) -> None:
        """Change something about an upload; one that has ended stays as it is."""
        if not upload.has_ended:
            _set(upload, changes)
            self._touch(upload.id, upload)

    def close(self) -> None:
        """Let all who watch hear the last news, and then go."""
        self._closed = True
        self._changed.set()

    async def changes(self, last_id: str | None = None) -> AsyncIterator[Change]:
        """Iterate over what changes; at first over all there is, or what is newer.

        :param last_id: Of the last change that is known already. An unknown one counts for nothing.
        """
        seen = self._seen(last_id)
        while True:
            news, seen = self._since(seen), self._version
            for change in news:
                yield change
            if self._closed and seen == self._version:
                return
            await asyncio.sleep(PAUSE)
            while seen == self._version and not self._closed:
                self._changed.clear()
                await self._changed.wait()

    def _since(self, seen: int) -> list[Change]:
        return [
            Change(
                id=f"{self._run}-{version}",
                kind=type(item).__name__.lower(),
                data=attrs.asdict(item),
            )
            for version, item in self._news.values()
            if version > seen
        ]

    def _seen(self, last_id: str | None) -> int:
        run, _, version = (last_id or "").partition("-")
        return int(version) if run == self._run and version.isdecimal() else 0

    def _touch(self, key: str, item: Status | Upload) -> None:
        self._version += 1
        self._news.pop(key, None)
        self._news[key] = self._version, item
        self._changed.set()

    def _forget_some(self) -> None:
        ended = [
            key
            for key, (_, item) in self._news.items()
            if isinstance(item, Upload) and item.has_ended
        ]
        for key in ended[:-UPLOADS_KEPT]:
            del self._news[key]


def _set(item: Status | Upload, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(item, name, value)
