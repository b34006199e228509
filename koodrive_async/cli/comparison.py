"""Comparing what came back with the files on this machine, by eyes other than the uploader's.

Files are hashed with the standard library alone, so that a mistake of the uploader
cannot hide itself.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

from koodrive_async.cli.wording import reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from koodrive_async.cli.download import Downloaded


@attrs.frozen
class Difference:
    """A file that is not the same here and there.

    :ivar path: Relative to what was backed up.
    :ivar problem: In words.
    """

    path: str
    problem: str


def compare(local: Mapping[str, Path], downloaded: Iterable[Downloaded]) -> list[Difference]:
    """Read every local file again and hold what came back against it.

    It blocks.

    :param local: Local files by their paths in the record.
    :returns: Every file that is not the same here, in the listing, and as downloaded.
    """
    differences: list[Difference] = []
    seen: set[str] = set()
    for file in downloaded:
        if file.path in seen:
            problem: str | None = "the record has it twice"
        elif file.path not in local:
            problem = "the record has it, but there is no such file here"
        else:
            problem = _problem(local[file.path], file)
        seen.add(file.path)
        if problem is not None:
            differences.append(Difference(file.path, problem))
    missing = (path for path in local if path not in seen)
    differences += [Difference(path, "the record does not have it") for path in missing]
    return sorted(differences, key=lambda difference: difference.path)


def _problem(local: Path, file: Downloaded) -> str | None:
    if file.received is None:
        return file.problem
    try:
        digest, size = _content(local)
    except OSError as error:
        return f"it can no longer be read here ({reason(error)})"
    if file.received[1] != size:
        return f"{size} bytes here, {file.received[1]} bytes came back"
    if file.received[0] != digest:
        return f"SHA-256 {digest} here, {file.received[0]} of what came back"
    if file.announced != (digest, size):
        return f"the listing says {file.announced[1]} bytes with SHA-256 {file.announced[0]}"
    return None


def _content(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()
