"""Changing the configuration file, with the comments of its user left as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from koodrive_async.cli.known_settings import CONFIG, SettingsError
from koodrive_async.cli.private_files import make_folder, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def change_profile(file: Path, name: str, changes: Mapping[str, str | list[str] | None]) -> None:
    """Set values of a profile, which is made when it is not there. It blocks.

    The first profile of a file becomes the one that is used when none is named.

    :param changes: New values by their keys; None to take one out.
    :raises SettingsError: The file cannot be read or written.
    """
    check_changeable(file)
    document = _read(file)
    if "profiles" not in document:
        # [profiles.work] says it all: no line [profiles] of its own
        document["profiles"] = tomlkit.table(is_super_table=True)
    profiles = document["profiles"]
    if name not in profiles:
        inline = isinstance(profiles, InlineTable)
        profiles[name] = tomlkit.inline_table() if inline else tomlkit.table()
    for key, value in changes.items():
        if value is not None:
            profiles[name][key] = value
        elif key in profiles[name]:
            del profiles[name][key]
    if len(profiles) == 1:
        document.setdefault("default", name)
    _write(file, document)


def check_changeable(file: Path) -> None:
    """Refuse a configuration file that could not be changed, before anything is kept beside it.

    :raises SettingsError: It is a device or a folder.
    """
    if file.exists() and not file.is_file():
        # a device such as /dev/null can be read, and must not be replaced
        raise _not_done(file, "it is no file")


def change_default(file: Path, name: str) -> None:
    """Let a profile be used when none is named. It blocks.

    :raises SettingsError: The file cannot be read or written.
    """
    check_changeable(file)
    document = _read(file)
    document["default"] = name
    _write(file, document)


def _read(file: Path) -> Any:
    try:
        return tomlkit.parse(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return tomlkit.document()
    except OSError as error:
        raise _not_done(file, str(error.strerror)) from None
    except (TOMLKitError, ValueError) as error:
        raise _not_done(file, str(error)) from None


def _write(file: Path, document: Any) -> None:
    place = file.resolve()  # a link to a file that is kept elsewhere stays one
    try:
        make_folder(place.parent)
        replace_file(place, tomlkit.dumps(document))
    except OSError as error:
        raise _not_done(file, str(error.strerror)) from None


def _not_done(file: Path, why: str) -> SettingsError:
    return SettingsError(
        f"{file}: {why}", hint=f"{CONFIG} names another file that this user can write"
    )
