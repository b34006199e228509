"""How answers are worded in a dialect: the status and code of a refusal, the form of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import (
    INNER_INVOKE_FAILURE,
    THROTTLED,
    RefusedError,
    refused,
    success,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from koodrive_async.emulator.dialect import Dialect

NUMERIC_IDS: Final = frozenset({"deviceId", "recordId", "scopeId", "scopeIdList"})
EXTENSION: Final[Mapping[str, Any]] = {"extension": {"tags": [1, "two", None]}, "traceSpan": "7f3a"}
# Fields that may be without a value: at the top level of an answer, and in its entries.
OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "files.create": (
        "rapidUpload",
        "uploadId",
        "exist",
        "multiParts",
        "matchedPreHash",
        "existFileId",
    ),
    "records.list": ("nextCursor",),
    "files.list": ("nextCursor",),
    "files.details": ("imageInfo",),
}
OPTIONAL_IN_ENTRIES: Final[Mapping[str, tuple[str, ...]]] = {
    "devices.bind": ("deviceOS", "deviceName"),
    "devices.list": ("deviceOS", "deviceName"),
    "records.create": ("properties", "endTime", "deviceInfo"),
    "records.get": ("properties", "endTime", "deviceInfo"),
    "records.list": ("properties", "endTime", "deviceInfo"),
    "files.list": ("description",),
}


def worded_success(
    payload: Mapping[str, Any], msg: str, route: str, dialect: Dialect
) -> web.Response:
    """Return the answer of a call that went well, its values in the forms of the dialect."""
    fields = dict(payload)
    if dialect.absent_fields == "null":
        fields = _with_nulls(fields, route)
    fields = _reworded(fields, dialect)
    code = "0" if dialect.numbers == "text" else 0
    return success(fields, msg, code=code)


def worded_refusal(refusal: RefusedError, dialect: Dialect) -> web.Response:
    """Return the answer of a refusal, with the status and code that the dialect has for it."""
    status, code, retry_after = refusal.status, refusal.code, refusal.retry_after
    if refusal.kind == "rate_limit":
        status, code, retry_after = _rate_limit(refusal, dialect)
    elif refusal.kind is not None:
        answer: str = getattr(dialect, refusal.kind)
        if answer == "200-null":  # of calls that have nothing to be null
            answer = "404-13000309"
        if answer != dialect.choices()[refusal.kind][0]:
            status, code = _parsed(answer)
    if dialect.refusal_status == "200" and not str(code).startswith("APIGW"):
        status = 200
    worded = RefusedError(
        status,
        str(code) if dialect.numbers == "text" else code,
        refusal.msg,
        fields=_reworded(refusal.fields, dialect),
        retry_after=retry_after,
    )
    return refused(worded)


def _rate_limit(refusal: RefusedError, dialect: Dialect) -> tuple[int, int | str, float | None]:
    if dialect.rate_limit == "429":
        return 429, THROTTLED, None
    if dialect.rate_limit == "503":
        return 503, INNER_INVOKE_FAILURE, None
    if dialect.rate_limit == "400-APIGW.0308":
        return 400, THROTTLED, None
    return refusal.status, refusal.code, refusal.retry_after


def _parsed(answer: str) -> tuple[int, int | str]:
    status, _, code = answer.partition("-")
    return int(status), int(code) if code.isdecimal() else code


def _with_nulls(fields: dict[str, Any], route: str) -> dict[str, Any]:
    entries = OPTIONAL_IN_ENTRIES.get(route, ())
    data = fields.get("data")
    if isinstance(data, dict):
        fields["data"] = dict.fromkeys(entries) | data
    elif isinstance(data, list):
        fields["data"] = [dict.fromkeys(entries) | entry for entry in data]
    return dict.fromkeys(OPTIONAL.get(route, ())) | fields


def _reworded(fields: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    if (dialect.numbers, dialect.ids, dialect.unknown_fields) == ("numbers", "text", "none"):
        return dict(fields)
    worded: dict[str, Any] = _value("", fields, dialect)
    return worded


def _value(name: str, value: Any, dialect: Dialect) -> Any:
    if isinstance(value, dict):
        fields = {key: _value(key, each, dialect) for key, each in value.items()}
        return {**fields, **EXTENSION} if dialect.unknown_fields == "some" else fields
    if isinstance(value, list):
        return [_value(name, each, dialect) for each in value]
    if dialect.ids == "numbers" and name in NUMERIC_IDS and isinstance(value, str):
        return int(value) if value.isdecimal() else value
    if dialect.numbers == "text" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value
