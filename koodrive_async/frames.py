"""Tables for pandas, of whatever this package returns: :func:`to_pandas`.

Needs the extra ``notebook``, and is imported only when there is a table to make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import chain
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    Protocol,
    TypeGuard,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

import attrs

from koodrive_async.extras import needed
from koodrive_async.sequences import check_many

with needed("to_pandas()", "pandas", "notebook"):
    import pandas as pd

__all__ = ["to_pandas"]

PREFIX: Final = "prefix"
"""Metadata of a field: what the columns of the model in it begin with."""

Values = Sequence[Any]

_TYPES: Final[dict[tuple[Any, ...], tuple[str, str]]] = {
    (bool,): ("bool", "boolean"),
    (int,): ("int64", "Int64"),
    (float,): ("float64", "float64"),
    (str,): ("string", "string"),
}
"""Types of columns where no value is missing, and where some are."""


@runtime_checkable
class SharesFrame(Protocol):
    """A model that stands in one table with others, which has the columns of them all."""

    @staticmethod
    def _frame_models_() -> tuple[type[Any], ...]: ...


def to_pandas(items: Iterable[object]) -> pd.DataFrame:
    """Return a row for each item: outcomes of uploads, records, files, a page of them.

    Columns are named as the fields are, those of a model inside with its name before them
    (``device_id``, ``seconds_hash``). Times are in UTC, and missing where that leads out of the
    calendar (years 1 to 9999). Enumerations and outcomes are categories, whole numbers ``int64``
    (``Int64`` where some are missing), other numbers ``float64`` and texts ``string``.

    Receipts and failures share one table, with the same columns whether or not a file has failed:
    ``error_type`` and ``error`` say why, and are missing where ``outcome`` is not ``"failed"``.

    :param items: What the rows are made of; it is gone over at once. What is no model of this
        package goes into the one column ``item``.
    :raises ModuleNotFoundError: pandas is missing (on import); the message says how to get it.
    :raises InvalidArgument: ``items`` is no iterable, or is a string, whose letters are not items.
    """
    return frame_of(check_many("items", items, "items", object), None)


def frame_of(items: Values, model: type[Any] | None) -> pd.DataFrame:
    """Return a row for each item, with the same columns and types also when there is none.

    :param model: What the items are; None when that is not known.
    """
    models = _models_of(items) if model is None else [model]
    if not models or not all(attrs.has(each) for each in models):
        return pd.DataFrame({"item": pd.Series(list(items), dtype="object")})
    columns: dict[str, _Column] = {}
    for column in chain.from_iterable(_columns(each) for each in models):
        known = columns.setdefault(column.name, column)
        known.kinds = tuple(dict.fromkeys((*known.kinds, *column.kinds)))
    return pd.DataFrame({name: column.series(items) for name, column in columns.items()})


def _models_of(items: Values) -> list[type[Any]]:
    kinds = dict.fromkeys(type(item) for item in items)
    shared = (kind._frame_models_() if issubclass(kind, SharesFrame) else (kind,) for kind in kinds)
    return list(dict.fromkeys(chain.from_iterable(shared)))


@attrs.define
class _Column:
    """One column, maybe of several models.

    :ivar path: The fields that lead to its values.
    :ivar kinds: What these may be.
    :ivar shown: Makes of a value what stands in the column.
    """

    name: str
    path: tuple[str, ...]
    kinds: tuple[Any, ...]
    shown: Callable[[Any], Any] | None = None

    def series(self, items: Values) -> pd.Series[Any]:
        return _series(self.kinds, [self._value(item) for item in items])

    def _value(self, item: Any) -> Any:
        for name in self.path:  # an item, or a model inside it, may have no such field
            item = getattr(item, name, None)
        return item if self.shown is None or item is None else self.shown(item)


def _columns(model: type[Any], prefix: str = "", path: tuple[str, ...] = ()) -> Iterator[_Column]:
    hints = get_type_hints(model)
    for field in attrs.fields(model):
        kinds = _kinds(hints[field.name])
        if field.repr is False or kinds == (object,):  # a secret, or anything at all
            continue
        here = (*path, field.name)
        nested = next((kind for kind in kinds if attrs.has(kind)), None)
        if nested is not None:
            # device_info.create_time is told from the record's own as device_create_time
            before = field.metadata.get(PREFIX, field.name.removesuffix("_info"))
            yield from _columns(nested, f"{before}_", here)
            continue
        name = field.name if field.name.startswith(prefix) else f"{prefix}{field.name}"
        if kinds == (Exception,):
            yield _Column(f"{name}_type", here, (str,), lambda error: type(error).__name__)
            yield _Column(name, here, (str,), str)
            continue
        yield _Column(name, here, kinds)


def _kinds(hint: Any) -> tuple[Any, ...]:
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return tuple(member for member in members if member is not NoneType)


def _series(kinds: tuple[Any, ...], values: Values) -> pd.Series[Any]:
    known = next((kind for kind in kinds if _is_enum(kind)), None)
    if known is not None:
        return _names([member.name for member in known], values)
    if all(get_origin(kind) is Literal for kind in kinds):
        return _names([word for kind in kinds for word in get_args(kind)], values)
    if kinds == (datetime,):
        return pd.Series([_in_utc(value) for value in values], dtype="datetime64[us, UTC]")
    if kinds == (int,) and any(not _is_machine_word(value) for value in values):
        kinds = (object,)
    whole, with_gaps = _TYPES.get(kinds, ("object", "object"))
    # a number that is missing must not make the others inexact
    dtype = with_gaps if any(value is None for value in values) else whole
    return pd.Series(values, dtype=dtype)


def _in_utc(value: datetime | None) -> datetime | None:
    """Return a moment in UTC; None where the calendar has no such day, as at its very ends."""
    try:
        return None if value is None else value.astimezone(UTC)
    except (OverflowError, ValueError, OSError):  # of the last two those without a zone
        return None


def _is_machine_word(value: int | None) -> bool:
    return value is None or -(2**63) <= value < 2**63


def _names(known: Sequence[str], values: Values) -> pd.Series[Any]:
    """Return categories: the names of the members, then what this version does not know."""
    names = [
        value.name if isinstance(value, Enum) else None if value is None else str(value)
        for value in values
    ]
    unknown = sorted({name for name in names if name is not None}.difference(known))
    return pd.Series(pd.Categorical(names, categories=[*known, *unknown]))


def _is_enum(kind: Any) -> TypeGuard[type[Enum]]:
    return isinstance(kind, type) and issubclass(kind, Enum)
