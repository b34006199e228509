"""The presigned URLs of one upload: kept by part number, fetched when they are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from koodrive_async.errors import MalformedResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from koodrive_async.models import MultiPartInfo
    from koodrive_async.resources import Files

BATCH = 100
"""URLs asked for at a time; the interface states no maximum."""


class PartUrls:
    """Hands out the URL for a part.

    :param files: Where fresh ones come from.
    :param announced: The parts as they were announced, in order.
    :param answered: The parts of the answer, in any order and perhaps not all of them.
    """

    def __init__(
        self,
        files: Files,
        file_id: str,
        announced: tuple[MultiPartInfo, ...],
        answered: Iterable[MultiPartInfo],
    ) -> None:
        self._files = files
        self._file_id = file_id
        self._announced = announced
        self._urls: dict[int, str] = {}
        self._fetching: anyio.Lock | None = None
        self._keep(answered)

    async def get(self, part_number: int, refused: str | None = None) -> str:
        """Return the URL for a part.

        :param refused: A URL that was refused: another one is wanted.
        :raises MalformedResponse: The service does not give one.
        """
        if (known := self._urls.get(part_number, refused)) is not None and known != refused:
            return known
        self._fetching = self._fetching or anyio.Lock()
        async with self._fetching:
            # whoever waited here finds what the one before has fetched
            if self._urls.get(part_number, refused) == refused:
                await self._fetch(part_number)
            return self._urls[part_number]

    async def _fetch(self, part_number: int) -> None:
        wanted = [self._announced[part_number - 1]]
        wanted += [
            part
            for part in self._announced[part_number : part_number + BATCH - 1]
            if part.part_number not in self._urls
        ]
        self._urls.pop(part_number, None)
        self._keep(await self._files.part_urls(self._file_id, wanted))
        if part_number not in self._urls:
            raise MalformedResponse(
                f"the service gave no URL for part {part_number}",
                method="POST",
                path="files/multipart/uploadUrl",
                status=200,
            )

    def done(self, part_number: int) -> None:
        """Forget the URL of a part that has been sent."""
        self._urls.pop(part_number, None)

    def _keep(self, parts: Iterable[MultiPartInfo]) -> None:
        self._urls |= {part.part_number: part.upload_url for part in parts if part.upload_url}
