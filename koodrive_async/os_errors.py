"""Errors of the operating system say which file they are about.

Opening a file puts its path into the error. Reading, writing, listing and closing only have its
descriptor: their errors come without a path, or with the number of the descriptor in its place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


def name_file(error: OSError, path: str | os.PathLike[str] | None) -> None:
    """Put a path into an error that has none.

    An error without a number stays as it is: with a path it would lose its text.
    """
    has_none = error.filename is None or isinstance(error.filename, int)
    if has_none and error.errno is not None and path is not None:
        error.filename = os.fspath(path)


class naming:  # noqa: N801 - reads as contextlib.suppress does
    """Put a path into errors of the system that come out of the block without one.

    A class, for a generator would cost each small file some microseconds.

    :param path: The file or folder; None where it is not known.
    :param remark: The purpose of the path, for the message; the path replaces the one in the error.
    """

    __slots__ = ("_path", "_remark")

    def __init__(self, path: str | os.PathLike[str] | None, remark: str | None = None) -> None:
        self._path = path
        self._remark = remark

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(error, OSError):
            return
        if self._remark is not None and error.errno is not None:
            error.strerror = f"{error.strerror} ({self._remark})"
            error.filename = None
        name_file(error, self._path)
