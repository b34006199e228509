"""Finding out which space a file is in, where neither an answer nor a listing says it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import ApiError, ConfigurationError, TransportError
from koodrive_async.transport.refusals import passes

if TYPE_CHECKING:
    from koodrive_async.models import Space
    from koodrive_async.upload.means import Means

logger: logging.Logger = logging.getLogger(__name__)


async def space_of(
    means: Means, file_id: str | None, *, is_complete: bool
) -> tuple[str | None, bool | None]:
    """Ask for the spaces of the user, and which of them a file is in.

    :param file_id: The file; None to find the only space that there is.
    :param is_complete: Whether it is known to be complete: another may be shown by no space.
    :returns: Id of the space, and whether that is settled. Without an id no answer says it, which
        is logged once it is settled. It is not settled where a call failed for the moment; None
        where the space is one of several, and a file that is complete may show it.
    """
    failures = _Failures()
    spaces = await _spaces(means, failures)
    if len(spaces) == 1:
        return spaces[0].container_id, True
    if file_id is not None:
        for space in spaces:
            if await _knows(means, space.container_id, file_id, failures):
                return space.container_id, True
    if failures.have_passing:
        return None, False
    if spaces and not is_complete:
        return None, None
    logger.warning(
        "the service does not say which space files go to: what asks for it, such as a download, "
        "needs a container_id"
    )
    return None, True


@attrs.define
class _Failures:
    """Whether one of the calls failed for the moment, and may work later."""

    have_passing: bool = False

    def add(self, error: Exception) -> None:
        self.have_passing = self.have_passing or passes(error)


async def _spaces(means: Means, failures: _Failures) -> tuple[Space, ...]:
    """Return the spaces as the standard edition lists them, or the one of the carrier edition."""
    if means.spaces is None:
        return ()
    try:
        if spaces := await means.spaces.list():
            return spaces
    except (ApiError, TransportError) as error:
        failures.add(error)
        logger.info("the spaces of the user are not listed: %s", error)
    try:
        return (await means.spaces.get(),)
    except (ApiError, TransportError) as error:
        failures.add(error)
        logger.info("the space of the user is not known: %s", error)
    return ()


async def _knows(means: Means, container_id: str, file_id: str, failures: _Failures) -> bool:
    """Return whether a space has a file: it has details there, or a link."""
    try:
        return (await means.files.details(container_id, file_id)).file_id == file_id
    except (ApiError, TransportError) as error:
        failures.add(error)
        if isinstance(error, ApiError) and passes(error):
            return False
    try:
        links = await means.files.download_urls(container_id, [file_id])
    except (ApiError, TransportError, ConfigurationError) as error:
        failures.add(error)
        return False
    return any(link.file_id == file_id and link.url for link in links)
