"""Tokens: Login and RefreshToken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import invalid, not_signed_in
from koodrive_async.emulator.auth import SCHEME, new_token, same, token_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call
    from koodrive_async.emulator.credentials import Account

# The authType for account and password; "2" is a verification code, and nobody gets one here.
FIRST_WAY: Final = "1"
PREFIXES: Final[Mapping[str, str]] = {
    "AT-space": "AT ",
    "Bearer-plus": "Bearer+",
    "Bearer-space": "Bearer ",
    "bare": "",
}


def login(call: Call) -> Mapping[str, Any]:
    """Login with account and password."""
    if not call.headers.get("x-hw-agentName"):
        raise invalid("the header x-hw-agentName is mandatory for this call")
    if call.body["authType"] != FIRST_WAY:
        raise not_signed_in("No verification code was sent to this account.")
    account = _account(call)
    if account is None:
        raise not_signed_in("The account or the password is wrong.")
    user = {
        "userId": account.user_id,
        "firstname": "firstname",
        "surname": "surname",
        "phone": "",
        "email": "",
    }
    return {"data": {"userInfo": user, "sessionInfo": _session(call, account.user_id)}}


def refresh(call: Call) -> Mapping[str, Any]:
    """RefreshToken: a new pair; the refresh token given is used up.

    The access token given may have expired, which is what this call is for, but it must be one
    that this service gave to the owner of the refresh token.
    """
    store = call.service.store
    value = call.headers.get("Authorization")
    if value is None:
        raise not_signed_in("The header Authorization is missing.")
    if value.startswith(SCHEME):
        raise not_signed_in("The app signature is not allowed for this call.")
    user_id = call.service.doorkeeper.issued_to(value)
    digest = token_digest(call.body["refreshToken"])
    owner = store.value("SELECT user_id FROM refresh_tokens WHERE digest = ?", digest)
    if user_id is None or owner != user_id:
        raise not_signed_in("The refresh token is unknown, used up, or of another session.")
    with store.transaction():
        store.run("DELETE FROM refresh_tokens WHERE digest = ?", digest)
        session = _session(call, user_id)
    if call.service.dialect.refreshed_session == "flat":
        return {"data": session}
    return {"data": {"sessionInfo": session}}


def _account(call: Call) -> Account | None:
    given = call.body.get("password", "")
    for account in call.service.credentials.accounts:
        right_name = same(account.account, call.body["account"])
        if same(account.password, given) and right_name:
            return account
    return None


def _session(call: Call, user_id: str) -> dict[str, Any]:
    token = new_token(PREFIXES[call.service.dialect.login_answer])
    refresh_token = new_token("")
    call.service.doorkeeper.remember(token, user_id, call.now)
    call.service.store.run(
        "INSERT INTO refresh_tokens VALUES (?, ?)", token_digest(refresh_token), user_id
    )
    return {
        "accessToken": token,
        "expiresIn": int(call.service.settings.token_seconds),
        "issuedAt": str(int(call.now * 1000)),
        "refreshToken": refresh_token,
    }
