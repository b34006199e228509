"""What a command works with, and who said so: argument, environment, profile or default.

A command gets its client from :func:`connect`. Its own options need nothing: those that have the
name of a setting get their values from the environment and the profile by themselves, and
``ctx.get_parameter_source`` says ``DEFAULT_MAP`` then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from koodrive_async.cli.access import find_access
from koodrive_async.cli.known_settings import (
    PROFILE,
    SETTINGS,
    SettingsError,
    Source,
    Value,
    located,
)
from koodrive_async.cli.profiles import Profile, config_path, read_profiles

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from koodrive_async.cli.access import Access
    from koodrive_async.cli.known_settings import Setting
    from koodrive_async.client import KooDrive
    from koodrive_async.config import Limits, RetryPolicy, Timeouts

ARGUMENTS: Final = "koodrive_async.settings.arguments"
CHOSEN: Final = "koodrive_async.settings.profile"
_SETTINGS: Final = "koodrive_async.settings"
_PROFILE_OPTION: Final = "--profile"


def connect(
    *,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
    tls: ssl.SSLContext | None = None,
    journal: str | os.PathLike[str] | None = "auto",
    verify_parts: bool = False,
) -> KooDrive:
    """Return a client for the command that is running, to be entered with ``async with``.

    The endpoint, the user and the credentials are those of the arguments, the environment and the
    profile; the rest is for the command to say.

    :raises ConfigurationError: Something is missing (all of it is listed) or not allowed.
    """
    from koodrive_async.client import KooDrive  # noqa: PLC0415 - brings aiohttp

    settings = current()
    access = settings.access()
    if journal == "auto":
        journal = settings.journal
    drive = KooDrive(
        access.endpoint,
        auth=access.auth,
        user_id=access.user_id,
        limits=limits,
        timeouts=timeouts,
        retry=retry,
        tls=tls,
        journal=journal,
        verify_parts=verify_parts,
    )
    access.attach(drive)
    return drive


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that was said, and by whom.

    :ivar values: All settings by name.
    :ivar profile: The profile that was chosen.
    :ivar chosen_by: What chose it, such as ``--profile``.
    """

    values: Mapping[str, Value]
    file: Path
    profile: Profile | None
    chosen_by: str

    @property
    def profile_text(self) -> str:
        """The profile, in words."""
        if self.profile is None:
            return f"no profile ({self.file})"
        return f"profile {self.profile.name} ({self.file}), chosen by {self.chosen_by}"

    @property
    def journal(self) -> str:
        """The journal for a client: a file, ``off``, or ``auto`` where nobody says."""
        value = self.values["journal"].value
        return "auto" if value is None else str(value)

    def for_options(self) -> dict[str, object]:
        """Return what options are where they are not given, by their names."""
        return {name: value.value for name, value in self.values.items() if value.given}

    def access(self) -> Access:
        """Find out where the service is and how to sign in. It blocks.

        :raises ConfigurationError: Something is missing (all of it is listed), is given twice, or
            is kept for another service or user.
        """
        return find_access(self.values, self.profile, os.environ)


def current() -> Settings:
    """Return the settings of the command that is running.

    :raises ConfigurationError: The environment or the profile has something that is not allowed.
    """
    meta = click.get_current_context().meta
    if _SETTINGS not in meta:
        meta[_SETTINGS] = read_settings(meta.get(ARGUMENTS, {}), meta.get(CHOSEN))
    settings: Settings = meta[_SETTINGS]
    return settings


def read_settings(
    arguments: Mapping[str, object],
    profile: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Put together what arguments, environment and profile say. It blocks.

    :param arguments: What was given on the command line, by the names of settings.
    :param profile: The profile named there.
    :param environ: The environment.
    :raises ConfigurationError: There is no such profile, or a value is not allowed.
    """
    file = config_path()
    chosen, by = _chosen(file, profile, environ)
    values = {
        name: _value(setting, arguments, environ, chosen) for name, setting in SETTINGS.items()
    }
    return Settings(values=values, file=file, profile=chosen, chosen_by=by)


def _chosen(
    file: Path, named: str | None, environ: Mapping[str, str]
) -> tuple[Profile | None, str]:
    profiles = read_profiles(file)
    by = _PROFILE_OPTION
    if not named:
        named, by = environ.get(PROFILE, "").strip(), PROFILE
    if not named:
        named, by = profiles.default or "", f"default in {file}"
    if not named:
        return None, ""
    return profiles.choose(named, by), by


def _value(
    setting: Setting,
    arguments: Mapping[str, object],
    environ: Mapping[str, str],
    profile: Profile | None,
) -> Value:
    name = setting.name
    if arguments.get(name) not in {None, ()}:
        return Value(name=name, value=arguments[name], source=Source.ARGUMENT, where=setting.option)
    if text := environ.get(setting.variable, "").strip():
        return Value(
            name=name,
            value=_of_environment(setting, text),
            source=Source.ENVIRONMENT,
            where=setting.variable,
        )
    if profile is not None and name in profile.values:
        return Value(
            name=name,
            value=profile.values[name],
            source=Source.PROFILE,
            where=f"{profile.name} in {profile.file}",
        )
    return Value(name=name, value=None, source=Source.DEFAULT)


def _of_environment(setting: Setting, text: str) -> object:
    try:
        value = setting.check(setting.from_text(text))
    except ValueError:
        raise SettingsError(
            f"{setting.variable} must be {setting.takes}, not {text!r}",
            hint="correct the variable or unset it",
        ) from None
    return located(setting, value, Path.cwd())
