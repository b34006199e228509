"""Opening what a walk over a tree has listed, and nothing that was put in its place meanwhile.

Between the listing of a folder and the opening of a file in it, any user who may write there can
replace the file, or a folder on the way to it, by a symbolic link. Opened by its path, the file
would be another one: one that only the user who runs the backup may read. So every step from the
root down is made from the descriptor of the folder before (``openat``), and no step follows a link
(``O_NOFOLLOW``). The root itself may be a link: the user has named it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs

from koodrive_async.errors import SourceChanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HAS_OPENAT: Final = (
    {os.open, os.stat} <= os.supports_dir_fd
    and os.scandir in os.supports_fd
    and hasattr(os, "O_NOFOLLOW")
)
"""Whether this system opens files from the descriptor of their folder; Windows does not."""

KEPT = 16
"""Descriptors of folders that a walk keeps. Files that are opened come from few folders, one after
the other; a folder that is not kept is found again from the nearest one above it that is."""

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_NOT_A_LINK = getattr(os, "O_NOFOLLOW", 0)
_A_LINK = "it has become a symbolic link"

Parts = tuple[str, ...]
"""Names from the root down, in the spelling of ``os``; empty for the root itself."""


@attrs.define(eq=False)
class _Open:
    """The descriptor of a folder.

    :ivar users: Calls that are using it.
    """

    parts: Parts
    descriptor: int
    users: int = 1


class TreeFolders:
    """The folders of one tree, by their descriptors. Safe for threads; all of it blocks.

    Descriptors are kept while the tree is walked. After :meth:`close` every call goes the whole way
    from the root again, which has to be the same folder as before. It pickles without descriptors.

    :param root: The tree.
    :param most: Descriptors that are kept while nothing uses them.
    """

    def __init__(self, root: str, most: int = KEPT) -> None:
        self.root = root
        self._most = most
        self._identity: tuple[int, int] | None = None
        self._turn = threading.Lock()
        self._kept: OrderedDict[Parts, _Open] = OrderedDict()
        self._keeps = True

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.root, self._identity)

    def path(self, parts: Parts) -> str:
        """Return a path below the root, for messages and for what needs no care."""
        return os.path.join(self.root, *parts)  # noqa: PTH118 - a Path takes ten times as long

    def close(self) -> None:
        """Keep no descriptor from now on."""
        with self._turn:
            self._keeps = False
            idle = [each for each in self._kept.values() if not each.users]
            self._kept.clear()
        for each in idle:
            os.close(each.descriptor)

    @contextlib.contextmanager
    def opened(self, parts: Parts) -> Iterator[int | str]:
        """Open a folder, and give its descriptor; its path where the system has no ``openat``.

        :raises SourceChanged: It, or a folder on the way, is a link now, or the root another one.
        :raises OSError: It cannot be opened; the whole path is in the error.
        """
        if not HAS_OPENAT:
            self._check_way(parts)
            yield self.path(parts)
            return
        folder = self._take(parts)
        try:
            yield folder.descriptor
        finally:
            self._give_back(folder)

    def open_file(self, parts: Parts, flags: int) -> int:
        """Open a file, if that is a regular one still.

        :param flags: As for :func:`os.open`.
        :returns: Its descriptor.
        :raises SourceChanged: It, or a folder on the way, is a link now, or the root another one.
        :raises OSError: It cannot be opened, or is something else now; the path is in the error.
        """
        if not HAS_OPENAT:
            return self._open_by_path(parts, flags)
        name, folder = parts[-1], self._take(parts[:-1])
        try:
            # looked at first: to open a pipe or a device does something to it
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                self._refuse(parts, status)
            return os.open(name, flags | _NOT_A_LINK, dir_fd=folder.descriptor)
        except OSError as error:
            raise self._named(error, parts) from None
        finally:
            self._give_back(folder)

    # --- descriptors ---------------------------------------------------------------------------

    def _take(self, parts: Parts) -> _Open:
        folder = self._nearest(parts) or self._keep((), self._open_root())
        while (depth := len(folder.parts)) < len(parts):
            below = parts[: depth + 1]
            try:
                descriptor = os.open(below[-1], _FOLDER | _NOT_A_LINK, dir_fd=folder.descriptor)
            except OSError as error:
                raise self._named(error, below) from None
            finally:
                self._give_back(folder)
            folder = self._keep(below, descriptor)
        return folder

    def _nearest(self, parts: Parts) -> _Open | None:
        """Return the deepest folder on the way that is kept."""
        with self._turn:
            for depth in range(len(parts), -1, -1):
                folder = self._kept.get(parts[:depth])
                if folder is not None:
                    self._kept.move_to_end(folder.parts)
                    folder.users += 1
                    return folder
        return None

    def _keep(self, parts: Parts, descriptor: int) -> _Open:
        folder = _Open(parts, descriptor)
        with self._turn:
            if self._keeps and parts not in self._kept:
                self._kept[parts] = folder
        return folder

    def _give_back(self, folder: _Open) -> None:
        closing = []
        with self._turn:
            folder.users -= 1
            if not folder.users and self._kept.get(folder.parts) is not folder:
                closing.append(folder)
            if len(self._kept) > self._most:
                closing += self._pop_idle(len(self._kept) - self._most)
        for each in closing:
            os.close(each.descriptor)

    def _pop_idle(self, count: int) -> list[_Open]:
        """Remove up to so many folders: those that were not used for the longest time."""
        idle = (each for each in self._kept.values() if not each.users)
        return [self._kept.pop(each.parts) for each in tuple(islice(idle, count))]

    def _open_root(self) -> int:
        descriptor = os.open(self.root, _FOLDER)
        try:
            self._check_root(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_root(self, status: os.stat_result) -> None:
        identity = status.st_dev, status.st_ino
        self._identity = self._identity or identity
        if self._identity != identity:
            raise SourceChanged(self.root, "another folder is in its place")

    # --- without openat ------------------------------------------------------------------------

    def _check_way(self, parts: Parts) -> None:
        """Look at every step of the way: a link is only found, not made impossible."""
        self._check_root(os.stat(self.root))  # noqa: PTH116 - as it was spelt
        for depth in range(1, len(parts) + 1):
            status = os.lstat(self.path(parts[:depth]))
            if _is_link(status):
                raise SourceChanged(self.path(parts[:depth]), _A_LINK)

    def _open_by_path(self, parts: Parts, flags: int) -> int:
        self._check_way(parts[:-1])
        path = self.path(parts)
        seen = os.lstat(path)
        if not stat.S_ISREG(seen.st_mode) or _is_link(seen):
            self._refuse(parts, seen)
        descriptor = os.open(path, flags)
        # without openat only a comparison shows that nothing was put in its place
        if not _is_same(seen, os.fstat(descriptor)):
            os.close(descriptor)
            raise SourceChanged(path, "another file is in its place")
        return descriptor

    # --- errors --------------------------------------------------------------------------------

    def _refuse(self, parts: Parts, status: os.stat_result) -> None:
        if _is_link(status):
            raise SourceChanged(self.path(parts), _A_LINK)
        check_kind(self.path(parts), status.st_mode)

    def _named(self, error: OSError, parts: Parts) -> Exception:
        """Return an error with the whole path instead of the name alone."""
        path = self.path(parts)
        # for a folder that became a link Linux says that it is no folder
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENOTDIR} and _is_link_at(path):
            return SourceChanged(path, _A_LINK)
        error.filename = path
        return error


@attrs.frozen
class FoundFile:
    """Where a walk over a tree found a file: what :class:`UploadItem` carries as ``found``.

    It can be pickled; another process opens the file from the root again.

    :ivar source: Its path, which is the source of its upload.
    """

    folders: TreeFolders
    parts: Parts
    source: Path

    def open(self, flags: int) -> int:
        """Open it, without following a link below the root; it blocks.

        :param flags: As for ``os.open``.
        :returns: A descriptor.
        :raises SourceChanged: It, or a folder on the way, is a link now, or the root another one.
        :raises OSError: It cannot be opened, or is no regular file any longer.
        """
        return self.folders.open_file(self.parts, flags)


def check_kind(path: str, mode: int) -> None:
    """Refuse what is not a regular file.

    :param mode: Its ``st_mode``.
    :raises OSError: The mode is that of a folder, a pipe or a device.
    """
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file; open it and pass the file", path)


def _unpickled(root: str, identity: tuple[int, int] | None) -> TreeFolders:
    folders = TreeFolders(root)
    folders._identity = identity  # noqa: SLF001 - this makes one of these
    folders.close()
    return folders


def _is_link(status: os.stat_result) -> bool:
    # junctions of Windows lead elsewhere as well
    attributes = getattr(status, "st_file_attributes", 0)
    reparse = getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
    return stat.S_ISLNK(status.st_mode) or bool(attributes & reparse)


def _is_link_at(path: str) -> bool:
    try:
        return _is_link(os.lstat(path))
    except OSError:
        return False


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
