"""The files on this machine, found by other code than the uploader's."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from koodrive_async.upload.paths import path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.upload.tree import TreeRules


def local_files(path: Path) -> dict[str, Path]:
    """Return the regular files at or below a path by the text of their relative paths.

    Symbolic links are not followed. It blocks.
    """
    if not path.is_dir():
        return {path_text(path.name): path}
    return {path_text(file.relative_to(path)): file for file, _ in _below(path, None)}


def total_size(path: Path, rules: TreeRules | None = None) -> int:
    """Return the bytes of the same files, or of those that rules take. It blocks.

    :raises OSError: A single file is gone.
    """
    if not path.is_dir():
        return path.stat().st_size
    return sum(status.st_size for _, status in _below(path, rules))


def _below(root: Path, rules: TreeRules | None) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, names in os.walk(root):
        if rules is not None:
            parent = Path(folder).relative_to(root)
            folders[:] = [
                name for name in folders if rules.takes_folder((parent / name).as_posix())
            ]
            names[:] = [name for name in names if rules.takes_file((parent / name).as_posix())]
        folders.sort()
        for file in (Path(folder, name) for name in sorted(names)):
            # one that has just gone is not there
            with suppress(FileNotFoundError):
                status = file.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield file, status
