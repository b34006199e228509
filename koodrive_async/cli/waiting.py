"""Saying that a service does not answer, while a call to it is tried again."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from koodrive_async.cli.json_output import wants_json
from koodrive_async.cli.wording import printable
from koodrive_async.config import RetryPolicy
from koodrive_async.errors import DeadlineExceeded, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG: Final = "koodrive_async.transport.retry"
_ANOTHER_TIME: Final = 30.0
"""Seconds after which a call that waits is told of again, whatever others have waited for."""


def tell_of_waits(ctx: click.Context, host: str, say: Callable[[str], object] | None) -> None:
    """Say on a terminal that calls are tried again, until the command is over.

    :param host: Whom they are for.
    :param say: How to say it; on standard error by default.
    """
    if not sys.stderr.isatty() or wants_json(ctx) or ctx.params.get("quiet"):
        return
    ctx.with_resource(_telling(host, say or _say))


@contextmanager
def _telling(host: str, say: Callable[[str], object]) -> Iterator[None]:
    handler = _Waiting(host, say)
    logger = logging.getLogger(_LOG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _say(text: str) -> None:
    # a terminal that has been stopped with Ctrl-S stops no event loop
    threading.Thread(target=partial(click.echo, text, err=True), daemon=True).start()


class _Waiting(logging.Handler):
    """Makes words of what is logged of calls; parts have bars of their own."""

    def __init__(self, host: str, say: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._host = host
        self._say = say
        self._last = (0, -_ANOTHER_TIME)

    def emit(self, record: logging.LogRecord) -> None:
        """Say who is waited for, once for all calls that wait at the same time."""
        if not isinstance(record.args, tuple) or len(record.args) != 4:  # noqa: PLR2004 - as logged
            return
        name, attempt, _, error = record.args
        if name or not isinstance(attempt, int) or not isinstance(error, TransportError):
            return
        number, moment = self._last
        if attempt <= number and time.monotonic() < moment + _ANOTHER_TIME:
            return
        self._last = attempt, time.monotonic()
        tries = f"attempt {attempt + 1} of {RetryPolicy().attempts}"
        self._say(f"waiting for {printable(self._host)}: {_why(error)} ({tries})")


def _why(error: TransportError) -> str:
    if isinstance(error, DeadlineExceeded):
        return "no answer in time"
    words = str(error.args[0]).partition("\n")[0]
    if found := re.fullmatch(r"cannot connect to [^ ]+ \((.+)\)", words):
        words = found[1]
    return printable(words[:1].lower() + words[1:])
