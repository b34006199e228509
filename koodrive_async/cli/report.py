"""Telling what became of each file of a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import attrs

from koodrive_async.cli.json_output import error_object, json_text
from koodrive_async.cli.output import row_text
from koodrive_async.cli.wording import printable, reason
from koodrive_async.errors import ApiError, PartRejected, TokenRefreshFailed, TransportError
from koodrive_async.sinks.json_lines import receipt_object
from koodrive_async.upload import UploadReceipt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.cli.output import Display
    from koodrive_async.upload import Totals, UploadFailure

_OF_THE_SERVICE: Final = (ApiError, PartRejected, TokenRefreshFailed, TransportError)
_MOST_WITHHELD: Final = 100


class Voice(Protocol):
    """How a backup and each of its files is told.

    :ivar wants_progress: Whether to tell of progress as well.
    """

    @property
    def wants_progress(self) -> bool: ...  # noqa: D102 - as above

    async def looked(self, which: str) -> None:
        """Tell what looking for a record to go on with has found."""
        ...

    async def began(self, facts: Mapping[str, object]) -> None:
        """Tell which record the files go to."""
        ...

    async def progress(self, totals: Totals, expected: int | None) -> None:
        """Tell how far all files have come.

        :param expected: Bytes that there are, or None while unknown.
        """
        ...

    async def receipt(self, receipt: UploadReceipt) -> None:
        """Tell of a file that is in the record."""
        ...

    async def failure(self, failure: UploadFailure) -> None:
        """Tell of a file that is not."""
        ...


class Lines:
    """Tells with fields separated by tabs; failures go to standard error."""

    wants_progress = False

    def __init__(self, display: Display) -> None:
        self._display = display

    async def looked(self, which: str) -> None:
        """Tell what looking for a record to go on with has found."""
        await self._display.line(f"resume\t{which}")

    async def began(self, facts: Mapping[str, object]) -> None:
        """Leave it for the end, where people look for it."""

    async def progress(self, totals: Totals, expected: int | None) -> None:
        """Leave it to bars."""

    async def receipt(self, receipt: UploadReceipt) -> None:
        """Tell of a file that is in the record, unless a person watches bars."""
        if self._display.wants_lines:
            path = receipt.description or receipt.name
            await self._display.line(
                row_text(receipt.outcome, receipt.size, receipt.sha256, receipt.file_id, path)
            )

    async def failure(self, failure: UploadFailure) -> None:
        """Tell of a file that is not."""
        await self._display.line(f"failed: {failure_text(failure)}", err=True)


class JsonLines:
    """Tells with an object on each line, like :class:`~koodrive_async.sinks.JsonSink`.

    Failures are among them, in their place.

    A display that is silent gets failures on standard error instead.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self.wants_progress: bool = display.wants_lines

    async def looked(self, which: str) -> None:
        """Leave it for :meth:`began`."""

    async def began(self, facts: Mapping[str, object]) -> None:
        """Tell which record the files go to."""
        await self._display.line(json_text({"event": "begun", **facts}))

    async def progress(self, totals: Totals, expected: int | None) -> None:
        """Tell how far all files have come."""
        facts = {"event": "progress", **attrs.asdict(totals), "expected": expected}
        await self._display.line(json_text(facts))

    async def receipt(self, receipt: UploadReceipt) -> None:
        """Tell of a file that is in the record."""
        path = receipt.description or receipt.name
        event = {"event": "finished", "path": path, "receipt": receipt_object(receipt)}
        await self._display.line(json_text(event))

    async def failure(self, failure: UploadFailure) -> None:
        """Tell of a file that is not."""
        event = {
            "event": "failed",
            "path": failure.description or str(failure.source),
            "error": error_object(failure.error),
        }
        await self._display.line(json_text(event), err=not self._display.wants_lines)


class Report:
    """Tells of each file, but of a service that is gone only once.

    A failure that may be the service's own is told when another file has got through, or when all
    is over. When the backup ends with the same error, that is enough.

    :param patience: Files in a row that get no answer before the service is given up.
    """

    def __init__(self, voice: Voice, patience: int) -> None:
        self._voice = voice
        self._patience = patience
        self._unanswered = 0
        self._withheld: list[UploadFailure] = []

    async def tell(self, outcome: UploadReceipt | UploadFailure) -> None:
        """Tell what became of a file.

        :raises TransportError: The service is given up.
        """
        if isinstance(outcome, UploadReceipt):
            self._unanswered = 0
            await self.tell_withheld()
            await self._voice.receipt(outcome)
        elif not isinstance(outcome.error, _OF_THE_SERVICE):
            await self._voice.failure(outcome)
        else:
            self._withheld.append(outcome)
            silent = isinstance(outcome.error, TransportError)
            self._unanswered = self._unanswered + 1 if silent else 0
            if self._unanswered >= self._patience:
                raise outcome.error
            if len(self._withheld) > _MOST_WITHHELD:
                await self.tell_withheld()

    async def tell_withheld(self, end: Exception | None = None) -> None:
        """Tell of the failures that were kept back.

        :param end: What the backup ended with; failures of its kind are not told.
        """
        withheld, self._withheld = self._withheld, []
        for failure in withheld:
            if end is None or _kind(failure.error) is not _kind(end):
                await self._voice.failure(failure)


def failure_text(failure: UploadFailure) -> str:
    """Return which file it is and why, in one line."""
    where = printable(str(failure.source))
    # errors of a local file name it already
    return f"{where}: {reason(failure.error).removeprefix(f'{where}: ')}"


def _kind(error: Exception) -> type[Exception]:
    return TransportError if isinstance(error, TransportError) else type(error)
