"""The ``koodrive`` command; needs the extra ``cli``."""

from __future__ import annotations

import os
import signal
import sys

from koodrive_async.cli.interruption import hear_signals, leave, restore

__all__ = ["main"]

_EXTRA = frozenset({"click", "pathspec", "rich", "tomlkit"})


def main() -> None:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    before = hear_signals(leave)
    try:
        _run()
    finally:
        # nothing is left to do that a signal could interrupt
        kept = (signal.SIG_IGN, None)
        restore({number: signal.SIG_DFL for number, was in before.items() if was not in kept})


def _open_closed_streams() -> None:
    """Let nothing else get the numbers of the standard streams: it would be written into."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - no path, and for good


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
