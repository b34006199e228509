"""Which proxy leads to a host: what a setting says, the environment, or the system."""

from __future__ import annotations

import base64
import re
from functools import partial
from urllib.parse import unquote
from urllib.request import getproxies, getproxies_environment, proxy_bypass

import anyio
import attrs
import yarl

from koodrive_async.errors import ConfigurationError
from koodrive_async.threads import in_thread

ENVIRONMENT = "env"
"""The setting that asks the environment, and on macOS and Windows the system."""

_PROXY_ARGUMENT = "KooDrive(proxy=...)"
_SYSTEM_SETTINGS = "the system's setting for proxies"
_PATIENCE = 10.0
"""Seconds that the system may take to name a proxy: on some it looks up names."""

_LONGEST_LABEL = 63
"""Characters of a label of a host name (RFC 1035)."""


@attrs.frozen
class Proxy:
    """An HTTP proxy.

    :ivar named_by: The setting it comes from, for errors.
    :ivar authorization: Value of ``Proxy-Authorization``; None without user and password.
    """

    host: str
    port: int
    named_by: str
    authorization: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, named_by: str = _PROXY_ARGUMENT) -> Proxy:
        """Take the URL of a proxy apart; without a scheme it is ``http``.

        :raises ConfigurationError: There is no such proxy, or none that this package can use. The
            text does not show the URL, in which there may be a password.
        """
        scheme, separator, rest = url.partition("://")
        _, *behind = re.split("[/?#]", rest if separator else url)
        try:
            parsed = yarl.URL(url.strip() if separator else f"http://{url.strip()}")
            host, port = parsed.raw_host, parsed.port
        except ValueError:
            parsed, host, port = yarl.URL(), None, None
        scheme = scheme.strip().lower() if separator else "http"
        if scheme.startswith("socks"):
            raise ConfigurationError(
                f"{named_by} names a SOCKS proxy, which this package does not speak to: "
                "name an HTTP proxy, or None for none"
            )
        if scheme == "https":
            raise ConfigurationError(
                f"{named_by} names a proxy that is itself spoken to over TLS, which this package "
                "does not do: name its plain port, as http. What goes to KooDrive over https "
                "stays encrypted through it"
            )
        if "@" in "".join(behind):  # else a piece of the password would be taken for the host
            raise ConfigurationError(
                f"{named_by} has a user or password with characters that must be written as %XX"
            )
        if scheme != "http" or not host or not port or not is_host(host):
            raise ConfigurationError(
                f"{named_by} must be the URL of a proxy, http with a host and a port"
            )
        return cls(host, port, named_by, _authorization(parsed))

    @property
    def name(self) -> str:
        """Host and port, for errors."""
        return authority(self.host, self.port)

    @property
    def way_past(self) -> str:
        """The settings to do without it, for errors."""
        return "proxy=None" if self.named_by == _PROXY_ARGUMENT else "NO_PROXY, or proxy=None"

    @property
    def url(self) -> yarl.URL:
        """Its URL, without user and password."""
        return yarl.URL(f"http://{self.name}", encoded=True)

    @property
    def headers(self) -> dict[str, str]:
        """What each request to the proxy itself carries."""
        if self.authorization is None:
            return {}
        return {"Proxy-Authorization": self.authorization}


class Proxies:
    """Knows which proxy leads to an origin; asks once for each.

    :param setting: The URL of a proxy for everything, None for no proxy, or :data:`ENVIRONMENT`
        for what the standard library finds: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and
        ``NO_PROXY``, in either case, or else what macOS and Windows have in their settings.
    :param patience: Seconds that the system may take for its answer.
    :raises ConfigurationError: There is no such proxy, or none that this package can use.
    """

    def __init__(self, setting: str | None, *, patience: float = _PATIENCE) -> None:
        if setting is not None and not isinstance(setting, str):
            raise ConfigurationError(
                f"{_PROXY_ARGUMENT} must be a URL, {ENVIRONMENT!r} or None, "
                f"not {type(setting).__name__}"
            )
        self._asks = setting == ENVIRONMENT
        self._patience = patience
        self._always = None if setting is None or self._asks else Proxy.of(setting)
        self._found: dict[tuple[bool, str, int], Proxy | None] = {}

    async def toward(self, tls: bool, host: str, port: int) -> Proxy | None:
        """Return the proxy for an origin, or None when there is none.

        :param host: An IPv6 address without brackets.
        :raises ConfigurationError: The proxy is none that this package can use, or the system does
            not say which it is.
        """
        if not self._asks:
            return self._always
        origin = (tls, host, port)
        if origin not in self._found:
            with anyio.move_on_after(self._patience) as waiting:
                # names may be looked up: who is cancelled leaves that behind
                self._found[origin] = await in_thread(
                    partial(_ask_the_system, *origin), abandon_on_cancel=True
                )
            if waiting.cancelled_caught:
                raise ConfigurationError(
                    f"the system did not say within {self._patience:g} s whether a proxy leads to "
                    f"{authority(host, port)}: name it with {_PROXY_ARGUMENT}, or None for none"
                )
        return self._found[origin]


def is_host(host: str) -> bool:
    """Return whether a name can be looked up, or an address connected to.

    An empty label, one of more than 63 characters and a broken ``xn--`` make Python raise a
    ``UnicodeError`` wherever such a name is used.

    :param host: An IPv6 address without brackets.
    """
    if ":" in host:
        return True
    if host.isascii() and "xn--" not in host.lower():
        labels = host.removesuffix(".").split(".")
        return all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    try:
        host.lower().encode("idna").decode("idna")
    except UnicodeError:
        return False
    return True


def authority(host: str, port: int) -> str:
    """Return host and port as they stand in a request; an IPv6 address gets brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ask_the_system(tls: bool, host: str, port: int) -> Proxy | None:
    """Return the proxy that the standard library finds; blocks."""
    scheme = "https" if tls else "http"
    found = getproxies()
    variable = scheme if scheme in found else "all"
    # the standard library knows it only where it stands alone
    if variable not in found or "*" in re.split(r"[,\s]+", getproxies_environment().get("no", "")):
        return None
    # it compares texts, and people write IPv6 addresses with brackets and without
    if proxy_bypass(authority(host, port)) or (":" in host and proxy_bypass(host)):
        return None
    of_the_environment = variable in getproxies_environment()
    return Proxy.of(
        found[variable], f"{variable.upper()}_PROXY" if of_the_environment else _SYSTEM_SETTINGS
    )


def _authorization(url: yarl.URL) -> str | None:
    if url.raw_user is None and url.raw_password is None:
        return None
    pair = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
