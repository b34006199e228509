"""What the service says: the envelope of a success, and every refusal with its code.

The documentation has no code for a lock that is missing, unknown, expired, foreign or already
held, nor for a record that is not new. Such a call is refused as HTTP 400 with 13000102 (verify
parameters failed) and one of the distinct messages of :data:`LOCK_REFUSALS`: that is the choice
of this emulator, not a fact about the service. A :class:`Dialect` makes other choices.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, Literal
from xml.sax.saxutils import escape

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

PARAMETER_INVALID: Final = 13000102
INNER_INVOKE_FAILURE: Final = 13000201
CONTAINER_NOT_FOUND: Final = 13000301
FILE_NOT_IN_SPACE: Final = 13000302
RESOURCE_NOT_FOUND: Final = 13000309
UPLOAD_NOT_FOUND: Final = 13000401
UPLOAD_INCOMPLETE: Final = 13000402
DUPLICATE_NAME: Final = 13000405

API_NOT_FOUND: Final = "APIGW.0101"
BODY_TOO_LARGE: Final = "APIGW.0201"
NOT_SIGNED_IN: Final = "APIGW.0301"
THROTTLED: Final = "APIGW.0308"

LOCK_REFUSALS: Final[Mapping[str, str]] = {
    "missing": "the header x-backup-lock-id is mandatory for this call",
    "unknown": "the backup lock does not exist or was released",
    "foreign": "the backup lock belongs to another user",
    "expired": "the backup lock has expired",
    "held": "a backup lock of this module is held already",
}


RefusalKind = Literal[
    "held_lock",
    "lost_lock",
    "foreign_lock",
    "unknown_lock",
    "bad_credentials",
    "missing_record",
    "rate_limit",
]

_KINDS_OF_LOCKS: Final[Mapping[str, RefusalKind]] = {
    "missing": "lost_lock",
    "unknown": "unknown_lock",
    "foreign": "foreign_lock",
    "expired": "lost_lock",
    "held": "held_lock",
}


class RefusedError(Exception):
    """The interface says no: an HTTP status, a code, a message and perhaps further fields.

    :param status: HTTP status.
    :param code: a number of the ErrorCode page, or text of the API gateway.
    :param msg: what is wrong, in a sentence.
    :param fields: further fields of the answer, such as ``existFileId``.
    :param retry_after: value of the ``Retry-After`` header, in seconds.
    :param kind: what the refusal is about, where a dialect decides on its status and code.
    """

    def __init__(
        self,
        status: int,
        code: int | str,
        msg: str,
        *,
        fields: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        kind: RefusalKind | None = None,
    ) -> None:
        super().__init__(msg)
        self.status = status
        self.code = code
        self.msg = msg
        self.fields: dict[str, Any] = dict(fields or {})
        self.retry_after = retry_after
        self.kind = kind


class ObjectRefusedError(Exception):
    """The object store says no, in XML.

    :param status: HTTP status.
    :param code: the store's word for it, such as ``SignatureDoesNotMatch``.
    :param msg: what is wrong, in a sentence.
    :param headers: further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, msg: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(msg)
        self.status = status
        self.code = code
        self.msg = msg
        self.headers: dict[str, str] = dict(headers or {})


def invalid(what: str) -> RefusedError:
    """Return the refusal of a request that breaks a documented rule."""
    return RefusedError(400, PARAMETER_INVALID, f"Verify parameters failed. {what}")


def lock_refused(why: str) -> RefusedError:
    """Return the refusal for one of the reasons of :data:`LOCK_REFUSALS`."""
    kind = _KINDS_OF_LOCKS[why]
    msg = f"Verify parameters failed. {LOCK_REFUSALS[why]}"
    return RefusedError(400, PARAMETER_INVALID, msg, kind=kind)


def not_signed_in(why: str) -> RefusedError:
    """Return the refusal of a caller whose credentials do not hold."""
    msg = f"Authentication failed. {why}"
    return RefusedError(401, NOT_SIGNED_IN, msg, kind="bad_credentials")


def not_found(what: str, *, kind: RefusalKind | None = None) -> RefusedError:
    """Return the refusal for an id that names nothing."""
    return RefusedError(400, RESOURCE_NOT_FOUND, f"Resource not found. {what}", kind=kind)


def success(payload: Mapping[str, Any], msg: str, *, code: int | str = 0) -> web.Response:
    """Return the answer of a call that went well: the payload first, ``code`` and ``msg`` last."""
    return _json(200, {**payload, "code": code, "msg": msg})


def refused(refusal: RefusedError) -> web.Response:
    """Return the JSON answer of a refusal."""
    response = _json(refusal.status, {**refusal.fields, "code": refusal.code, "msg": refusal.msg})
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = seconds_text(refusal.retry_after)
    return response


def object_refused(refusal: ObjectRefusedError, resource: str) -> web.Response:
    """Return the XML answer of a refusal by the object store; ``resource`` is the object's path."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.msg)}</Message>"
        f"<Resource>{escape(resource)}</Resource></Error>"
    )
    return web.Response(
        status=refusal.status,
        body=text.encode("utf-8", "replace"),
        content_type="application/xml",
        headers=refusal.headers,
    )


def seconds_text(seconds: float) -> str:
    """Print seconds as ``Retry-After`` wants them: whole, and never less than asked for."""
    return str(-int(-seconds // 1))


def instant(moment: float) -> str:
    """Print epoch seconds as backup answers do: ``2025-12-17T07:59:20.752Z``."""
    time = datetime.fromtimestamp(moment, UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def http_date(moment: float) -> str:
    """Print epoch seconds as the ``Date`` header does."""
    return formatdate(moment, usegmt=True)


def _json(status: int, fields: Mapping[str, Any]) -> web.Response:
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return web.Response(
        status=status,
        body=body.encode("utf-8", "replace"),
        content_type="application/json",
        charset="utf-8",
    )
