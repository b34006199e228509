"""What signing in returns."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class UserInfo:
    """The signed-in user; ``user_id`` is the value for ``X-User-Id``."""

    user_id: str | None = None
    firstname: str | None = None
    surname: str | None = None
    phone: str | None = attrs.field(default=None, repr=False)
    email: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class SessionInfo:
    """An access token and the token that buys the next one.

    :ivar access_token: The complete value of the ``Authorization`` header.
    :ivar expires_in: Life of the access token, in seconds.
    :ivar refresh_token: Buys the next session once this one is used up.
    :ivar user_info: Who signed in; None after a refresh.
    """

    access_token: str = attrs.field(repr=False)
    expires_in: int | None = None
    issued_at: datetime | None = None
    refresh_token: str | None = attrs.field(default=None, repr=False)
    user_info: UserInfo | None = None
