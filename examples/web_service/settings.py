"""What an operator may set, each by a variable of the environment."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1024**3


_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": GIB}


def _size(given: int | str) -> int:
    """Return a number of bytes, which may be written as ``4GiB``."""
    if isinstance(given, int):
        return given
    parts = re.fullmatch(r"(\d+) ?([KMG]iB|)", given.strip(), re.ASCII)
    if parts is None:
        raise ValueError("a size is a number of bytes, or one such as 500MiB or 4GiB")
    return int(parts[1]) * _UNITS[parts[2]]


def _above_zero(_: object, setting: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{setting.name} must be above 0")


@attrs.frozen(kw_only=True)
class Settings:
    """The settings; ``WEB_SERVICE_MAX_BYTES=1000000`` in the environment sets ``max_bytes``.

    :param max_bytes: The largest file, in bytes; as a text also with a unit, such as ``"4GiB"``.
    :param at_once: Uploads at the same time; further ones are refused until one has ended.
    :param tabs: Pages that watch at the same time.
    :param idle: Seconds without an upload after which a record is completed and the lock given
        back.
    :param longest: Seconds after which a record takes no further files although there are some.
    :param patience: Seconds of waiting for a browser in which 64 KiB must come.
    :param grace: Seconds that uploads have to finish when the service is told to end.
    :param device: What this service is called in KooDrive: letters, digits and underscores. Each
        of several services needs a name of its own.
    :param hosts: Names that the service answers to, separated by commas: a name that somebody else
        points at this machine is refused.
    """

    max_bytes: int = attrs.field(default=4 * GIB, converter=_size, validator=_above_zero)
    at_once: int = attrs.field(default=16, converter=int, validator=_above_zero)
    tabs: int = attrs.field(default=64, converter=int, validator=_above_zero)
    idle: float = attrs.field(default=5.0, converter=float, validator=_above_zero)
    longest: float = attrs.field(default=600.0, converter=float, validator=_above_zero)
    patience: float = attrs.field(default=30.0, converter=float, validator=_above_zero)
    grace: float = attrs.field(default=20.0, converter=float, validator=_above_zero)
    device: str = "example_web_service"
    hosts: str = "127.0.0.1,localhost,[::1]"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the variables.

        :param environ: The variables; the process's own by default.
        :raises ValueError: One of them is no number, or not above 0; the message names it.
        """
        variables = os.environ if environ is None else environ
        settings = cls()
        for field in attrs.fields(cls):
            variable = f"WEB_SERVICE_{field.name.upper()}"
            if (given := variables.get(variable)) is None:
                continue
            try:
                settings = attrs.evolve(settings, **{field.name: given})
            except ValueError as error:
                raise ValueError(f"{variable} cannot be {given!r}: {error}") from None
        return settings
