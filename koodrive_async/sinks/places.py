"""Where a program runs: on a terminal, in a notebook, or writing to a file."""

from __future__ import annotations

import sys


def is_terminal(stream: object) -> bool:
    """Whether what is written to a stream is seen on a terminal.

    The stream itself decides, not ``FORCE_COLOR``: that asks for colours, and not for bars that are
    moved about in a file.
    """
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]  # or it is no stream
    except (AttributeError, ValueError, OSError):  # no stream, one that is closed, or gone
        return False


def is_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # a notebook has loaded it
    get_ipython = getattr(ipython, "get_ipython", None)
    return get_ipython is not None and getattr(get_ipython(), "kernel", None) is not None
