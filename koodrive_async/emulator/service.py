"""What every call works with: the settings, the state, the keys and the clock of one emulator."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.emulator.auth import Doorkeeper, new_token
from koodrive_async.emulator.blobs import Blobs
from koodrive_async.emulator.dialect import Dialect
from koodrive_async.emulator.presign import Presigner
from koodrive_async.emulator.store import Store

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from koodrive_async.emulator.credentials import Credentials
    from koodrive_async.emulator.faults import Faults
    from koodrive_async.emulator.pace import Pace
    from koodrive_async.emulator.seen import Seen


Clock = Callable[[], float]
"""Returns epoch seconds."""

MIB: Final = 2**20
DEFAULT_CONTAINER: Final = "IAAFfyRNd07vFgAAA1395638440594444417"
DEFAULT_USER: Final = "1505084218764547200"
DEFAULT_CONFIGS: Final[Mapping[str, str]] = {"autoBackup": "off", "wifiOnly": "on"}
FILE_ID_LETTERS: Final = string.ascii_letters + string.digits + "-_"


@attrs.frozen(kw_only=True)
class Settings:
    """How strict and how patient the service is.

    :param lock_seconds: life of a backup lock since it was created or renewed.
    :param url_seconds: life of a presigned URL.
    :param token_seconds: life of a token since it was last used.
    :param min_part_size: smallest size of a part that is not the last, in bytes.
    :param etags: whether the ``ETag`` of a part is its MD5.
    :param containers: ids of the storage spaces, the default one first.
    :param configs: names and values of the config entries that a new device gets in each module.
    :param dialect: the answers to the questions that the reference leaves open.
    """

    lock_seconds: float = 600.0
    url_seconds: float = 3600.0
    token_seconds: float = 1200.0
    min_part_size: int = 5 * MIB
    etags: bool = True
    containers: tuple[str, ...] = (DEFAULT_CONTAINER,)
    configs: Mapping[str, str] = DEFAULT_CONFIGS
    dialect: Dialect = attrs.field(factory=Dialect)


@attrs.define(kw_only=True)
class Service:
    """One running service."""

    settings: Settings
    store: Store
    blobs: Blobs
    credentials: Credentials
    doorkeeper: Doorkeeper
    faults: Faults
    seen: Seen
    clock: Clock
    presigner: Presigner
    # Lines that several bodies share, by their speed.
    shared_paces: dict[float, Pace] = attrs.field(factory=dict)
    # What is being answered now, so that stopping need not wait for it.
    tasks: set[asyncio.Task[object]] = attrs.field(factory=set)

    @classmethod
    def opened(
        cls,
        directory: Path,
        *,
        credentials: Credentials,
        settings: Settings,
        faults: Faults,
        seen: Seen,
        clock: Clock = time.time,
    ) -> Service:
        """Open the state of a directory; the thread that opens it must be the one that uses it.

        :raises OSError: when the directory is in use by another emulator, or cannot be used.
        """
        blobs = Blobs(directory / "blobs")
        store = Store(directory / "state.sqlite")
        doorkeeper = Doorkeeper(
            store=store,
            credentials=credentials,
            token_seconds=settings.token_seconds,
            dialect=settings.dialect,
        )
        for account in credentials.accounts:
            doorkeeper.remember(account.token, account.user_id, clock())
        presigner = Presigner(
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            origin="",  # known when the object store listens
            lifetime=settings.url_seconds,
            part_headers=tuple(settings.dialect.signed_headers.split(";")),
        )
        return cls(
            settings=settings,
            store=store,
            blobs=blobs,
            credentials=credentials,
            doorkeeper=doorkeeper,
            faults=faults,
            seen=seen,
            clock=clock,
            presigner=presigner,
        )

    @property
    def dialect(self) -> Dialect:
        """The answers to the questions that the reference leaves open."""
        return self.settings.dialect

    def new_token(self, user_id: str) -> str:
        """Sign a user in, and return the complete ``Authorization`` value."""
        token = new_token("Bearer+")
        self.doorkeeper.remember(token, user_id, self.clock())
        return token

    def close(self) -> None:
        """Close the state."""
        self.store.close()


def new_number() -> str:
    """Make an id of the form of a device, record or scope: 19 digits."""
    return str(10**18 + secrets.randbelow(9 * 10**18 - 10**18))


def new_file_id() -> str:
    """Make an id of the form of a file: 33 characters, the first an F."""
    return "F" + "".join(secrets.choice(FILE_ID_LETTERS) for _ in range(32))


def new_upload_id() -> str:
    """Make an id of the form of an upload: 32 upper-case hexadecimal digits."""
    return secrets.token_hex(16).upper()


def new_object_key() -> str:
    """Make the name of an object: 35 hexadecimal digits."""
    return secrets.token_hex(18)[:35]
