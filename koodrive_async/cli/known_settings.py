"""The settings that a profile may have, what they take, and the variables that give them too."""

from __future__ import annotations

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from koodrive_async.cli.options import ConnectionsType, SizeType
from koodrive_async.errors import ConfigurationError
from koodrive_async.models import Module

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG: Final = "KOODRIVE_CONFIG"
"""The environment variable that names another configuration file."""

PROFILE: Final = "KOODRIVE_PROFILE"
"""The environment variable that names the profile."""

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


@attrs.frozen(kw_only=True)
class Setting:
    """One setting.

    :ivar name: Its key in a profile; a command's parameter of this name takes its value.
    :ivar takes: What it may be, in words.
    :ivar check: Returns the value as it is used; raises ``ValueError`` where it is not allowed.
    :ivar from_text: Returns what a text of the environment stands for.
    :ivar default: What holds where nobody says anything, in words; None where it has to be given.
    :ivar is_file: Whether it names a file, which may begin with ``~``.
    """

    name: str
    takes: str
    check: Callable[[object], object]
    from_text: Callable[[str], object] = str
    default: str | None = None
    is_file: bool = False

    @property
    def takes_many(self) -> bool:
        """Whether it is a list."""
        return self.check is _texts

    @property
    def is_flag(self) -> bool:
        """Whether it is true or false."""
        return self.check is _flag

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"KOODRIVE_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The option of the command."""
        return f"--{self.name.replace('_', '-')}"


class SettingsError(ConfigurationError):
    """A setting is missing or not allowed.

    :ivar hint: What to do.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Source(StrEnum):
    """Who says what a setting is, the strongest first."""

    ARGUMENT = "argument"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    DEFAULT = "default"


@attrs.frozen(kw_only=True)
class Value:
    """What a setting is and who says so.

    :ivar name: The setting, or ``credentials``.
    :ivar value: None where only the default is known, in words. Never a secret.
    :ivar where: The option, the variable, or the profile with its file; empty for a default.
    """

    name: str
    value: object
    source: Source
    where: str = ""

    @property
    def given(self) -> bool:
        """Whether anybody says it."""
        return self.source is not Source.DEFAULT

    @property
    def text(self) -> str:
        """The value in one line."""
        return ", ".join(self.value) if isinstance(self.value, tuple) else str(self.value)


def located(setting: Setting, value: object, folder: Path) -> object:
    """Return a value with the files that it names as paths from the root on.

    :param folder: What they are relative to.
    """
    if not setting.is_file or value == "off":
        return value
    if isinstance(value, tuple):
        return tuple(str(folder / Path(each).expanduser()) for each in value)
    return str(folder / Path(str(value)).expanduser())


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return value.strip()


def _file_or_off(value: object) -> str:
    text = _text(value)
    return "off" if text.lower() == "off" else text


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError(value)
    return tuple(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004 - like every other value that is not allowed
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)  # noqa: TRY004 - like every other value that is not allowed
    if not 0 <= value < math.inf:
        raise ValueError(value)
    return float(value)


def _module(value: object) -> str:
    name = _text(value).lower()
    if name.upper() not in Module.__members__:
        raise ValueError(value)
    return name


def _of_option(option: click.ParamType[Any]) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(value)  # noqa: TRY004 - like every other value that is not allowed
        try:
            return option.convert(value, None, None)
        except click.BadParameter:
            raise ValueError(value) from None

    return check


def _flag_of(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ValueError(text)
    return text.lower() in _YES


def _texts_of(text: str) -> list[str]:
    return [each for each in text.split(os.pathsep) if each]


_MODULES: Final = ", ".join(module.name.lower() for module in Module)
_PATTERNS: Final = "a list of patterns"

CONNECTION: Final = (
    Setting(name="endpoint", takes="a URL such as https://host", check=_text),
    Setting(name="user_id", takes="a KooDrive user id, as text", check=_text),
    Setting(name="app_id", takes="an AppId, as text", check=_text, default="none: a token"),
)
"""Where the service is, and who signs in."""

BACKUP: Final = (
    Setting(name="module", takes=f"one of {_MODULES}", check=_module, default="folder"),
    Setting(
        name="connections",
        takes='a number from 1, or "auto"',
        check=_of_option(ConnectionsType()),
        default="auto",
    ),
    Setting(
        name="memory",
        takes='a size such as "64M", or a number of bytes',
        check=_of_option(SizeType()),
        default="32M, less in a small container",
    ),
    Setting(
        name="bandwidth",
        takes='bytes per second such as "2M", or a number',
        check=_of_option(SizeType()),
        default="no limit",
    ),
    Setting(
        name="journal",
        takes='a file, or "off"',
        check=_file_or_off,
        default="a file in the place of the system for such state",
        is_file=True,
    ),
    Setting(name="device_name", takes="text", check=_text, default="the name of the host"),
    Setting(
        name="machine_code",
        takes="1 to 64 letters, digits and underscores, as text",
        check=_text,
        default="derived from the machine id",
    ),
    Setting(
        name="include", takes=_PATTERNS, check=_texts, from_text=_texts_of, default="everything"
    ),
    Setting(name="exclude", takes=_PATTERNS, check=_texts, from_text=_texts_of, default="nothing"),
    Setting(
        name="exclude_from",
        takes="a list of files",
        check=_texts,
        from_text=_texts_of,
        default="none",
        is_file=True,
    ),
    Setting(name="verify", takes="true or false", check=_flag, from_text=_flag_of, default="false"),
    Setting(name="wait", takes="seconds from 0", check=_seconds, from_text=float, default="0"),
)
"""Options of commands that somebody may want to set once."""

SETTINGS: Final = {setting.name: setting for setting in CONNECTION + BACKUP}
"""All of them by name."""
