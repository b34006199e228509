"""The settings that a profile may have, what they take, and the variables that give them too."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from koodrive_async.capacity import MIN_MEMORY
from koodrive_async.cli.machine import CODE
from koodrive_async.cli.options import ConnectionsType, SecondsType, SizeType
from koodrive_async.config import is_off
from koodrive_async.errors import ConfigurationError
from koodrive_async.models import Module

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG: Final = "KOODRIVE_CONFIG"
"""The environment variable that names another configuration file."""

PROFILE: Final = "KOODRIVE_PROFILE"
"""The environment variable that names the profile."""

NO_PROXY_AT_ALL: Final = "none"
"""What the setting ``proxy`` is when nothing leads through one."""

PROXY_OF_ENVIRONMENT: Final = "env"
"""What it is when the environment says which: ``HTTPS_PROXY`` and the like."""

_OFF: Final = "off"
_AUTO: Final = "auto"
_NO_URL: Final = frozenset({NO_PROXY_AT_ALL, PROXY_OF_ENVIRONMENT})
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
    :ivar may_hold_secret: Whether any wrong value may have a password in it.
    """

    name: str
    takes: str
    check: Callable[[object], object]
    from_text: Callable[[str], object] = str
    default: str | None = None
    is_file: bool = False
    may_hold_secret: bool = False

    @property
    def takes_many(self) -> bool:
        """Whether it is a list."""
        return self.check in {_texts, _hosts}

    @property
    def is_flag(self) -> bool:
        """Whether it is true or false."""
        return self.check is _flag

    def can_be_shown(self, wrong: object) -> bool:
        """Say whether there is no password in a value that is not allowed."""
        return not self.may_hold_secret and "@" not in str(wrong)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"KOODRIVE_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The option of the command."""
        return f"--{self.name.replace('_', '-')}"


@attrs.frozen
class ProxyUrl:
    """The URL of a proxy, which shows neither user nor password.

    :ivar url: The whole of it.
    """

    url: str = attrs.field(repr=False)

    @property
    def has_secret(self) -> bool:
        """Whether there is a user or password in it."""
        return "@" in self.url

    def __str__(self) -> str:
        return re.sub("(?s)(?<=//).*@|^(?!.*//).*@", "***@", self.url)


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
    :ivar value: None where only the default is known, in words. Never shows a secret.
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
    def many(self) -> tuple[str, ...]:
        """The texts of a list."""
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def plain(self) -> object:
        """The value without secrets, as JSON can have it."""
        return str(self.value) if isinstance(self.value, ProxyUrl) else self.value

    @property
    def text(self) -> str:
        """The value in one line; empty where there is none."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        if isinstance(self.value, float):
            return f"{self.value:g}"
        if self.value is None:
            return ""
        return ", ".join(self.value) if isinstance(self.value, tuple) else str(self.value)


def check_argument(setting: Setting, value: object) -> object:
    """Return a value of the command line as it is used.

    :raises ValueError: It is not allowed; with what is.
    """
    try:
        checked = setting.check(setting.from_text(value) if isinstance(value, str) else value)
        checked = located(setting, checked)
    except ValueError as error:
        raise ValueError(f"it must be {takes(setting, error)}") from None
    if isinstance(checked, ProxyUrl) and checked.has_secret:
        raise ValueError(
            "a password is never an argument, which others on the machine can see: "
            f"{setting.variable} may have it"
        )
    return checked


def takes(setting: Setting, error: ValueError) -> str:
    """Return what a setting takes, in words, for the message about a wrong value.

    :param error: The error that the wrong value raised.
    """
    return error.args[0] if isinstance(error, _OutOfRangeError) else setting.takes


class _OutOfRangeError(ValueError):
    """The value has the right form; the text is what it must be."""


def located(setting: Setting, value: object, folder: Path | None = None) -> object:
    """Return a value with the files that it names as paths from the root on.

    :param folder: The folder that relative paths start from; the working folder by default.
    :raises ValueError: There is no such home folder.
    :raises FileNotFoundError: A path is relative to the working folder, which has been removed.
    """
    if not setting.is_file or value in {_OFF, _AUTO}:
        return value
    if isinstance(value, tuple):
        return tuple(_from_root(each, folder) for each in value)
    return _from_root(str(value), folder)


def _from_root(text: str, folder: Path | None) -> str:
    try:
        path = Path(text).expanduser()
        # the working folder is asked for only where it counts: it may be gone
        return str(path if path.is_absolute() else (folder or Path.cwd()) / path)
    except RuntimeError:
        raise ValueError(text) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(value)
    return value.strip()


def _endpoint(value: object) -> str:
    text = _text(value)
    if "@" in text:
        raise ValueError(text)  # there is no place for a password, and it would be shown
    import yarl  # noqa: PLC0415 - not for completion

    url = yarl.URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment:
        raise ValueError(text)
    return text


def _machine_code(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(CODE, text):
        raise ValueError(text)
    return text


def _at_least(least: int, words: str) -> Callable[[object], int]:
    size = _of_option(SizeType())

    def check(value: object) -> int:
        found: int = size(value)
        if found < least:
            raise _OutOfRangeError(words)
        return found

    return check


def _file_or_off(value: object) -> str:
    text = _text(value)
    if is_off(text):
        return _OFF
    return _AUTO if text.lower() == _AUTO else text


def _proxy(value: object) -> object:
    text = _text(value)
    if text.lower() in _NO_URL:
        return text.lower()
    from koodrive_async.transport.proxy import Proxy  # noqa: PLC0415 - only where there is one

    try:
        Proxy.of(text)
    except ConfigurationError:
        raise ValueError from None
    return ProxyUrl(text)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(value)  # noqa: TRY004 - like every other value that is not allowed
    if not all(isinstance(each, str) and "\0" not in each for each in value):
        raise ValueError(value)
    return tuple(value)


def _hosts(value: object) -> tuple[str, ...]:
    hosts = tuple(host.strip() for host in _texts(value))
    from koodrive_async.transport.plain_http import plain_hosts  # noqa: PLC0415 - only where named

    try:
        plain_hosts("", hosts)
    except ConfigurationError:
        raise ValueError(value) from None
    return hosts


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004 - like every other value that is not allowed
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)  # noqa: TRY004 - like every other value that is not allowed
    try:
        return SecondsType().convert(value, None, None)
    except click.BadParameter:
        raise ValueError(value) from None


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


def _hosts_of(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


_HOSTS: Final = 'a list of hosts, each as "host" or "host:port"'
_MODULES: Final = ", ".join(module.name.lower() for module in Module)
_PATTERNS: Final = "a list of patterns"

CONNECTION: Final = (
    Setting(name="endpoint", takes="a URL such as https://host", check=_endpoint),
    Setting(name="user_id", takes="a KooDrive user id, as text", check=_text),
    Setting(name="app_id", takes="an AppId, as text", check=_text, default="none: a token"),
)
"""Where the service is, and who signs in."""

NETWORK: Final = (
    Setting(
        name="proxy",
        takes='the URL of an HTTP proxy such as http://host:3128 (none of https or SOCKS), "none", '
        'or "env"',
        check=_proxy,
        default="what HTTPS_PROXY and NO_PROXY of the environment say",
        may_hold_secret=True,
    ),
    Setting(
        name="ca_file",
        takes="a PEM file",
        check=_text,
        default="the certificates that the system trusts",
        is_file=True,
    ),
    Setting(name="client_cert", takes="a PEM file", check=_text, default="none", is_file=True),
    Setting(
        name="client_key",
        takes="a PEM file",
        check=_text,
        default="in the client_cert",
        is_file=True,
    ),
    Setting(
        name="truststore", takes="true or false", check=_flag, from_text=_flag_of, default="false"
    ),
    Setting(
        name="allow_plain_http",
        takes=_HOSTS,
        check=_hosts,
        from_text=_hosts_of,
        default="this machine",
    ),
    Setting(
        name="allow_plain_part_urls",
        takes=_HOSTS,
        check=_hosts,
        from_text=_hosts_of,
        default="this machine",
    ),
)
"""The way to the service: proxy, trusted certificates, client certificate, hosts without TLS."""

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
        check=_at_least(MIN_MEMORY, "at least 4 MiB"),
        default="32M, less in a small container",
    ),
    Setting(
        name="bandwidth",
        takes='bytes per second such as "2M", or a number',
        check=_at_least(1, "at least one byte per second"),
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
        check=_machine_code,
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
    Setting(name="wait", takes="seconds from 0, or a time such as 5m", check=_seconds, default="0"),
    Setting(
        name="outage", takes="seconds from 0, or a time such as 2h", check=_seconds, default="15m"
    ),
)
"""Options of commands that somebody may want to set once."""

SETTINGS: Final = {setting.name: setting for setting in CONNECTION + NETWORK + BACKUP}
"""All of them by name."""
