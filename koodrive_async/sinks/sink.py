""":class:`Sink`: something that gets the events of a backup."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from koodrive_async.upload.events import Event


class Sink(ABC):
    """Something that gets the events of a backup, used inside ``with`` or by :func:`show`.

    Derive from it and write ``update``; the other two do nothing until you say more.

    :ivar total: Bytes that there are to back up, where that is known; it may become known late.
    """

    total: int | None = None

    def start(self) -> None:  # noqa: B027 - not every sink has anything to begin
        """Begin; called in the event loop, so it must not wait for anything."""

    @abstractmethod
    def update(self, event: Event) -> None:
        """Take an event; called in the event loop, so it must not wait for anything.

        :param event: What happened.
        """

    def close(self, error: BaseException | None = None) -> None:  # noqa: B027 - nor to end
        """End; may take a moment, and is called beside the event loop.

        :param error: What the backup ended with, or None.
        """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)
