"""How a connection ends that was not answered to the end, and how to see that one is over."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class CutError(Exception):
    """The connection ends here, without an answer, or without the rest of one.

    :param reset: whether the other side sees a reset; otherwise an orderly end.
    """

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


def is_over(transport: asyncio.Transport | None) -> bool:
    """Return whether the other side has left, also while nobody reads from the connection."""
    if transport is None or transport.is_closing():
        return True
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    watch = select.poll()
    watch.register(sock.fileno(), 0)  # a reset and a closed end are always told
    return bool(watch.poll(0))
