"""Files that only their owner can read, and that are there whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from koodrive_async.os_errors import naming

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""What others than the owner may do, in a mode."""


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can look into.

    :raises OSError: It cannot be made.
    """
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & OTHERS:
        folder.chmod(0o700)


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone; one that is there stays as it is.

    :raises OSError: It cannot be made.
    """
    # what is made on the way to a folder does not get its mode, but the default one
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def replace_file(file: Path, text: str) -> None:
    """Write a file that nobody else could read at any time, in place of the one that is there.

    :raises OSError: It cannot be written; the one that is there stays.
    """
    # made with mode 600, and under a name that no other file has
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    new = Path(name)
    try:
        with naming(file), os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
