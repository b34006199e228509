"""The meaning of refusals for which the vendor's pages list no code: lock, credentials, or other.

No page lists the codes of a lock that is held, lost, foreign or unknown. So a refusal is taken for
one about the lock unless it plainly says something else, and what it may mean is looked up: a
renewal says whether the lock lives, a listing of the devices whether the credentials are good.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    PermissionDenied,
    RateLimited,
    ServerFault,
    TokenRefreshFailed,
    TransportError,
)
from koodrive_async.transport.retry import RETRYABLE_CODES, RETRYABLE_STATUS

E = TypeVar("E", bound=ApiError)

CredentialsWork = Callable[[], Awaitable[bool]]
"""Finds out whether the service accepts the credentials; raises what passes."""

_OF_SOMETHING_ELSE = frozenset(
    {
        "13000303",  # operation needs the file to be in the recycle bin
        "13000305",  # target directory is in the recycle bin
        "13000306",  # file is in the recycle bin
        "13000307",  # nested directories
        "13000308",  # file metadata error
        "13000310",  # max. levels exceeded
        "13000311",  # insufficient space
        "13000312",  # file already in the target folder
        "13000401",  # upload task not found
        "13000402",  # file upload incomplete
        "13000404",  # parent directory is in the recycle bin
        "13000405",  # duplicate file name
        "13000406",  # not possible on a folder
        "13000407",  # download address does not exist
        "13000408",  # download failed
        "13000409",  # upload failed
        "13000411",  # file not in this space
        "13000412",  # space is not active
        "13000413",  # search type not supported
        "13000414",  # search type is empty
        "13000415",  # space does not match the team
        "13000417",  # file name too long
    }
)
"""Codes whose page says that they are of a file, folder or space, and so not of a lock."""

_SIGNING_IN = re.compile(r"APIGW?\.03(?!08)[0-9]{2}")
"""Codes of the API gateway for authentication; 0308 means too many calls."""

_BAD_REQUEST = "13000101"
"""Of status 400, which one page describes as authentication not passed."""


def passes(error: BaseException) -> bool:
    """Say whether a failure is temporary: the same call may work later."""
    if isinstance(error, ApiError) and (
        error.status in RETRYABLE_STATUS or error.code in RETRYABLE_CODES
    ):
        return True
    return isinstance(
        error, TransportError | ServerFault | RateLimited | TokenRefreshFailed | TimeoutError
    )


def may_be_of_the_lock(error: ApiError) -> bool:
    """Say whether a refusal may mean that the caller does not have the lock, or has lost it."""
    if passes(error) or isinstance(error, AuthenticationError):
        return False
    return error.code not in _OF_SOMETHING_ELSE


def may_be_of_the_credentials(error: ApiError) -> bool:
    """Say whether a refusal may mean that the credentials are not accepted."""
    if error.code in _OF_SOMETHING_ELSE:
        return False
    return (
        isinstance(error, AuthenticationError | PermissionDenied)
        or error.code == _BAD_REQUEST
        or _SIGNING_IN.fullmatch(error.code) is not None
    )


def as_kind(kind: type[E], refusal: ApiError) -> E:
    """Return a refusal as an error of another class, with all its attributes."""
    same = kind(
        status=refusal.status,
        code=refusal.code,
        msg=refusal.msg,
        method=refusal.method,
        path=refusal.path,
        trace_id=refusal.trace_id,
        retry_after=refusal.retry_after,
    )
    same.attempts = refusal.attempts
    same.history = refusal.history
    same.gave_up = refusal.gave_up
    return same
