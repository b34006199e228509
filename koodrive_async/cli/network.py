"""The way to the service: through which proxy, whom to trust, and whom to be."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.cli.known_settings import (
    NO_PROXY_AT_ALL,
    PROXY_OF_ENVIRONMENT,
    ProxyUrl,
    SettingsError,
)
from koodrive_async.transport.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.cli.known_settings import Value

KEY_PASSWORD: Final = "KOODRIVE_KEY_PASSWORD"  # noqa: S105 - the name of a variable
"""The environment variable with the password of the client key; secrets are in no profile."""


@attrs.frozen(kw_only=True)
class Network:
    """How a client gets to the service, in its own words.

    :ivar proxy: A URL, ``"env"``, or None for no proxy.
    :ivar allow_plain_http: Hosts that credentials may go to without TLS.
    :ivar allow_plain_part_urls: Hosts that a service with TLS may lead parts to without it.
    """

    proxy: str | None = attrs.field(repr=False)
    tls: Tls
    allow_plain_http: tuple[str, ...] = ()
    allow_plain_part_urls: tuple[str, ...] = ()

    @property
    def trusted(self) -> str:
        """Whom it trusts, in words."""
        if self.tls.ca_file is not None:
            return f"certificates of {self.tls.ca_file}"
        if self.tls.truststore:
            return "certificates as the system verifies them"
        paths = ssl.get_default_verify_paths()
        places = " and ".join(place for place in (paths.cafile, paths.capath) if place)
        return f"certificates of {places}" if places else "no certificates were found"


def find_network(values: Mapping[str, Value], environ: Mapping[str, str]) -> Network:
    """Return the way to the service.

    :param values: The settings for it, at least.
    :raises ConfigurationError: They do not fit together.
    """
    ca_file, certificate, key, truststore = (
        values[name] for name in ("ca_file", "client_cert", "client_key", "truststore")
    )
    if truststore.value and ca_file.given:
        raise SettingsError(
            f"ca_file ({ca_file.where}) and truststore ({truststore.where}) both say whom to trust",
            hint="keep one of them",
        )
    if key.given and not certificate.given:
        raise SettingsError(
            f"client_key ({key.where}) goes with a client_cert", hint="give that too"
        )
    return Network(
        proxy=_proxy(values["proxy"]),
        tls=Tls(
            ca_file=_file(ca_file),
            client_cert=_file(certificate),
            client_key=_file(key),
            key_password=_key_password(environ) if certificate.given else None,
            truststore=bool(truststore.value),
        ),
        allow_plain_http=values["allow_plain_http"].many,
        allow_plain_part_urls=values["allow_plain_part_urls"].many,
    )


def _key_password(environ: Mapping[str, str]) -> str | None:
    # a new line is what a file ends with; a space may be part of a password
    return environ.get(KEY_PASSWORD, "").rstrip("\r\n") or None


def _proxy(value: Value) -> str | None:
    if isinstance(value.value, ProxyUrl):
        return value.value.url
    return None if value.value == NO_PROXY_AT_ALL else PROXY_OF_ENVIRONMENT


def _file(value: Value) -> str | None:
    if not value.given:
        return None
    return check_readable(str(value.value), value.where)


def check_readable(path: str, named_by: str) -> str:
    """Return a file that can be read; whoever reads it would name it in other words.

    :raises SettingsError: It cannot be read.
    """
    try:
        with open(path, "rb"):  # noqa: PTH123 - read by OpenSSL, which takes texts
            return path
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(
            f"{path}: {why}, named by {named_by}",
            hint="koodrive config explain says where each setting comes from",
        ) from None
