"""Which files a backup takes: patterns with the meaning that they have in a ``.gitignore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import attrs
import click

from koodrive_async.cli.wording import count_text, printable
from koodrive_async.errors import ConfigurationError
from koodrive_async.upload.tree import LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE: Final = ".koodriveignore"
"""A file in the folder itself whose lines say what to leave out of its backup."""

_THROUGH_A_FOLDER: Final = "ps_d"
"""The group of pathspec's expressions that has matched where only a folder above did."""

_KINDS: Final[tuple[LeftOut, ...]] = get_args(LeftOut)


@attrs.frozen
class Rules:
    """What of a folder is taken; a :class:`~koodrive_async.upload.tree.TreeRules`.

    :param include: Files to take; None for all.
    :param exclude: Files and folders to leave out. Nothing below such a folder can be taken in
        again, as with git.
    """

    include: GitIgnoreSpec | None
    exclude: Sequence[_Exclusion]

    def takes_folder(self, path: str) -> bool:
        """Say whether to look into a folder at all."""
        return not self._excludes(path, is_folder=True)

    def takes_file(self, path: str) -> bool:
        """Say whether to take a file of a folder that is looked into."""
        if self._excludes(path, is_folder=False):
            return False
        return self.include is None or self.include.match_file(path)

    def _excludes(self, path: str, *, is_folder: bool) -> bool:
        # a whole GitIgnoreSpec is for paths of files: of a folder it does not know
        # that "!*/" takes it in again
        return next(
            (
                bool(exclusion.pattern.include)
                for exclusion in reversed(self.exclude)
                if exclusion.matches(path, is_folder=is_folder)
            ),
            False,
        )


@attrs.frozen
class _Exclusion:
    """One pattern.

    :ivar folders_only: Whether it ended with a slash, which is not in it any more.
    """

    pattern: GitIgnoreSpecPattern
    folders_only: bool

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Say whether it matches this very path, and not only a folder that this is in."""
        if self.folders_only and not is_folder:
            return False
        found = self.pattern.match_file(path)
        return found is not None and not found.match.groupdict().get(_THROUGH_A_FOLDER)


def read_rules(
    folder: Path, *, include: Sequence[str], exclude: Sequence[str], exclude_from: Sequence[Path]
) -> Rules | None:
    """Return what the options say, and the ``.koodriveignore`` of a folder. It blocks.

    As in a ``.gitignore`` the last pattern that matches decides: the folder's own file comes first,
    then the files of ``--exclude-from``, then the patterns of ``--exclude``.

    :returns: None when everything is taken.
    :raises click.UsageError: A pattern is none.
    :raises OSError: A file with patterns cannot be read.
    """
    own = folder / IGNORE_FILE
    files = [*([own] if own.is_file() else ()), *exclude_from]
    left_out = [exclusion for file in files for exclusion in _exclusions_in(file)]
    left_out += [_exclusion(_literal(text), text, "--exclude") for text in exclude]
    if not include:
        return Rules(None, left_out) if left_out else None
    lines = [_literal(text) for text in include]
    for line, text in zip(lines, include, strict=True):
        _pattern(line, text, "--include")
    return Rules(_spec_class().from_lines(lines), left_out)


def left_out_text(left_out: Mapping[LeftOut, int]) -> str | None:
    """Return in one line what a walk has left out; None for nothing."""
    counts = [count_text(left_out[kind], kind) for kind in _KINDS if left_out.get(kind)]
    return ", ".join(counts) or None


def left_out_facts(left_out: Mapping[LeftOut, int]) -> dict[str, int]:
    """Return the same for JSON, with every kind."""
    return {f"{kind.lower().replace(' ', '_')}s": left_out.get(kind, 0) for kind in _KINDS}


def _exclusions_in(file: Path) -> Iterator[_Exclusion]:
    # names need not be UTF-8, and then a pattern for them is not either
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            yield _exclusion(line, line, f"{printable(str(file))}, line {number}")


def _exclusion(line: str, text: str, where: str) -> _Exclusion:
    bare = line.rstrip(" ")
    if bare.endswith("/"):
        return _Exclusion(_pattern(bare[:-1], text, where), folders_only=True)
    return _Exclusion(_pattern(line, text, where), folders_only=False)


def _literal(text: str) -> str:
    # on the command line there are no comments: "#recycle" is a name
    return f"\\{text}" if text.startswith("#") else text


def _pattern(line: str, text: str, where: str) -> GitIgnoreSpecPattern:
    try:
        patterns = _spec_class().from_lines([line]).patterns
    except ValueError:
        patterns = ()
    if len(patterns) != 1 or patterns[0].include is None:
        raise click.UsageError(f"{where}: {printable(text)!r} is not a pattern of any name")
    return patterns[0]


def _spec_class() -> type[GitIgnoreSpec]:
    try:
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 - only where there are rules
    except ModuleNotFoundError:
        raise ConfigurationError(
            "choosing files needs pathspec: pip install 'koodrive-async[cli]'"
        ) from None
    return GitIgnoreSpec
