"""Who signs in where: credentials of the environment, or those that ``koodrive login`` has kept."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import yarl

from koodrive_async.cli.credentials import lock_of, same_service, vault_of
from koodrive_async.cli.known_settings import SETTINGS, SettingsError, Source, Value
from koodrive_async.cli.renewal import Renewal
from koodrive_async.config import APP_ID, APP_SECRET, TOKEN
from koodrive_async.errors import ConfigurationError
from koodrive_async.transport.auth import AppSignature, BearerToken, check_header_setting
from koodrive_async.transport.plain_http import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from koodrive_async.cli.credentials import Credentials, Vault
    from koodrive_async.cli.profiles import Profile
    from koodrive_async.client import KooDrive
    from koodrive_async.transport.auth import Auth


@attrs.frozen(kw_only=True)
class Access:
    """Where the service is, and how to sign in there.

    :ivar credentials: How, and who says so.
    """

    endpoint: str
    user_id: str
    auth: Auth
    credentials: Value
    _renewal: Renewal | None = attrs.field(default=None, repr=False, alias="renewal")

    def attach(self, drive: KooDrive) -> None:
        """Let the credentials renew themselves with this client, if they can."""
        if self._renewal is not None:
            self._renewal.attach(drive)


def find_access(
    values: Mapping[str, Value],
    profile: Profile | None,
    environ: Mapping[str, str],
    *,
    chosen_by: str = "",
    default: tuple[str, str] | None = None,
) -> Access:
    """Find out where the service is and how to sign in there. It blocks.

    :param values: The settings.
    :param profile: Whose kept credentials are taken where the environment has none.
    :param chosen_by: What chose it, such as ``--profile``.
    :param default: The default profile of the file and the endpoint that it names.
    :raises ConfigurationError: Something is missing (all of it is listed), is given twice, or is
        kept for another service or user.
    """
    endpoint, user_id, app_id = (values[name] for name in ("endpoint", "user_id", "app_id"))
    token, secret = (environ.get(name, "").strip() for name in (TOKEN, APP_SECRET))
    # an AppId of a profile is not a wish to sign in with it: a token may be given for once
    asks_for_app = bool(secret) or app_id.source in {Source.ARGUMENT, Source.ENVIRONMENT}
    if token and asks_for_app:
        raise SettingsError(
            f"{TOKEN} and {APP_ID}/{APP_SECRET} are both set",
            hint="keep one way to sign in",
        )
    vault = None if token or secret or profile is None else _vault(profile)
    missing = [SETTINGS[each.name].variable for each in (endpoint, user_id) if not each.given]
    if not token and vault is None and not (secret and app_id.given):
        missing.append(_missing_credentials(app_id, secret))
    if missing:
        place = f", nor in profile {profile.name!r} of {profile.file}" if profile else ""
        raise SettingsError(
            f"not set in the environment{place}: {', '.join(missing)}",
            hint="koodrive login asks for them and keeps them; to try without an account: "
            "koodrive emulator -- bash",
        )
    _check_named_for(("user_id", "app_id") if secret else ("user_id",), values, profile)
    if token or secret:
        _check_meant_for(values, profile, environ, chosen_by)
        if default is not None and not environ.get(SETTINGS["endpoint"].variable, "").strip():
            _check_meant_for_default(values["endpoint"], TOKEN if token else APP_SECRET, default)
    with _blaming(user_id.where):
        check_header_setting("user id", user_id.value)
    entrance = partial(Access, endpoint=str(endpoint.value), user_id=str(user_id.value))
    if token:
        with _blaming(TOKEN):
            return entrance(auth=BearerToken(token), credentials=_given("a token", TOKEN))
    if secret:
        with _blaming(f"{app_id.where}, {APP_SECRET}"):
            auth = AppSignature(app_id=str(app_id.value), app_secret=secret)
        return entrance(auth=auth, credentials=_given("an app signature", APP_SECRET))
    assert vault is not None  # noqa: S101 - there would be something missing
    assert profile is not None  # noqa: S101 - whose vault it is
    kept = _kept(vault, profile, values)
    how = partial(
        Value,
        name="credentials",
        source=Source.PROFILE,
        where=f"{profile.name}, kept in {vault.where}",
    )
    if kept.app_secret is not None:
        auth = AppSignature(app_id=kept.app_id or "", app_secret=kept.app_secret)
        return entrance(auth=auth, credentials=how(value="an app signature"))
    if kept.refresh_token is None:
        return entrance(auth=BearerToken(kept.token or ""), credentials=how(value="a token"))
    renewal = Renewal(
        vault=vault, lock=lock_of(profile.file, profile.name), profile=profile.name, kept=kept
    )
    return entrance(
        auth=BearerToken(renewal),
        credentials=how(value="a token that renews itself"),
        renewal=renewal,
    )


@contextmanager
def _blaming(where: str) -> Iterator[None]:
    """Say where a value stands that is not allowed."""
    try:
        yield
    except ConfigurationError as error:
        raise SettingsError(f"{error}: {where}", hint="correct it there") from None


def _check_named_for(
    names: Iterable[str], values: Mapping[str, Value], profile: Profile | None
) -> None:
    """Take neither user nor app of a profile to another service than the one it names.

    :param names: The settings that go to the service.
    :raises SettingsError: Something stronger than the profile names the endpoint, and it is another
        one.
    """
    own = profile and profile.values.get("endpoint")
    endpoint = values["endpoint"]
    if own is None or same_service(str(own), str(endpoint.value)):
        return
    for name in names:
        value, setting = values[name], SETTINGS[name]
        if value.source is Source.PROFILE:
            raise SettingsError(
                f"{name} {value.value} ({value.where}) goes with {own}, and endpoint is "
                f"{endpoint.value} ({endpoint.where})",
                hint=f"set {setting.variable} too, or leave the endpoint to the profile",
            )


def _check_meant_for(
    values: Mapping[str, Value],
    profile: Profile | None,
    environ: Mapping[str, str],
    chosen_by: str,
) -> None:
    """Send credentials of the environment to no other service, nor as another user.

    They belong to the service that the environment names, also where another endpoint is typed: a
    token is not shown to a host because of a slip. What the environment does not name may come from
    elsewhere, and a user that is typed is a wish that discloses nothing.

    :raises SettingsError: The endpoint, the user or the app is another one than the environment
        names.
    """
    secret = TOKEN if environ.get(TOKEN, "").strip() else APP_SECRET
    for name in ("endpoint", "user_id", "app_id"):
        variable = SETTINGS[name].variable
        value, named = values[name], environ.get(variable, "").strip()
        if not named or not value.given or _agrees(value, named):
            continue
        other = f"{variable}={named}" if "@" not in named else variable
        if profile is not None and value.source is Source.PROFILE:
            raise SettingsError(
                f"{chosen_by} {profile.name} has no credentials, and those of the environment go "
                f"with {other}",
                hint=f"koodrive login --profile {profile.name}",
            )
        raise SettingsError(
            f"{value.where} is {value.value}, and {secret} of the environment goes with {other}",
            hint=f"change or unset {variable} as well, or koodrive login --profile NAME keeps "
            "credentials of their own for each service",
        )


def _check_meant_for_default(endpoint: Value, secret: str, default: tuple[str, str]) -> None:
    """Send credentials whose environment names no endpoint to that of the default profile alone.

    A command that chooses no service sends them there; a profile or an endpoint that is chosen for
    one command does not get them. Without a default profile they go to the endpoint that is chosen.

    :param secret: The variable with the credentials.
    :param default: The default profile and its endpoint.
    :raises SettingsError: The endpoint is not that of the default profile.
    """
    name, own = default
    if not endpoint.given or _agrees(endpoint, own):
        return
    variable = SETTINGS["endpoint"].variable
    raise SettingsError(
        f"{secret} of the environment names no endpoint, so it goes with {own} of the "
        f"default profile {name}, and endpoint is {endpoint.value} ({endpoint.where})",
        hint=f"set {variable} too if {secret} is meant for {endpoint.value}, or unset {secret}",
    )


def _agrees(value: Value, named: str) -> bool:
    if value.name != "endpoint":
        return value.source is Source.ARGUMENT or value.value == named
    endpoint = str(value.value)
    # this machine has several names; the port distinguishes its services
    return same_service(named, endpoint) or _of_this_machine(named) == _of_this_machine(endpoint)


def _of_this_machine(endpoint: str) -> object:
    """Return an endpoint without its host if that is this machine, and as it is otherwise."""
    try:
        url = yarl.URL(endpoint)
    except ValueError:
        return endpoint
    if not is_loopback(url.raw_host or ""):
        return endpoint
    return url.scheme, url.port, url.raw_path.rstrip("/")


def _vault(profile: Profile) -> Vault | None:
    if profile.place is None:
        return None
    return vault_of(profile.place, profile.file, profile.name)


def _kept(vault: Vault, profile: Profile, values: Mapping[str, Value]) -> Credentials:
    again = f"koodrive login --profile {profile.name} asks for new ones"
    kept = vault.read()
    if kept is None:
        raise SettingsError(
            f"the credentials of profile {profile.name!r} are not in {vault.where}", hint=again
        )
    endpoint, user_id, app_id = (values[name] for name in ("endpoint", "user_id", "app_id"))
    # whoever changes where requests go must not be sent what was meant for another place
    if not kept.are_for(str(endpoint.value), str(user_id.value)):
        changed = endpoint if kept.are_for(kept.endpoint, str(user_id.value)) else user_id
        raise SettingsError(
            f"the credentials of profile {profile.name!r} are for user {kept.user_id} at "
            f"{kept.endpoint}, and {changed.name} is {changed.value} ({changed.where})",
            hint=again,
        )
    if app_id.given and app_id.value != kept.app_id:
        raise SettingsError(
            f"the credentials of profile {profile.name!r} do not go with app_id {app_id.value} "
            f"({app_id.where})",
            hint=again,
        )
    return kept


def _given(how: str, variable: str) -> Value:
    return Value(name="credentials", value=how, source=Source.ENVIRONMENT, where=variable)


def _missing_credentials(app_id: Value, secret: str) -> str:
    if secret:
        return f"{APP_ID} (goes with {APP_SECRET})"
    if app_id.given:
        return f"{APP_SECRET} (goes with {APP_ID})"
    return f"{TOKEN} (or {APP_ID} and {APP_SECRET})"
