"""The two ways to sign in: a bearer token, or a signature made with an app secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import anyio
import attrs

from koodrive_async.callbacks import OwnFailure
from koodrive_async.errors import (
    ConfigurationError,
    InvalidArgument,
    KooDriveError,
    TokenRefreshFailed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TokenProvider = Callable[[], Awaitable[str]]
SIGNED_HEADERS = ("host", "x-date", "x-user-id")


@attrs.frozen(kw_only=True)
class RequestHead:
    """What of a request goes into its signature.

    :ivar path: The path as it is sent, percent-encoded.
    :ivar query: The query as it is sent, in canonical form.
    :ivar headers: The signed headers by their lower-case names.
    :ivar body: The bytes that are sent.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Credential(Protocol):
    """What one request signs in with."""

    def proof_origin(self, user_id: str) -> str:
        """Return the header value that the proof code of this request starts from.

        Page ``koodrive_05_0036``: ``X-User-Id`` with app-id authentication, ``Authorization``
        with any other.
        """
        ...

    def authorization(self, head: RequestHead) -> str:
        """Return the value of the ``Authorization`` header."""
        ...


class Credentials(Protocol):
    """Where one client gets its credential from."""

    async def current(self, refused: Credential | None = None) -> Credential:
        """Return the credential for the next request.

        :param refused: The credential that the service has just refused; ask for another one.
            Returning the same one says that there is no other.
        """
        ...


class Auth(Protocol):
    """A way to sign in: a value that can be kept in settings and pickled."""

    def open(self) -> Credentials:
        """Return the credentials of one client, with whatever state they need."""
        ...


# --- tokens ------------------------------------------------------------------------------------


def _check_what_gives_it(_: object, __: object, token: str | TokenProvider) -> None:
    if not callable(token):
        _check_token(token)


@attrs.frozen
class BearerToken:
    """Sign in with a token.

    :param token: The complete value of the ``Authorization`` header, sent unchanged (the pages
        spell it in five ways, most often ``Bearer+...``), or an async function that returns it. The
        function is asked once at the start and again whenever the service refuses what it gave.
    :raises ConfigurationError: The token is empty or could not stand in a header.
    """

    token: str | TokenProvider = attrs.field(repr=False, validator=_check_what_gives_it)

    def open(self) -> Credentials:
        """Return the credentials of one client."""
        return _Tokens(self.token)


@attrs.frozen
class _Token:
    value: str = attrs.field(repr=False)

    def proof_origin(self, user_id: str) -> str:  # noqa: ARG002 - the other scheme needs it
        return self.value

    def authorization(self, head: RequestHead) -> str:  # noqa: ARG002 - the other scheme needs it
        return self.value


class _Tokens:
    def __init__(self, token: str | TokenProvider) -> None:
        self._provider = None if isinstance(token, str) else token
        self._current = _Token(token) if isinstance(token, str) else None
        self._turn = anyio.Lock()
        self._renewal = _Renewal()

    @property
    def lasting(self) -> Credential | None:
        """The credential, where there is never another one."""
        return self._current if self._provider is None else None

    async def current(self, refused: Credential | None = None) -> Credential:
        if self._provider is None:
            assert self._current is not None  # noqa: S101 - one of the two is always there
            return self._current
        if self._turn.statistics().owner == anyio.get_current_task():
            raise ConfigurationError(
                "the token function calls the very client that is waiting for its token: "
                "only tokens.login, and tokens.refresh with access_token=, need none"
            )
        renewal = self._renewal
        async with self._turn:
            # whoever waited here for another's renewal takes what came of it and asks no more
            if not renewal.ended and (self._current is None or self._current is refused):
                await self._renew(self._provider)
        if renewal.failure is not None:
            raise token_failure(renewal.failure)
        assert self._current is not None  # noqa: S101 - a renewal that ended well has set it
        return self._current

    async def _renew(self, provider: TokenProvider) -> None:
        renewal, own = self._renewal, OwnFailure()
        try:
            asked = provider()
            if not inspect.isawaitable(asked):
                raise ConfigurationError(  # noqa: TRY301 - kept with all that may fail here
                    f"the token function must be async: it returned {type(asked).__name__}"
                )
            value = await asked
            _check_token(value)
        except asyncio.CancelledError as error:
            if not own.is_one():
                raise
            renewal.failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, all who wait get it
            renewal.failure = error
        else:
            if self._current is None or self._current.value != value:
                self._current = _Token(value)
        # not after a cancellation: the next one who waits asks then
        renewal.ended = True
        self._renewal = _Renewal()


class _Renewal:
    """Asking the token function, for all who wait for the answer."""

    ended = False
    failure: BaseException | None = None


def token_failure(failure: BaseException) -> KooDriveError:
    """Return what the failure of a token function, or of a user's credentials, is here."""
    if isinstance(failure, ConfigurationError):
        return failure
    # its text is left out: it may well contain what the token was to be got with
    error = TokenRefreshFailed(f"the token function failed ({type(failure).__name__})")
    error.__cause__ = failure
    return error


def _check_token(token: str) -> None:
    check_header_setting("token", token)


def check_header_setting(name: str, text: object) -> None:
    """Refuse a setting that would not arrive in a header as it is here.

    :raises ConfigurationError: It is empty, or has other than printable ASCII.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"the {name} must be text, not {type(text).__name__}")
    if not text.strip():
        raise ConfigurationError(f"the {name} is empty")
    if not text.isascii() or not text.isprintable():
        raise ConfigurationError(f"the {name} has characters that cannot stand in a header")
    if text != text.strip():
        # a header arrives without them, and the proof code would start from another value
        raise ConfigurationError(f"the {name} has blanks around it")


# --- app signatures ----------------------------------------------------------------------------


def _check_id(_: object, __: object, app_id: str) -> None:
    check_header_setting("app id", app_id)


def _check_secret(_: object, __: object, app_secret: str) -> None:
    given: object = app_secret
    if not isinstance(given, str):
        raise ConfigurationError(f"the app secret must be text, not {type(given).__name__}")
    if not app_secret:
        raise ConfigurationError("the app secret is empty")
    if any("\ud800" <= character <= "\udfff" for character in app_secret):
        raise ConfigurationError("the app secret is not Unicode")


@attrs.frozen(kw_only=True)
class AppSignature:
    """Sign every request with an app secret (pages ``koodrive_05_0027`` to ``0035``).

    :param app_id: The AppId.
    :param app_secret: The AppSecret; it never leaves this machine.
    :raises ConfigurationError: One of them is empty, or the AppId could not stand in a header.
    """

    app_id: str = attrs.field(validator=_check_id)
    app_secret: str = attrs.field(repr=False, validator=_check_secret)

    def open(self) -> Credentials:
        """Return the credentials of one client."""
        return self

    @property
    def lasting(self) -> Credential:
        """This: there is no other credential."""
        return self

    async def current(self, refused: Credential | None = None) -> Credential:  # noqa: ARG002
        """Return this: there is no other credential to fall back on."""
        return self

    def proof_origin(self, user_id: str) -> str:
        """Return the user id."""
        return user_id

    def authorization(self, head: RequestHead) -> str:
        """Return the signature with the AppId and the names of the signed headers."""
        signature = sign(self.app_secret, head)
        signed = ";".join(SIGNED_HEADERS)
        return f"HMAC-SHA256 AppId={self.app_id},SignedHeaders={signed},Signature={signature}"


def sign(app_secret: str, head: RequestHead) -> str:
    """Return the signature of a request in lower-case hexadecimal."""
    digest = hashlib.sha256(canonical_request(head).encode()).hexdigest()
    # The page's prose mentions the signing time here, its formula does not; the formula decides.
    string_to_sign = f"HMAC-SHA256\n{digest}"
    return hmac.new(app_secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()


def canonical_request(head: RequestHead) -> str:
    """Return the text that is signed, line by line as page ``koodrive_05_0029`` lists it."""
    return "\n".join(
        (
            head.method,
            head.path if head.path.endswith("/") else head.path + "/",
            head.query,
            "".join(f"{name}:{head.headers[name].strip()}\n" for name in SIGNED_HEADERS),
            ";".join(SIGNED_HEADERS),
            hashlib.sha256(head.body).hexdigest(),
        )
    )


def canonical_query(parameters: Iterable[tuple[str, str]]) -> str:
    """Encode a query the one way in which it is both signed and sent."""
    return "&".join(f"{percent(name)}={percent(value)}" for name, value in sorted(parameters))


def percent(text: str) -> str:
    """Percent-encode everything but ``A-Z a-z 0-9 - _ . ~``.

    :raises InvalidArgument: The value is no text, or is not Unicode.
    """
    given: object = text
    if not isinstance(given, str):
        raise InvalidArgument(f"a text is needed, not {type(given).__name__}")
    try:
        return quote(text, safe="-_.~")
    except UnicodeEncodeError:
        raise InvalidArgument(f"{text!r} is not Unicode") from None
