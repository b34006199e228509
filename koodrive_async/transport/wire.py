"""Between JSON and models: reading forgives, writing does not.

The vendor's pages contradict each other and their own examples. The numbers in comments are those
of ``tests/test_contradictions.py``, which has a test for each that is tolerated on the way in.
"""

from __future__ import annotations

import json
import logging
import reprlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from koodrive_async.errors import InvalidArgument
from koodrive_async.url_text import without_urls

logger: logging.Logger = logging.getLogger(__name__)

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

Json = dict[str, Any]
T = TypeVar("T")


Reader = Callable[[Json], T]
"""Takes what a call is about out of its answer; raises ValueError when it is not there."""


class Refused(Exception):  # noqa: N818 - never seen by callers, who get the ApiError made of it
    """Raised by a reader: this answer says success in ``code`` and is a refusal all the same.

    :ivar code: The ``code`` it should have had.
    :ivar msg: What was refused.
    """

    def __init__(self, code: str, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


def entity(model: type[T], key: str = "data") -> Reader[T]:
    """Read the one object under ``key``."""

    def read(answer: Json) -> T:
        if answer.get(key) is None:
            raise ValueError(f"the answer has no {key}")
        return structure(answer[key], model)

    return read


def entities(model: type[T], key: str = "data") -> Reader[tuple[T, ...]]:
    """Read the array under ``key``; an absent one is empty."""
    return lambda answer: tuple(structure(item, model) for item in _as_list(answer.get(key)))


def whole(model: type[T]) -> Reader[T]:
    """Read an answer whose fields stand at its top level."""
    return lambda answer: structure(answer, model)


def nothing(answer: Json) -> None:
    """Read an answer that says no more than that it worked."""


def structure(payload: object, model: type[T]) -> T:
    """Build ``model`` from decoded JSON.

    :raises ValueError: A required field is missing or of a kind that cannot be understood.
    """
    try:
        return _converter.structure(payload, model)
    except cattrs.BaseValidationError as error:
        raise ValueError("; ".join(cattrs.transform_error(error))) from error


def encode(body: object) -> bytes:
    """Serialise a body once: these bytes are signed and sent.

    :param body: A model or plain JSON; fields of a model that are None are left out.
    :raises InvalidArgument: A text in it is not Unicode, such as a file name that the system could
        not decode, or something in it has no form in JSON.
    """
    try:
        text = _ENCODER.encode(_plain(body))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"an argument cannot be written as JSON: {error}") from None
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{text[error.start]!r} in an argument is not Unicode") from None


def _as_list(payload: object) -> list[Any]:
    """Accept an array, a single object (5, 6) or nothing where an array is meant."""
    if payload is None:
        return []
    return list(payload) if isinstance(payload, list | tuple) else [payload]


def _plain(value: object) -> Any:
    kind = type(value)
    if kind is str or kind is int:
        return value
    if (fields := _fields_on_the_wire(kind)) is not None:  # type: ignore[arg-type]  # a class is hashable
        return {
            wire: _plain(item)
            for name, wire, omit_empty in fields
            if (item := getattr(value, name)) is not None and (item or not omit_empty)
        }
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


@cache
def _fields_on_the_wire(model: Any) -> tuple[tuple[str, str, bool], ...] | None:
    """Return name, documented name and whether to leave out the empty; None for no model."""
    if not attrs.has(model):
        return None
    return tuple(
        (field.name, wire_name(field), bool(field.metadata.get("omit_empty")))
        for field in attrs.fields(model)
    )


def wire_name(field: attrs.Attribute[Any]) -> str:
    """Return the documented name of a field: camelCase unless the model says otherwise."""
    if special := field.metadata.get("wire"):
        return str(special)
    first, *rest = field.name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# --- reading -----------------------------------------------------------------------------------


Hook = Callable[[Any, Any], Any]
"""Makes a value of a kind, its second argument, from what JSON decoding gave."""


def _structure_hook(model: type[Any]) -> Hook:
    names: Any = {field.name: override(rename=wire_name(field)) for field in attrs.fields(model)}
    build = make_dict_structure_fn(model, _converter, **names)

    def structure_model(payload: object, _: Any) -> Any:
        if not isinstance(payload, Mapping):
            raise TypeError(f"{model.__name__} must be an object, not {type(payload).__name__}")
        # null means the same as absent (19)
        return build({key: value for key, value in payload.items() if value is not None}, model)

    return structure_model


def _text(value: object, _: Any) -> str:
    """Ids and codes come as strings or as numbers (1, 3, 4)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"expected text, not {type(value).__name__}")


def _integer(value: object, _: Any) -> int:
    """Sizes come as numbers or quoted (2)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise TypeError(f"expected a whole number, not {_shown(value)}")


def _shown(value: object) -> str:
    return without_urls(reprlib.repr(without_urls(value) if isinstance(value, str) else value))


def _boolean(value: object, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if value in {0, 1}:
        return bool(value)
    raise TypeError(f"expected true or false, not {_shown(value)}")


def _time(value: object, _: Any) -> datetime | None:
    """ISO-8601 or epoch milliseconds, also quoted (24); a time is never worth failing for."""
    try:
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        logger.debug("a time could not be read: %s", _shown(value))
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=_ASSUMED)


_ASSUMED = timezone(timedelta(), "UTC")
"""UTC as well, but no answer said so: the zone of a time that names none is a guess."""


def names_zone(moment: datetime) -> bool:
    """Return whether the answer that a time was read from named its zone."""
    return moment.tzinfo is not _ASSUMED


def _array_hook(kind: Any) -> Hook:
    item = get_args(kind)[0]
    read = _converter.get_structure_hook(item)
    return lambda value, _: tuple(read(entry, item) for entry in _as_list(value))


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in {Union, UnionType}


def _union_hook(kind: Any) -> Hook:
    """``Known | str``: a value this version does not know stays what it is."""
    members = [member for member in get_args(kind) if member is not NoneType]
    readers = [(_converter.get_structure_hook(member), member) for member in members]
    read_last, last = readers.pop()

    def read(value: object, _: Any) -> Any:
        if value is None or value == {}:
            return None
        for read_one, member in readers:
            try:
                return read_one(value, member)
            except (ValueError, TypeError):
                continue
        return read_last(value, last)

    return read


# ``moduleCode`` and ``status`` come as text or as numbers: their enumerations take both.
_converter = cattrs.Converter(detailed_validation=True)
_converter.register_structure_hook(str, _text)
_converter.register_structure_hook(int, _integer)
_converter.register_structure_hook(bool, _boolean)
_converter.register_structure_hook(datetime, _time)
_converter.register_structure_hook(StrEnum, lambda value, kind: kind(_text(value, str)))
_converter.register_structure_hook(IntEnum, lambda value, kind: kind(_integer(value, int)))
_converter.register_structure_hook_factory(_is_tuple, _array_hook)
_converter.register_structure_hook_factory(_is_union, _union_hook)
_converter.register_structure_hook_factory(attrs.has, _structure_hook)
