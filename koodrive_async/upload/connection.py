"""One HTTP/1.1 connection to an object store: a part goes out, an answer comes back."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import time
from typing import TYPE_CHECKING, Protocol

from koodrive_async.upload.answer import receive_answer
from koodrive_async.upload.sockets import (
    CAN_SEND_FILES,
    AbortedError,
    ConnectionLostError,
)
from koodrive_async.upload.stalls import StallError, StallWatch

if TYPE_CHECKING:
    from koodrive_async.config import Timeouts
    from koodrive_async.hashing import Sha256
    from koodrive_async.pace import Pace
    from koodrive_async.upload.answer import Answer
    from koodrive_async.upload.sockets import PatientSocket

READ_AT_ONCE = 128 * 1024
"""Bytes of a part that are in this process at a time, where the kernel cannot send them itself."""

_SENT_AT_ONCE = 4 * 1024 * 1024
_READ_AHEAD = 16 * 1024 * 1024
"""Bytes of a part that the kernel is told about: from a cold disk that sent an eighth more."""

_SENT_WITH_HEAD = 64 * 1024
_STEPS_PER_SECOND = 20
"""How finely a limited bandwidth is spread."""

_LOOKS_AT_THE_END = 8
"""How often to look, while an answer may come, whether all of a part has been taken."""

_SUCCESS = 2


class Body(Protocol):
    """The bytes of a file, at their offsets in it."""

    @property
    def descriptor(self) -> int | None:
        """A file that the kernel can read; None for bytes in memory."""

    def read(self, offset: int, length: int) -> bytes | bytearray | memoryview:
        """Return up to ``length`` bytes from ``offset``, and at least one."""
        ...


class HandshakeError(Exception):
    """They did not come to speak TLS; nothing of a part was sent."""

    def __init__(self, reason: StallError | ConnectionLostError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class StaleError(Exception):
    """A kept connection had been closed, or said something, before it was used again."""


class StoreConnection:
    """A connection that one worker thread at a time sends parts on.

    :ivar number: Counts the connections of a client.
    :ivar reusable: Whether another part can follow.
    :ivar reading: Seconds that reading the source took for the last part.
    """

    def __init__(
        self, sock: PatientSocket, timeouts: Timeouts, pace: Pace | None, *, number: int = 1
    ) -> None:
        self.number = number
        self.sock = sock
        self._timeouts = timeouts
        self._pace = pace
        self.reusable: bool = False
        self.reading: float = 0.0
        self._watch = StallWatch(0, timeouts.stall, sock.queued)

    @property
    def taken(self) -> int:
        """Bytes of the last request that the socket took."""
        return self._watch.taken

    def put(
        self, head: bytes, body: Body, offset: int, size: int, seen: Sha256 | None = None
    ) -> Answer:
        """Send a part, all of it, and read the answer; blocks.

        :param head: The request line and the headers.
        :param seen: A hash that is to see just the bytes that go out.
        :raises StaleError: It was kept for too long; nothing was sent.
        :raises HandshakeError: TLS was wanted and could not be spoken.
        :raises StandstillError: It hardly moved any more.
        :raises StallError: The answer took too long.
        :raises ConnectionLostError: The connection broke, and no answer had come before that.
        :raises http.client.HTTPException: What came is no answer.
        :raises ssl.SSLCertVerificationError: The other side is not trusted.
        :raises AbortedError: It was aborted.
        :raises OSError: The body cannot be read.
        """
        kept, self.reusable = self.reusable, False
        self.reading = 0.0
        if kept and not self.sock.is_quiet():
            raise StaleError
        self._watch = StallWatch(len(head) + size, self._timeouts.stall, self.sock.queued)
        try:
            self.sock.shake_hands(self._timeouts.connect)
        except (StallError, ConnectionLostError) as error:
            raise HandshakeError(error) from None
        try:
            complete = self._send(head, body, offset, size, seen)
            if complete:
                self.sock.drain(self._watch, self._timeouts.answer / _LOOKS_AT_THE_END)
        except ConnectionLostError as lost:
            # servers refuse large bodies by answering and closing
            complete, answer, whole = False, self._answer_before(lost), False
        else:
            # what the other side's system took may be in a buffer there
            patience = self._timeouts.stall + self._timeouts.answer
            answer, whole = receive_answer(self.sock, patience)
        if answer.status // 100 == _SUCCESS and not complete:
            raise http.client.HTTPException("nothing can have succeeded before it was sent")
        self.reusable = complete and whole
        return answer

    # --- the request ---------------------------------------------------------------------------

    def _send(self, head: bytes, body: Body, offset: int, size: int, seen: Sha256 | None) -> bool:
        """Return whether all of it was taken; otherwise an answer is waiting."""
        if body.descriptor is None and size <= _SENT_WITH_HEAD:
            data = body.read(offset, size) if size else b""
            if seen is not None:
                seen.update(data)
            return self._send_bytes(memoryview(head + data))
        if not self._send_bytes(memoryview(head)):
            return False
        end = offset + size
        if body.descriptor is not None:
            _read_ahead(body.descriptor, offset, min(size, _READ_AHEAD))
        if body.descriptor is not None and self.sock.plain and CAN_SEND_FILES and seen is None:
            taken = self._send_file(body.descriptor, offset, end)
            if taken is None:
                return False
            offset += taken
        return self._send_pieces(body, offset, end, seen)

    def _send_pieces(self, body: Body, offset: int, end: int, seen: Sha256 | None) -> bool:
        while offset < end:
            began = time.perf_counter()
            piece = memoryview(body.read(offset, min(READ_AT_ONCE, end - offset)))
            self.reading += time.perf_counter() - began
            if not piece:
                raise OSError(errno.EIO, "a source ended before its size")
            if seen is not None:
                seen.update(piece)
            if not self._send_bytes(piece):
                return False
            offset += len(piece)
        return True

    def _send_file(self, descriptor: int, offset: int, end: int) -> int | None:
        """Return the bytes that the kernel sent, or None when an answer is waiting.

        Less than all is no error yet: reading the rest tells what is wrong with the file.
        """
        start = offset
        while offset < end:
            step = self._wait_for(min(_SENT_AT_ONCE, end - offset))
            try:
                sent = self.sock.send_file(descriptor, offset, step, self._watch)
            except OSError:
                sent = 0
            self._took(sent or 0, step)
            if sent is None:
                return None
            if not sent:
                break
            offset += sent
        return offset - start

    def _send_bytes(self, data: memoryview) -> bool:
        while data:
            step = self._wait_for(len(data))
            sent = self.sock.send(data[:step], self._watch)
            self._took(sent or 0, step)
            if sent is None:
                return False
            data = data[sent:]
        return True

    def _wait_for(self, size: int) -> int:
        """Wait until some of this may be sent, and return how much."""
        if self._pace is None:
            return size
        step = min(size, max(1, int(self._pace.rate / _STEPS_PER_SECOND)))
        if delay := self._pace.delay(step):
            try:
                self.sock.pause(delay)
            except AbortedError:
                self._pace.give_back(step)
                raise
        return step

    def _took(self, sent: int, step: int) -> None:
        self._watch.taken += sent
        if self._pace is not None and sent < step:
            self._pace.give_back(step - sent)

    def _answer_before(self, lost: ConnectionLostError) -> Answer:
        try:
            return receive_answer(self.sock, self._timeouts.answer)[0]
        except (ConnectionLostError, StallError, http.client.HTTPException):
            raise lost from None


def _read_ahead(descriptor: int, offset: int, size: int) -> None:
    """Advise the kernel to fetch what is not in memory yet; the advice costs more than to look."""
    if not hasattr(os, "posix_fadvise") or not size:
        return
    with contextlib.suppress(OSError):  # it is no more than advice
        if not _in_memory(descriptor, offset) or not _in_memory(descriptor, offset + size - 1):
            os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)


def _in_memory(descriptor: int, offset: int) -> bool:
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True
