"""Finding out which space a file is in, where neither an answer nor a listing has told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import ApiError, TransportError
from koodrive_async.models import AutoRename

if TYPE_CHECKING:
    from koodrive_async.models import CreatedBackupFile, NewBackupFile
    from koodrive_async.upload.delivery import Destination
    from koodrive_async.upload.means import Means

logger: logging.Logger = logging.getLogger(__name__)


async def space_of(means: Means, to: Destination, file: NewBackupFile) -> str | None:
    """Ask which space a file is in that is complete.

    :param file: Which the record has just so.
    :returns: Id of the space; None when nobody tells.
    """
    # to skip a file that is there is to do nothing, and may be asked for again
    same = attrs.evolve(file, auto_rename=AutoRename.SKIP)
    attempts = means.attempts()

    async def ask() -> CreatedBackupFile:
        return await means.files.create(to.record.record_id, same, lock_id=to.lease.lock_id)

    while True:
        try:
            created = await to.lease.run(ask)
        except (ApiError, TransportError) as error:
            try:
                await attempts.after(error)
            except (ApiError, TransportError):
                logger.warning("%s: nobody tells which space it is in: %s", file.file_name, error)
                return None
        else:
            return created.container_id if created.exist else None
