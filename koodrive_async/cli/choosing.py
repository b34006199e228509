"""Options that choose the settings of a command: a profile, or a value for once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem

_NAMED: Final = "koodrive_async.named_before"
_ENDPOINT: Final = "Where the service is, for this once."
_USER_ID: Final = "KooDrive user id, for this once."
_APP_ID: Final = "AppId that goes with KOODRIVE_APP_SECRET, for this once."
_PROXY: Final = "HTTP proxy; by default what HTTPS_PROXY and NO_PROXY say."
_CA_FILE: Final = "Certificates to trust instead of the system's, in PEM form."
_PLAIN_HTTP: Final = (
    "Let credentials go to this host over http, without TLS. May be given several times."
)
_PLAIN_PART_URLS: Final = (
    "Let a service with TLS lead parts to this host over http. May be given several times."
)


def options_of_all() -> list[click.Parameter]:
    """Return the options that stand in front of any command."""
    return [
        profile_option(),
        _setting_option("endpoint", "URL", _ENDPOINT),
        _setting_option("user_id", "ID", _USER_ID),
        _setting_option("app_id", "ID", _APP_ID),
        *network_options(),
    ]


def hidden_options() -> list[click.Parameter]:
    """Return those that may stand behind a command as well, where its help need not name them."""
    found = options_of_all()[1:]
    for option in found:
        assert isinstance(option, click.Option)  # noqa: S101 - as they were made
        option.hidden = True
    return found


def network_options() -> list[click.Parameter]:
    """Return the options for the way to the service."""
    return [
        _setting_option("proxy", "URL|none", _PROXY),
        _setting_option("ca_file", "FILE", _CA_FILE, click.Path(dir_okay=False)),
        _setting_option("allow_plain_http", "HOST", _PLAIN_HTTP, many=True),
        _setting_option("allow_plain_part_urls", "HOST", _PLAIN_PART_URLS, many=True),
    ]


def profile_option() -> click.Option:
    """Return the option ``--profile``, which also gives a command's options their values."""
    return click.Option(
        ["--profile"],
        metavar="NAME",
        expose_value=False,
        is_eager=True,  # the other options take their values from it
        callback=_choose,
        shell_complete=complete_profile,
        help="Settings of this profile; see koodrive config --help.",
    )


def given_in_front(ctx: click.Context) -> tuple[str, ...]:
    """Return what was given between ``koodrive`` and the command, but for flags."""
    given: dict[str, tuple[str, ...]] = ctx.meta.get(_NAMED, {})
    return tuple(
        word for option, values in given.items() for value in values for word in (option, value)
    )


def complete_profile(
    ctx: click.Context,  # noqa: ARG001 - click gives it
    param: click.Parameter,  # noqa: ARG001 - click gives it
    incomplete: str,
) -> list[CompletionItem]:
    """Return the profiles whose names begin so."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - for completion only

    return [CompletionItem(name) for name in _profile_names() if name.startswith(incomplete)]


def _profile_names() -> Iterator[str]:
    from koodrive_async.cli.profiles import find_config, read_profiles  # noqa: PLC0415 - the same
    from koodrive_async.errors import ConfigurationError  # noqa: PLC0415 - the same

    try:
        yield from read_profiles(find_config()).names
    except ConfigurationError:
        return  # it is told by the command, not while somebody types


def _choose(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    if ctx.resilient_parsing:
        return
    from koodrive_async.cli.settings import CHOSEN, current  # noqa: PLC0415 - not for --version

    if name:
        ctx.meta[CHOSEN] = name
        _note(ctx, param, name)
    if ctx.parent is not None and (own := _own_settings(ctx.command)):
        ctx.default_map = current().for_options(own)


def _own_settings(command: click.Command) -> frozenset[str]:
    """Return the settings that a command takes as its own parameters.

    The options for the service are left out: a default that goes through one of them would look
    like a typed value.
    """
    from koodrive_async.cli.known_settings import SETTINGS  # noqa: PLC0415 - not for --version

    return frozenset(
        param.name for param in command.params if param.expose_value and param.name in SETTINGS
    )


def _setting_option(
    name: str,
    metavar: str,
    purpose: str,
    kind: click.ParamType[str] = click.STRING,
    *,
    many: bool = False,
) -> click.Option:
    return click.Option(
        [f"--{name.replace('_', '-')}"],
        type=kind,
        metavar=metavar,
        multiple=many,
        expose_value=False,
        callback=_take,
        help=purpose,
    )


def _take(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if ctx.resilient_parsing or value is None or param.name is None:
        return
    if ctx.get_parameter_source(param.name) is not ParameterSource.COMMANDLINE:
        return  # only what is typed is an argument
    from koodrive_async.cli.known_settings import (  # noqa: PLC0415 - not for --version
        SETTINGS,
        check_argument,
    )
    from koodrive_async.cli.settings import ARGUMENTS, read_again  # noqa: PLC0415 - the same

    try:
        checked = check_argument(SETTINGS[param.name], value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    ctx.meta.setdefault(ARGUMENTS, {})[param.name] = checked
    read_again(ctx)
    _note(ctx, param, value)


def _note(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...]) -> None:
    # of the command itself it is known what it was called with
    if ctx.parent is None:
        values = value if isinstance(value, tuple) else (value,)
        ctx.meta.setdefault(_NAMED, {})[param.opts[0]] = values
