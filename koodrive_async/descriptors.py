"""File descriptors: how many there are for a client, and waiting until one is free.

A process may have only so many files and sockets open at a time (``ulimit -n``). Where there are
few, a client opens fewer, so that it leaves enough for its program. Where they run out all the
same, since other code opens files too, the client waits instead of failing a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import sys
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

logger: logging.Logger = logging.getLogger(__name__)

NEEDED: Final = 12
"""Descriptors with which a client works, one file at a time: two connections to the service and one
to the object store, two folders, a file, a temporary file, and those of a journal and its locks.
With fewer it would wait for those that it has itself."""

_OF_ANY_PROGRAM = 10
"""Descriptors that a program has open all the time, such as its standard streams and event loop."""

_WARNED_AFTER = 1.0
"""Seconds of waiting for a descriptor after which a warning says so."""

PATIENCE: Final = 60.0
"""Seconds for which a descriptor is waited for."""

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5

_SPARE = 10
"""Descriptors kept in reserve: for the journal, name resolution, files of TLS."""

_RAISED_TO = 8192
"""The soft limit that the command sets for itself, where the system allows it."""


@attrs.frozen
class DescriptorShares:
    """How many descriptors one client uses at a time, each for its purpose.

    :ivar connections: Connections to the object store.
    :ivar calls: Connections to the service.
    :ivar files: Files that stay open until they are sent; small ones do not.
    :ivar streams: Temporary files of streams.
    """

    connections: int = 1024
    calls: int = 1024
    files: int = 1024
    streams: int = 1024

    @classmethod
    def of(cls, free: int | None) -> DescriptorShares:
        """Share out what is free.

        :param free: Descriptors; None where there is no limit.
        """
        if free is None:
            return cls()
        usable = max(0, free - _SPARE)
        # together with the folders of a walk, which take up to a sixteenth: all of it
        return cls(
            connections=max(1, usable * 5 // 16),
            calls=max(2, usable * 4 // 16),
            files=max(1, usable * 4 // 16),
            streams=max(1, usable * 2 // 16),
        )


def free_descriptors() -> int | None:
    """Return how many more files and sockets this process may open; None where nothing limits it.

    It blocks for a moment.

    :raises OSError: Not a single descriptor is free.
    """
    limit = _limit()
    if limit is None:
        return None
    try:
        opened = len(os.listdir("/dev/fd"))  # noqa: PTH208 - a Path takes ten times as long
    except FileNotFoundError:  # no /proc, as in some containers
        open_one()
        return limit
    return max(0, limit - opened)


def enough_descriptors() -> int | None:
    """Return how many more files and sockets this process may open, if a client can work with them.

    It blocks for a moment.

    :returns: As :func:`free_descriptors`.
    :raises TooFewDescriptorsError: The limit is too low for any client.
    :raises OSError: Too few are free at the moment.
    """
    limit = _limit()
    try:
        free = free_descriptors()
    except OSError as error:
        if not ran_out(error):
            raise
        free = 0
    if limit is None or free is None or free >= NEEDED:
        return free
    kind = TooFewDescriptorsError if limit < NEEDED + _OF_ANY_PROGRAM else OSError
    raise kind(
        errno.EMFILE,
        f"too few files can be opened: the limit of this process is {limit} (ulimit -n), free are "
        f"{free}, and a client needs {NEEDED}",
    )


class TooFewDescriptorsError(OSError):
    """The limit of open files is too low; it makes no sense to wait."""


def _limit() -> int | None:
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def raise_limit() -> None:
    """Raise the limit of this process as far as it may, for a program that owns its process."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _RAISED_TO if hard == resource.RLIM_INFINITY else min(hard, _RAISED_TO)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # some systems know a lower one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_one() -> None:
    """Open and close something.

    :raises OSError: There is no descriptor for it.
    """
    os.close(os.open(os.devnull, os.O_RDONLY))


def ran_out(error: BaseException) -> bool:
    """Return whether something could not be opened because too many files are open already."""
    error = getattr(error, "os_error", error)  # where aiohttp has it
    return isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}


async def when_one_is_free(attempt: Callable[[], Awaitable[T]], *, patience: float = PATIENCE) -> T:
    """Open something, and try again while there is no descriptor for it.

    :param attempt: Opens it; called again after a pause.
    :param patience: Seconds after which its error is raised.
    """
    loop = asyncio.get_running_loop()
    began, pause, warned = loop.time(), _FIRST_PAUSE, False
    while True:
        try:
            return await attempt()
        except Exception as error:
            waited = loop.time() - began
            if not ran_out(error) or isinstance(error, TooFewDescriptorsError):
                raise
            if waited >= patience:
                _name_limit(error)
                raise
            if waited >= _WARNED_AFTER and not warned:
                warned = True
                logger.warning(
                    "waiting for a free descriptor, for %g s at most: this process may open %s "
                    "files (ulimit -n), and has as many open",
                    patience,
                    _limit(),
                )
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _name_limit(error: Exception) -> None:
    if isinstance(error, OSError) and error.strerror and "ulimit" not in error.strerror:
        error.strerror = f"{error.strerror}: this process may open {_limit()} (ulimit -n)"
