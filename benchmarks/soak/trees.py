"""Trees of files such as backups meet: many small ones, and everything that is awkward."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

KIB: Final = 1024
MIB: Final = 1024 * KIB

FOLDERS: Final = ("", "photos/2024", "photos/2025", "photos/2025/July", "文档", "a: b", "x/y/z/w")
CHANGED: Final = 0.3
ADDED: Final = 0.2
REMOVED: Final = 0.03


@attrs.frozen(kw_only=True)
class Scale:
    """How much there is in a tree.

    :param small: Files up to 64 KiB, some of them empty and some the same.
    :param several: Files of some MiB, of several parts each.
    :param large: Files of ``large_size`` to a quarter more.
    :param large_size: Bytes.
    """

    small: int = 400
    several: int = 24
    large: int = 1
    large_size: int = 104 * MIB


class Tree:
    """A folder whose files are made of chance; the same seed makes the same tree.

    :param root: A folder that is made anew.
    """

    def __init__(self, root: Path, scale: Scale, seed: str) -> None:
        self.root = root
        self._scale = scale
        self._chance = random.Random(seed)  # noqa: S311 - the same seed must make the same tree
        self._made = 0
        shutil.rmtree(root, ignore_errors=True)
        for _ in range(scale.small):
            self._add_small()
        for _ in range(scale.several):
            self._add(".mov", self._chance.randint(MIB + 1, 4 * MIB))
        for _ in range(scale.large):
            self._add(".iso", self._chance.randint(scale.large_size, scale.large_size * 5 // 4))

    def change(self) -> None:
        """Let some time pass: files are written to, touched, added and removed."""
        paths = sorted(self._paths())
        for path in self._some(paths, CHANGED):
            self._change(path)
        for path in self._some([path for path in paths if path.suffix != ".iso"], REMOVED):
            path.unlink()
        for _ in range(int(self._scale.small * ADDED)):
            self._add_small()
        self._add(".mov", self._chance.randint(MIB + 1, 4 * MIB))

    def contents(self) -> dict[str, tuple[int, str]]:
        """Return size and digest of every file, by its path below the root."""
        found = {}
        for path in self._paths():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(self.root).as_posix()] = (path.stat().st_size, digest)
        return found

    def _paths(self) -> Iterator[Path]:
        return (path for path in self.root.rglob("*") if path.is_file())

    def _some(self, paths: list[Path], share: float) -> list[Path]:
        return self._chance.sample(paths, int(len(paths) * share))

    def _change(self, path: Path) -> None:
        content = path.read_bytes()
        how = self._chance.choice(("touch", "append", "overwrite", "shorten"))
        if how == "touch":
            path.touch()
        elif how == "append":
            path.write_bytes(content + self._chance.randbytes(self._chance.randint(1, 64 * KIB)))
        elif how == "shorten":
            path.write_bytes(content[: len(content) // 2])
        else:
            path.write_bytes(self._chance.randbytes(len(content)))

    def _add_small(self) -> None:
        kind = self._chance.random()
        if kind < 0.02:  # noqa: PLR2004 - one in fifty is empty
            self._add(".txt", 0)
        elif kind < 0.1 and self._made:  # noqa: PLR2004 - and four have the content of another
            twin = self._chance.choice(sorted(self._paths()))
            self._write(".jpg", twin.read_bytes())
        else:
            self._add(".jpg", int(2 ** self._chance.uniform(0, 16)))

    def _add(self, extension: str, size: int) -> None:
        self._write(extension, self._chance.randbytes(size))

    def _write(self, extension: str, content: bytes) -> None:
        """Write a file; every folder begins at the same number, as cameras do."""
        folder = self.root / self._chance.choice(FOLDERS)
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := folder / f"IMG_{number:04}{extension}").exists():
            number += 1
        if self._chance.random() < 0.02:  # noqa: PLR2004 - one in fifty has a name to be changed
            path = folder / f"note {number}: {'long ' * 10}?{extension}"
        path.write_bytes(content)
        self._made += 1
