"""Saying what a command waits for: a service that does not answer, or the backup lock."""

from __future__ import annotations

import logging
import queue
import re
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.json_output import json_text, wants_json
from koodrive_async.cli.wording import printable, time_text
from koodrive_async.config import RetryPolicy
from koodrive_async.errors import DeadlineExceeded, LockRefused, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Say = Callable[[str], object]

_RETRIES: Final = "koodrive_async.transport.retry"
_OUTAGES: Final = "koodrive_async.transport.outage"
_LOCKS: Final = "koodrive_async.resources.locks"
_SERVICE: Final = "the service"
"""The name of the service in the log."""

_ANOTHER_TIME: Final = 30.0
"""Seconds after which the same wait is reported again."""

_TO_WRITE: Final = 0.5
"""Seconds that a terminal that has been stopped may take for the last line."""


def tell_of_waits(ctx: click.Context, host: str, say: Say | None) -> None:
    """Say that the service is waited for, until the command is over.

    On a terminal each new attempt of a call is reported; anywhere else an outage that a backup
    waits for, and its end. With ``--quiet`` nothing is reported.

    :param host: Where the service is.
    :param say: How to say it; on standard error by default. It may block.
    """
    if ctx.params.get("quiet"):
        return
    as_json = wants_json(ctx)
    teller = ctx.with_resource(_telling(say or partial(click.echo, err=True), as_json=as_json))
    attempts_too = sys.stderr.isatty() and not as_json
    handler = _OfTheService(host, teller, attempts_too=attempts_too)
    for name in (_RETRIES, _OUTAGES):
        ctx.with_resource(_listening(name, handler))


@contextmanager
def telling_of_the_lock(
    ctx: click.Context, say: Say | None, *, show: Say, who: Callable[[], str]
) -> Iterator[None]:
    """Say that the backup lock is waited for: at once, and every half minute.

    :param say: How to say it; on standard error by default. It may block.
    :param show: Shows the same for a few seconds, to a person who watches; it must not block.
    :param who: Returns which client holds the lock; it may block.
    """
    if ctx.params.get("quiet"):
        yield
        return
    with (
        _telling(say or partial(click.echo, err=True), as_json=wants_json(ctx)) as teller,
        _listening(_LOCKS, _OfTheLock(teller, show, who)),
    ):
        yield


@contextmanager
def _listening(name: str, handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    if logger.getEffectiveLevel() > handler.level:
        logger.setLevel(handler.level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def _telling(say: Say, *, as_json: bool) -> Iterator[Callable[[Callable[[], str]], object]]:
    """Start a thread that writes texts in their order: the reader may take its time.

    The value is a function that queues a text; it takes a callable, which may block as well.
    """
    texts: queue.SimpleQueue[Callable[[], str] | None] = queue.SimpleQueue()

    def write() -> None:
        while (text := texts.get()) is not None:
            words = text()
            say(json_text({"waiting": {"message": words}}) if as_json else words)

    thread = threading.Thread(target=write, name="koodrive waiting", daemon=True)
    thread.start()
    try:
        yield texts.put
    finally:
        texts.put(None)
        thread.join(_TO_WRITE)


class _OfTheService(logging.Handler):
    """Reports logged retries of calls and outages in words; parts have bars of their own.

    :param attempts_too: Whether single attempts are said as well.
    """

    def __init__(
        self, host: str, report: Callable[[Callable[[], str]], object], *, attempts_too: bool
    ) -> None:
        super().__init__(logging.WARNING)
        self._host = printable(host)
        self._report = report
        self._attempts_too = attempts_too
        self._last = (0, -_ANOTHER_TIME)
        self._outages: dict[str, tuple[str, float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Say what is waited for, once for all calls that wait at the same time."""
        if not isinstance(record.args, tuple):
            return
        if record.name == _OUTAGES:
            self._of_outage(*record.args)
        elif self._outages:
            self._remind()
        elif self._attempts_too:
            self._of_attempt(*record.args)

    def _of_outage(self, *args: object) -> None:
        match args:
            case (str(place), str(began), float(longest) | int(longest), TransportError() as error):
                why, limit = _why(error), _length(longest)
            case (str(place), str(began), float(longest) | int(longest), Exception() as error):
                why, limit = printable(str(error)), _length(longest)
            case (str(place), float(seconds) | int(seconds)):
                self._outages.pop(place, None)
                words = f"{self._named(place)} can be reached again, after {_length(seconds)}"
                self._report(lambda: words)
                return
            case _:
                return
        text = f"waiting for {self._named(place)}: {why} (since {began} UTC, at most {limit})"
        self._outages[place] = text, time.monotonic()
        self._report(lambda: text)

    def _remind(self) -> None:
        now = time.monotonic()
        for place, (text, said_at) in tuple(self._outages.items()):
            if now >= said_at + _ANOTHER_TIME:
                self._outages[place] = text, now
                self._report(lambda text=text: text)  # type: ignore[misc]  # bound now, not later

    def _of_attempt(self, *args: object) -> None:
        if len(args) != 4:  # noqa: PLR2004 - as logged
            return
        name, attempt, _, error = args
        if name or not isinstance(attempt, int) or not isinstance(error, TransportError):
            return
        number, moment = self._last
        if attempt <= number and time.monotonic() < moment + _ANOTHER_TIME:
            return
        self._last = attempt, time.monotonic()
        tries = f"attempt {attempt + 1} of {RetryPolicy().attempts}"
        words = f"waiting for {self._host}: {_why(error)} ({tries})"
        self._report(lambda: words)

    def _named(self, place: str) -> str:
        return self._host if place == _SERVICE else printable(place)


class _OfTheLock(logging.Handler):
    """Reports in words what is logged while a backup waits for the lock."""

    def __init__(
        self,
        report: Callable[[Callable[[], str]], object],
        show: Say,
        who: Callable[[], str],
    ) -> None:
        super().__init__(logging.INFO)
        self._report = report
        self._show = show
        self._who = who
        self._said_at = -_ANOTHER_TIME

    def emit(self, record: logging.LogRecord) -> None:
        """Report the wait, but not every time that the lock is asked for."""
        match record.args:
            case (float(left) | int(left), LockRefused()):
                words = f"waiting for the backup lock, at most {_length(left)} more"
            case _:
                return
        self._show(words)
        if time.monotonic() >= self._said_at + _ANOTHER_TIME:
            self._said_at = time.monotonic()
            self._report(lambda: f"{words}: {self._who()}")


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else time_text(seconds)  # noqa: PLR2004 - as read


def _why(error: TransportError) -> str:
    if isinstance(error, DeadlineExceeded):
        return "no answer in time"
    words = str(error.args[0]).partition("\n")[0]
    if found := re.fullmatch(r"cannot connect to [^ ]+ \((.+)\)", words):
        words = found[1]
    return printable(words[:1].lower() + words[1:])
