"""Whom to trust over TLS, and whom to be."""

from __future__ import annotations

import os
import re
import ssl
import sys
from pathlib import Path
from typing import Final

import attrs

from koodrive_async.errors import ConfigurationError
from koodrive_async.threads import in_thread

FilePath = str | os.PathLike[str]

VERIFYING_SYSTEMS: Final = frozenset({"darwin", "win32"})
"""Those that verify certificates themselves; elsewhere OpenSSL does, with the system's files."""

_OLDEST_TRUSTSTORE = (0, 10, 5)
"""The first that verifies when sockets shake hands later than they are wrapped, as ours do."""


@attrs.frozen(kw_only=True)
class Tls:
    """Whom to trust, and who we are: for :class:`KooDrive`, instead of an ``ssl.SSLContext``.

    Without any of this OpenSSL trusts what the system does, or what ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` of the environment name.

    The client certificate is for the KooDrive host only. Neither the object store, which is told by
    presigned URLs who we are, nor a proxy gets to see it.

    :param ca_file: Certificates to trust instead of the system's, in one PEM file.
    :param client_cert: PEM file with our certificate, and those between it and its authority.
    :param client_key: PEM file with its key, when that is in another one.
    :param key_password: Password of the key.
    :param truststore: Let macOS or Windows verify certificates, with all that is set up there
        (needs the extra ``truststore``); on other systems OpenSSL reads what is set up anyway.
    :raises ConfigurationError: They do not fit together.
    """

    ca_file: FilePath | None = None
    client_cert: FilePath | None = None
    client_key: FilePath | None = None
    key_password: str | None = attrs.field(default=None, repr=False)
    truststore: bool = False

    def __attrs_post_init__(self) -> None:
        for setting in ("ca_file", "client_cert", "client_key"):
            _check_path(setting, getattr(self, setting))
        password: object = self.key_password
        if not isinstance(password, str | None):
            raise ConfigurationError(
                f"Tls(key_password=...) must be a text, not {type(password).__name__}"
            )
        if self.truststore and self.ca_file is not None:
            raise ConfigurationError(
                "Tls: ca_file and truststore both say whom to trust: keep one of them"
            )
        alone = self.client_key is not None or self.key_password is not None
        if self.client_cert is None and alone:
            raise ConfigurationError("Tls: client_key and key_password go with a client_cert")


@attrs.frozen
class TlsContexts:
    """The contexts of an open client: one object, unless a client certificate sets them apart."""

    interface: ssl.SSLContext
    parts: ssl.SSLContext


async def tls_contexts(tls: ssl.SSLContext | Tls | None) -> TlsContexts:
    """Build what a client needs in a worker thread: reading certificates takes a while.

    :raises ConfigurationError: A file cannot be read or is not what it should be: it is named.
    """
    if isinstance(tls, ssl.SSLContext):
        return TlsContexts(tls, tls)
    if tls is not None and not isinstance(tls, Tls):
        raise ConfigurationError(
            f"tls must be a Tls or an ssl.SSLContext, not {type(tls).__name__}"
        )
    return await in_thread(_build, tls or Tls())


def _build(tls: Tls) -> TlsContexts:
    trusting = _trusting(tls)
    if tls.client_cert is None:
        return TlsContexts(trusting, trusting)
    with_certificate = _trusting(tls)
    _load_certificate(with_certificate, tls, tls.client_cert)
    return TlsContexts(with_certificate, trusting)


def _trusting(tls: Tls) -> ssl.SSLContext:
    if tls.truststore and sys.platform in VERIFYING_SYSTEMS:
        return _system_verifier()
    if tls.ca_file is None:
        return _trusting_the_environment()
    _check_readable("ca_file", tls.ca_file)
    try:
        return ssl.create_default_context(cafile=os.fspath(tls.ca_file))
    except (OSError, ValueError) as error:
        problem = "holds no certificates in PEM form"
        raise _unusable("ca_file", tls.ca_file, problem, error) from None


def _trusting_the_environment() -> ssl.SSLContext:
    """Trust what the environment names, or else the system's certificates.

    OpenSSL passes over names that lead nowhere, and trusts nothing then, or other certificates.
    """
    paths = ssl.get_default_verify_paths()
    file = os.environ.get(paths.openssl_cafile_env)
    if file:
        _check_readable(paths.openssl_cafile_env, file)
    folders = os.environ.get(paths.openssl_capath_env)
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        raise ConfigurationError(f"{paths.openssl_capath_env}={folders!r}: there is no such folder")
    context = ssl.create_default_context()
    if file and not context.cert_store_stats()["x509"]:
        raise ConfigurationError(
            f"{paths.openssl_cafile_env}={file!r}: it holds no certificates in PEM form"
        )
    return context


def _system_verifier() -> ssl.SSLContext:
    try:
        import truststore  # noqa: PLC0415 - an extra, loaded when it is wanted
    except ImportError:
        pass
    else:
        found = tuple(int(number) for number in re.findall(r"\d+", truststore.__version__))
        if found >= _OLDEST_TRUSTSTORE:
            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    raise ConfigurationError(
        f"Tls(truststore=True) needs truststore {'.'.join(map(str, _OLDEST_TRUSTSTORE))} or "
        "newer: pip install 'koodrive-async[truststore]'"
    )


def _load_certificate(context: ssl.SSLContext, tls: Tls, certificate: FilePath) -> None:
    _check_readable("client_cert", certificate)
    if tls.client_key is not None:
        _check_readable("client_key", tls.client_key)
    key = certificate if tls.client_key is None else tls.client_key
    # without a password of ours OpenSSL would ask for one on the terminal
    password = tls.key_password or ""
    try:
        context.load_cert_chain(os.fspath(certificate), os.fspath(key), password=lambda: password)
    except (OSError, ValueError) as error:
        setting = "client_cert" if tls.client_key is None else "client_key"
        problem = (
            "with its key does not load: a certificate and its unlocked key in PEM form are "
            "wanted, or Tls(key_password=...) that fits"
        )
        raise _unusable(setting, key, problem, error) from None


def _check_path(setting: str, path: object) -> None:
    if path is None:
        return
    try:
        raw = os.fsencode(path)  # type: ignore[arg-type]  # refuses what is no path
    except (TypeError, UnicodeEncodeError):
        raw = b"\0"
    if b"\0" in raw or isinstance(path, bytes):
        raise ConfigurationError(f"Tls({setting}={path!r}): it must be the path of a file")


def _check_readable(setting: str, path: FilePath) -> None:
    """See that a file can be read: OpenSSL does not say which one it is that cannot."""
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{_named(setting, path)}: {reason}") from None


def _unusable(setting: str, path: FilePath, problem: str, error: Exception) -> ConfigurationError:
    said = getattr(error, "reason", None)
    detail = f" ({said})" if said else ""
    return ConfigurationError(f"{_named(setting, path)}: it {problem}{detail}")


def _named(setting: str, path: FilePath) -> str:
    given = f"{setting}={os.fspath(path)!r}"
    return given if setting.isupper() else f"Tls({given})"
