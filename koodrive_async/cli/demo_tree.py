"""A small tree of files such as people have, made for the demo."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MIB: Final = 2**20

_MONTHS: Final = ("2024/12", "2025/07", "2025/08")
_PHOTOS_A_MONTH: Final = 8
_PHOTO_SIZES: Final = (300_000, 2_500_000)
_NOTE: Final = "照片按年和月存放。\nPhotos are kept by year and month.\n"


def make_tree(root: Path) -> None:
    """Make about 60 MB in 30 files; their contents are random, no two trees are alike.

    :param root: A folder that is not there yet.
    """
    chance = random.Random()  # noqa: S311 - photos need no secrets
    for month in _MONTHS:
        # every month begins at IMG_0001, as cameras do: a record must keep them apart
        for number in range(1, _PHOTOS_A_MONTH + 1):
            content = chance.randbytes(chance.randint(*_PHOTO_SIZES))
            _write(root / "photos" / month / f"IMG_{number:04}.jpg", content)
    # four parts, the last of one byte
    _write(root / "videos" / "birthday.mp4", chance.randbytes(24 * MIB + 1))
    _write(root / "文档" / "备份说明.txt", _NOTE.encode())
    _write(root / "notes" / "shopping list.txt", b"milk\nbread\na larger disk\n" * 20)
    _write(root / "notes" / "empty.txt", b"")
    # the same bytes under another name: the service need not be sent them again
    original = root / "photos" / _MONTHS[0] / "IMG_0001.jpg"
    _write(root / "wallpapers" / "winter.jpg", original.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
