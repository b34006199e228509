"""Packages that only an extra brings along."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needed(what: str, package: str, extra: str) -> Iterator[None]:
    """Say which extra has a package that cannot be imported.

    :param what: What needs it.
    :raises ModuleNotFoundError: It is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(
            f"{what} needs {package}: pip install 'koodrive-async[{extra}]'", name=package
        ) from None
