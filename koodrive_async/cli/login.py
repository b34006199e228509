"""``koodrive login`` and ``logout``: credentials that are kept for the commands after it."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.asking import Answers, Way, secret_of, somebody_is_there, way_of
from koodrive_async.cli.choosing import network_options
from koodrive_async.cli.credentials import (
    FILE,
    KEYRING,
    Credentials,
    keyring_is_usable,
    lock_of,
    vault_of,
)
from koodrive_async.cli.json_output import json_option, wants_json, write_done, write_warning
from koodrive_async.cli.known_settings import CONNECTION, NETWORK, PROFILE, SettingsError
from koodrive_async.cli.output import quiet_option
from koodrive_async.cli.profile_file import change_profile, check_changeable
from koodrive_async.cli.profiles import PLACES, Profiles, check_name, config_path, read_profiles
from koodrive_async.cli.renewal import turn
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import ARGUMENTS, CHOSEN, PROFILE_OPTION, network_of
from koodrive_async.cli.wording import REFUSED, count_text, printable, reason
from koodrive_async.config import APP_SECRET, TOKEN
from koodrive_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from koodrive_async.cli.credentials import Vault
    from koodrive_async.cli.network import Network

_FIRST: Final = "default"
"""Name of a profile that nobody has named."""

_PREFIX: Final = "Bearer"


@click.command()
@click.option("--endpoint", "wanted_endpoint", metavar="URL", help="Where the service is.")
@click.option("--user-id", "wanted_user_id", metavar="ID", help="KooDrive user id.")
@click.option("--app-id", "wanted_app_id", metavar="ID", help="Sign in with an app signature.")
@click.option("--account", metavar="NAME", help="Sign in with an account: name or mobile number.")
@click.option(
    "--agent-name",
    metavar="NAME",
    help="Carrier that the account is with, as KooDrive calls it; goes with --account.",
)
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input.")
@click.option("--app-secret-stdin", is_flag=True, help="Read the app secret from standard input.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--keep",
    type=click.Choice(PLACES),
    help="Where to keep the secrets; by default the keyring of the system where there is one.",
)
@quiet_option
@json_option
@click.option(
    "--no-check", is_flag=True, help="Keep them without asking the service; an account always asks."
)
@click.pass_context
def login(
    ctx: click.Context,
    *,
    wanted_endpoint: str | None,
    wanted_user_id: str | None,
    wanted_app_id: str | None,
    account: str | None,
    agent_name: str | None,
    token_stdin: bool,
    app_secret_stdin: bool,
    password_stdin: bool,
    keep: str | None,
    no_check: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Ask for the service and the credentials, check them, and keep them in a profile.

    Nothing is asked for that is given. Secrets are typed without being shown, or come from standard
    input; they are never arguments, which others on the machine can see. They are kept in the
    keyring of the system or in a file that only you can read. An account signs in with its password
    once: its token is kept and renews itself, the password is not. --proxy, --ca-file and the hosts
    of --allow-plain-http are kept in the profile too.

    With --json one object: profile, file, endpoint, user_id, and credentials, where they are kept.
    """
    in_front = ctx.meta.get(ARGUMENTS, {})
    file = config_path()
    profiles = read_profiles(file)
    name = check_name(_name_of(ctx, profiles))
    check_changeable(file)
    typed = ctx.meta.get(CHOSEN) is not None
    streams = {Way.TOKEN: token_stdin, Way.APP: app_secret_stdin, Way.ACCOUNT: password_stdin}
    answers = Answers(
        given={
            "endpoint": wanted_endpoint or in_front.get("endpoint"),
            "user_id": wanted_user_id or in_front.get("user_id"),
            "app_id": wanted_app_id or in_front.get("app_id"),
            "account": account,
            "agent_name": agent_name,
        },
        offers=(
            [profiles.texts_of(name), _of_environment()]
            if typed
            else [_of_environment(), profiles.texts_of(name)]
        ),
    )
    network = network_of(profiles, name, in_front, PROFILE_OPTION if typed else "")
    silent = quiet or as_json
    credentials = _signed_in(answers, streams, network, check=not no_check, silent=silent)
    vault = _keep(credentials, keep, profiles, name, _of_network(in_front))
    told = {
        "profile": name,
        "file": file,
        "endpoint": credentials.endpoint,
        "user_id": credentials.user_id,
        "credentials": vault.where,
    }
    if not quiet:
        text = "profile {profile} in {file}: user {user_id} at {endpoint}, secrets in {credentials}"
        write_done(told, printable(text.format(**told)), as_json=as_json)
    for variable in (TOKEN, APP_SECRET):
        if os.environ.get(variable, "").strip() and not quiet:
            text = (
                f"{variable} is set and goes before the profile, unless --profile {name} is typed"
            )
            write_warning(text, as_json=as_json)


login.params.extend(network_options())


@click.command()
@quiet_option
@json_option
@click.pass_context
def logout(ctx: click.Context, quiet: bool, as_json: bool) -> None:
    """Forget the credentials of a profile; its other settings stay.

    The service does not learn of it: a copy of the token stays valid until its time is over.
    With --json one object: profile, and forgotten, whether there were any.
    """
    file = config_path()
    profiles = read_profiles(file)
    name = check_name(_name_of(ctx, profiles))
    if name not in profiles.names:
        raise SettingsError(
            f"{file}: no profile {name!r}", hint="koodrive config list shows those there are"
        )
    place = profiles.place_of(name)
    forgotten = False
    with turn(lock_of(file, name)):
        if place is not None:
            forgotten = vault_of(place, file, name).forget()
            change_profile(file, name, {"credentials": None})
    if not quiet:
        text = f"profile {name}: {'signed out' if forgotten else 'there were no credentials'}"
        write_done({"profile": name, "forgotten": forgotten}, text, as_json=as_json)


def _of_environment() -> dict[str, str]:
    found = {each.name: os.environ.get(each.variable, "").strip() for each in CONNECTION}
    return {name: value for name, value in found.items() if value}


def _name_of(ctx: click.Context, profiles: Profiles) -> str:
    named: str | None = ctx.meta.get(CHOSEN)
    return named or os.environ.get(PROFILE, "").strip() or profiles.default or _FIRST


def _of_network(arguments: Mapping[str, object]) -> dict[str, str | list[str]]:
    names = {setting.name for setting in NETWORK}
    return {
        name: list(value) if isinstance(value, tuple) else str(value)
        for name, value in arguments.items()
        if name in names
    }


def _signed_in(
    answers: Answers, streams: Mapping[Way, bool], network: Network, *, check: bool, silent: bool
) -> Credentials:
    from koodrive_async.cli import signing_in  # noqa: PLC0415 - brings aiohttp

    way = way_of(answers, streams)
    endpoint = _endpoint(answers, network)
    answers.go_with(endpoint)
    refused = click.get_current_context().meta
    refused[REFUSED] = "nothing was kept; see whether all of it is right, and try again"
    if way is Way.ACCOUNT:
        account = answers.get("account", "Account")
        agent_name = answers.get("agent_name", "Carrier")
        password = secret_of(way, answers, from_stream=streams[way])
        begin = partial(signing_in.sign_in, endpoint, account, agent_name, password, network)
        return run(begin)
    user_id = answers.get("user_id", "User id")
    app_id = answers.get("app_id", "AppId") if way is Way.APP else None
    secret = secret_of(way, answers, from_stream=streams[way])
    if way is Way.TOKEN and not secret.startswith(_PREFIX):
        refused[REFUSED] = f"a token is the whole Authorization value: {_PREFIX}+..."
    credentials = Credentials(
        endpoint=endpoint,
        user_id=user_id,
        token=secret if way is Way.TOKEN else None,
        app_id=app_id,
        app_secret=secret if way is Way.APP else None,
    )
    drive = signing_in.client_of(credentials, network)
    if check:
        devices = run(partial(signing_in.check, drive))
        if not silent:
            click.echo(f"accepted by the service: {count_text(devices, 'bound device')}", err=True)
    return credentials


def _endpoint(answers: Answers, network: Network) -> str:
    from koodrive_async.cli import signing_in  # noqa: PLC0415 - brings aiohttp

    while True:
        endpoint = answers.get("endpoint", "Endpoint, such as https://host")
        if not somebody_is_there():
            return endpoint  # what is missing is told together
        try:
            signing_in.check_endpoint(endpoint, network)
        except ConfigurationError as error:
            if answers.given.get("endpoint"):
                raise
            click.echo(f"error: {reason(error)}", err=True)
        else:
            return endpoint


# --- keeping ------------------------------------------------------------------------------------


def _keep(
    credentials: Credentials,
    keep: str | None,
    profiles: Profiles,
    name: str,
    network: Mapping[str, str | list[str]],
) -> Vault:
    file = profiles.file
    before = profiles.place_of(name)
    with turn(lock_of(file, name)):
        vault = _written(credentials, keep, file, name)
        changes: dict[str, str | list[str] | None] = {
            "endpoint": credentials.endpoint,
            "user_id": credentials.user_id,
            "app_id": credentials.app_id,
            "credentials": vault.place,
            **network,
        }
        try:
            change_profile(file, name, changes)
        except SettingsError:
            if before is None:
                with suppress(SettingsError):
                    vault.forget()  # no command would find them
            raise
        if before is not None and before != vault.place:
            try:
                vault_of(before, file, name).forget()
            except SettingsError as error:
                # those that hold now are kept: signing in has not failed
                _warn(f"what was kept before could not be removed: {reason(error)}")
    return vault


def _written(credentials: Credentials, keep: str | None, file: Path, name: str) -> Vault:
    try:
        if keep == KEYRING or (keep is None and keyring_is_usable()):
            vault = vault_of(KEYRING, file, name)
            vault.write(credentials)
            return vault
    except SettingsError as error:
        if keep is not None:
            raise
        _warn(f"{reason(error)}; a file keeps the secrets instead")
    vault = vault_of(FILE, file, name)
    vault.write(credentials)
    return vault


def _warn(text: str) -> None:
    write_warning(text, as_json=wants_json(click.get_current_context()))
