"""Errors in the words of the person who looks at the page, and as a status of HTTP."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, NamedTuple

from starlette.requests import ClientDisconnect

from examples.web_service.body import TooLarge, TooSlow
from examples.web_service.shared_session import Stopped
from koodrive_async import (
    AuthenticationError,
    ClientClosed,
    InsufficientSpace,
    InvalidFileName,
    KooDriveError,
    LockLost,
    LockRefused,
    PermissionDenied,
    RateLimited,
    RecordInUse,
    TokenRefreshFailed,
    TransportError,
)

if TYPE_CHECKING:
    from examples.web_service.settings import Settings

logger = logging.getLogger(__name__)

UNIT = 1024


class Busy(Exception):  # noqa: N818 - named for what happened
    """There are as many uploads as may be at the same time."""


class Explanation(NamedTuple):
    """What is said of an error.

    :param status: Status of HTTP.
    :param text: What happened, and what to do. What others wrote into an error stays in the log.
    """

    status: int
    text: str


_LATER = "Try again in a few minutes."

# The first that fits is taken.
_OURS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Explanation], ...] = (
    (TooLarge, Explanation(413, "This file is larger than {limit}, which is the most we take.")),
    (TooSlow, Explanation(408, "The file came too slowly and was given up. Try again.")),
    (Busy, Explanation(503, "Too many files are on their way at the moment. Try again.")),
    (
        ClientDisconnect,
        Explanation(499, "The browser went away before the file was backed up. It was not kept."),
    ),
    (
        (Stopped, asyncio.CancelledError),
        Explanation(503, f"The service is shutting down, the file was not kept. {_LATER}"),
    ),
)
_OF_KOODRIVE: tuple[tuple[tuple[type[KooDriveError], ...], Explanation], ...] = (
    (
        (InvalidFileName,),
        Explanation(422, "KooDrive does not take the name of this file. Give it another one."),
    ),
    (
        (InsufficientSpace,),
        Explanation(507, "The KooDrive space is full. Make some room in it, then try again."),
    ),
    (
        (LockRefused, RecordInUse),
        Explanation(503, f"Another backup of this account is running. {_LATER}"),
    ),
    ((LockLost, ClientClosed), Explanation(503, "The backup was interrupted. Try again.")),
    (
        (AuthenticationError, PermissionDenied, TokenRefreshFailed),
        Explanation(502, "KooDrive does not let this service in. Its operator can help."),
    ),
    ((RateLimited,), Explanation(503, f"KooDrive is busy. {_LATER}")),
    ((TransportError,), Explanation(504, f"KooDrive does not answer. {_LATER}")),
    ((KooDriveError,), Explanation(502, "KooDrive did not take the file. Try again.")),
)
_NO_ROOM = Explanation(507, f"This service has no room for the file at the moment. {_LATER}")
_UNEXPECTED = Explanation(500, "Something went wrong in this service. Its log says what.")


def explain(error: BaseException, settings: Settings) -> Explanation:
    """Say what an error means to whoever sent the file; the log has the rest."""
    for kinds, (status, text) in _OURS:
        if isinstance(error, kinds):
            return Explanation(status, text.format(limit=in_words(settings.max_bytes)))
    for kinds, explanation in _OF_KOODRIVE:
        if isinstance(error, kinds):
            logger.warning("an upload failed: %s", error)
            return _with_trace_id(explanation, error)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        logger.error("no room for an upload: %s", error)
        return _NO_ROOM
    logger.error("an upload failed unexpectedly", exc_info=error)
    return _UNEXPECTED


def in_words(size: int) -> str:
    """Return a number of bytes for a person, such as ``"4 GiB"``."""
    amount, units = float(size), ["bytes", "KiB", "MiB", "GiB"]
    while amount >= UNIT and len(units) > 1:
        amount /= UNIT
        del units[0]
    return f"{amount:.1f}".removesuffix(".0") + f" {units[0]}"


def _with_trace_id(explanation: Explanation, error: BaseException) -> Explanation:
    trace_id = getattr(error, "trace_id", None)
    if not trace_id:
        return explanation
    return explanation._replace(text=f"{explanation.text} (Trace id for support: {trace_id})")
