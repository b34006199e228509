"""Arguments that are many things, not one: a string is not taken for a list of its letters."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

from koodrive_async.errors import InvalidArgument

_ONE = (str, bytes, bytearray, memoryview, os.PathLike)
_SHOWN: Final = 60
"""Characters of an argument that a message repeats."""


def check_many(name: str, value: Iterable[Any], of: str, kind: type[Any] = str) -> tuple[Any, ...]:
    """Return the items of an argument.

    :param name: The parameter.
    :param of: What its items are, for the message, such as ``"patterns"``.
    :param kind: The type of each.
    :raises InvalidArgument: The argument is one item (a string, bytes, a path) instead of several,
        no iterable at all, or one of its items is of another type.
    """
    if type(value) in {tuple, list} and {kind}.issuperset(map(type, value)):
        return tuple(value)  # soon, for 10,000 parts and for 10,000 small files
    # what is known to be no iterable may come all the same, from code without types
    given: object = value
    if isinstance(given, _ONE) or (isinstance(given, kind) and kind is not object):
        shown = repr(given)
        use = f"use [{shown}]" if len(shown) <= _SHOWN else "put it into a list"
        raise InvalidArgument(f"{name}: a list of {of}, not one {_noun(given)}: {use}")
    if not isinstance(given, Iterable):
        raise InvalidArgument(f"{name}: a list of {of}, not {type(given).__name__}")
    items = tuple(given)
    if kind is object:
        return items
    for place, item in enumerate(items):
        if not isinstance(item, kind):
            raise InvalidArgument(
                f"{name}: a list of {of}, in which item {place} is not a {kind.__name__} but a "
                f"{type(item).__name__}"
            )
    return items


def _noun(value: object) -> str:
    return "string" if isinstance(value, str) else type(value).__name__
