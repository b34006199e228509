"""Run the command many times in a moment: each time in a fork of a process that has loaded it.

Its input is one JSON object: ``commands``, lists of arguments, ``stdout`` and ``stderr``, files or
null for a pipe that is read, and ``gone``, a folder to be removed under the command, or null. Its
output is a list of exit code and what came on standard error.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module

from koodrive_async.cli import app, main

LOST = "lost"
"""In the place of a file: a pipe that no process reads."""


def run(arguments, asked):
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.close(ours)
        become(arguments, asked, theirs)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as reading:
        err = reading.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), err


def become(arguments, asked, theirs):
    """Be the command, as if it had just been started."""
    if asked["gone"] is not None:
        os.mkdir(asked["gone"])  # noqa: PTH102 - beside the others
        os.chdir(asked["gone"])
        os.rmdir(asked["gone"])  # noqa: PTH106 - beside the others
    for number, file in ((1, asked["stdout"]), (2, asked["stderr"])):
        os.dup2(theirs if file is None else opened(file), number)
    os.close(theirs)
    encoding = sys.stdout.encoding  # as the environment says
    for number, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, open(number, "w", encoding=encoding, closefd=False))  # noqa: SIM115 - for good
        setattr(sys, f"__{name}__", getattr(sys, name))
        getattr(sys, name).buffer.raw.name = f"<{name}>"
    sys.argv = ["koodrive", *arguments]
    main()


def opened(file):
    if file == LOST:
        ours, theirs = os.pipe()
        os.close(ours)
        return theirs
    return os.open(file, os.O_WRONLY | os.O_APPEND)


LOADED_LATE = (
    "_strptime",
    "anyio._backends._asyncio",
    "encodings.idna",
    "filelock",
    "koodrive_async.upload.journal_calls",
    "koodrive_async.upload.journal_file",
)
"""What commands load when they need it, so that each of the forks need not."""


if __name__ == "__main__":
    for module, _ in app._COMMANDS.values():
        import_module(f"koodrive_async.cli.{module}")
    for module in LOADED_LATE:
        import_module(module)
    gc.freeze()  # a collection in a fork would copy all that is loaded
    wanted = json.load(sys.stdin)
    results = [run(each, wanted) for each in wanted["commands"]]
    json.dump(results, sys.stdout)
