"""Options that several commands have."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from koodrive_async.cli.wording import printable
from koodrive_async.models import Module

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS: Final = {
    "": 1,
    "k": 2**10,
    "kib": 2**10,
    "kb": 10**3,
    "m": 2**20,
    "mib": 2**20,
    "mb": 10**6,
    "g": 2**30,
    "gib": 2**30,
    "gb": 10**9,
}


_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}

_MOST_DIGITS: Final = 9


class ExistingPath(click.Path):
    """A path of something that is there; what cannot be looked at is not said to be missing."""

    def __init__(self, *, dir_okay: bool = True, readable: bool = True) -> None:
        super().__init__(exists=True, dir_okay=dir_okay, readable=readable, path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path."""
        try:
            os.stat(value)  # noqa: PTH116 - as it was typed
        except (FileNotFoundError, ValueError):
            pass  # click says that it does not exist
        except OSError as error:
            self.fail(f"{printable(os.fsdecode(value))}: {error.strerror}", param, ctx)
        return super().convert(value, param, ctx)


class SizeType(click.ParamType[int]):
    """A number of bytes such as ``64M`` or ``64MiB`` (binary), ``64MB`` (decimal), ``67108864``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is not a size such as 64M, 1.5G or 67108864", param, ctx)
        try:
            return int(float(found[1]) * _UNITS[found[2]])
        except OverflowError:
            self.fail("no machine has so many bytes", param, ctx)


class ConnectionsType(click.ParamType[int | Literal["auto"]]):
    """A number from 1, or ``auto``."""

    name = "number or auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        """Return it."""
        if str(value).strip().lower() == "auto":
            return "auto"
        if not str(value).isdecimal() or len(str(value)) > _MOST_DIGITS or int(value) < 1:
            self.fail(f"{value!r} is neither a number from 1 nor auto", param, ctx)
        return int(value)


class SecondsType(click.ParamType[float]):
    """A length of time such as ``30``, ``5m`` or ``1h``, in seconds."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is not a time such as 30 (seconds), 5m or 1h", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


def module_option(purpose: str) -> Callable[[Any], Any]:
    """Return the option ``--module``.

    :param purpose: What the module is for in this command.
    """
    return click.option(
        "--module",
        type=click.Choice([module.name.lower() for module in Module]),
        default=Module.FOLDER.name.lower(),
        show_default=True,
        callback=lambda _ctx, _param, name: Module[name.upper()],
        help=purpose,
    )
