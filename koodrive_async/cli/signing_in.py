"""Asking the service whether credentials are good, and for a session of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from koodrive_async.cli.credentials import Credentials
from koodrive_async.client import KooDrive
from koodrive_async.config import RetryPolicy, Timeouts
from koodrive_async.errors import KooDriveError
from koodrive_async.transport.auth import AppSignature, BearerToken

if TYPE_CHECKING:
    from koodrive_async.cli.network import Network
    from koodrive_async.transport.auth import Auth

_AT_ONCE: Final = RetryPolicy(attempts=1)
_SOON: Final = Timeouts(connect=5.0, answer=15.0)
"""Somebody is waiting: better to say at once what is wrong than to try again."""

_NOBODY: Final = "0"
"""Stands for the user id as long as only the service knows it."""


def client_of(credentials: Credentials, network: Network) -> KooDrive:
    """Return a client for one call, which looks at everything that is wrong without a call.

    :param network: The way to the service.
    :raises ConfigurationError: The endpoint is not a URL, or something cannot stand in a header.
    """
    auth: Auth
    if credentials.app_secret is not None:
        auth = AppSignature(app_id=credentials.app_id or "", app_secret=credentials.app_secret)
    else:
        auth = BearerToken(credentials.token or "")
    return _client(credentials.endpoint, auth, credentials.user_id, network)


def check_endpoint(endpoint: str, network: Network) -> None:
    """Look at an endpoint before more is asked for.

    :raises ConfigurationError: It is not a URL.
    """
    _client(endpoint, BearerToken(_NOBODY), _NOBODY, network)


async def check(drive: KooDrive) -> int:
    """Make one call.

    :returns: How many devices the user has.
    :raises ApiError: The credentials are refused.
    :raises TransportError: No usable answer arrived.
    """
    async with drive:
        return len(await drive.devices.list())


async def sign_in(
    endpoint: str, account: str, agent_name: str, password: str, network: Network
) -> Credentials:
    """Begin a session.

    :param agent_name: The carrier that the account is with.
    :raises ApiError: The account or its password is refused.
    :raises TransportError: No usable answer arrived.
    :raises ConfigurationError: The endpoint is not a URL.
    """
    drive = _client(endpoint, BearerToken(_NOBODY), _NOBODY, network)
    async with drive:
        session = await drive.tokens.login(account, agent_name=agent_name, password=password)
    user_id = session.user_info and session.user_info.user_id
    if not user_id:
        raise KooDriveError("the service does not say which user signed in")
    return Credentials(
        endpoint=endpoint,
        user_id=user_id,
        token=session.access_token,
        refresh_token=session.refresh_token,
    )


def _client(endpoint: str, auth: Auth, user_id: str, network: Network) -> KooDrive:
    return KooDrive(
        endpoint,
        auth=auth,
        user_id=user_id,
        retry=_AT_ONCE,
        timeouts=_SOON,
        proxy=network.proxy,
        tls=network.tls,
        journal=None,
        allow_plain_http=network.allow_plain_http,
    )
