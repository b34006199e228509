"""``drive.tokens``: signing in with an account, and keeping the session alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from koodrive_async.models import SessionInfo, UserInfo
from koodrive_async.transport.call import Call, path
from koodrive_async.transport.wire import Json, structure

if TYPE_CHECKING:
    from koodrive_async.transport.http import InterfaceHttp

PASSWORD = "1"  # noqa: S105 - a value of authType, not a password
VERIFICATION_CODE = "2"


class Tokens:
    """Buy access tokens.

    Every method raises :class:`~koodrive_async.errors.ApiError` and
    :class:`~koodrive_async.errors.TransportError`; cancelling one closes its connection.
    """

    def __init__(self, http: InterfaceHttp) -> None:
        self._http = http

    async def login(
        self,
        account: str,
        *,
        agent_name: str,
        password: str | None = None,
        captcha_token: str | None = None,
        auth_type: str | None = None,
    ) -> SessionInfo:
        """Sign in with an account (page ``Login``).

        :param account: Account name or mobile number.
        :param agent_name: Name of the carrier.
        :param password: The password, or None with a verification code.
        :param captcha_token: Token of the verification code.
        :param auth_type: ``"1"`` password or ``"2"`` verification code; by what is given.
        :raises AuthenticationError: The account or its password was refused.
        """
        if auth_type is None:
            auth_type = PASSWORD if password is not None else VERIFICATION_CODE
        body = {"account": account, "authType": auth_type}
        if password is not None:
            body["password"] = password
        if captcha_token is not None:
            body["captchaToken"] = captcha_token
        call = Call(
            method="POST",
            path=path("auth", "login"),
            body=body,
            headers={"x-hw-agentName": agent_name},
            signed_in=False,
            repeatable=False,
            secret=True,
        )
        return await self._http.send(call, _read_session)

    async def refresh(self, refresh_token: str, *, access_token: str | None = None) -> SessionInfo:
        """Exchange a refresh token for a new session (page ``RefreshToken``).

        :param access_token: The access token that goes with it, as the complete ``Authorization``
            value; by default what the client signs in with. A :class:`BearerToken` function that
            refreshes through its own client has to pass it.
        :raises AuthenticationError: The refresh token was refused.
        """
        call = Call(
            method="POST",
            path=path("auth", "refreshToken"),
            body={"refreshToken": refresh_token},
            headers={} if access_token is None else {"Authorization": access_token},
            signed_in=access_token is None,
            repeatable=False,
            secret=True,
        )
        return await self._http.send(call, _read_session)


def _read_session(answer: Json) -> SessionInfo:
    data = answer.get("data")
    if not isinstance(data, dict):
        raise TypeError("the answer has no data")
    # the table of RefreshToken says that data is the session, its example wraps it once more (7)
    session = structure(data.get("sessionInfo") or data, SessionInfo)
    if data.get("userInfo"):
        session = attrs.evolve(session, user_info=structure(data["userInfo"], UserInfo))
    return session
