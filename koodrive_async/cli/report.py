"""Telling what became of each file of a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from koodrive_async.cli.wording import printable, reason
from koodrive_async.errors import ApiError, PartRejected, TokenRefreshFailed, TransportError
from koodrive_async.upload import UploadReceipt

if TYPE_CHECKING:
    from koodrive_async.cli.progress import Screen
    from koodrive_async.upload import UploadFailure

_OF_THE_SERVICE: Final = (ApiError, PartRejected, TokenRefreshFailed, TransportError)
_MOST_WITHHELD: Final = 100


class Report:
    """Tells of each file, but of a service that is gone only once.

    A failure that may be the service's own is told when another file has got through, or when all
    is over. When the backup ends with the same error, that is enough.

    :param patience: Files in a row that get no answer before the service is given up.
    """

    def __init__(self, screen: Screen, patience: int) -> None:
        self._screen = screen
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
            await self._tell_receipt(outcome)
        elif not isinstance(outcome.error, _OF_THE_SERVICE):
            await self._tell_failure(outcome)
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
                await self._tell_failure(failure)

    async def _tell_failure(self, failure: UploadFailure) -> None:
        where = printable(str(failure.source))
        await self._screen.line(f"failed: {where}: {reason(failure.error)}", err=True)

    async def _tell_receipt(self, receipt: UploadReceipt) -> None:
        if self._screen.wants_lines:
            path = printable(receipt.description or receipt.name)
            await self._screen.line(
                f"{receipt.outcome}\t{receipt.size}\t{receipt.sha256}\t{receipt.file_id}\t{path}"
            )


def _kind(error: Exception) -> type[Exception]:
    return TransportError if isinstance(error, TransportError) else type(error)
