"""Who is calling: tokens, the app signature and the freshness of ``X-Date``.

Nothing is shared with the client: the canonical request is rebuilt from what was received.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import attrs

from koodrive_async.emulator.answers import not_signed_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from koodrive_async.emulator.credentials import Credentials
    from koodrive_async.emulator.dialect import Dialect
    from koodrive_async.emulator.store import Store


X_DATE: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
X_DATE_MAX_AGE: Final = 15 * 60
SIGNED_AT_LEAST: Final = ("x-date", "x-user-id")
SCHEME: Final = "HMAC-SHA256"
SIGNATURE: Final = re.compile(
    SCHEME + r" AppId=(?P<app_id>[^,]+),"
    r"SignedHeaders=(?P<names>[^,]+),Signature=(?P<signature>[0-9a-f]{64})"
)


@attrs.frozen(kw_only=True)
class Received:
    """What the signature of an interface call covers, as it came over the wire.

    :param raw_path: path and query as on the request line.
    """

    method: str
    raw_path: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Caller:
    """A user who signed in.

    :param origin: the value that their proofCodes start from.
    :param session: what stands for the device that calls: its token, or the user of an app.
    """

    user_id: str
    origin: str = attrs.field(repr=False)
    session: str = ""


@attrs.frozen(kw_only=True)
class Doorkeeper:
    """Checks callers against the tokens and the app secret of one directory.

    :param token_seconds: life of a token since it was last used.
    """

    store: Store
    credentials: Credentials
    token_seconds: float
    dialect: Dialect

    def admit(self, received: Received, now: float) -> Caller:
        """Return who is calling, and start the life of a token anew.

        :raises RefusedError: HTTP 401, with what is wrong.
        """
        value = received.headers.get("Authorization")
        if value is None:
            raise not_signed_in("The header Authorization is missing.")
        user_id = received.headers.get("X-User-Id")
        if not user_id:
            raise not_signed_in("The header X-User-Id is missing.")
        check_x_date(received.headers.get("X-Date"), now)
        if value.startswith(SCHEME):
            if self.dialect.app_signature == "refused":
                raise not_signed_in("The app signature is not part of this edition.")
            self._check_signature(value, received)
            self._check_known(user_id)
            return Caller(user_id=user_id, origin=user_id, session=user_id)
        if self.token_user(value, now) != user_id:
            raise not_signed_in("X-User-Id is not the user of this token.")
        origin = bare_token(value) if self.dialect.proof_origin == "token" else value
        return Caller(user_id=user_id, origin=origin, session=token_digest(value))

    def token_user(self, value: str, now: float) -> str:
        """Return whose token this is, and start its life anew.

        :param value: the complete ``Authorization`` value.
        :raises RefusedError: when it was never given out, or its life is over.
        """
        digest = token_digest(value)
        row = self.store.row("SELECT user_id, expires FROM tokens WHERE digest = ?", digest)
        if row is None:
            raise not_signed_in("The token is unknown.")
        if now >= row["expires"]:
            raise not_signed_in("The token has expired.")
        self.remember(value, row["user_id"], now)
        return str(row["user_id"])

    def issued_to(self, value: str) -> str | None:
        """Return whose token this is or once was; ``None`` when it was never given out."""
        found: str | None = self.store.value(
            "SELECT user_id FROM tokens WHERE digest = ?", token_digest(value)
        )
        return found

    def remember(self, value: str, user_id: str, now: float) -> None:
        """Let a token live from ``now`` on; only its digest is kept."""
        self.store.run(
            "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)",
            token_digest(value),
            user_id,
            now + self.token_seconds,
        )

    def expire(self, value: str, now: float) -> None:
        """Let a token run out now; fine when there is no such token."""
        self.store.run("UPDATE tokens SET expires = ? WHERE digest = ?", now, token_digest(value))

    def _check_signature(self, value: str, received: Received) -> None:
        match = SIGNATURE.fullmatch(value)
        if match is None:
            raise not_signed_in(f"The Authorization value is not of the form of {SCHEME}.")
        if not same(match["app_id"], self.credentials.app_id):
            raise not_signed_in("The AppId is unknown.")
        names = match["names"].split(";")
        check_signed_headers(names, received.headers)
        dated = self.dialect.signing_string == "with-date"
        expected = app_signature(self.credentials.app_secret, received, names, dated=dated)
        if not same(match["signature"], expected):
            raise not_signed_in("The signature does not match the request received.")

    def _check_known(self, user_id: str) -> None:
        if all(account.user_id != user_id for account in self.credentials.accounts):
            raise not_signed_in("X-User-Id is not a known user.")


def check_x_date(value: str | None, now: float) -> None:
    """Rule: X-Date is ``YYYYMMDDTHHMMSSZ``, not in the future, at most 15 minutes old."""
    if value is None:
        raise not_signed_in("The header X-Date is missing.")
    if not X_DATE.fullmatch(value):
        raise not_signed_in("X-Date must look like 20251103T070140Z.")
    try:
        signed = datetime.strptime(value + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()
    except ValueError:
        raise not_signed_in("X-Date is not a date.") from None
    if signed > now:
        raise not_signed_in("X-Date is in the future.")
    if now - signed > X_DATE_MAX_AGE:
        raise not_signed_in("X-Date is older than 15 minutes.")


def check_signed_headers(names: Sequence[str], headers: Mapping[str, str]) -> None:
    """Rule: lower-case names in order, x-date and x-user-id among them, all of them sent."""
    if list(names) != sorted({name.lower() for name in names}):
        raise not_signed_in("SignedHeaders must be lower-case names in ascending order.")
    for name in SIGNED_AT_LEAST:
        if name not in names:
            raise not_signed_in(f"The header {name} must be signed.")
    for name in names:
        if name not in headers:
            raise not_signed_in(f"The signed header {name} is missing.")


def app_signature(
    secret: str, received: Received, names: Sequence[str], *, dated: bool = False
) -> str:
    """Return the signature that the request must carry (pages ``koodrive_05_0030`` to ``0035``).

    :param secret: the AppSecret.
    :param names: the signed headers, in the order in which they are signed.
    :param dated: whether the signing time is signed as well, in a line of its own.
    """
    text = canonical_request(received, names).encode("utf-8", "surrogateescape")
    hashed = hashlib.sha256(text).hexdigest()
    date = f"{received.headers['X-Date']}\n" if dated else ""
    to_sign = f"{SCHEME}\n{date}{hashed}".encode()
    return hmac.new(secret.encode(), to_sign, hashlib.sha256).hexdigest()


def canonical_request(received: Received, names: Sequence[str]) -> str:
    """Return the text whose hash is signed."""
    path, _, query = received.raw_path.partition("?")
    lines = [
        received.method.upper(),
        canonical_uri(path),
        canonical_query(query),
        *(f"{name}:{received.headers[name].strip()}" for name in names),
        "",
        ";".join(names),
        hashlib.sha256(received.body).hexdigest(),
    ]
    return "\n".join(lines)


def canonical_uri(path: str) -> str:
    """Return the path without relative segments, each segment encoded, and a final slash."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(_encoded(segment))
    return "/" + "".join(f"{segment}/" for segment in kept)


def canonical_query(query: str) -> str:
    """Return the query with every name and value encoded anew, in the order of the names."""
    pairs = [item.partition("=") for item in query.split("&") if item]
    encoded = [(_encoded(name), _encoded(value)) for name, _, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded, key=lambda p: p[0]))


def new_token(prefix: str) -> str:
    """Make a complete ``Authorization`` value."""
    return prefix + secrets.token_hex(24)


def bare_token(value: str) -> str:
    """Return an ``Authorization`` value without what stands before its token."""
    return re.split(r"[ +]", value)[-1]


def token_digest(value: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare in a time that does not tell where two texts differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="", errors="surrogateescape")
