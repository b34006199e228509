"""Credentials of one emulator directory: made at the first start, kept in a private file."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@attrs.frozen(kw_only=True)
class Account:
    """Someone who can sign in.

    :param user_id: value of ``X-User-Id``.
    :param account: account name for the login call.
    :param password: password for the login call.
    :param token: a complete ``Authorization`` value that is signed in when the emulator starts.
    """

    user_id: str
    account: str
    password: str = attrs.field(repr=False)
    token: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Credentials:
    """Every secret of the directory.

    :param app_id: AppId of the app signature, 64 hexadecimal digits.
    :param app_secret: AppSecret of the app signature.
    :param access_key: name of the key that signs presigned URLs.
    :param secret_key: the key that signs presigned URLs and cursors.
    :param accounts: the accounts, the default one first.
    """

    app_id: str
    app_secret: str = attrs.field(repr=False)
    access_key: str
    secret_key: str = attrs.field(repr=False)
    accounts: tuple[Account, ...]

    @classmethod
    def kept_in(cls, path: Path, user_ids: Sequence[str]) -> Credentials:
        """Read the file, or make it; users without an account get one.

        :param path: the file, readable by its owner only.
        :param user_ids: user ids that must have an account; the first is the default one.
        :returns: the credentials, the accounts in the order of ``user_ids``, then all others.
        :raises OSError: when the file can be neither read nor written.
        """
        kept = cls._read(path) if path.exists() else cls._made()
        known = {account.user_id: account for account in kept.accounts}
        wanted = {user_id: known.get(user_id) or _new_account(user_id) for user_id in user_ids}
        accounts = tuple({**wanted, **{k: v for k, v in known.items() if k not in wanted}}.values())
        credentials = attrs.evolve(kept, accounts=accounts)
        _write(credentials, path)
        return credentials

    @classmethod
    def _made(cls) -> Credentials:
        return cls(
            app_id=secrets.token_hex(32),
            app_secret=secrets.token_hex(32),
            access_key=secrets.token_hex(10).upper(),
            secret_key=secrets.token_hex(32),
            accounts=(),
        )

    @classmethod
    def _read(cls, path: Path) -> Credentials:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields["accounts"] = tuple(Account(**account) for account in fields["accounts"])
        return cls(**fields)


def _write(credentials: Credentials, path: Path) -> None:
    text = json.dumps(attrs.asdict(credentials), indent=2)
    new = path.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _new_account(user_id: str) -> Account:
    return Account(
        user_id=user_id,
        account=f"user-{user_id[-6:]}-{secrets.token_hex(3)}",
        password=secrets.token_urlsafe(15),
        token=f"Bearer+{secrets.token_hex(24)}",
    )
