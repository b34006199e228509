"""One call of the interface as a value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache

import attrs

from koodrive_async.errors import InvalidArgument
from koodrive_async.transport.auth import percent

SERVICE = "/koodrive/ose"
ROOT = f"{SERVICE}/v1"
LOCK_HEADER = "x-backup-lock-id"


@attrs.frozen(eq=False)
class HeldLock:
    """A lock that is being held, for calls that may want it (:class:`Call`).

    :ivar owner: The client that holds it; the clients of other services never send it.
    :ivar lock_id: Returns its id.
    :ivar outer: The lock that was held before it, in the same context.
    """

    owner: object
    lock_id: Callable[[], str]
    outer: HeldLock | None


held_lock: ContextVar[HeldLock | None] = ContextVar("held_lock", default=None)
"""The innermost lock of this context."""


def lock_of(owner: object) -> Callable[[], str] | None:
    """Return what gives the id of the lock that a client holds in this context."""
    held = held_lock.get()
    while held is not None and held.owner is not owner:
        held = held.outer
    return None if held is None else held.lock_id


BodyFrom = Callable[[str], Awaitable[object]]
"""Makes a body that depends on ``originValue``, the header value its proof code starts from."""


def check_header(name: str, value: str) -> None:
    """Refuse what would not survive in a header, or would begin another one.

    :raises InvalidArgument: The value is no text, is empty, has blanks around it or other than
        printable ASCII.
    """
    given: object = value
    if not isinstance(given, str):
        raise InvalidArgument(f"{name} must be printable ASCII text, not {type(given).__name__}")
    if not value or value != value.strip() or not (value.isascii() and value.isprintable()):
        shown = "" if name.lower() == "authorization" else f", not {value!r}"
        raise InvalidArgument(f"{name} must be printable ASCII text{shown}")


@attrs.frozen(kw_only=True)
class Call:
    """One call of the interface.

    :param path: Percent-encoded, from :func:`path`.
    :param body: A model, plain JSON, or a function that makes one from ``originValue``.
    :param lock_id: Sent as ``x-backup-lock-id``.
    :param may_want_lock: A name for this kind of call, where the pages contradict each other in
        whether it has that header: it is sent without, and once more with the lock that is being
        held when that is refused. What worked is kept for the next calls of the name.
    :param repeatable: Whether sending it twice does what sending it once does.
    :param signed_in: False for the calls that come before signing in.
    :param headers: Further headers.
    :param completes: True for the call after which the service merges and checks all parts.
    :param secret: True where tokens or passwords stand in the body, or in that of the answer.
    :param checks_credentials: True for the call whose refusal means the credentials and nothing
        else, so that another token is asked for each time.
    :param urgent: True for a call that must not wait behind others, neither for a rate limit nor
        for a connection.
    """

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: object | BodyFrom | None = attrs.field(default=None, repr=False)
    lock_id: str | None = None
    may_want_lock: str | None = None
    repeatable: bool
    signed_in: bool = True
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    completes: bool = False
    secret: bool = False
    checks_credentials: bool = False
    urgent: bool = False

    def __attrs_post_init__(self) -> None:
        if self.lock_id is not None:
            check_header("lock_id", self.lock_id)
        for name, value in self.headers.items():
            check_header(name, value)


def check_id(value: object, name: str = "an id") -> str:
    """Return the id.

    :raises InvalidArgument: It is not text, or empty or relative: it would reach another call.
    """
    if not isinstance(value, str) or value in {"", ".", ".."}:
        raise InvalidArgument(f"{name} cannot be {value!r}")
    return value


def path(*segments: str, version: str = "v1") -> str:
    """Join path segments below the interface's root, each percent-encoded.

    :param version: Of the interface.
    :raises InvalidArgument: A segment is not an id.
    """
    for segment in segments:
        check_id(segment)
    return _joined(version, segments)


@lru_cache(maxsize=64)
def _joined(version: str, segments: tuple[str, ...]) -> str:
    return "/".join((SERVICE, version, *(percent(segment) for segment in segments)))
