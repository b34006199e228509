"""Models as rows of a DataFrame. Needs pandas: imported only when there is one to make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeGuard, Union, get_args, get_origin, get_type_hints

import attrs
import pandas as pd

Values = Sequence[Any]


def frame_of(items: Values, model: type[Any] | None) -> pd.DataFrame:
    """Return a row for each item, with the same columns and types also when there is none.

    :param model: What the items are; None when that is not known.
    """
    if model is None and items:
        model = type(items[0])
    if model is None or not attrs.has(model):
        return pd.DataFrame({"item": pd.Series(list(items), dtype="object")})
    return pd.DataFrame(dict(_columns(model, items)))


def _columns(model: type[Any], items: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(model)
    for field in attrs.fields(model):
        if field.repr is False:  # a secret
            continue
        kinds = _kinds(hints[field.name])
        values = [None if item is None else getattr(item, field.name) for item in items]
        nested = next((kind for kind in kinds if attrs.has(kind)), None)
        if nested is not None:
            # device_info.create_time is told from the record's own as device_create_time
            yield from _columns(nested, values, f"{field.name.removesuffix('_info')}_")
            continue
        name = field.name if field.name.startswith(prefix) else f"{prefix}{field.name}"
        yield name, _column(kinds, values)


def _kinds(hint: Any) -> tuple[Any, ...]:
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return tuple(member for member in members if member is not NoneType)


def _column(kinds: tuple[Any, ...], values: Values) -> pd.Series[Any]:
    known = next((kind for kind in kinds if _is_enum(kind)), None)
    if known is not None:
        return _names(known, values)
    if kinds == (datetime,):
        moments = [None if value is None else value.astimezone(UTC) for value in values]
        return pd.Series(moments, dtype="datetime64[us, UTC]")
    whole = not any(value is None for value in values)
    if kinds == (bool,):
        return pd.Series(values, dtype="bool" if whole else "boolean")
    if kinds == (int,) and all(value is None or -(2**63) <= value < 2**63 for value in values):
        # a number that is missing must not make the others inexact
        return pd.Series(values, dtype="int64" if whole else "Int64")
    if kinds == (str,):
        return pd.Series(values, dtype="string")
    return pd.Series(values, dtype="object")


def _names(known: type[Enum], values: Values) -> pd.Series[Any]:
    """Return categories: the names of the members, then what this version does not know."""
    names = [
        value.name if isinstance(value, Enum) else None if value is None else str(value)
        for value in values
    ]
    members = [member.name for member in known]
    unknown = sorted({name for name in names if name is not None}.difference(members))
    return pd.Series(pd.Categorical(names, categories=[*members, *unknown]))


def _is_enum(kind: Any) -> TypeGuard[type[Enum]]:
    return isinstance(kind, type) and issubclass(kind, Enum)
