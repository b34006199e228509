"""``koodrive config``: which settings hold, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from koodrive_async.cli.choosing import complete_profile
from koodrive_async.cli.defaults import default_values
from koodrive_async.cli.json_output import json_option, write_done, write_json
from koodrive_async.cli.known_settings import (
    SETTINGS,
    SettingsError,
    Source,
    Value,
    check_argument,
)
from koodrive_async.cli.output import Field, quiet_option, write_items
from koodrive_async.cli.profile_file import change_default
from koodrive_async.cli.profiles import config_path, find_config, read_profiles
from koodrive_async.cli.settings import (
    ARGUMENTS,
    CHOSEN,
    read_settings,
    read_without_profile,
    tell_of_no_home,
)
from koodrive_async.cli.wording import printable
from koodrive_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from koodrive_async.cli.known_settings import Setting
    from koodrive_async.cli.settings import Settings

_NAME: Final = "given_"
"""In front of the parameters of explain: it is told which of them were given."""

_MISSING: Final = "missing"


@click.group()
def config() -> None:
    """Look at the settings, and the profiles that they come from.

    The configuration file has a table for each profile, such as [profiles.work], with endpoint,
    user_id, app_id; the way there: proxy, ca_file, client_cert, client_key, truststore,
    allow_plain_http, allow_plain_part_urls; and what one sets once of the options of other
    commands: module, connections, memory, bandwidth, journal, device_name, machine_code, include,
    exclude, exclude_from, verify, wait. Secrets are kept elsewhere, by koodrive login. An argument
    goes before the environment, where each has a name such as KOODRIVE_MEMORY, and the environment
    before the profile. The profile is that of --profile, of KOODRIVE_PROFILE, or of the line
    default = "NAME".
    """


@config.command()
@json_option
@click.pass_context
def explain(ctx: click.Context, as_json: bool) -> None:
    """Say what every setting is, and who says so.

    Takes the options of other commands, to see what they would do. Secrets are not shown, only
    where they are. Anywhere but on a terminal: setting, value, source and place, separated by
    tabs. With --json one object: file, profile, chosen_by, and settings, an object of value,
    source and where for each; a value is null where there is none. The exit code is 3 when
    something is missing, or the file is wrong: the rest is written nevertheless.
    """
    arguments = ctx.meta.get(ARGUMENTS, {})
    missing: ConfigurationError | None = None
    credentials = Value(name="credentials", value=None, source=Source.DEFAULT)
    try:
        settings = read_settings(arguments, ctx.meta.get(CHOSEN))
    except ConfigurationError as error:
        missing, settings = error, read_without_profile(arguments)
    try:
        credentials = settings.access().credentials
    except ConfigurationError as error:
        missing = missing or error
    if settings.file is None and missing is None:
        tell_of_no_home(settings)
    values = [*settings.values.values(), credentials]
    if as_json:
        write_json(_as_object(settings, values))
    else:
        click.echo(printable(settings.profile_text), err=True)
        write_items(_VALUES, values, as_json=False)
    if missing is not None:
        raise missing


@config.command(short_help="Print the path of the configuration file.")
@json_option
def path(as_json: bool) -> None:
    """Print the path of the configuration file, which need not be there.

    With --json one object: file.
    """
    file = config_path()
    write_done({"file": file}, str(file), as_json=as_json)


@config.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the profiles.

    Anywhere but on a terminal: name, "default" or a dash, endpoint, user id and where the secrets
    are, separated by tabs. With --json one object: file, default, and profiles, a list of name,
    endpoint, user_id, credentials.
    """
    file = find_config()
    if file is None:
        tell_of_no_home(None)
    profiles = read_profiles(file)
    rows = [{"name": name} | profiles.texts_of(name) for name in profiles.names]
    fields: list[Field[dict[str, str]]] = [
        Field("name", "PROFILE", _getter("name")),
        Field("endpoint", "ENDPOINT", _getter("endpoint"), folds=True),
        Field("user_id", "USER", _getter("user_id")),
        Field("credentials", "SECRETS IN", _getter("credentials")),
    ]
    if as_json:
        listed = [{field.key: field.get(row) for field in fields} for row in rows]
        write_json({"file": file, "default": profiles.default, "profiles": listed})
        return
    default: Field[dict[str, str]] = Field(
        "default", "DEFAULT", lambda row: "default" if row["name"] == profiles.default else None
    )
    write_items([fields[0], default, *fields[1:]], rows, as_json=False)


@config.command()
@click.argument("name", shell_complete=complete_profile)
@quiet_option
@json_option
def use(name: str, quiet: bool, as_json: bool) -> None:
    """Use the profile NAME when none is named.

    With --json one object: file, default.
    """
    profiles = read_profiles(config_path())
    if name not in profiles.names:
        raise SettingsError(
            f"{profiles.file}: no profile {name!r}", hint="koodrive config list shows what there is"
        )
    change_default(profiles.file, name)
    if not quiet:
        text = f"profile {name} is used when none is named"
        write_done({"file": profiles.file, "default": name}, text, as_json=as_json)


def _getter(key: str) -> Callable[[dict[str, str]], str | None]:
    return lambda row: row.get(key)


def _text(value: Value) -> object:
    if value.given:
        return value.text
    if default := attrs.evolve(value, value=_default(value)).text:
        return default
    setting = SETTINGS.get(value.name)
    return setting and setting.default


def _default(value: Value) -> object:
    return default_values().get(value.name)


def _source(value: Value) -> str:
    return _MISSING if not value.given and _text(value) is None else value.source.value


_VALUES: Final[Sequence[Field[Value]]] = (
    Field("name", "SETTING", lambda value: value.name),
    Field("value", "VALUE", _text, folds=True),
    Field("source", "FROM", _source),
    Field("where", "WHERE", lambda value: value.where or None, folds=True),
)


def _as_object(settings: Settings, values: Sequence[Value]) -> dict[str, object]:
    return {
        "file": settings.file,
        "profile": settings.profile and settings.profile.name,
        "chosen_by": settings.chosen_by or None,
        "settings": {
            value.name: {
                "value": value.plain if value.given else _default(value),
                "source": _source(value),
                "where": value.where or None,
            }
            for value in values
        },
    }


# --- options of explain -------------------------------------------------------------------------


def _option(setting: Setting) -> click.Option:
    takes_many = setting.takes_many
    return click.Option(
        [setting.option, f"{_NAME}{setting.name}"],
        metavar="VALUE",
        multiple=takes_many,
        is_flag=setting.is_flag,
        default=None,
        expose_value=False,
        callback=_take,
        help=f"As other commands take it: {setting.takes}.",
    )


def _take(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    name = (param.name or "").removeprefix(_NAME)
    if value is None or value == () or ctx.resilient_parsing:
        return
    try:
        checked = check_argument(SETTINGS[name], value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    ctx.meta[ARGUMENTS] = ctx.meta.get(ARGUMENTS, {}) | {name: checked}


explain.params.extend(map(_option, SETTINGS.values()))
