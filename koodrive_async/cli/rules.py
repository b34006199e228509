"""Which files a backup takes: patterns with the meaning that they have in a ``.gitignore``."""

from __future__ import annotations

import codecs
import errno
import re
import shlex
import stat
from typing import TYPE_CHECKING, Final, get_args

import attrs
import click

from koodrive_async.cli.wording import count_text, printable
from koodrive_async.errors import ConfigurationError
from koodrive_async.os_errors import naming
from koodrive_async.upload.tree import LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE: Final = ".koodriveignore"
"""A file in the folder itself whose lines say what to leave out of its backup."""

_THROUGH_A_FOLDER: Final = "ps_d"
"""The group of pathspec's expressions that has matched where only a folder above did."""

_KINDS: Final[tuple[LeftOut, ...]] = get_args(LeftOut)

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_LINE_END: Final = re.compile("\r\n|\n|\r")

_WILD: Final = frozenset("*?[")

_NO_NAMES: Final = frozenset({"", ".", ".."})


@attrs.frozen(kw_only=True)
class Patterns:
    """Patterns that hold for every backup, as a profile has them."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    exclude_from: Sequence[Path] = ()


@attrs.frozen
class Rules:
    """What of a folder is taken; a :class:`~koodrive_async.upload.tree.TreeRules`.

    :param include: Files to take; None for all.
    :param exclude: Files and folders to leave out. Nothing below such a folder can be taken in
        again, as with git.
    :param idle: What was typed and has matched nothing so far, as ``--exclude 'x'``.
    """

    include: GitIgnoreSpec | None
    exclude: Sequence[_Exclusion]
    idle: dict[str, _Exclusion] = attrs.field(factory=dict)

    def takes_folder(self, path: str) -> bool:
        """Say whether to look into a folder at all."""
        self._note(path, is_folder=True)
        return not self._excludes(path, is_folder=True)

    def takes_file(self, path: str) -> bool:
        """Say whether to take a file of a folder that is looked into."""
        self._note(path, is_folder=False)
        if self._excludes(path, is_folder=False):
            return False
        return self.include is None or self.include.match_file(path)

    def warnings(self, *, wild_too: bool) -> list[str]:
        """Return what to say of patterns that were typed and have matched nothing.

        :param wild_too: Whether those with wildcards count, which may match another day.
        """
        return [
            f"{option} matched nothing"
            for option, exclusion in self.idle.items()
            if wild_too or not exclusion.is_wild
        ]

    def _note(self, path: str, *, is_folder: bool) -> None:
        # two threads may walk at once
        for option, exclusion in tuple(self.idle.items()):
            if exclusion.matches(path, is_folder=is_folder):
                self.idle.pop(option, None)

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

    @property
    def is_wild(self) -> bool:
        """Whether it is no name."""
        return not _WILD.isdisjoint(str(self.pattern.pattern))

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Say whether it matches this very path, and not only a folder that this is in."""
        if self.folders_only and not is_folder:
            return False
        found = self.pattern.match_file(path)
        return found is not None and not found.match.groupdict().get(_THROUGH_A_FOLDER)


def read_rules(
    folder: Path,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    exclude_from: Sequence[Path],
    standing: Patterns = Patterns(),
) -> Rules | None:
    """Return what the options say, and the ``.koodriveignore`` of a folder. It blocks.

    As in a ``.gitignore`` the last pattern that matches decides: those that always hold come first,
    then the folder's own file, then the files of ``--exclude-from``, then the patterns of
    ``--exclude``.

    :param standing: What holds before anything is typed.
    :returns: None when everything is taken.
    :raises click.UsageError: A pattern matches no name, or a file with patterns is not text.
    :raises OSError: A file with patterns cannot be read.
    """
    own = [folder / IGNORE_FILE] if _has_own(folder) else []
    typed = {_option("--exclude", text): _named(folder, text, "--exclude") for text in exclude}
    left_out = [
        *_exclusions_in(standing.exclude_from),
        *(_exclusion(_literal(text), text, "exclude") for text in standing.exclude),
        *_exclusions_in([*own, *exclude_from]),
        *typed.values(),
    ]
    if not (include or standing.include):
        return Rules(None, left_out, typed) if left_out else None
    for text in standing.include:
        _pattern(_literal(text), text, "include")
    typed |= {_option("--include", text): _named(folder, text, "--include") for text in include}
    lines = [_line(folder, text) for text in (*standing.include, *include)]
    return Rules(_spec_class().from_lines(lines), left_out, typed)


def left_out_text(left_out: Mapping[LeftOut, int]) -> str | None:
    """Return in one line what a walk has left out; None for nothing."""
    counts = [count_text(left_out[kind], kind) for kind in _KINDS if left_out.get(kind)]
    return ", ".join(counts) or None


def left_out_facts(left_out: Mapping[LeftOut, int]) -> dict[str, int]:
    """Return the same for JSON, with every kind."""
    return {f"{kind.lower().replace(' ', '_')}s": left_out.get(kind, 0) for kind in _KINDS}


def _has_own(folder: Path) -> bool:
    """Return whether a folder has patterns of its own; those that cannot be read are an error.

    A backup without them would hold what they leave out. A folder of that name holds no patterns.
    """
    own = folder / IGNORE_FILE
    try:
        own.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        # it is the folder that cannot be looked into
        raise PermissionError(error.errno, error.strerror, str(folder)) from None
    mode = own.stat().st_mode  # a link that leads nowhere is an error here
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "not a regular file, so its patterns are not read", str(own))
    return stat.S_ISREG(mode)


def _option(name: str, text: str) -> str:
    return f"{name} {shlex.quote(printable(text))}"


def _named(folder: Path, text: str, option: str) -> _Exclusion:
    return _exclusion(_line(folder, text), text, option)


def _line(folder: Path, text: str) -> str:
    """Return what is typed as it would stand in a ``.gitignore``.

    There are no comments: ``#recycle`` is a name. Whoever uses a shell writes ``./name``, or a
    whole path.
    """
    whole = folder.absolute().as_posix()
    negated, bare = text.startswith("!"), text.removeprefix("!")
    for top in (".", whole):
        if bare.startswith(f"{top}/"):
            return "!" * negated + bare.removeprefix(top)
    return _literal(text)


def _exclusions_in(files: Iterable[Path]) -> Iterator[_Exclusion]:
    for file in files:
        yield from _exclusions_of(file)


def _exclusions_of(file: Path) -> Iterator[_Exclusion]:
    for number, line in enumerate(_LINE_END.split(_text_of(file)), start=1):
        # a mark in front of a later line is what putting files together leaves
        line = line.removeprefix("\ufeff")  # noqa: PLW2901 - it is the same line
        if line.strip() and not line.startswith("#"):
            yield _exclusion(line, line, f"{printable(str(file))}, line {number}")


def _text_of(file: Path) -> str:
    """Return the text of a file with patterns.

    Text in another encoding is refused: its patterns would match nothing, and the files that they
    are to leave out would be backed up.

    :raises click.UsageError: It is no text in UTF-8, nor in UTF-16 or UTF-32 with its mark.
    """
    with naming(file):
        content = file.read_bytes()
    # the mark of UTF-32 begins with that of UTF-16
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise click.UsageError(
            f"{printable(str(file))}: patterns are read as UTF-8 (or UTF-16 with a byte order "
            "mark), which this file is not: save it as UTF-8"
        )
    return text


def _exclusion(line: str, text: str, where: str) -> _Exclusion:
    bare = line.rstrip(" ")
    if bare.endswith("/"):
        return _Exclusion(_pattern(bare[:-1], text, where), folders_only=True)
    return _Exclusion(_pattern(line, text, where), folders_only=False)


def _literal(text: str) -> str:
    return f"\\{text}" if text.startswith("#") else text


def _pattern(line: str, text: str, where: str) -> GitIgnoreSpecPattern:
    try:
        patterns = _spec_class().from_lines([line]).patterns
    except (ValueError, re.error):  # the latter for a range such as [z-a]
        patterns = ()
    if len(patterns) != 1 or patterns[0].include is None or _leads_nowhere(line):
        raise click.UsageError(f"{where}: {printable(text)!r} is not a pattern of any name")
    return patterns[0]


def _leads_nowhere(line: str) -> bool:
    """Return whether a pattern has a part that the path of no file in a folder has."""
    parts = line.rstrip(" ").removeprefix("!").strip("/").split("/")
    return not _NO_NAMES.isdisjoint(parts)


def _spec_class() -> type[GitIgnoreSpec]:
    try:
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 - only where there are rules
    except ModuleNotFoundError:
        raise ConfigurationError(
            "choosing files needs pathspec: pip install 'koodrive-async[cli]'"
        ) from None
    return GitIgnoreSpec
