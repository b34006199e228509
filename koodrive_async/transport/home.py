"""Where a client was entered: its connections and locks are of no use anywhere else."""

from __future__ import annotations

import asyncio
import os

from koodrive_async.errors import ForkedClient, WrongEventLoop


def check_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    :raises WrongEventLoop: No event loop of asyncio is running.
    """
    if (loop := _running_loop()) is None:
        raise WrongEventLoop(
            "KooDrive needs a running event loop of asyncio: enter it in what "
            "asyncio.run() runs, or what anyio runs on asyncio (trio is not supported); programs "
            "without an event loop use koodrive_async.sync"
        )
    return loop


class Home:
    """The process and the event loop that this is made in."""

    __slots__ = ("_loop", "_process")

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = check_loop()

    def check(self) -> None:
        """Refuse to go on elsewhere, where waiting might never end.

        :raises ForkedClient: This is another process.
        :raises WrongEventLoop: This is another event loop, or none.
        """
        # the process first: a forked one has no running loop as far as asyncio knows
        if os.getpid() != self._process:
            raise ForkedClient(
                f"this client was entered in process {self._process} and is used in process "
                f"{os.getpid()}, which was forked from it: its connections belong to the first "
                "one; make and enter another KooDrive here"
            )
        if _running_loop() is not self._loop:
            raise WrongEventLoop(
                "this client was entered in another event loop, which its connections belong to: "
                "use it there (asyncio.run_coroutine_threadsafe reaches it from another thread), "
                "or make and enter another KooDrive here"
            )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
