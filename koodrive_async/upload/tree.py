"""The files below a folder."""

from __future__ import annotations

import os
import stat
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import attrs

from koodrive_async.callbacks import FailingAlone, check_plain
from koodrive_async.descriptors import when_one_is_free
from koodrive_async.errors import InvalidArgument, SourceChanged
from koodrive_async.resources.arguments import FORBIDDEN_IN_FILE_NAMES, MAX_FILE_NAME
from koodrive_async.sequences import check_many
from koodrive_async.threads import in_thread
from koodrive_async.upload.folders import HAS_OPENAT, FoundFile, TreeFolders
from koodrive_async.upload.item import UploadItem
from koodrive_async.upload.paths import os_path, path_text
from koodrive_async.upload.receipt import UploadFailure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

    from koodrive_async.upload.folders import Parts

LeftOut = Literal["excluded file", "excluded folder", "symbolic link", "FIFO", "socket", "device"]
"""Why something below a folder is not in its backup; of an excluded folder nothing is looked at."""


class TreeRules(Protocol):
    """Says what below a folder is taken; asked in worker threads.

    Paths are relative to the folder and have ``/``, whatever the system has.
    """

    def takes_folder(self, path: str) -> bool:
        """Say whether to look into a folder at all."""
        ...

    def takes_file(self, path: str) -> bool:
        """Say whether to take a file of a folder that is looked into."""
        ...


async def tree_items(
    root: str | os.PathLike[str],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    rules: TreeRules | None = None,
    left_out: Counter[LeftOut] | None = None,
    on_left_out: Callable[[str, LeftOut], object] | None = None,
) -> AsyncGenerator[UploadItem | UploadFailure, None]:
    """Walk a folder in worker threads, a folder at a time and in sorted order.

    :param root: The folder, which may be a symbolic link. Those below it are not followed, also
        when one is put there after its folder was listed.
    :param include: Patterns of files to take, as in :meth:`pathlib.PurePath.match` on the relative
        path (``*.jpg``, ``photos/*.jpg``); all by default.
    :param exclude: Patterns of files and folders to leave out.
    :param rules: What to take, instead of these patterns.
    :param left_out: Counts what is left out, as it goes.
    :param on_left_out: Called in a worker thread with the path of each and why.
    :returns: An item for each regular file, with the text of its relative path as its description
        (a record has no folders), and a failure for each folder that cannot be read.
    :raises OSError: ``root`` itself is missing or not a folder.
    :raises InvalidArgument: ``root`` is no path.
    """
    include = check_patterns("include", include)
    exclude = check_patterns("exclude", exclude)
    if on_left_out is not None:
        check_plain("on_left_out", on_left_out)
    if rules is not None:
        check_plain("rules.takes_folder", rules.takes_folder)
        check_plain("rules.takes_file", rules.takes_file)
    if rules is None and (include or exclude):
        rules = _Patterns(include, exclude)
    top = Path(os_path("root", root))
    tree = TreeFolders(str(top))
    walk = _Walk(tree, rules, Counter() if left_out is None else left_out, on_left_out)
    folders: list[Parts] = [()]
    try:
        while folders:
            folder = folders.pop()
            try:
                listing = await when_one_is_free(partial(in_thread, walk.listing, folder))
            except (OSError, SourceChanged) as error:
                if not folder:
                    raise
                yield UploadFailure(
                    source=top.joinpath(*folder),
                    name=folder[-1],
                    error=error,
                    description=path_text("/".join(folder)),
                )
                continue
            folders += [(*folder, name) for name in reversed(listing.folders)]
            there, above = top.joinpath(*folder), "".join(f"{name}/" for name in folder)
            for name in listing.files:
                source = there / name
                yield UploadItem(
                    source=source,
                    name=record_name(name),
                    description=path_text(above + name),
                    found=FoundFile(tree, (*folder, name), source),
                )
    finally:
        tree.close()


def record_name(name: str) -> str:
    """Return the permitted name of a file on disk; the description keeps the true path."""
    return permitted_name(os.fsencode(name).decode("utf-8", "surrogateescape"))


def permitted_name(text: str) -> str:
    """Make a file name that the service takes of any text, as close to it as possible.

    Characters that are forbidden in names (``< > | : " * ? /``), or are not Unicode, become ``_``.
    A name that is too long loses characters before its extension. What cannot be a name at all
    (nothing, ``.``, ``..``) becomes ``_``. A name that is permitted stays as it is.

    :param text: Such as the name that a browser gives. Keep it as the description of the file.
    :raises InvalidArgument: ``text`` is no text.
    """
    given: object = text
    if not isinstance(given, str):
        raise InvalidArgument(f"a name is a text, not {type(given).__name__}")
    name = "".join("_" if _is_forbidden(character) else character for character in text)
    if name in {"", ".", ".."}:
        return "_"
    if len(name) <= MAX_FILE_NAME:
        return name
    extension = PurePosixPath(name).suffix[:MAX_FILE_NAME]
    return name[: MAX_FILE_NAME - len(extension)] + extension


def _is_forbidden(character: str) -> bool:
    is_half_of_one = "\ud800" <= character <= "\udfff"
    return is_half_of_one or character in FORBIDDEN_IN_FILE_NAMES


class _Listing(NamedTuple):
    """The names in one folder, sorted; no more than these, for a folder may hold very many."""

    files: list[str]
    folders: list[str]


@attrs.frozen
class _Walk:
    """Lists one folder after the other."""

    tree: TreeFolders
    rules: TreeRules | None
    left_out: Counter[LeftOut]
    on_left_out: Callable[[str, LeftOut], object] | None

    def listing(self, folder: Parts) -> _Listing:
        """List one folder, without what is left out of it.

        :raises OSError: It cannot be read.
        :raises SourceChanged: The folder has become a link.
        """
        with FailingAlone("one of rules and on_left_out"):
            return self._listing(folder)

    def _listing(self, folder: Parts) -> _Listing:
        found = _Listing([], [])
        with self.tree.opened(folder) as there, self._naming(folder), os.scandir(there) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if not self._takes(folder, entry.name, is_folder=is_folder):
                    self._leave(folder, entry, "excluded folder" if is_folder else "excluded file")
                elif is_folder:
                    found.folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    found.files.append(entry.name)
                elif (kind := _kind_of(entry)) is not None:
                    self._leave(folder, entry, kind)
        found.files.sort()
        found.folders.sort()
        return found

    @contextmanager
    def _naming(self, folder: Parts) -> Iterator[None]:
        """Put the path of a folder into an error of listing it, which has its descriptor instead.

        Of a file in it the error has the name alone.
        """
        try:
            yield
        except OSError as error:
            inside = error.filename if isinstance(error.filename, str) else ""
            if HAS_OPENAT and os.sep not in inside and error.errno is not None:
                error.filename = self.tree.path((*folder, inside) if inside else folder)
            raise

    def _leave(self, folder: Parts, entry: os.DirEntry[str], why: LeftOut) -> None:
        self.left_out[why] += 1
        if self.on_left_out is not None:
            self.on_left_out(path_text("/".join((*folder, entry.name))), why)

    def _takes(self, folder: Parts, name: str, *, is_folder: bool) -> bool:
        if self.rules is None:
            return True
        path = "/".join((*folder, name))
        return self.rules.takes_folder(path) if is_folder else self.rules.takes_file(path)


_KINDS: tuple[tuple[Callable[[int], bool], LeftOut], ...] = (
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
)


def _kind_of(entry: os.DirEntry[str]) -> LeftOut | None:
    """Return what something is that is neither a file nor a folder; None when it has gone."""
    try:
        return kind_of(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def kind_of(mode: int) -> LeftOut:
    """Return what something is that is neither a file nor a folder.

    :param mode: Its ``st_mode``.
    """
    for is_one, kind in _KINDS:
        if is_one(mode):
            return kind
    return "device"


@attrs.frozen
class _Patterns:
    """Rules that are patterns of :meth:`pathlib.PurePath.match`."""

    include: Sequence[str]
    exclude: Sequence[str]

    def takes_folder(self, path: str) -> bool:
        return not _matches(path, self.exclude)

    def takes_file(self, path: str) -> bool:
        if _matches(path, self.exclude):
            return False
        return not self.include or _matches(path, self.include)


def check_patterns(name: str, value: Iterable[str]) -> tuple[str, ...]:
    """Return patterns of paths.

    :param name: The parameter.
    :raises InvalidArgument: They are not several, or one of them can match no path.
    """
    patterns = check_many(name, value, "patterns")
    for pattern in patterns:
        try:
            _matches("a", (pattern,))
        except ValueError as error:
            raise InvalidArgument(f"{name}: {pattern!r} is no pattern: {error}") from None
        path = PurePosixPath(pattern)
        if path.is_absolute() or ".." in path.parts:
            raise InvalidArgument(
                f"{name}: {pattern!r} is no pattern: paths are relative to the folder, without '..'"
            )
    return patterns


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(PurePosixPath(path).match(pattern) for pattern in patterns)
