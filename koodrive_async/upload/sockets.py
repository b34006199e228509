"""A socket whose every wait has an end, plain or with TLS, for one worker thread at a time."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import select
import selectors
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from koodrive_async.capacity import available_cores
from koodrive_async.upload.stalls import StallError

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from koodrive_async.upload.stalls import StallWatch

CAN_SEND_FILES: Final = hasattr(os, "sendfile")

# What a connection that is gone says, and a file never does.
_GONE = frozenset(
    {
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
    }
)

_ANNOUNCEMENT = re.compile(rb"HTTP/1\.[01] 1")
_STATUS_LINE = len(b"HTTP/1.1 200")
_HEARD_AT_ONCE = 8192
_LONGEST_WAIT = 24 * 3600.0
"""Seconds that a poll may take; longer ones end as if this had been the deadline."""

_PERMIT_WAIT = 0.1
"""Seconds between two looks whether a socket that waits for its turn to encrypt was aborted."""

_EVENTS = (selectors.EVENT_READ, selectors.EVENT_WRITE)


class _Encrypting:
    """Turns to encrypt, one for each core of the process.

    More threads than cores would encrypt no more, and keep both from the caller's event loop.
    """

    def __init__(self) -> None:
        self.turns = threading.Semaphore(available_cores())

    def begin_again(self) -> None:
        """Reset the turns: in a forked process the threads that held them do not exist."""
        self.turns = threading.Semaphore(available_cores())


_ENCRYPTING = _Encrypting()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ENCRYPTING.begin_again)


class ConnectionLostError(Exception):
    """The connection broke; the text says how."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason.strerror or type(reason).__name__)


class AbortedError(Exception):
    """The connection was given up from outside."""


class PatientSocket:
    """A connected socket that waits for the other side only so long.

    Every method that waits may raise :exc:`StallError`, :exc:`ConnectionLostError`, or after
    :meth:`abort` :exc:`AbortedError`. Only :meth:`abort` and :meth:`is_quiet` may be called from
    other threads.

    :param sock: Connected.
    :param tls: To be spoken on it, with ``host``; None for none.
    """

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # some systems refuse when the other side has gone
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._tls = tls
        self._host = host
        self._aborted = threading.Event()
        self._came_early = bytearray()

    @property
    def plain(self) -> bool:
        """Whether bytes travel as they are, so that the kernel may send files by itself."""
        return self._tls is None

    def shake_hands(self, seconds: float) -> None:
        """Begin to speak TLS, if that is wanted and has not been done.

        :raises ssl.SSLCertVerificationError: Nobody trusted vouches for the other side.
        """
        if self._tls is None or isinstance(self._sock, ssl.SSLSocket):
            return None
        try:
            self._sock.getpeername()  # one that has gone would leave an open socket behind
            secure = self._tls.wrap_socket(
                self._sock,
                # neither certificates nor SNI (RFC 6066) have the final dot of a signed URL
                server_hostname=self._host.rstrip("."),
                do_handshake_on_connect=False,
            )
        except OSError as error:
            raise self._lost(error) from None
        self._sock = secure
        self._check()
        deadline = time.monotonic() + seconds
        while True:
            try:
                return secure.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(selectors.EVENT_READ, deadline)
            except ssl.SSLWantWriteError:
                self._wait(selectors.EVENT_WRITE, deadline)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                raise self._lost(error) from None

    def send(self, data: memoryview, watch: StallWatch) -> int | None:
        """Send some of the data.

        :param watch: Says for how long to wait until something of it can be sent.
        :returns: Bytes sent, or None when an answer is there already and no more is taken.
        """
        while True:
            try:
                return self._sock.send(data) if self.plain else self._encrypt(data)
            except (BlockingIOError, ssl.SSLWantWriteError):
                if self._answered_meanwhile(watch):
                    return None
            except ssl.SSLWantReadError:
                self._watched(selectors.EVENT_READ, watch)
            except OSError as error:
                raise self._lost(error) from None

    def send_file(self, descriptor: int, offset: int, size: int, watch: StallWatch) -> int | None:
        """Let the kernel send some bytes of a file.

        :returns: As :meth:`send`; 0 at the end of the file.
        :raises OSError: The file cannot be read, or not in this way.
        """
        while True:
            try:
                return os.sendfile(self._sock.fileno(), descriptor, offset, size)
            except BlockingIOError:
                if self._answered_meanwhile(watch):
                    return None
            except OSError as error:
                if error.errno in _GONE or self._aborted.is_set():
                    raise self._lost(error) from None
                raise

    def queued(self) -> int:
        """Return the bytes that the other side has not taken yet; 0 where nobody knows."""
        if sys.platform != "linux":
            return 0
        size = bytearray(4)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, size)
        return int.from_bytes(size, sys.byteorder)

    def drain(self, watch: StallWatch, look_every: float) -> None:
        """Wait until the other side has taken all of what was sent, or answers.

        :param look_every: Seconds between two looks, at the most.
        """
        while self.queued():
            ready = self._watched(selectors.EVENT_READ, watch, look_every)
            if ready and self._hear():
                return

    def receive_into(self, buffer: WriteableBuffer, deadline: float) -> int:
        """Receive some bytes; 0 at the end of the stream.

        :param deadline: By :func:`time.monotonic`.
        """
        if self._came_early:
            with memoryview(buffer).cast("B") as room:
                size = min(len(room), len(self._came_early))
                room[:size] = self._came_early[:size]
            del self._came_early[:size]
            return size
        while True:
            self._check()
            try:
                received = self._sock.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(selectors.EVENT_READ, deadline)
            except ssl.SSLWantWriteError:
                self._wait(selectors.EVENT_WRITE, deadline)
            except OSError as error:
                raise self._lost(error) from None
            else:
                self._check()  # an aborted socket seems to have ended
                return received

    def pause(self, seconds: float) -> None:
        """Wait, unless it is aborted."""
        if self._aborted.wait(seconds):
            raise AbortedError

    def is_quiet(self) -> bool:
        """Return whether nothing has come, not even the end: it can be used once more."""
        if self._came_early or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return False
        return not _ready(self._sock, selectors.EVENT_READ, 0)

    def abort(self) -> None:
        """Make whatever waits on this socket end at once."""
        self._aborted.set()
        with contextlib.suppress(OSError):  # the other side may have been faster
            # not the method of an SSLSocket, which would first go back to speaking plainly
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def _encrypt(self, data: memoryview) -> int:
        """Send as much as is taken; a TLS socket takes no more than a record at a time."""
        sent = 0
        turns = _ENCRYPTING.turns
        while not turns.acquire(timeout=_PERMIT_WAIT):
            self._check()
        try:
            while sent < len(data):
                try:
                    sent += self._sock.send(data[sent:])
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    if sent:
                        break
                    raise
        finally:
            turns.release()
        return sent

    def _answered_meanwhile(self, watch: StallWatch) -> bool:
        """Wait until more can be sent; return True if an answer came first."""
        while True:
            ready = self._watched(selectors.EVENT_WRITE | selectors.EVENT_READ, watch)
            if ready & selectors.EVENT_READ and self._hear():
                return True
            if ready & selectors.EVENT_WRITE:
                return False

    def _watched(self, events: int, watch: StallWatch, at_most: float = math.inf) -> int:
        """Wait no longer than the watch allows; return what the socket is ready for by then."""
        self._check()
        began = time.monotonic()
        ready = _ready(self._sock, events, min(_LONGEST_WAIT, at_most, watch.next_look))
        self._check()
        watch.waited(time.monotonic() - began)
        return ready

    def _hear(self) -> bool:
        """Take what has come, and return whether it is an answer, or the end.

        With TLS it may be no more than a session ticket, and with HTTP one of the announcements
        (1xx) that an answer is to follow, which are forgotten.
        """
        try:
            some = self._sock.recv(_HEARD_AT_ONCE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            raise self._lost(error) from None
        self._came_early += some
        while _ANNOUNCEMENT.match(self._came_early):
            head, end, rest = self._came_early.partition(b"\r\n\r\n")
            if not end:
                return len(head) > _HEARD_AT_ONCE or not some
            self._came_early = rest
        return not some or len(self._came_early) >= _STATUS_LINE

    def _wait(self, events: int, deadline: float) -> int:
        self._check()
        ready = _ready(
            self._sock, events, min(_LONGEST_WAIT, max(0.0, deadline - time.monotonic()))
        )
        self._check()
        if not ready:
            raise StallError
        return ready

    def _lost(self, error: OSError) -> Exception:
        return AbortedError() if self._aborted.is_set() else ConnectionLostError(error)

    def _check(self) -> None:
        if self._aborted.is_set():
            raise AbortedError


def _ready(sock: socket.socket, events: int, seconds: float) -> int:
    """Wait for a socket, and return what it is ready for; 0 when the time is over."""
    if not hasattr(select, "poll"):
        readers = [sock] if events & selectors.EVENT_READ else []
        writers = [sock] if events & selectors.EVENT_WRITE else []
        found = select.select(readers, writers, [], seconds)
        return sum(event for event, ready in zip(_EVENTS, found, strict=False) if ready)
    poll = select.poll()  # by itself, for a selector around it costs more than the wait
    wanted = (select.POLLIN if events & selectors.EVENT_READ else 0) | (
        select.POLLOUT if events & selectors.EVENT_WRITE else 0
    )
    poll.register(sock, wanted)
    for _, ready in poll.poll(math.ceil(seconds * 1000)):
        # an error or the end of the stream can be read, and written to
        both = ready & ~(select.POLLIN | select.POLLOUT)
        return events & (
            (selectors.EVENT_READ if both or ready & select.POLLIN else 0)
            | (selectors.EVENT_WRITE if both or ready & select.POLLOUT else 0)
        )
    return 0
