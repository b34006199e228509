"""The ``koodrive`` command; needs the extra ``cli``."""

from __future__ import annotations

import signal
import sys

from koodrive_async.cli.interruption import hear_signals, leave, restore
from koodrive_async.cli.streams import guarded_streams

__all__ = ["main"]

_EXTRA = frozenset({"click", "pathspec", "rich", "tomlkit"})


def main() -> None:
    """Run the command line and exit with its code."""
    before = hear_signals(leave)
    try:
        with guarded_streams():
            _run()
    finally:
        # nothing is left to do that a signal could interrupt
        kept = (signal.SIG_IGN, None)
        restore({number: signal.SIG_DFL for number, was in before.items() if was not in kept})


def _run() -> None:
    try:
        from koodrive_async.cli.app import koodrive  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit(
            f"error: the koodrive command needs {error.name}: pip install 'koodrive-async[cli]', "
            "or '.[cli]' in its folder"
        )
    koodrive(prog_name="koodrive")
