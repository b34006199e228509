"""The secrets of a profile: in the system's keyring, or in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from koodrive_async.cli.known_settings import CONFIG, SettingsError
from koodrive_async.cli.private_files import OTHERS, make_private, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from koodrive_async.models import SessionInfo

KEYRING: Final = "keyring"
FILE: Final = "file"

_SERVICE: Final = "koodrive"


@attrs.frozen(kw_only=True)
class Credentials:
    """What somebody signs in with, and where: it is never sent to another service.

    :ivar token: The complete ``Authorization`` value.
    :ivar refresh_token: Buys the next token.
    """

    endpoint: str
    user_id: str
    token: str | None = attrs.field(default=None, repr=False)
    refresh_token: str | None = attrs.field(default=None, repr=False)
    app_id: str | None = None
    app_secret: str | None = attrs.field(default=None, repr=False)

    def are_for(self, endpoint: str, user_id: str) -> bool:
        """Whether they were given for this service and user."""
        return same_service(self.endpoint, endpoint) and self.user_id == user_id

    def renewed(self, session: SessionInfo) -> Credentials:
        """Return them with the tokens of a new session."""
        return attrs.evolve(
            self,
            token=session.access_token,
            # a service that gives no new one lets the old one be used again
            refresh_token=session.refresh_token or self.refresh_token,
        )


def same_service(endpoint: str, other: str) -> bool:
    """Say whether two endpoints are one: neither case, default port nor last slash matter."""
    return endpoint == other or _place_of(endpoint) == _place_of(other)


def _place_of(endpoint: str) -> tuple[object, ...]:
    import yarl  # noqa: PLC0415 - not for completion

    try:
        url = yarl.URL(endpoint)
        # not the host alone: a token for https is not for http, nor for another port
        return url.scheme, url.raw_host, url.port, url.raw_path.rstrip("/")
    except ValueError:
        return (endpoint,)


class Vault(Protocol):
    """Where the secrets of one profile are. Everything blocks."""

    @property
    def place(self) -> str:
        """``keyring`` or ``file``, as the profile says it."""
        ...

    @property
    def where(self) -> str:
        """The same for a person."""
        ...

    def read(self) -> Credentials | None:
        """Return what is kept; None when there is nothing.

        :raises ConfigurationError: It cannot be read, or others can read it too.
        """

    def write(self, credentials: Credentials) -> None:
        """Keep these and no others, or leave everything as it was.

        :raises ConfigurationError: They cannot be kept there.
        """

    def forget(self) -> bool:
        """Keep nothing any more.

        :returns: Whether there was anything.
        :raises ConfigurationError: What is there cannot be removed.
        """
        ...


def vault_of(place: str, config: Path, profile: str) -> Vault:
    """Return the vault of a profile.

    :param place: :data:`KEYRING` or :data:`FILE`.
    :param config: The configuration file that the profile is in.
    """
    if place == KEYRING:
        return KeyringVault(name=f"{profile} in {config}")
    return FileVault(file=_folder_of(config) / f"{profile}.json")


def lock_of(config: Path, profile: str) -> Path:
    """Return the file that is locked by whoever replaces the secrets of a profile."""
    return _folder_of(config) / f"{profile}.lock"


def _folder_of(config: Path) -> Path:
    return config.with_suffix(".credentials")


@attrs.frozen(kw_only=True)
class FileVault:
    """A file of mode 600 in a folder of mode 700.

    :param file: The file; it and its folder are made when they are needed.
    """

    file: Path
    place: str = FILE

    @property
    def where(self) -> str:
        """The file."""
        return str(self.file)

    def read(self) -> Credentials | None:
        """Return what is kept; None when there is nothing."""
        try:
            with self.file.open(encoding="utf-8") as opened:
                # asked of what was opened: the name may mean another file by now
                if os.name == "posix" and os.fstat(opened.fileno()).st_mode & OTHERS:
                    raise SettingsError(
                        f"{self.file}: others can read these credentials",
                        hint=f"chmod 600 {self.file}, and koodrive login with new ones if "
                        "they may have done so",
                    )
                return _from_text(opened.read(), self.where)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _not_done(self.file, error) from None

    def write(self, credentials: Credentials) -> None:
        """Replace the file by another one that nobody else could ever open."""
        try:
            make_private(self.file.parent)
            replace_file(self.file, _to_text(credentials))
        except OSError as error:
            raise _not_done(self.file, error) from None

    def forget(self) -> bool:
        """Remove the file."""
        try:
            self.file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _not_done(self.file, error) from None
        return True


@attrs.frozen(kw_only=True)
class KeyringVault:
    """An entry of the system's keyring.

    :param name: The user name of the entry.
    """

    name: str
    place: str = KEYRING

    @property
    def where(self) -> str:
        """The keyring."""
        return "the keyring of the system"

    def read(self) -> Credentials | None:
        """Return what is kept; None when there is nothing."""
        with _backend_errors():
            text = _keyring().get_password(_SERVICE, self.name)
        return None if text is None else _from_text(text, self.where)

    def write(self, credentials: Credentials) -> None:
        """Replace the entry, and see that it is there."""
        text = _to_text(credentials)
        with _backend_errors():
            _keyring().set_password(_SERVICE, self.name, text)
            kept = _keyring().get_password(_SERVICE, self.name)
        if kept == text:
            return
        # the null backend, and a chain of no others, take everything and keep nothing
        with suppress(SettingsError):
            self.forget()
        raise SettingsError(
            "the keyring of the system does not keep what it is given",
            hint="koodrive login --keep file does without it",
        )

    def forget(self) -> bool:
        """Remove the entry."""
        keyring = _keyring()
        with _backend_errors():
            try:
                keyring.delete_password(_SERVICE, self.name)
            except keyring.errors.PasswordDeleteError:
                return False
        return True


class KeyringMissingError(SettingsError):
    """The package for keyrings is not installed."""


def keyring_is_usable() -> bool:
    """Whether there is a keyring that keeps secrets as a keyring should. It blocks.

    :raises ConfigurationError: The chosen backend cannot be loaded.
    """
    try:
        keyring = _keyring()
    except KeyringMissingError:
        return False
    with _backend_errors():
        # those that keep plain text, nothing at all, or always fail do not recommend themselves
        return bool(keyring.core.recommended(keyring.get_keyring()))


def _keyring() -> ModuleType:
    try:
        with _backend_errors():
            import keyring.core  # noqa: PLC0415 - an extra, and slow to load
            import keyring.errors  # noqa: PLC0415 - the same
    except ModuleNotFoundError:
        raise KeyringMissingError(
            "the keyring of the system needs the package keyring",
            hint="pip install 'koodrive-async[keyring]'",
        ) from None
    return keyring


@contextmanager
def _backend_errors() -> Iterator[None]:
    """Turn every exception of a backend into one error; some are no ``KeyringError``."""
    try:
        yield
    except SettingsError:
        raise
    except ModuleNotFoundError as error:
        if error.name == "keyring":
            raise
        raise _no_keyring(error) from None
    except Exception as error:  # noqa: BLE001 - a backend is the code of others
        raise _no_keyring(error) from None


def _to_text(credentials: Credentials) -> str:
    return json.dumps({k: v for k, v in attrs.asdict(credentials).items() if v is not None})


def _from_text(text: str, where: str) -> Credentials:
    try:
        fields = json.loads(text)
        if not all(isinstance(value, str) for value in fields.values()):
            raise TypeError  # noqa: TRY301 - one error for whatever is wrong
        return Credentials(**fields)
    except (ValueError, TypeError, AttributeError):
        # without the text, which may be a secret
        raise SettingsError(
            f"{where}: these are no credentials of this command",
            hint="koodrive login asks for new ones",
        ) from None


def _not_done(file: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"{file}: {error.strerror}",
        hint=f"the folder has to be yours and on a disk with room; {CONFIG} names another place",
    )


def _no_keyring(error: Exception) -> SettingsError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "NoKeyringError" in kinds:
        return SettingsError(
            "this machine has no keyring", hint="koodrive login --keep file does without it"
        )
    # a message of a foreign backend may contain the secret
    trusted = kinds & {"KeyringError", "ImportError", "AttributeError"}
    text = f": {error}" if trusted else ""
    return SettingsError(
        f"the keyring of the system: {type(error).__name__}{text}",
        hint="unlock it, or do without it: koodrive login --keep file",
    )
