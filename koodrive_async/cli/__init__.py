"""The ``koodrive`` command; needs the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = frozenset({"click", "rich"})


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from koodrive_async.cli.app import koodrive  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit(
            f"error: the koodrive command needs {error.name}: pip install 'koodrive-async[cli]'"
        )
    koodrive(prog_name="koodrive")
