"""From an HTTP answer to the payload or the one error that fits it."""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from koodrive_async.errors import (
    ApiError,
    AuthenticationError,
    DuplicateFileName,
    InsufficientSpace,
    IntegrityCheckFailed,
    InvalidRequest,
    MalformedResponse,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerFault,
    UploadTaskGone,
)
from koodrive_async.transport.clock import read_http_date
from koodrive_async.transport.excerpt import excerpt, hidden
from koodrive_async.transport.wire import Refused
from koodrive_async.url_text import without_urls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.transport.wire import Json, Reader

T = TypeVar("T")

SUCCESS = "0"
TOO_MANY_CALLS = "APIGW.0308"
"""Code of the gateway in front of the service for too many calls, whatever the status."""

_ERRORS_BY_CODE: Mapping[str, type[ApiError]] = {
    "13000101": InvalidRequest,
    "13000102": InvalidRequest,
    "13000201": ServerFault,
    "13000301": NotFound,
    "13000302": NotFound,
    "13000309": NotFound,
    "13000311": InsufficientSpace,
    "13000401": UploadTaskGone,
    "13000402": IntegrityCheckFailed,
    "13000405": DuplicateFileName,
    "13000407": NotFound,
    "13000410": PermissionDenied,
    "13000411": NotFound,
}
_ERRORS_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    429: RateLimited,
}
_MOST_VALUES = 1_000_000
"""Values that an answer may have; one with 10,000 parts and their midstates has 130,000."""

_LONGEST_MSG = 10_000
_LONGEST_CODE = 100
_LONGEST_WAIT = 366 * 24 * 3600.0
"""Seconds; whoever asks for more means for ever."""

_REDIRECTION = 3
_CLIENT_ERRORS = 400
_SERVER_FAULTS = 500


@attrs.frozen(kw_only=True)
class Answer:
    """An answer as it came, and the request it belongs to.

    :ivar secrets: What the request had to sign in with, which no message may show.
    :ivar may_be_shown: Whether an answer that is none of the interface may be shown in part.
    """

    status: int
    headers: Mapping[str, str]
    raw: bytes
    method: str
    path: str
    trace_id: str
    service_time: float
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    may_be_shown: bool = True

    def read(self, reader: Reader[T]) -> T:
        """Check the envelope and take out what the call is about.

        :raises ApiError: The service refused; the subclass says how.
        :raises MalformedResponse: This is not an answer of the interface.
        """
        payload = self._payload()
        try:
            return reader(payload)
        except Refused as refusal:
            raise self._refusal(refusal.code, refusal.msg, payload) from None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            problem = without_urls(str(error))
        # out here, or what the values were would be in the error's context
        raise self._malformed(f"the answer is not the documented one: {problem}")

    def _payload(self) -> Json:
        if self.status // 100 == _REDIRECTION:
            raise self._malformed("the service redirects, which is not followed")
        if sum(map(self.raw.count, (b",", b"[", b"{"))) > _MOST_VALUES:
            raise self._unreadable(
                "the answer has more values than any documented one", passing=False
            )
        decoded: Json | None = None
        unreadable = ""
        try:
            decoded = json.loads(self.raw)
        except (ValueError, RecursionError) as error:
            unreadable = _reason(error)
        if unreadable:  # out here, or all that the answer says would be in the error's context
            raise self._unreadable(f"the answer is not JSON ({unreadable}) but {self._excerpt()}")
        if not isinstance(decoded, dict):
            raise self._unreadable(f"the answer is a JSON {type(decoded).__name__}, not an object")
        code = _code(decoded)
        if self.status >= _CLIENT_ERRORS or (code is not None and code != SUCCESS):
            raise self._refusal(code or "", _msg(decoded), decoded)
        if code is None:
            raise self._unreadable("the answer has no code")
        return decoded

    def _excerpt(self) -> str:
        kind = self.headers.get("Content-Type")
        if not self.may_be_shown:
            return excerpt(b"", kind) if not self.raw else f"{len(self.raw):,} bytes"
        return excerpt(self.raw, kind, self.secrets)

    def _malformed(self, problem: str, *, unreadable: bool = False) -> MalformedResponse:
        return MalformedResponse(
            f"{problem} (HTTP {self.status})",
            method=self.method,
            path=self.path,
            status=self.status,
            trace_id=self.trace_id,
            unreadable=unreadable,
        )

    def _unreadable(self, problem: str, *, passing: bool = True) -> ApiError | MalformedResponse:
        # what a gateway says in HTML still has a status to act on
        if self.status >= _CLIENT_ERRORS:
            return self._refusal("", problem, {})
        return self._malformed(problem, unreadable=passing)

    def _refusal(self, code: str, msg: str, answer: Mapping[str, Any]) -> ApiError:
        return _error_class(self.status, code)(
            status=self.status,
            code=hidden(code, self.secrets),
            msg=hidden(msg, self.secrets),
            method=self.method,
            path=self.path,
            trace_id=self.trace_id,
            retry_after=retry_after(self.headers.get("Retry-After"), self.service_time),
            answer=answer,
        )


def _error_class(status: int, code: str) -> type[ApiError]:
    # all documented codes come with 400; any other status says more than a code beside it
    if status >= _SERVER_FAULTS:
        return ServerFault
    if code == TOO_MANY_CALLS:
        return RateLimited
    return _ERRORS_BY_STATUS.get(status) or _ERRORS_BY_CODE.get(code) or ApiError


def _code(answer: Mapping[str, Any]) -> str | None:
    """``code`` is a number in the examples and text in some tables (1).

    Refusals of the gateway before the service have the form of that gateway instead.
    """
    code = answer.get("code", answer.get("error_code"))
    if isinstance(code, bool) or not isinstance(code, str | int | float):
        return None
    return str(code).strip()[:_LONGEST_CODE]


def _msg(answer: Mapping[str, Any]) -> str:
    msg = answer.get("msg") or answer.get("error_msg") or "no message"
    return msg[:_LONGEST_MSG] if isinstance(msg, str) else without_urls(reprlib.repr(msg))


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        if not error.doc:
            return "it is empty"
        return f"{error.msg} at byte {error.pos}"
    if isinstance(error, UnicodeError):
        return "it is no text"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"


def retry_after(header: str | None, now: float) -> float | None:
    """Read ``Retry-After``, which is in seconds or a date.

    :param header: What it says, if it is there.
    :param now: The service's time in seconds since 1970.
    :returns: Seconds from now, or None when the header is absent or unreadable.
    """
    value = (header or "").strip()
    if not value:
        return None
    if value.isascii() and value.isdecimal():
        return min(float(value), _LONGEST_WAIT)
    moment = read_http_date(value)
    return None if moment is None else min(max(0.0, moment - now), _LONGEST_WAIT)
