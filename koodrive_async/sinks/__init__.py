"""Ways to show or log how a backup goes.

:func:`show` chooses by where the program runs, and takes any of the others as well::

    async with drive.backup(device_id, Module.FOLDER) as session, show(session):
        async for outcome in session.upload_tree("photos"):
            ...

Sessions of :mod:`koodrive_async.sync` are shown in the same way, with ``with``.

===================== ==================================================== ============
sink                  what it does                                         extra
===================== ==================================================== ============
:class:`RichSink`     bars on a terminal, with the largest files below     ``cli``
:class:`NotebookSink` a table in a notebook, which is saved with it        ``notebook``
:class:`TqdmSink`     two bars of tqdm, in a terminal or a notebook        ``notebook``
:class:`PlainSink`    lines, for a file or the log of a machine
:class:`JsonSink`     a JSON object for each event, in lines
:class:`LoggingSink`  records of the standard library's logging
:class:`Sink`         what to derive your own from
===================== ==================================================== ============

No sink can stop or slow a backup: what fails or blocks is left behind.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koodrive_async.sinks.json_lines import JsonSink
    from koodrive_async.sinks.logs import LoggingSink
    from koodrive_async.sinks.notebook import NotebookSink
    from koodrive_async.sinks.plain import PlainSink
    from koodrive_async.sinks.showing import show, sink_for_here
    from koodrive_async.sinks.sink import Sink
    from koodrive_async.sinks.terminal import RichSink
    from koodrive_async.sinks.tqdm_bars import TqdmSink

__all__ = [
    "JsonSink",
    "LoggingSink",
    "NotebookSink",
    "PlainSink",
    "RichSink",
    "Sink",
    "TqdmSink",
    "show",
    "sink_for_here",
]

_HOME = {
    "JsonSink": "json_lines",
    "LoggingSink": "logs",
    "NotebookSink": "notebook",
    "PlainSink": "plain",
    "RichSink": "terminal",
    "Sink": "sink",
    "TqdmSink": "tqdm_bars",
    "show": "showing",
    "sink_for_here": "showing",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
