"""Where credentials and file content may go without TLS: to this machine, and to hosts by name."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.errors import ConfigurationError, InvalidArgument
from koodrive_async.sequences import check_many

if TYPE_CHECKING:
    from collections.abc import Collection

    from koodrive_async.transport.proxy import Proxy

ALLOW_PLAIN_HTTP: Final = "allow_plain_http"
ALLOW_PLAIN_PART_URLS: Final = "allow_plain_part_urls"

_LOCALHOST: Final = "localhost"


def plain_hosts(setting: str, hosts: Collection[str]) -> frozenset[str]:
    """Read the hosts that a setting allows.

    :param setting: Its name, for errors.
    :param hosts: Names or addresses, each alone or with ``:port``.
    :raises ConfigurationError: ``hosts`` is one text instead of several, or an item is no host.
    """
    try:
        hosts = check_many(setting, hosts, "host names")
    except InvalidArgument as error:
        raise ConfigurationError(str(error)) from None
    for host in hosts:
        if not host.strip() or any(mark in host for mark in "/@*,") or not host.isascii():
            raise ConfigurationError(
                f"{setting} must name hosts, each as 'host' or 'host:port', without a scheme"
            )
    return frozenset(map(_plainly, hosts))


@attrs.frozen(kw_only=True)
class PlainHttp:
    """Which hosts may be spoken to without TLS; this machine's own addresses always may.

    :ivar services: Hosts that credentials may go to.
    :ivar stores: Hosts that presigned URLs of a service with TLS may lead to.
    """

    services: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()

    def check_service(self, host: str, port: int) -> None:
        """Refuse to send credentials in the clear.

        :param host: An IPv6 address without brackets.
        :raises ConfigurationError: The host is another machine, and not allowed by name.
        """
        if is_loopback(host) or _is_among(self.services, host, port):
            return
        raise ConfigurationError(
            f"the endpoint http://{host} would carry the credentials without TLS, where others can "
            f"read them: write https, or allow it by name with {ALLOW_PLAIN_HTTP}=({host!r},)"
        )

    def check_way(self, host: str, proxy: Proxy | None) -> None:
        """Refuse to send credentials in the clear to a proxy on another machine.

        A host that is allowed by name does not allow those on the way to it.

        :param proxy: What leads to a host that :meth:`check_service` has passed.
        :raises ConfigurationError: The proxy is another machine, and not allowed by name.
        """
        if proxy is None or is_loopback(proxy.host):
            return
        if _is_among(self.services, proxy.host, proxy.port):
            return
        hosts = (proxy.host,) if is_loopback(host) else (host, proxy.host)
        raise ConfigurationError(
            f"the endpoint http://{host} is spoken to without TLS, and {proxy.named_by} would "
            f"carry the credentials to the proxy {proxy.name}, which can read them: go past it "
            f"with {proxy.way_past}, or allow it by name with {ALLOW_PLAIN_HTTP}={hosts!r}"
        )

    def check_link(self, what: str, host: str, port: int) -> None:
        """Refuse a presigned URL without TLS that a service with TLS gave.

        :param what: The link is for, for the error.
        :raises ConfigurationError: The URL leads to another machine that is not allowed by name.
        """
        if is_loopback(host) or _is_among(self.stores, host, port):
            return
        raise ConfigurationError(
            f"the service speaks https and gave an http URL of {host} for {what}, which would "
            "travel without TLS: that is refused, unless the host is allowed by name with "
            f"{ALLOW_PLAIN_PART_URLS}=({host!r},)"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine; names are not looked up.

    :param host: An IPv6 address without brackets.
    """
    name = _plainly(host)
    if name == _LOCALHOST or name.endswith(f".{_LOCALHOST}"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_among(allowed: frozenset[str], host: str, port: int) -> bool:
    name = _plainly(host)
    return name in allowed or f"{name}:{port}" in allowed


def _plainly(host: str) -> str:
    """Return a host, perhaps with a port, in the one form that is compared."""
    host = host.strip().lower()
    if host.startswith("["):
        inside, _, behind = host[1:].partition("]")
        return inside + behind
    name, colon, port = host.rpartition(":")
    if colon and ":" not in name:
        return f"{name.rstrip('.')}:{port}"
    return host.rstrip(".")
