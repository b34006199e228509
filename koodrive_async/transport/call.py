"""One call of the interface as a value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from koodrive_async.errors import InvalidArgument
from koodrive_async.transport.auth import percent

ROOT = "/koodrive/ose/v1"
LOCK_HEADER = "x-backup-lock-id"

BodyFrom = Callable[[str], Awaitable[object]]
"""Makes a body that depends on ``originValue``, the header value its proof code starts from."""


@attrs.frozen(kw_only=True)
class Call:
    """One call of the interface.

    :param path: Percent-encoded, from :func:`path`.
    :param body: A model, plain JSON, or a function that makes one from ``originValue``.
    :param lock_id: Sent as ``x-backup-lock-id``.
    :param repeatable: Whether sending it twice does what sending it once does.
    :param signed_in: False for the calls that come before signing in.
    :param headers: Further headers.
    :param completes: True for the call after which the service merges and checks all parts.
    """

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: object | BodyFrom | None = None
    lock_id: str | None = None
    repeatable: bool
    signed_in: bool = True
    headers: Mapping[str, str] = attrs.field(factory=dict)
    completes: bool = False


def path(*segments: str) -> str:
    """Join path segments below the interface's root, each percent-encoded.

    :raises InvalidArgument: A segment is empty or relative: it would reach another call.
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise InvalidArgument(f"{segment!r} cannot be an id")
    return "/".join((ROOT, *(percent(segment) for segment in segments)))
