"""Standard streams that are closed, full, non-blocking, or that another process has left.

Nothing but the standard library is loaded here: it runs before everything else.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

Raw = TypeVar("Raw", bound=io.FileIO)

_FAILED: Final = 1
_OUTPUT: Final = "standard output"


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Let a command end with its own exit code, whatever its streams are.

    Text that cannot be written to standard error is dropped: the exit code says what happened.
    Text that cannot be written to standard output raises an error where it is written. The error is
    not raised again when the interpreter flushes its streams at the end, which would make the exit
    code 120; and a command that has not noticed it does not end with 0.
    """
    _open_closed_streams()
    output = _guard("stdout", _Output)
    _guard("stderr", _Errors)
    try:
        yield
    except SystemExit as end:
        if end.code in {None, 0}:
            _end_of(output)
        raise
    _end_of(output)


def _end_of(output: _Output | None) -> None:
    if output is None:
        return
    with suppress(OSError):
        sys.stdout.flush()  # what was written without a flush, if anything
    if output.error is None:
        return
    if output.error.errno != errno.EPIPE:
        sys.stderr.write(f"error: {_OUTPUT}: {output.error.strerror}\n")
    raise SystemExit(_FAILED)


class _Output(io.FileIO):
    """Standard output; after the first error it takes everything and keeps nothing.

    :ivar error: The error of the first write that failed.
    """

    error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of it, or wait until some can be.

        :raises OSError: The first time that nothing can be written; it names the stream.
        """
        if self.error is not None:
            return memoryview(data).nbytes
        try:
            return _write_some(self, data)
        except OSError as error:
            self.error = error
            raise OSError(error.errno, error.strerror, _OUTPUT) from None


class _Errors(io.FileIO):
    """Standard error, which drops what cannot be written."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of it, or wait until some can be, or drop all of it."""
        try:
            return _write_some(self, data)
        except OSError:
            return memoryview(data).nbytes


def _write_some(stream: io.FileIO, data: ReadableBuffer) -> int:
    while (written := io.FileIO.write(stream, data)) is None:
        # non-blocking: another process that has the same pipe or terminal has made it so
        select.select((), (stream,), ())
    return written


def _open_closed_streams() -> None:
    """Occupy the numbers of closed standard streams, so that no other file gets them."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - no path, and for good


def _guard(name: str, kind: type[Raw]) -> Raw | None:
    """Replace a standard stream by one of this kind; return None where another program owns it."""
    stream = getattr(sys, name)
    if sys.platform == "win32" or not isinstance(stream, io.TextIOWrapper):
        return None  # the console of Windows has no bytes
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO) or stream.name != f"<{name}>":
        return None
    guarded = kind(raw.fileno(), "w", closefd=False)
    guarded.name = stream.name
    text = io.TextIOWrapper(
        io.BufferedWriter(guarded),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, text)
    return guarded
