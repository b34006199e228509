"""What a backup would do: every file with its size and parts, and no word to the service."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
from anyio import to_thread

from koodrive_async.cli.json_output import error_object, json_text
from koodrive_async.cli.output import row_text
from koodrive_async.cli.report import failure_text
from koodrive_async.cli.rules import left_out_facts
from koodrive_async.cli.wording import count_text, printable, size_text
from koodrive_async.errors import InvalidArgument
from koodrive_async.upload import UploadFailure, UploadItem, plan_parts
from koodrive_async.upload.paths import path_text
from koodrive_async.upload.tree import tree_items

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from koodrive_async.cli.output import Display
    from koodrive_async.upload.tree import LeftOut, TreeRules

_BUNCH = 500
"""Files looked at in one go: a hop to a worker thread costs more than a look."""


@attrs.frozen(kw_only=True)
class PlannedFile:
    """What would become of one file.

    :ivar path: Relative to what is backed up.
    :ivar action: What would be done with it.
    :ivar size: Bytes.
    :ivar parts: Parts that would be sent.
    """

    path: str
    action: Literal["upload"] = "upload"
    size: int
    parts: int


@attrs.frozen(order=True)
class LeftOutPath:
    """A file, or a folder with all that is in it, which would be left out.

    :ivar path: Relative to what is backed up.
    :ivar why: Why.
    """

    path: str
    why: LeftOut


@attrs.define(kw_only=True)
class Rehearsal:
    """A backup that looks at files and sends nothing.

    :ivar rules: What of a folder is taken; None for all of it.
    """

    path: Path
    is_file: bool
    rules: TreeRules | None
    files: int = 0
    size: int = 0
    parts: int = 0
    failed: int = 0
    left_out: Counter[LeftOut] = attrs.field(factory=Counter)
    _leaving: list[LeftOutPath] = attrs.field(factory=list)

    async def run(self, display: Display, *, as_json: bool) -> None:
        """Tell of every file what would become of it.

        :raises OSError: The folder itself cannot be read.
        """
        text_of = _json_line if as_json else (_person_line if sys.stdout.isatty() else _text_line)
        async for bunch in self._bunches():
            looked_at = await to_thread.run_sync(_look_at, bunch)
            self._count(looked_at)
            for fails, found in groupby(looked_at, lambda each: isinstance(each, UploadFailure)):
                text = "\n".join(map(text_of, found))
                if display.wants_lines or fails:
                    to_err = fails and not (as_json and display.wants_lines)
                    await display.line(text, err=to_err)
            leaving, self._leaving = self._leaving, []
            if leaving and display.wants_lines:
                await display.line("\n".join(map(text_of, sorted(leaving))))

    def summary(self) -> str:
        """Return what would happen in one line."""
        return (
            f"{count_text(self.files, 'file')}, {size_text(self.size)}, "
            f"{count_text(self.parts, 'part')}"
        )

    def facts(self) -> dict[str, object]:
        """Return the same for JSON."""
        return {
            "event": "done",
            "dry_run": True,
            "files": self.files,
            "size": self.size,
            "parts": self.parts,
            "failed": self.failed,
            "left_out": left_out_facts(self.left_out),
        }

    async def _bunches(self) -> AsyncIterator[list[UploadItem | UploadFailure]]:
        if self.is_file:
            yield [UploadItem(source=self.path, description=path_text(self.path.name))]
            return
        bunch = []
        async for item in tree_items(
            self.path, rules=self.rules, left_out=self.left_out, on_left_out=self._leave
        ):
            bunch.append(item)
            if len(bunch) == _BUNCH:
                yield bunch
                bunch = []
        yield bunch

    def _leave(self, path: str, why: LeftOut) -> None:
        self._leaving.append(LeftOutPath(path, why))

    def _count(self, looked_at: Iterable[PlannedFile | UploadFailure]) -> None:
        for each in looked_at:
            if isinstance(each, UploadFailure):
                self.failed += 1
            else:
                self.files += 1
                self.size += each.size
                self.parts += each.parts


def _look_at(bunch: Iterable[UploadItem | UploadFailure]) -> list[PlannedFile | UploadFailure]:
    return [each if isinstance(each, UploadFailure) else _look_at_one(each) for each in bunch]


def _look_at_one(item: UploadItem) -> PlannedFile | UploadFailure:
    path = Path(str(item.source))
    try:
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        size = _size(path, follow_symlinks=item.found is None)
        return PlannedFile(
            path=item.description or path.name, size=size, parts=len(plan_parts(size))
        )
    except (OSError, InvalidArgument) as error:
        return UploadFailure(source=path, name=path.name, error=error, description=item.description)


def _size(path: Path, *, follow_symlinks: bool) -> int:
    status = path.stat(follow_symlinks=follow_symlinks)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size


def _text_line(each: PlannedFile | LeftOutPath | UploadFailure) -> str:
    if isinstance(each, UploadFailure):
        return f"would fail: {failure_text(each)}"
    if isinstance(each, LeftOutPath):
        return row_text("leave out", each.path, each.why)
    return row_text(each.action, each.size, each.parts, each.path)


def _person_line(each: PlannedFile | LeftOutPath | UploadFailure) -> str:
    if isinstance(each, UploadFailure):
        return _text_line(each)
    if isinstance(each, LeftOutPath):
        return f"leave out  {printable(each.path)} ({each.why})"
    parts = count_text(each.parts, "part")
    return f"{each.action}  {size_text(each.size):>8}  {parts:>9}  {printable(each.path)}"


def _json_line(each: PlannedFile | LeftOutPath | UploadFailure) -> str:
    if isinstance(each, UploadFailure):
        path = each.description or str(each.source)
        return json_text({"event": "failed", "path": path, "error": error_object(each.error)})
    if isinstance(each, LeftOutPath):
        facts = {"path": each.path, "action": "leave out", "why": each.why}
        return json_text({"event": "planned", **facts})
    return json_text({"event": "planned", **attrs.asdict(each)})
