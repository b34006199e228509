"""A presigned URL, as something to connect to and something to ask for."""

from __future__ import annotations

import re

import attrs

_LAST_PORT = 65535

# A host or an IPv6 address, nobody who signs in, and nothing that would end a line or is not ASCII.
_URL = re.compile(
    r"(https?)://"
    r"(\[[0-9a-f:.]+\]|[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?)"
    r"(?::([0-9]{1,5}))?"
    r"((?:[/?][!-\"$-~]*)?)"
    r"(?:\#[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)


@attrs.frozen
class Target:
    """A presigned URL taken apart; not a byte of what is signed is changed.

    :ivar authority: As in the ``Host`` header.
    :ivar path: Path and query.
    """

    tls: bool
    host: str
    port: int
    authority: str
    path: str = attrs.field(repr=False)

    @classmethod
    def of(cls, url: str) -> Target:
        """Take a URL apart.

        :raises ValueError: It is not one that can be sent; the text does not show it.
        """
        found = _URL.fullmatch(url)
        if found is None or int(found[3] or 0) > _LAST_PORT:
            raise ValueError("the presigned URL is not an http or https URL of a host")
        scheme, host, port, path = found.groups()
        tls = scheme.lower() == "https"
        default = "443" if tls else "80"
        return cls(
            tls=tls,
            host=host.strip("[]"),
            port=int(port or default),
            authority=host if port in {None, default} else f"{host}:{port}",
            path=path if path.startswith("/") else f"/{path}",
        )
