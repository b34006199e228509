"""What an object store says to a part, read with a deadline and within bounds."""

from __future__ import annotations

import http.client
import io
import re
import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from koodrive_async.upload.sockets import PatientSocket

_ERROR_LIMIT = 64 * 1024
_ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer with all that surrounds its body; no object store says more to a part."""

_HEAD_LIMIT = 256 * 1024
"""Bytes of the head of an answer, with those of the announcements before it."""

_ANNOUNCEMENT = 1
_STATUS_OF_ANNOUNCEMENT = re.compile(rb"HTTP/[0-9.]+[ \t]+1[0-9][0-9](?![0-9])")
_FOLDED = (b" ", b"\t")
_HEADERS_THAT_COUNT = frozenset(
    {
        b"connection",
        b"content-length",
        b"content-type",
        b"date",
        b"etag",
        b"keep-alive",
        b"proxy-connection",
        b"retry-after",
        b"transfer-encoding",
    }
)


@attrs.frozen
class Answer:
    """What the object store said.

    :ivar text: As much of the body as is worth reading.
    """

    status: int
    headers: http.client.HTTPMessage
    text: str


def receive_answer(sock: PatientSocket, patience: float) -> tuple[Answer, bool]:
    """Read the answer to a PUT; blocks.

    :param patience: Seconds for all of it.
    :returns: The answer, and whether another request can follow on this connection.
    :raises StallError: It did not come in time.
    :raises ConnectionLostError: The connection broke.
    :raises http.client.HTTPException: What came is no answer.
    :raises AbortedError: The socket was aborted.
    """
    stream: Any = _AnswerStream(sock, time.monotonic() + patience)
    response = http.client.HTTPResponse(stream, method="PUT")
    try:
        response.begin()
        while response.status // 100 == _ANNOUNCEMENT:  # of an answer that is to follow
            response.headers = None  # type: ignore[assignment]  # lets it begin once more
            response.begin()
        headers_cut = stream.ended
        text = response.read(_ERROR_LIMIT).decode("utf-8", "replace")
        if headers_cut or (stream.ended and response.length):
            raise http.client.IncompleteRead(b"")
        whole = response.isclosed() and not response.will_close and not stream.left
        return Answer(response.status, response.headers, text), whole
    except ValueError:
        raise http.client.HTTPException("malformed") from None
    finally:
        response.close()


class _AnswerStream(io.RawIOBase):
    """What :mod:`http.client` reads an answer from: the socket, up to a deadline and a limit.

    :ivar ended: The other side has ended the stream.
    :ivar left: Something had come behind the answer.
    """

    left = False

    def __init__(self, sock: PatientSocket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._received = 0
        self.ended = self.done = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        return _AnswerReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self.done:
            return None
        received = self._sock.receive_into(buffer, self._deadline)
        self.ended = not received
        self._received += received
        if self._received > _ANSWER_LIMIT:
            raise http.client.HTTPException("endless")
        return received


class _AnswerReader(io.BufferedReader):
    """Gives :mod:`http.client` the headers that count.

    It takes a hundred of them and lines of 64 KiB, and stores and what stands before them send
    more: the others are passed over, within :data:`_HEAD_LIMIT`.
    """

    def __init__(self, stream: _AnswerStream) -> None:
        super().__init__(stream)
        self._stream = stream
        self._in_head = True
        self._status_line = b""
        self._head = 0

    def readline(self, size: int | None = -1) -> bytes:
        if not self._in_head:
            return super().readline(size)
        if not self._status_line:
            self._status_line = self._line_of_head(size)
            return self._status_line
        passing_over = False
        while True:
            line = self._line_of_head(size)
            if not line.strip():
                # after an announcement the head of another answer follows
                self._in_head = _STATUS_OF_ANNOUNCEMENT.match(self._status_line) is not None
                self._status_line = b""
                return line
            if line[:1] in _FOLDED:
                if passing_over:
                    continue
                return line
            name = line.partition(b":")[0].strip().lower()
            if name in _HEADERS_THAT_COUNT:
                return line
            passing_over = True
            while not line.endswith(b"\n"):
                line = self._line_of_head(size)
                if not line:
                    return line

    def _line_of_head(self, size: int | None) -> bytes:
        line = super().readline(size)
        self._head += len(line)
        if self._head > _HEAD_LIMIT:
            raise http.client.HTTPException("the head of the answer has no end")
        return line

    def close(self) -> None:
        if not self.closed:
            self._stream.done = True  # to look is not to wait for more
            self._stream.left = bool(self.peek())
        super().close()
