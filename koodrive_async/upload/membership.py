"""Whether an unfinished file that has the wanted name was created by a lost call of this upload.

Where listings hide unfinished files, no call says which record such a file belongs to. But its
details may say that nothing else is plausible: the name, the size and the digest are those of this
upload, and the file was created after the record was. What this machine knows of other records
comes on top. An upload finishes such a file, which another backup would have finished with the same
bytes, and only counts it when the listing of the record then shows it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from koodrive_async.errors import ApiError, AuthenticationError
from koodrive_async.transport.refusals import passes
from koodrive_async.transport.wire import names_zone

if TYPE_CHECKING:
    from datetime import datetime

    from koodrive_async.hashing import Fingerprint
    from koodrive_async.models import FileDetails
    from koodrive_async.upload.means import Means
    from koodrive_async.upload.record_files import RecordFiles

logger: logging.Logger = logging.getLogger(__name__)


async def is_plausible(
    means: Means,
    record: RecordFiles,
    fingerprint: Fingerprint,
    *,
    account: str,
    container_id: str,
    file_id: str,
    name: str,
) -> bool:
    """Return whether a file can only be of this record, as far as its details say; changes nothing.

    :param account: Whose record it is, for the journal.
    :param container_id: The space that the file is in.
    :param file_id: The file that has the name.
    :param name: That an unanswered call of this upload asked for.
    :raises ApiError: The service refused for the moment, or for the credentials.
    :raises TransportError: No usable answer arrived.
    """
    if record.has(file_id) or not record.is_of_one_folder(name):
        return False
    try:
        details = await means.files.details(container_id, file_id)
    except ApiError as refusal:
        if passes(refusal) or isinstance(refusal, AuthenticationError):
            raise
        logger.info("there are no details of file %s: %s", file_id, refusal)
        return False
    if not _are_of(details, file_id, name, fingerprint):
        return False
    if not _is_certainly_after(details.created_time, record.create_time):
        return False
    return not await means.journal.knows_of_others(
        account, record.record_id, file_id=file_id, name=name, sha256=fingerprint.sha256
    )


def _are_of(details: FileDetails, file_id: str, name: str, fingerprint: Fingerprint) -> bool:
    if details.file_id != file_id or details.recycled:
        return False
    digest = (details.sha256 or "").lower()
    return (details.file_name, details.size, digest) == (name, fingerprint.size, fingerprint.sha256)


def _is_certainly_after(created: datetime | None, record_created: datetime | None) -> bool:
    """Compare two times of the service's clock: of no use where either may be of any zone."""
    if created is None or record_created is None:
        return False
    return names_zone(created) and names_zone(record_created) and created >= record_created
