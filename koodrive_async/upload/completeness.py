"""Whether a file of a record is complete: by the word of the service, or by the stored bytes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import ApiError, AuthenticationError, MalformedResponse
from koodrive_async.transport.refusals import passes
from koodrive_async.upload.membership import is_plausible
from koodrive_async.upload.proof import is_stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.record_files import RecordFiles

logger: logging.Logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Completeness:
    """Finds out whether files of one digest are complete; every method belongs under the lock.

    :param account: Whose files they are, for the journal.
    :param space_of: Finds out which space a file is in.
    """

    means: Means
    record: RecordFiles
    fingerprint: Fingerprint
    account: str
    space_of: Callable[[str], Awaitable[str | None]]

    async def is_proven(self, file_id: str) -> bool:
        """Complete a file of this record, and return whether it is complete.

        The service says so, or its bytes do.

        :raises ApiError: The service refused for the moment, or for the credentials.
        :raises TransportError: No usable answer arrived.
        """
        return await self._refusal(file_id) is None or await self.is_stored(file_id)

    async def is_stored(self, file_id: str) -> bool:
        """Return whether the bytes of a file are seen to be stored."""
        container_id = await self.space_of(file_id)
        if container_id is None:
            return False
        return await is_stored(self.means, file_id, container_id, self.fingerprint)

    async def is_plausible(self, file_id: str, name: str) -> bool:
        """Return whether a file can only be of this record, as far as its details say.

        :param name: That it has, and that an unanswered call of this upload asked for.
        :raises ApiError: The service refused for the moment, or for the credentials.
        :raises TransportError: No usable answer arrived.
        """
        container_id = await self.space_of(file_id)
        if container_id is None:
            return False
        return await is_plausible(
            self.means,
            self.record,
            self.fingerprint,
            account=self.account,
            container_id=container_id,
            file_id=file_id,
            name=name,
        )

    async def after_flash(self, file_id: str) -> None:
        """Complete a file whose bytes the service had, unless it is complete with that.

        Page ``createFile`` says that it is complete, but no page of backup files does. So the first
        such file of a record is looked at, and for in its listing; without a proof all of them are
        completed by a call.

        :raises ApiError: It is not proven to be complete: the service refuses to complete it, and
            its bytes are not seen.
        :raises MalformedResponse: The record does not have it.
        :raises TransportError: No usable answer arrived.
        """
        record = self.record
        if record.trusts_flash is None:
            async with record.learning_flash:
                if record.trusts_flash is None:
                    record.trusts_flash = await self._is_complete_by_flash(file_id)
                    return
        if not record.trusts_flash:
            await self._complete(file_id)

    async def _is_complete_by_flash(self, file_id: str) -> bool:
        """Return whether a file was complete when it was created, which it is afterwards.

        A file that is not listed is not complete yet, or of another record.
        """
        files, record = self.means.files, self.record
        is_listed = await record.lists(files, file_id)
        if is_listed and await self.is_stored(file_id):
            return True
        await self._complete(file_id)
        if not is_listed and not await record.lists(files, file_id):
            raise MalformedResponse(
                f"file {file_id}, which was created in record {record.record_id}, is not listed",
                method="POST",
                path="backup file",
                status=200,
            )
        return False

    async def _complete(self, file_id: str) -> None:
        refusal = await self._refusal(file_id)
        if refusal is not None and not await self.is_stored(file_id):
            raise refusal

    async def _refusal(self, file_id: str) -> ApiError | None:
        """Call to complete a file with its digest; return how the service refuses it."""
        try:
            await self.means.files.complete(file_id, self.fingerprint.sha256)
        except ApiError as refusal:
            if _is_of_the_moment(refusal):
                raise
            logger.info(
                "file %s is not completed, perhaps because it is complete already: %s",
                file_id,
                refusal,
            )
            return refusal
        return None


def _is_of_the_moment(refusal: ApiError) -> bool:
    """Return whether a refusal says nothing of the file."""
    return passes(refusal) or isinstance(refusal, AuthenticationError)
