"""One process that backs up a tree, goes on with what another one left, and may be killed.

It takes an order as JSON on its standard input, and tells what happens in lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.soak.order import CANCELLED, COMPLETED, GAVE_UP, LOCK_SECONDS, Order
from koodrive_async import (
    BearerToken,
    KooDrive,
    KooDriveError,
    Module,
    RetryPolicy,
    Timeouts,
    UploadFailure,
)
from koodrive_async.hashing import Fingerprinter
from koodrive_async.upload import plan
from koodrive_async.upload.source import Checkpoint, FileContent

PATIENCE = RetryPolicy(attempts=10, base_delay=0.05, max_delay=1.0, per_second=50, outage=0)
TIMEOUTS = Timeouts(
    connect=3, answer=4, complete=8, stall=3, lease=LOCK_SECONDS, lock=3 * LOCK_SECONDS, cleanup=1
)
LOGINS = 5
PROGRESS_EVERY = 0.5
LOOK_EVERY = 0.05
FAREWELL = 2.0
"""Seconds that a thread or socket may take to notice that nobody needs it any more."""


class UnfinishedError(Exception):
    """Files failed: the record must stay open for the next process."""


def main() -> None:
    """Do as ordered."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("koodrive_async.upload.delivery").addFilter(_tell_of_mending)
    order = Order.read(sys.stdin)
    # a legal part is 5 MiB at the least: this service takes smaller ones, so that many are cheap
    plan.DEFAULT_PART_SIZE = order.part_size
    FileContent.hash_some = _told(FileContent.hash_some)  # type: ignore[method-assign, assignment]  # to hear of it
    ending = asyncio.run(_run(order))
    tell("ended", threads=_threads())
    sys.exit(ending)


async def _run(order: Order) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    before = _descriptors()
    try:
        await _back_up(order)
    except UnfinishedError:
        return GAVE_UP
    except KooDriveError as error:
        tell("gave-up", error=type(error).__name__, text=str(error))
        return GAVE_UP
    except asyncio.CancelledError:
        return CANCELLED
    else:
        return COMPLETED
    finally:
        # sockets close some rounds after, and threads with what they were at
        until = time.monotonic() + FAREWELL
        while _descriptors() > before and time.monotonic() < until:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_EVERY)
        tell("descriptors", more=_descriptors() - before)


async def _back_up(order: Order) -> None:
    drive: KooDrive

    async def token() -> str:
        for attempt in range(1, LOGINS + 1):
            try:
                session = await drive.tokens.login(
                    order.account, agent_name="soak", password=order.password
                )
            except KooDriveError:
                if attempt == LOGINS:
                    raise
                await asyncio.sleep(0.1 * attempt)
            else:
                return session.access_token
        raise AssertionError

    failed = 0
    progress = _Progress()
    async with (
        KooDrive(
            order.endpoint,
            auth=BearerToken(token),
            user_id=order.user_id,
            timeouts=TIMEOUTS,
            retry=PATIENCE,
            journal=order.journal,
        ) as drive,
        drive.backup(
            order.device_id, Module.FOLDER, resume=order.resume, root=order.root
        ) as session,
    ):
        tell("record", id=session.record.record_id)
        async for outcome in session.upload_tree(order.root, on_progress=progress):
            if isinstance(outcome, UploadFailure):
                failed += 1
                error = outcome.error
                tell(
                    "failure",
                    path=outcome.description,
                    error=type(error).__name__,
                    text=str(error),
                    documented=isinstance(error, KooDriveError),
                )
            else:
                tell("file", path=outcome.description, outcome=outcome.outcome)
        if failed:
            raise UnfinishedError
    tell("completed")


class _Progress:
    """Tells now and then that something goes on."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, _: object) -> None:
        if time.monotonic() - self._told >= PROGRESS_EVERY:
            self._told = time.monotonic()
            tell("progress")


def tell(event: str, **fields: object) -> None:
    """Tell whoever started this process; one short line is written as a whole."""
    line = json.dumps({"event": event, **fields})
    os.write(1, line.encode() + b"\n")


HashSome = Callable[[FileContent, Fingerprinter, int, Checkpoint], int]


def _told(hash_some: HashSome) -> HashSome:
    def told(
        content: FileContent, fingerprinter: Fingerprinter, limit: int, checkpoint: Checkpoint
    ) -> int:
        tell("hashing", path=content.path, begun_at=fingerprinter.length)
        return hash_some(content, fingerprinter, limit, checkpoint)

    return told


def _tell_of_mending(record: logging.LogRecord) -> bool:
    """Tell of parts that are sent again for a good reason: the service refused the whole."""
    if "again" in record.msg and record.args:
        tell("mending", name=str(record.args[0]) if isinstance(record.args, tuple) else "")
    return True


def _threads() -> list[str]:
    """Return the threads that do not end."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    for thread in others:
        thread.join(FAREWELL)
    return [thread.name for thread in others if thread.is_alive()]


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


if __name__ == "__main__":
    main()
