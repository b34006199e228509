"""The files below a folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from anyio import to_thread

from koodrive_async.resources.arguments import FORBIDDEN_IN_FILE_NAMES, MAX_FILE_NAME
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.receipt import UploadFailure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

logger = logging.getLogger(__name__)


async def tree_items(
    root: str | os.PathLike[str], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> AsyncIterator[UploadItem | UploadFailure]:
    """Walk a folder in worker threads, a folder at a time and in sorted order.

    :param root: The folder. Symbolic links below it are not followed.
    :param include: Patterns of files to take, as in :meth:`pathlib.PurePath.match` on the relative
        path (``*.jpg``, ``photos/*.jpg``); all by default.
    :param exclude: Patterns of files and folders to leave out.
    :returns: An item for each regular file, with the relative path as its description (a record has
        no folders), and a failure for each folder that cannot be read.
    :raises OSError: ``root`` itself is missing or not a folder.
    """
    top = Path(root)
    folders = [PurePosixPath()]
    while folders:
        folder = folders.pop()
        try:
            listing = await to_thread.run_sync(_list, top, folder, include, exclude)
        except OSError as error:
            if folder == PurePosixPath():
                raise
            yield UploadFailure(
                source=top / folder,
                name=folder.name,
                error=error,
                description=_description(folder),
            )
            continue
        folders += [folder / name for name in reversed(listing.folders)]
        for name in listing.files:
            path = folder / name
            yield UploadItem(
                source=top / path, name=record_name(name), description=_description(path)
            )


def record_name(name: str) -> str:
    """Return a name that the interface allows, as close to ``name`` as possible.

    Forbidden characters and bytes that are not Unicode become ``_``, and a name that is too long
    loses characters before its extension; the description keeps the true path.
    """
    name = os.fsencode(name).decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "_")
    allowed = "".join(
        "_" if character in FORBIDDEN_IN_FILE_NAMES else character for character in name
    )
    if len(allowed) <= MAX_FILE_NAME:
        return allowed
    extension = PurePosixPath(allowed).suffix[:MAX_FILE_NAME]
    return allowed[: MAX_FILE_NAME - len(extension)] + extension


def _description(path: PurePosixPath) -> str:
    # bytes that are not Unicode are written out, as in \xff
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")


class _Listing(NamedTuple):
    """The names in one folder, sorted; no more than these, for a folder may hold very many."""

    files: list[str]
    folders: list[str]


def _list(
    top: Path, folder: PurePosixPath, include: Sequence[str], exclude: Sequence[str]
) -> _Listing:
    found = _Listing([], [])
    with os.scandir(top / folder) as entries:
        for entry in entries:
            if exclude and _matches(folder / entry.name, exclude):
                continue
            if entry.is_dir(follow_symlinks=False):
                found.folders.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                if not include or _matches(folder / entry.name, include):
                    found.files.append(entry.name)
            else:
                logger.debug("neither a file nor a folder, left out: %s", folder / entry.name)
    found.files.sort()
    found.folders.sort()
    return found


def _matches(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    return any(path.match(pattern) for pattern in patterns)
