"""Where the emulator listens: where it did the last time, if that can be had."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = "ports.json"
_HIGHEST: Final = 65535


def remembered(directory: Path) -> dict[str, int]:
    """Return the ports of the last run by the names of their sites; those that are known."""
    with suppress(OSError, ValueError):
        found = json.loads((directory / _FILE).read_text(encoding="ascii"))
        if isinstance(found, dict):
            return {name: port for name, port in found.items() if _is_port(port)}
    return {}


def remember(directory: Path, ports: dict[str, int]) -> None:
    """Note the ports: clients and their journals know a service by its address."""
    file = directory / _FILE
    file.touch(mode=0o600)
    file.write_text(json.dumps(ports), encoding="ascii")


def listening(host: str, port: int, last: int | None = None) -> socket.socket:
    """Bind a socket.

    :param port: 0 for any free one.
    :param last: The one to have in that case, if it is free.
    :raises OSError: when the port is in use, with host and port in the message.
    """
    if port == 0 and last is not None:
        with suppress(OSError):
            return _bound(host, last)
    return _bound(host, port)


def _is_port(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= _HIGHEST


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port that was just left by another run may be used again.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return sock
