"""The documented calls: name, method, path, and who may make them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "/koodrive/ose/v1"
PREFIX_2: Final = "/koodrive/ose/v2"


@attrs.frozen
class Route:
    """One call of the interface.

    :param name: how faults, the log of requests and the tables of field rules name it.
    :param path: path below the prefix, with ``{ids}``.
    :param locked: whether its page demands ``x-backup-lock-id``.
    :param prefix: what the path begins with.
    """

    name: str
    method: str
    path: str
    locked: bool = False
    prefix: str = PREFIX

    def match(self, method: str, path: str) -> Mapping[str, str] | None:
        """Return the ids in a path, or ``None`` when it is not a path of this call."""
        if method != self.method:
            return None
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.prefix + self.path)
        found = re.fullmatch(pattern, path)
        if found is None:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items()}


INTERFACE: Final = (
    Route("devices.bind", "POST", "/backup/device"),
    Route("devices.list", "GET", "/backup/device"),
    Route("devices.unbind", "DELETE", "/backup/device/{deviceId}"),
    Route("configs.list", "GET", "/backup/device/{deviceId}/configs"),
    Route("configs.get", "GET", "/backup/device/{deviceId}/config"),
    Route("configs.update", "PATCH", "/backup/device/{deviceId}/config"),
    Route("scopes.add", "POST", "/backup/device/{deviceId}/scope"),
    Route("scopes.list", "GET", "/backup/device/{deviceId}/scope"),
    Route("scopes.delete", "DELETE", "/backup/device/{deviceId}/scope"),
    Route("locks.create", "POST", "/backup/lock"),
    Route("locks.renew", "PATCH", "/backup/lock", locked=True),
    Route("locks.release", "DELETE", "/backup/lock", locked=True),
    Route("records.create", "POST", "/backup/record", locked=True),
    Route("records.list", "GET", "/backup/record"),
    Route("records.get", "GET", "/backup/record/{recordId}"),
    Route("records.complete", "PATCH", "/backup/record/{recordId}", locked=True),
    Route("records.delete", "DELETE", "/backup/record/{recordId}", locked=True),
    Route("files.create", "POST", "/backup/record/{recordId}/file", locked=True),
    Route("files.list", "GET", "/backup/record/{recordId}/files"),
    Route("files.create_ordinary", "POST", "/files/create"),
    Route("files.part_urls", "POST", "/files/multipart/uploadUrl"),
    Route("files.complete", "POST", "/files/complete"),
    Route("files.download_urls", "POST", "/files/download"),
    Route("files.details", "POST", "/files/{fileId}/detail"),
    Route("spaces.get", "GET", "/space/{ownerId}"),
    Route("spaces.list", "GET", "/space/{ownerId}", prefix=PREFIX_2),
    Route("tokens.login", "POST", "/auth/login"),
    Route("tokens.refresh", "POST", "/auth/refreshToken"),
)
PART_PUT: Final = "part.put"
OBJECT_GET: Final = "object.get"
UNKNOWN: Final = "unknown"

ROUTES: Final = (*(route.name for route in INTERFACE), PART_PUT, OBJECT_GET)
"""Every name that a fault or a question to the log of requests may use."""


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """Return the call that a request is for, with the ids in its path."""
    for route in INTERFACE:
        if (ids := route.match(method, path)) is not None:
            return route, ids
    return None
