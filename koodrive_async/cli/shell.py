"""Quoting for a shell: a command line that works when it is pasted, and takes one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN: Final = re.compile(r"[\w@%+:,./-][\w@%+=:,./-]*", re.ASCII)
_PLAIN_OF_WINDOWS: Final = re.compile(r"[\w@+=:,./\\~-]+", re.ASCII)
_HISTORY: Final = "!"
"""Expanded by an interactive bash, in quotes of some kinds too."""


def command_line(words: Iterable[str], encoding: str = "utf-8") -> str:
    """Return words as one line for the shell of this system.

    On POSIX a word with characters that a terminal would act on, that the encoding lacks, or that
    are no text at all is written as ``$'...'`` with octal escapes, which bash, zsh, ksh and
    POSIX.1-2024 read; every other one as each POSIX shell reads it. On Windows the line is for
    ``cmd``.

    :param encoding: The encoding in which the line will be written.
    """
    quote = quoted_for_windows if sys.platform == "win32" else quoted
    return " ".join(quote(word, encoding) for word in words)


def quoted(word: str, encoding: str = "utf-8") -> str:
    """Return a word as a POSIX shell reads it, on one line and printable."""
    if _PLAIN.fullmatch(word):
        return word
    if word.isprintable() and _can_be_written(word, encoding):
        return "'" + word.replace("'", "'\"'\"'") + "'"
    return "$'" + "".join(_escaped(character, encoding) for character in word) + "'"


def quoted_for_windows(word: str, encoding: str = "utf-8") -> str:  # noqa: ARG001 - as quoted()
    """Return a word as ``cmd`` and the C runtime of Windows read it."""
    if _PLAIN_OF_WINDOWS.fullmatch(word):
        return word
    line = subprocess.list2cmdline([word])
    # cmd splits at "&" and the like, which the runtime takes for plain
    return line if line.startswith('"') else f'"{line}"'


def _escaped(character: str, encoding: str) -> str:
    if character in {"'", "\\"}:
        return f"\\{character}"
    readable = character.isprintable() and _can_be_written(character, encoding)
    if readable and character != _HISTORY:
        return character
    # three octal digits end by themselves, whatever follows; "\x" takes more in some shells
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _can_be_written(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
