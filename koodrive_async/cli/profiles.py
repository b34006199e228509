"""The configuration file: named profiles, each with the settings of one account or purpose."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from koodrive_async.cli.known_settings import (
    CONFIG,
    SETTINGS,
    ProxyUrl,
    SettingsError,
    located,
    takes,
)
from koodrive_async.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

PLACES: Final = ("keyring", "file")

_NOWHERE: Final = Path("no configuration file")
_PLACE: Final = "credentials"
_SECRETS: Final = frozenset({"token", "app_secret", "password", "secret", "refresh_token"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@attrs.frozen(kw_only=True)
class Profile:
    """One profile.

    :ivar file: The configuration file that it is in.
    :ivar values: Its settings by name, checked.
    :ivar place: Where its secrets are: one of :data:`PLACES`; None when none are kept.
    """

    name: str
    file: Path
    values: Mapping[str, object]
    place: str | None = None


@attrs.frozen(kw_only=True)
class Profiles:
    """What is in a configuration file.

    :ivar default: The profile that is used when none is named.
    """

    file: Path
    default: str | None
    names: tuple[str, ...]
    _tables: Mapping[str, Mapping[str, object]] = attrs.field(repr=False, alias="tables")

    def choose(self, name: str, named_by: str, *, only: Container[str] | None = None) -> Profile:
        """Return a profile, with every value checked.

        :param named_by: What named it, for the error.
        :param only: Settings to look at; all by default.
        :raises ConfigurationError: There is no such profile, or something in it is not allowed.
        """
        if name not in self._tables:
            known = f"it has {', '.join(self.names)}" if self.names else "it has no profiles"
            raise SettingsError(
                f"{self.file}: no profile {name!r}, named by {named_by}: {known}",
                hint="koodrive login --profile NAME makes one",
            )
        values = {
            key: _checked(self.file, name, key, value)
            for key, value in self._tables[name].items()
            if key != _PLACE and (only is None or key in only)
        }
        return Profile(name=name, file=self.file, values=values, place=self.place_of(name))

    def place_of(self, name: str) -> str | None:
        """Return where the secrets of a profile are; None when none are kept.

        :raises ConfigurationError: It is no such place.
        """
        place = self._tables.get(name, {}).get(_PLACE)
        if place is not None and place not in PLACES:
            raise _not_allowed(self.file, name, _PLACE, f"one of {', '.join(PLACES)}", place)
        return place and str(place)

    def texts_of(self, name: str) -> dict[str, str]:
        """Return what in a profile is text, unchecked; nothing when there is no such profile."""
        table = self._tables.get(name, {})
        return {key: value for key, value in table.items() if isinstance(value, str)}


def config_path() -> Path:
    """Return the configuration file of this user, which need not exist.

    :raises ConfigurationError: The user has no home folder, and the environment names no file.
    """
    file = find_config()
    if file is None:
        raise SettingsError(
            "this user has no home folder, and so no configuration file", hint=f"{CONFIG} names one"
        )
    return file


def find_config() -> Path | None:
    """Return the configuration file of this user; None where the user has no home folder.

    :raises ConfigurationError: The environment names one that can be nowhere.
    """
    if named := os.environ.get(CONFIG, "").strip():
        try:
            return Path(named).expanduser().absolute()
        except (RuntimeError, OSError):
            raise SettingsError(
                f"{CONFIG}={named}: the folder that this is relative to is not there",
                hint="a path from the root on always holds",
            ) from None
    from platformdirs import user_config_path  # noqa: PLC0415 - takes 20 ms

    try:
        folder = user_config_path("koodrive", appauthor=False)
    except (RuntimeError, KeyError):
        return None
    # "~" stays as it is where there is no home folder
    return folder / "config.toml" if folder.is_absolute() else None


def read_profiles(file: Path | None) -> Profiles:
    """Read a configuration file; one that is not there has nothing in it.

    :raises ConfigurationError: It cannot be read, or something in it is not allowed.
    """
    try:
        content = {} if file is None else tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        content = {}
    except OSError as error:
        raise _wrong(f"{file}: {error.strerror}") from None
    except UnicodeError:
        raise _wrong(f"{file}: it is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{file}: {_first_line(error)}") from None
    if unknown := sorted(content.keys() - {"default", "profiles"}):
        raise _wrong(f"{file}: unknown key {unknown[0]!r}: allowed are default and [profiles.NAME]")
    tables, default = content.get("profiles", {}), content.get("default")
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise _wrong(f"{file}: profiles must be tables such as [profiles.work]")
    if default is not None and (not isinstance(default, str) or default not in tables):
        raise _wrong(
            f"{file}: default must be the name of a profile in this file, not {_shown(default)}"
        )
    return Profiles(file=file or _NOWHERE, default=default, names=tuple(tables), tables=tables)


def check_name(name: str) -> str:
    """Return the name of a profile.

    :raises InvalidArgument: It would be awkward as the name of a file or on a command line.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name!r} cannot name a profile: 1 to 64 letters, digits, underscores and hyphens can"
        )
    return name


def _checked(file: Path, profile: str, key: str, value: object) -> object:
    setting = SETTINGS.get(key)
    if setting is None:
        raise _unknown(file, profile, key)
    try:
        # a backup is started from anywhere: relative to the file that says so
        value = located(setting, setting.check(value), file.parent)
    except ValueError as error:
        shown = value if setting.can_be_shown(value) else None
        raise _not_allowed(file, profile, key, takes(setting, error), shown) from None
    if isinstance(value, ProxyUrl) and value.has_secret:
        raise SettingsError(
            f"{file}: [profiles.{profile}] {key}: secrets do not belong in this file",
            hint=f"take user and password out; {setting.variable} may have them",
        )
    return value


def _unknown(file: Path, profile: str, key: str) -> SettingsError:
    if key in _SECRETS:
        return SettingsError(
            f"{file}: [profiles.{profile}] {key}: secrets do not belong in this file",
            hint=f"take it out; koodrive login --profile {profile} keeps it in a safe place",
        )
    allowed = ", ".join((*SETTINGS, _PLACE))
    return _wrong(f"{file}: [profiles.{profile}] has an unknown key {key!r}: allowed are {allowed}")


def _not_allowed(file: Path, profile: str, key: str, must_be: str, value: object) -> SettingsError:
    but = "" if value is None else f", not {_shown(value)}"
    return _wrong(f"{file}: [profiles.{profile}] {key} must be {must_be}{but}")


def _wrong(message: str) -> SettingsError:
    return SettingsError(
        message, hint="correct it in the file; koodrive config explain says what holds"
    )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
