"""The files on this machine, found with the standard library alone."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def local_files(path: Path) -> dict[str, Path]:
    """Return the regular files at or below a path by their relative paths, with ``/``.

    Symbolic links are not followed. It blocks.
    """
    if not path.is_dir():
        return {path.name: path}
    return {file.relative_to(path).as_posix(): file for file, _ in _below(path)}


def total_size(path: Path) -> int:
    """Return the bytes of the same files. It blocks.

    :raises OSError: A single file is gone.
    """
    if not path.is_dir():
        return path.stat().st_size
    return sum(status.st_size for _, status in _below(path))


def _below(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for file in (Path(folder, name) for name in sorted(names)):
            # one that has just gone is not there
            with suppress(FileNotFoundError):
                status = file.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield file, status
