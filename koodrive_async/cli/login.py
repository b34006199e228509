"""``koodrive login`` and ``logout``: credentials that are kept for the commands after it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.asking import Answers, Way, secret_of, way_of
from koodrive_async.cli.credentials import (
    FILE,
    KEYRING,
    Credentials,
    keyring_is_usable,
    lock_of,
    vault_of,
)
from koodrive_async.cli.known_settings import CONNECTION, PROFILE, SettingsError
from koodrive_async.cli.profile_file import change_profile, check_changeable
from koodrive_async.cli.profiles import PLACES, Profiles, check_name, config_path, read_profiles
from koodrive_async.cli.renewal import turn
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import ARGUMENTS, CHOSEN
from koodrive_async.cli.wording import count_text, printable, reason
from koodrive_async.config import APP_SECRET, TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from koodrive_async.cli.credentials import Vault

_FIRST: Final = "default"
"""Name of a profile that nobody has named."""


@click.command()
@click.option("--endpoint", "wanted_endpoint", metavar="URL", help="Where the service is.")
@click.option("--user-id", "wanted_user_id", metavar="ID", help="KooDrive user id.")
@click.option("--app-id", "wanted_app_id", metavar="ID", help="Sign in with an app signature.")
@click.option("--account", metavar="NAME", help="Sign in with an account: name or mobile number.")
@click.option("--agent-name", metavar="NAME", help="Name of the carrier that the account is with.")
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input.")
@click.option("--app-secret-stdin", is_flag=True, help="Read the app secret from standard input.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--keep",
    type=click.Choice(PLACES),
    help="Where to keep the secrets; by default the keyring of the system where there is one.",
)
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
) -> None:
    """Ask for the service and the credentials, check them, and keep them in a profile.

    Nothing is asked for that is given. Secrets are typed without being shown, or come from standard
    input; they are never arguments, which others on the machine can see. They are kept in the
    keyring of the system or in a file that only you can read. An account signs in with its password
    once: its token is kept and renews itself, the password is not.
    """
    in_front = ctx.meta.get(ARGUMENTS, {})
    file = config_path()
    profiles = read_profiles(file)
    name = check_name(_name_of(ctx, profiles))
    check_changeable(file)
    streams = {Way.TOKEN: token_stdin, Way.APP: app_secret_stdin, Way.ACCOUNT: password_stdin}
    answers = Answers(
        given={
            "endpoint": wanted_endpoint or in_front.get("endpoint"),
            "user_id": wanted_user_id or in_front.get("user_id"),
            "app_id": wanted_app_id or in_front.get("app_id"),
            "account": account,
            "agent_name": agent_name,
        },
        offers=profiles.texts_of(name) | _of_environment(),
    )
    credentials = _signed_in(answers, streams, check=not no_check)
    vault = _keep(credentials, keep, profiles, name)
    click.echo(
        f"profile {name} in {printable(str(file))}: user {printable(credentials.user_id)} at "
        f"{printable(credentials.endpoint)}, secrets in {printable(vault.where)}"
    )
    for variable in (TOKEN, APP_SECRET):
        if os.environ.get(variable, "").strip():
            click.echo(f"warning: {variable} is set and goes before the profile", err=True)


@click.command()
@click.pass_context
def logout(ctx: click.Context) -> None:
    """Forget the credentials of a profile; its other settings stay.

    The service is not told: a token that somebody else knows lives on until its time is over.
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
    click.echo(f"profile {name}: {'signed out' if forgotten else 'there were no credentials'}")


def _of_environment() -> dict[str, str]:
    found = {each.name: os.environ.get(each.variable, "").strip() for each in CONNECTION}
    return {name: value for name, value in found.items() if value}


def _name_of(ctx: click.Context, profiles: Profiles) -> str:
    named: str | None = ctx.meta.get(CHOSEN)
    return named or os.environ.get(PROFILE, "").strip() or profiles.default or _FIRST


def _signed_in(answers: Answers, streams: Mapping[Way, bool], *, check: bool) -> Credentials:
    from koodrive_async.cli import signing_in  # noqa: PLC0415 - brings aiohttp

    way = way_of(answers, streams)
    endpoint = answers.get("endpoint", "Endpoint, such as https://host")
    if way is Way.ACCOUNT:
        account = answers.get("account", "Account")
        agent_name = answers.get("agent_name", "Carrier")
        password = secret_of(way, answers, from_stream=streams[way])
        return run(partial(signing_in.sign_in, endpoint, account, agent_name, password))
    user_id = answers.get("user_id", "User id")
    app_id = answers.get("app_id", "AppId") if way is Way.APP else None
    secret = secret_of(way, answers, from_stream=streams[way])
    credentials = Credentials(
        endpoint=endpoint,
        user_id=user_id,
        token=secret if way is Way.TOKEN else None,
        app_id=app_id,
        app_secret=secret if way is Way.APP else None,
    )
    drive = signing_in.client_of(credentials)
    if check:
        devices = run(partial(signing_in.check, drive))
        click.echo(f"accepted by the service: {count_text(devices, 'bound device')}", err=True)
    return credentials


# --- keeping ------------------------------------------------------------------------------------


def _keep(credentials: Credentials, keep: str | None, profiles: Profiles, name: str) -> Vault:
    file = profiles.file
    before = profiles.place_of(name)
    with turn(lock_of(file, name)):
        vault = _written(credentials, keep, file, name)
        changes = {
            "endpoint": credentials.endpoint,
            "user_id": credentials.user_id,
            "app_id": credentials.app_id,
            "credentials": vault.place,
        }
        try:
            change_profile(file, name, changes)
        except SettingsError:
            if before is None:
                vault.forget()  # nobody would find them
            raise
        if before is not None and before != vault.place:
            vault_of(before, file, name).forget()
    return vault


def _written(credentials: Credentials, keep: str | None, file: Path, name: str) -> Vault:
    if keep == KEYRING or (keep is None and keyring_is_usable()):
        vault = vault_of(KEYRING, file, name)
        try:
            vault.write(credentials)
        except SettingsError as error:
            if keep is not None:
                raise
            click.echo(f"warning: {reason(error)}", err=True)
        else:
            return vault
    vault = vault_of(FILE, file, name)
    vault.write(credentials)
    return vault
