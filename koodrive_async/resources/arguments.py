"""Rules for arguments, checked before anything is sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from koodrive_async.errors import InvalidArgument, InvalidFileName
from koodrive_async.models import Module

if TYPE_CHECKING:
    from collections.abc import Mapping

FORBIDDEN_IN_FILE_NAMES = frozenset('<>|:"*?/')
MAX_FILE_NAME = 250
_LETTERS = "a-zA-Z"
_IN_WORDS = {_LETTERS: "letters", "0-9": "digits", r"\s": "white space", r"\-": "-", "_": "_"}
BATCH = 100
"""Items that one batch call may have."""


def check_module(module: Module | str) -> Module:
    """Return the module.

    :raises InvalidArgument: There is no such module.
    """
    try:
        return Module(module)
    except ValueError:
        known = ", ".join(f"{item.value} ({item.name.lower()})" for item in Module)
        raise InvalidArgument(f"module must be one of {known}, not {module!r}") from None


def check_id(name: str, value: object, meant: str) -> str:
    """Return an id.

    :param meant: Where such an id is found, for whoever passes something else.
    :raises InvalidArgument: It is none.
    """
    if isinstance(value, str) and value:
        return value
    given = repr(value) if isinstance(value, str | int | None) else f"a {type(value).__name__}"
    raise InvalidArgument(f"{name} must be an id, such as {meant}, not {given}")


def check_pattern(name: str, value: object, pattern: str) -> str:
    """Return the value.

    :raises InvalidArgument: It does not match the documented pattern.
    """
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        raise InvalidArgument(
            f"{name} must match ^{pattern}${_in_words(pattern)}, which {value!r} does not"
        )
    return value


def _in_words(pattern: str) -> str:
    """Return in words which characters a pattern of names allows."""
    if _LETTERS not in pattern:
        return ""
    *some, last = (word for part, word in _IN_WORDS.items() if part in pattern)
    return f" ({', '.join(some)} and {last})"


def check_batch(name: str, count: int) -> None:
    """Refuse an empty batch and one that the service would refuse.

    :raises InvalidArgument: It has no items or more than 100.
    """
    if not 1 <= count <= BATCH:
        raise InvalidArgument(f"{name} must have 1 to {BATCH} items, not {count}")


def check_file_name(name: str) -> str:
    """Return the file name (rules of page ``createBackupFile``).

    :raises InvalidFileName: It is not allowed; the message names the character or rule.
    """
    given: object = name
    if not isinstance(given, str):
        raise InvalidFileName(f"a file name is a text, not {type(given).__name__}")
    if name in {"", ".", ".."}:
        raise InvalidFileName(f"a file name cannot be {name!r}")
    if found := next((character for character in name if character in FORBIDDEN_IN_FILE_NAMES), ""):
        raise InvalidFileName(f"a file name cannot contain {found!r}: {name!r}")
    if len(name) > MAX_FILE_NAME:
        raise InvalidFileName(
            f"a file name has at most {MAX_FILE_NAME} characters, this one {len(name)}: {name!r}"
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidFileName(
            f"a file name must be Unicode, which {name[error.start]!r} is not: {name!r}"
        ) from None
    return name


def json_text(properties: str | Mapping[str, Any] | None) -> str | None:
    """Return custom properties as the JSON text that the service keeps.

    :raises InvalidArgument: The text is not JSON, or the mapping cannot be written as JSON.
    """
    if properties is None:
        return None
    try:
        if isinstance(properties, str):
            json.loads(properties, parse_constant=_refuse_constant)
            return properties
        return json.dumps(properties, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArgument(f"properties must be JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
