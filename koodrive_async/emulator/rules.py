"""The field rules of the documentation, as tables: one per body and one per query.

A body with a field that its table does not name is refused as well: no page says what the service
does with one, and a misspelt name should not go unnoticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import attrs

from koodrive_async.emulator.answers import invalid

MODULES: Final = ("100", "101", "102")
MAX_IDS: Final = 100
MAX_CURSOR: Final = 1000
MAX_PAGE: Final = 100
MAX_SCOPE_PATH: Final = 10_000
MAX_FILE_NAME: Final = 250
MAX_DESCRIPTION: Final = 512
MAX_LENGTH: Final = 200 * 10**9
MAX_PARTS: Final = 10_000
MAX_PART_SIZE: Final = 5 * 2**30
HASH_CTX_WORDS: Final = 8
MAX_WORD: Final = 2**32 - 1
FORBIDDEN_IN_FILE_NAME: Final = frozenset('<>|:"*?/')

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, or ``None``."""


@attrs.frozen
class Field:
    """One row of a parameter table."""

    name: str
    check: Check
    mandatory: bool = False


Table = tuple[Field, ...]


def checked_body(table: Table | None, body: bytes) -> Mapping[str, Any]:
    """Return the body as a JSON object that keeps the rules of its table.

    :param table: the table; ``None`` for a call without a body, whose bytes are then not looked at.
    :raises RefusedError: with 13000102 and the name of the field.
    """
    if table is None:
        return {}
    if not body and not any(field.mandatory for field in table):
        return {}
    try:
        fields = json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON") from None
    if (wrong := object_of(table)(fields)) is not None:
        raise invalid(wrong)
    checked: Mapping[str, Any] = fields
    return checked


def checked_query(table: Table, pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Return the query parameters when they keep the rules of their table.

    :raises RefusedError: with 13000102 and the name of the parameter.
    """
    query = dict(pairs)
    if len(query) != len(pairs):
        raise invalid("a query parameter is given twice")
    if (wrong := object_of(table)(query)) is not None:
        raise invalid(wrong)
    return query


def object_of(table: Table) -> Check:
    """Rule: an object with the fields of a table, the mandatory ones present."""
    known = {field.name: field for field in table}

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "must be an object"
        for field in table:
            if field.mandatory and field.name not in value:
                return f"{field.name}: is mandatory"
        for name, given in value.items():
            if name not in known:
                return f"{name}: is not a field of this call"
            if (wrong := known[name].check(given)) is not None:
                return f"{name}: {wrong}"
        return None

    return check


def array_of(check: Check, most: int) -> Check:
    """Rule: an array of at most ``most`` values that each keep a rule."""

    def check_all(value: Any) -> str | None:
        if not isinstance(value, list):
            return "must be an array"
        if len(value) > most:
            return f"must hold at most {most} entries"
        for position, entry in enumerate(value):
            if (wrong := check(entry)) is not None:
                return f"entry {position}: {wrong}"
        return None

    return check_all


def text(pattern: str | None = None, *, longest: int | None = None) -> Check:
    """Rule: a string that matches a pattern as a whole, of at most ``longest`` characters."""
    compiled = None if pattern is None else re.compile(pattern, re.ASCII)

    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            return "must be Unicode text"
        if longest is not None and len(value) > longest:
            return f"must be at most {longest} characters long"
        if compiled is not None and compiled.fullmatch(value) is None:
            return f"must match {pattern}"
        return None

    return check


def one_of(*allowed: object) -> Check:
    """Rule: one of the listed values, of the same type."""

    def check(value: Any) -> str | None:
        if any(type(value) is type(each) and value == each for each in allowed):
            return None
        return f"must be one of {', '.join(map(repr, allowed))}"

    return check


def whole(low: int, high: int) -> Check:
    """Rule: an integer within bounds; neither a boolean nor 1.0 is one."""

    def check(value: Any) -> str | None:
        if type(value) is not int:
            return "must be an integer"
        if not low <= value <= high:
            return f"must be from {low} to {high}"
        return None

    return check


def page_size(value: Any) -> str | None:
    """Rule: a page holds 1 to 100 entries."""
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= MAX_PAGE:
        return f"must be from 1 to {MAX_PAGE}"
    return None


def boolean(value: Any) -> str | None:
    """Rule: true or false."""
    return None if isinstance(value, bool) else "must be a boolean"


def json_text(value: Any) -> str | None:
    """Rule: a string that holds JSON."""
    if not isinstance(value, str):
        return "must be a string that holds JSON"
    try:
        json.loads(value, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return "must hold JSON"
    return None


def upload_type(value: Any) -> str | None:
    """Rule: 1, multipart; 0 and 2 are documented as not supported yet."""
    if value in {0, 2} and type(value) is int:
        return f"{value} is not supported yet"
    return one_of(1)(value)


def file_name(value: Any) -> str | None:
    """Rule: what a file may be called."""
    if (wrong := text(longest=MAX_FILE_NAME)(value)) is not None:
        return wrong
    if value in {"", ".", ".."}:
        return "must be neither empty, nor . or .."
    if FORBIDDEN_IN_FILE_NAME.intersection(value):
        return f"must hold none of {' '.join(sorted(FORBIDDEN_IN_FILE_NAME))}"
    return None


def scope_path(value: Any) -> str | None:
    """Rule: empty, or rooted at a slash, without a backslash, at most 10,000 characters."""
    return text(r"(?:|/[^\\]*)", longest=MAX_SCOPE_PATH)(value)


def scope(value: Any) -> str | None:
    """Rule: a scope is a local path, a target folder path, or both."""
    if (wrong := object_of(SCOPE)(value)) is not None:
        return wrong
    if not value.get("localPath") and not value.get("targetFolderPath"):
        return "localPath and targetFolderPath must not both be empty"
    return None


def hash_ctx(value: Any) -> str | None:
    """Rule: eight unsigned 32-bit integers, or none for the first part."""
    if (wrong := array_of(whole(0, MAX_WORD), HASH_CTX_WORDS)(value)) is not None:
        return wrong
    if len(value) not in {0, HASH_CTX_WORDS}:
        return f"must hold {HASH_CTX_WORDS} integers"
    return None


def _either(*checks: Check) -> Check:
    def check(value: Any) -> str | None:
        wrong = [check(value) for check in checks]
        return None if None in wrong else wrong[0]

    return check


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


STRING: Final = text()
SOME_TEXT: Final = text(r"(?s:.+)")
MODULE: Final = one_of(*MODULES)
CONFIG_WORD: Final = text(r"[a-zA-Z0-9_]{1,32}")
SHA256: Final = text(r"[0-9a-f]{64}")
# The tables say string; the documented examples print bare integers.
STRING_OR_INTEGER: Final = _either(STRING, whole(0, 2**63 - 1))

SCOPE: Final[Table] = (
    Field("localPath", scope_path),
    Field("targetFolderPath", scope_path),
)
PART: Final[Table] = (
    Field("partNumber", whole(1, MAX_PARTS), mandatory=True),
    Field("partSize", whole(0, MAX_PART_SIZE), mandatory=True),
    Field("partOffset", whole(0, MAX_LENGTH)),
    Field("hashCtx", hash_ctx),
    Field("uploadUrl", STRING),
    Field("partId", STRING),
)
NEW_FILE: Final[Table] = (
    Field("fileName", file_name, mandatory=True),
    Field("sha256", SHA256, mandatory=True),
    Field("length", whole(0, MAX_LENGTH), mandatory=True),
    Field("description", STRING),
    Field("mimeType", STRING),
    Field("fileType", STRING_OR_INTEGER),
    Field("parentFolder", array_of(STRING, MAX_IDS)),
    Field("uploadMode", one_of("multipart")),
    Field("uploadType", upload_type),
    Field("autoRename", one_of(2, 3, 4)),
    Field("multiParts", array_of(object_of(PART), MAX_PARTS)),
    Field("containerId", STRING),
    Field("proofCode", SHA256),
    Field("hidden", boolean),
    Field("scene", STRING),
)
CREATED_TIME: Final = text(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ| \d\d:\d\d:\d\d)")
NEW_ORDINARY_FILE: Final[Table] = (
    *(field for field in NEW_FILE if field.name != "description"),
    Field("description", text(longest=MAX_DESCRIPTION)),
    Field("createdTime", CREATED_TIME),
)

BODIES: Final[Mapping[str, Table]] = {
    "devices.bind": (
        Field("machineCode", text(r"[a-zA-Z0-9_]{1,64}"), mandatory=True),
        Field("deviceName", text(r"[a-zA-Z0-9\-_\s]{1,32}")),
        Field("deviceOS", text(r"[a-zA-Z0-9_\s]{1,32}")),
    ),
    "configs.update": (
        Field("moduleCode", MODULE, mandatory=True),
        Field("configName", CONFIG_WORD, mandatory=True),
        Field("currentConfigValue", CONFIG_WORD, mandatory=True),
        Field("newConfigValue", CONFIG_WORD, mandatory=True),
    ),
    "scopes.add": (
        Field("moduleCode", MODULE, mandatory=True),
        Field("scopeList", array_of(scope, MAX_IDS), mandatory=True),
    ),
    "scopes.delete": (Field("scopeIdList", array_of(STRING, MAX_IDS), mandatory=True),),
    "locks.create": (Field("moduleCode", MODULE, mandatory=True),),
    "records.create": (
        Field("moduleCode", MODULE, mandatory=True),
        Field("deviceId", STRING_OR_INTEGER, mandatory=True),
        Field("properties", json_text),
    ),
    "records.complete": (Field("properties", json_text),),
    "files.create": NEW_FILE,
    "files.create_ordinary": NEW_ORDINARY_FILE,
    "files.part_urls": (
        Field("fileId", SOME_TEXT, mandatory=True),
        Field("multiParts", array_of(object_of(PART), MAX_PARTS), mandatory=True),
    ),
    "files.complete": (
        Field("fileId", SOME_TEXT, mandatory=True),
        Field("sha256", SHA256),
    ),
    "files.download_urls": (
        Field("containerId", SOME_TEXT, mandatory=True),
        Field("fileIds", array_of(STRING, MAX_IDS), mandatory=True),
    ),
    "files.details": (
        Field("containerId", SOME_TEXT, mandatory=True),
        Field("imageProcess", STRING),
    ),
    "tokens.login": (
        Field("account", SOME_TEXT, mandatory=True),
        Field("authType", one_of("1", "2"), mandatory=True),
        Field("password", STRING),
        Field("captchaToken", STRING),
    ),
    "tokens.refresh": (Field("refreshToken", SOME_TEXT, mandatory=True),),
}

SPACE_TYPE: Final = one_of("0", "1", "2")
PAGE: Final[Table] = (
    Field("pageSize", page_size, mandatory=True),
    Field("cursor", text(longest=MAX_CURSOR)),
)
QUERIES: Final[Mapping[str, Table]] = {
    "configs.list": (Field("moduleCode", MODULE, mandatory=True),),
    "configs.get": (
        Field("moduleCode", MODULE, mandatory=True),
        Field("configName", CONFIG_WORD, mandatory=True),
    ),
    "scopes.list": (Field("moduleCode", MODULE, mandatory=True),),
    "records.list": (
        Field("moduleCode", MODULE, mandatory=True),
        *PAGE,
        Field("deviceId", STRING),
    ),
    "files.list": PAGE,
    "spaces.get": (
        Field("type", SPACE_TYPE, mandatory=True),
        Field("containerId", SOME_TEXT),
    ),
    "spaces.list": (Field("type", SPACE_TYPE),),
}
