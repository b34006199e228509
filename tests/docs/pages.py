"""The pages of the documentation, and the examples in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"

_FENCE = re.compile(r"(?P<fence>`{3,})(?P<info>.*)")
_DIRECTIVE = re.compile(r"\{(?:code-block|literalinclude)\}\s*(?P<language>\S*)")
_CAPTION = re.compile(r":caption:\s*(?P<caption>\S+)")
_OPTION = re.compile(r":[\w-]+:")


@attrs.frozen(kw_only=True)
class Block:
    """A fenced block.

    :ivar language: What comes behind the fence.
    :ivar caption: The name of the file that it shows, if it shows one.
    :ivar text: What is in it, with a new line at its end.
    :ivar line: Where the text begins, from 1.
    :ivar follows: Nothing but empty lines is between it and the block before.
    """

    language: str
    caption: str | None
    text: str
    line: int
    follows: bool


def pages() -> list[str]:
    """Return the paths of all pages, relative to the folder of the documentation."""
    return sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def blocks_of(text: str) -> Iterator[Block]:
    """Return the fenced blocks of a page in order."""
    lines = text.splitlines()
    number, follows = 0, False
    while number < len(lines):
        opening = _FENCE.fullmatch(lines[number])
        number += 1
        if opening is None:
            follows = follows and not lines[number - 1].strip()
            continue
        end = lines.index(opening["fence"], number)
        info = opening["info"].strip()
        directive = _DIRECTIVE.match(info)
        caption = None
        if directive:
            while number < end and _OPTION.match(lines[number]):
                found = _CAPTION.match(lines[number])
                caption = found["caption"] if found else caption
                number += 1
            number += not lines[number].strip()
        yield Block(
            language=directive["language"] if directive else info,
            caption=caption,
            text="".join(f"{line}\n" for line in lines[number:end]),
            line=number + 1,
            follows=follows,
        )
        number, follows = end + 1, True
