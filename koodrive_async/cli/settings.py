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
import yarl

from koodrive_async.cli.access import find_access
from koodrive_async.cli.json_output import wants_json, write_warning
from koodrive_async.cli.known_settings import (
    CONFIG,
    CONNECTION,
    NETWORK,
    PROFILE,
    SETTINGS,
    SettingsError,
    Source,
    Value,
    located,
    takes,
)
from koodrive_async.cli.network import check_readable, find_network
from koodrive_async.cli.profiles import Profile, find_config, read_profiles
from koodrive_async.cli.rules import Patterns
from koodrive_async.cli.waiting import tell_of_waits
from koodrive_async.cli.wording import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from koodrive_async.cli.access import Access
    from koodrive_async.cli.known_settings import Setting
    from koodrive_async.cli.network import Network
    from koodrive_async.cli.profiles import Profiles
    from koodrive_async.client import KooDrive
    from koodrive_async.config import Limits, RetryPolicy, Timeouts

ARGUMENTS: Final = "koodrive_async.settings.arguments"
CHOSEN: Final = "koodrive_async.settings.profile"
_SETTINGS: Final = "koodrive_async.settings"
_NO_HOME: Final = "koodrive_async.settings.no_home"
_BOTH: Final = f"{CONFIG} and KOODRIVE_JOURNAL"
PROFILE_OPTION: Final = "--profile"


def connect(
    *,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    retry: RetryPolicy | None = None,
    journal: str | os.PathLike[str] | None = "auto",
    verify_parts: bool = False,
    say: Callable[[str], object] | None = None,
) -> KooDrive:
    """Return a client for the command that is running, to be entered with ``async with``.

    The endpoint, the user and the credentials are those of the arguments, the environment and the
    profile; the rest is for the command to say.

    :param say: How to say that the service is waited for; on standard error by default.
    :raises ConfigurationError: Something is missing (all of it is listed) or not allowed.
    """
    from koodrive_async.client import KooDrive  # noqa: PLC0415 - brings aiohttp

    settings = current()
    access, network = settings.access(), settings.network()
    if journal == "auto":
        journal = None if settings.file is None and not has_journal(settings) else settings.journal
    drive = KooDrive(
        access.endpoint,
        auth=access.auth,
        user_id=access.user_id,
        limits=limits,
        timeouts=timeouts,
        retry=retry,
        tls=network.tls,
        proxy=network.proxy,
        journal=journal,
        verify_parts=verify_parts,
        allow_plain_http=network.allow_plain_http,
        allow_plain_part_urls=network.allow_plain_part_urls,
    )
    access.attach(drive)
    if access.credentials.source is Source.ENVIRONMENT:
        advice = f"renew what is in {access.credentials.where}; koodrive doctor checks it"
        click.get_current_context().meta[REFUSED] = advice
    host = yarl.URL(access.endpoint).authority
    tell_of_waits(click.get_current_context(), host, say)
    return drive


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that was said, and by whom.

    :ivar values: All settings by name.
    :ivar file: The configuration file; None where the user has no home folder.
    :ivar profile: The profile that was chosen.
    :ivar chosen_by: What chose it, such as ``--profile``.
    :ivar default: The default profile and its endpoint; None where there is none, or it names none.
    """

    values: Mapping[str, Value]
    file: Path | None
    profile: Profile | None
    chosen_by: str
    default: tuple[str, str] | None = None

    @property
    def profile_text(self) -> str:
        """The profile, in words."""
        if self.file is None:
            return "no profile (there is no configuration file)"
        if self.profile is None:
            return f"no profile ({self.file})"
        return f"profile {self.profile.name} ({self.file}), chosen by {self.chosen_by}"

    @property
    def journal(self) -> str:
        """The journal for a client: a file, ``off``, or ``auto`` where nobody says."""
        value = self.values["journal"].value
        return "auto" if value is None else str(value)

    def for_options(self, names: Container[str]) -> dict[str, object]:
        """Return what options are where they are not given, by their names.

        Lists are not among them: they add up with those that are given.

        :param names: Settings that are parameters of the command itself.
        """
        return {
            name: value.value
            for name, value in self.values.items()
            if name in names and value.given and not SETTINGS[name].takes_many
        }

    def patterns(self) -> Patterns:
        """Return the patterns that hold for every backup.

        :raises ConfigurationError: A file with patterns cannot be read.
        """
        files = self.values["exclude_from"]
        for file in files.many:
            check_readable(file, files.where)
        return Patterns(
            include=self.values["include"].many,
            exclude=self.values["exclude"].many,
            exclude_from=tuple(map(Path, files.many)),
        )

    def access(self) -> Access:
        """Find out where the service is and how to sign in. It blocks.

        :raises ConfigurationError: Something is missing (all of it is listed), is given twice, or
            is kept for another service or user.
        """
        environ = {} if _is_a_set(self.profile, self.chosen_by) else os.environ
        return find_access(
            self.values, self.profile, environ, chosen_by=self.chosen_by, default=self.default
        )

    def network(self) -> Network:
        """Return the way to the service.

        :raises ConfigurationError: Settings do not fit together.
        """
        return find_network(self.values, os.environ)


def network_of(
    profiles: Profiles, name: str, arguments: Mapping[str, object], chosen_by: str
) -> Network:
    """Return the way to the service before there are settings: for signing in. It blocks.

    :param name: The profile, which need not be there.
    :param arguments: What was given on the command line.
    :param chosen_by: What chose the profile, such as ``--profile``.
    :raises ConfigurationError: A value is not allowed.
    """
    names = {setting.name for setting in NETWORK}
    profile = profiles.choose(name, "", only=names) if name in profiles.names else None
    said = _Said(arguments, os.environ, profile, chosen_by)
    return find_network({each.name: said.value_of(each) for each in NETWORK}, os.environ)


def current() -> Settings:
    """Return the settings of the command that is running.

    :raises ConfigurationError: The environment or the profile has something that is not allowed.
    """
    meta = click.get_current_context().meta
    if _SETTINGS not in meta:
        meta[_SETTINGS] = read_settings(meta.get(ARGUMENTS, {}), meta.get(CHOSEN))
    settings: Settings = meta[_SETTINGS]
    if settings.file is None:
        tell_of_no_home(settings)
    return settings


def has_journal(settings: Settings) -> bool:
    """Say whether a journal is named, or this user has a place for one."""
    from koodrive_async.upload.journal import AUTO, default_path  # noqa: PLC0415 - brings SQLite

    return settings.journal != AUTO or default_path() is not None


def tell_of_no_home(settings: Settings | None) -> None:
    """Say once that there is no profile, nor a journal unless one is named.

    :param settings: Those of the command; None where it has to do with profiles alone.
    """
    ctx = click.get_current_context()
    if ctx.meta.get(_NO_HOME):
        return
    ctx.meta[_NO_HOME] = True
    without = settings is not None and not has_journal(settings)
    nor, names = (", nor a journal", _BOTH) if without else ("", CONFIG)
    write_warning(
        f"this user has no home folder, so there is no profile{nor}; {names} may name a file",
        as_json=wants_json(ctx),
    )


def read_again(ctx: click.Context) -> None:
    """Let the settings be read again when they are asked for: there is another argument."""
    ctx.meta.pop(_SETTINGS, None)


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
    file = find_config()
    profiles = read_profiles(file)
    chosen, by = _chosen(profiles, profile, environ)
    settings = _settings(_Said(arguments, environ, chosen, by), file)
    return attrs.evolve(settings, default=_default_of(profiles))


def read_without_profile(
    arguments: Mapping[str, object], environ: Mapping[str, str] = os.environ
) -> Settings:
    """Put together what arguments and environment say, whatever the file has.

    :raises ConfigurationError: A value is not allowed.
    """
    return _settings(_Said(arguments, environ, None, ""), _config_if_any())


def _config_if_any() -> Path | None:
    try:
        return find_config()
    except SettingsError:
        return None


def _settings(said: _Said, file: Path | None) -> Settings:
    values = {name: said.value_of(setting) for name, setting in SETTINGS.items()}
    return Settings(values=values, file=file, profile=said.profile, chosen_by=said.chosen_by)


def _default_of(profiles: Profiles) -> tuple[str, str] | None:
    """Return the default profile and its endpoint, unchecked: another one may be chosen."""
    name = profiles.default or ""
    endpoint = profiles.texts_of(name).get("endpoint", "").strip()
    return (name, endpoint) if endpoint else None


def _chosen(
    profiles: Profiles, named: str | None, environ: Mapping[str, str]
) -> tuple[Profile | None, str]:
    by = PROFILE_OPTION
    if not named:
        named, by = environ.get(PROFILE, "").strip(), PROFILE
    if not named:
        named, by = profiles.default or "", f"default in {profiles.file}"
    if not named:
        return None, ""
    return profiles.choose(named, by), by


@attrs.frozen
class _Said:
    """What arguments, environment and profile say; a profile that is typed is an argument too."""

    arguments: Mapping[str, object]
    environ: Mapping[str, str]
    profile: Profile | None
    chosen_by: str

    def value_of(self, setting: Setting) -> Value:
        """Return what holds: the strongest word, or all of them where they make up a list."""
        words = self._words(setting)
        strongest = next(words, None)
        if strongest is None:
            return Value(name=setting.name, value=None, source=Source.DEFAULT)
        if not setting.takes_many:
            return strongest
        said = [strongest, *words]
        return attrs.evolve(
            strongest,
            # the last pattern that matches decides
            value=tuple(each for value in reversed(said) for each in value.many),
            where="; ".join(value.where for value in said),
        )

    def _words(self, setting: Setting) -> Iterator[Value]:
        weaker = [self._of_environment, self._of_profile]
        if self.chosen_by == PROFILE_OPTION:
            weaker.reverse()
        words = (say(setting) for say in (self._of_argument, *weaker))
        return (word for word in words if word is not None)

    def _of_argument(self, setting: Setting) -> Value | None:
        value = self.arguments.get(setting.name)
        if value in {None, ()}:
            return None
        return Value(name=setting.name, value=value, source=Source.ARGUMENT, where=setting.option)

    def _of_environment(self, setting: Setting) -> Value | None:
        if setting in CONNECTION and _is_a_set(self.profile, self.chosen_by):
            return None
        text = self.environ.get(setting.variable, "").strip()
        if not text:
            return None
        return Value(
            name=setting.name,
            value=_of_environment(setting, text),
            source=Source.ENVIRONMENT,
            where=setting.variable,
        )

    def _of_profile(self, setting: Setting) -> Value | None:
        if self.profile is None or setting.name not in self.profile.values:
            return None
        return Value(
            name=setting.name,
            value=self.profile.values[setting.name],
            source=Source.PROFILE,
            where=f"{self.profile.name} in {self.profile.file}",
        )


def _is_a_set(profile: Profile | None, chosen_by: str) -> bool:
    """Say whether a profile alone says who signs in where: it is typed and has credentials."""
    return profile is not None and profile.place is not None and chosen_by == PROFILE_OPTION


def _of_environment(setting: Setting, text: str) -> object:
    try:
        value = located(setting, setting.check(setting.from_text(text)))
    except ValueError as error:
        raise SettingsError(
            f"{setting.variable} must be {takes(setting, error)}"
            + (f", not {text!r}" if setting.can_be_shown(text) else ""),
            hint="correct the variable or unset it",
        ) from None
    except FileNotFoundError:
        raise SettingsError(
            f"{setting.variable}={text}: the working folder that this is relative to has been "
            "removed",
            hint="name files by absolute paths",
        ) from None
    return value
