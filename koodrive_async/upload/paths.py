r"""Paths as text that leads back to them: what a description of a file in a tree holds.

A path of a system is bytes; a description is Unicode. The text form keeps valid UTF-8 as it is, and
writes what is left with backslashes:

========================================  ===========================
in the path                               in the text
========================================  ===========================
a separator                               ``/``, on every system
a backslash that is part of a name        ``\\``
a byte that is no UTF-8, such as E9       ``\xe9``
everything else, controls included        itself
========================================  ===========================

Different paths have different texts, and :func:`path_from_text` is the way back. Control characters
stay what they are, so escape a text before it is written to a terminal.
"""

from __future__ import annotations

import os
import re

from koodrive_async.errors import InvalidArgument
from koodrive_async.os_errors import naming

_ESCAPE = re.compile(rb"\\(?:\\|x([89a-f][0-9a-f]))?")
"""A backslash and what may follow it: another one, or two digits of a byte that is not ASCII."""


def path_text(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    r"""Return a path as text, from which :func:`path_from_text` makes the path again.

    Valid UTF-8 stays as it is, a backslash in a name becomes ``\\``, a byte that is not UTF-8
    becomes ``\xNN``. On Windows the separators become ``/`` first.

    :param path: A path, relative or not, as ``os`` gives it.
    :returns: Its text; no other path has the same.
    :raises InvalidArgument: ``path`` is no path, or has characters that this system has in no path.
    """
    try:
        if os.name == "nt":
            path = os.fsdecode(path).replace("\\", "/")
        raw = os.fsencode(path)
    except TypeError:
        raise InvalidArgument(f"a path is needed, not {type(path).__name__}") from None
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"no path of this system has {error.object!r}: {error.reason}"
        ) from None
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def os_path(name: str, value: object) -> str:
    """Return a path that the system can be asked for.

    :param name: The name of the parameter, for the message.
    :raises InvalidArgument: The value is no path, or has a NUL or characters that no path of
        this system can have.
    """
    if type(value) is str and value.isascii() and "\0" not in value:
        return value
    try:
        path = os.fsdecode(value)  # type: ignore[arg-type]  # refuses what is no path
        os.fsencode(path)
    except TypeError:
        raise InvalidArgument(f"{name} must be a path, not {type(value).__name__}") from None
    except UnicodeError:
        raise InvalidArgument(f"{name}: no path of this system has such characters") from None
    if "\0" in path:
        raise InvalidArgument(f"{name}: a path has no NUL")
    return path


def absolute(path: str) -> str:
    """Return an absolute path, in which links stay as they are; it asks the system.

    :raises OSError: The path is relative, and the working folder was removed.
    """
    with naming(path):
        return os.path.abspath(path)  # noqa: PTH100 - resolving would follow links


def path_from_text(text: str) -> str:
    r"""Return the path that :func:`path_text` made a text of.

    The path is not looked for, and not checked: a text that came from elsewhere may be absolute or
    have ``..``.

    :param text: The description of a file in a tree.
    :returns: The path, with ``/`` as its separator; pass it to ``os`` as it is.
    :raises InvalidArgument: No path has this text: a backslash in it is neither doubled nor the
        beginning of ``\xNN``, or this system can have no such path.
    """
    given: object = text
    if not isinstance(given, str):
        raise InvalidArgument(f"{given!r} is not the text of a path")
    try:
        raw = _ESCAPE.sub(_unescaped, text.encode())
        path = os.fsdecode(raw)
    except UnicodeError as error:
        raise InvalidArgument(f"{text!r} is not the text of a path: {error}") from None
    # only one text leads to each path: "\x2e" and "\xc3\xa9" lead nowhere
    if path_text(path) != text:
        raise InvalidArgument(f"{text!r} is not the text of a path of this system")
    return path


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else b"\\"
