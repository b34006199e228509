"""Every exception this package raises of its own.

::

    KooDriveError
    ├── InvalidArgument (ValueError)      refused here, before anything was sent
    │   ├── InvalidFileName               a name the interface does not allow
    │   └── FileTooLarge                  over 200 GB
    ├── ConfigurationError                settings are missing or do not fit together
    ├── ClientClosed                      used outside its async with
    ├── WrongEventLoop                    used in another event loop than it was entered in
    ├── ForkedClient                      used in another process than it was entered in
    ├── OutOfThreads (RuntimeError)       the system starts no more threads, not even one
    ├── TokenRefreshFailed                the token function failed
    ├── RecordInUse                       another process is backing up into this record
    ├── BackupIncomplete                  a loop over uploads was left before its end
    ├── TransportError                    no usable answer arrived
    │   ├── ConnectionFailed              refused, reset, unresolved, TLS
    │   │   ├── ProxyFailed               the proxy refused, or is not one
    │   │   └── UntrustedCertificate      no trusted authority vouches for the other side
    │   ├── DeadlineExceeded              a named wait took longer than its deadline
    │   └── MalformedResponse             not JSON, without code, not as documented
    ├── PagingError                       the service returned the same cursor twice
    ├── ApiError                          the service answered and refused
    │   ├── InvalidRequest                a field was refused
    │   ├── AuthenticationError           the credentials were refused
    │   ├── PermissionDenied              the user may not do this here
    │   ├── NotFound                      no such device, record, file, space
    │   ├── LockRefused                   another client may hold the backup lock
    │   ├── DuplicateFileName             the name is taken and renaming was not allowed
    │   ├── InsufficientSpace             the quota is used up
    │   ├── UploadTaskGone                the upload has to be created again
    │   ├── IntegrityCheckFailed          the stored bytes are not the announced ones
    │   ├── RateLimited                   too many requests
    │   └── ServerFault                   the service failed
    └── UploadError                       a file did not get there
        ├── PartRejected                  the object store refused a part
        ├── SourceChanged                 the file changed between hashing and sending
        └── LockLost                      the backup lock could not be kept

Errors of the local file itself (missing, a folder, no permission) stay the ``OSError`` that the
operating system raised, with the path in it. All of these pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from koodrive_async.url_text import without_secret_urls, without_urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ApiError",
    "Attempt",
    "AuthenticationError",
    "BackupIncomplete",
    "ClientClosed",
    "ConfigurationError",
    "ConnectionFailed",
    "DeadlineExceeded",
    "DuplicateFileName",
    "FileTooLarge",
    "ForkedClient",
    "InsufficientSpace",
    "IntegrityCheckFailed",
    "InvalidArgument",
    "InvalidFileName",
    "InvalidRequest",
    "KooDriveError",
    "LockLost",
    "LockRefused",
    "MalformedResponse",
    "NotFound",
    "OutOfThreads",
    "PagingError",
    "PartRejected",
    "PermissionDenied",
    "ProxyFailed",
    "RateLimited",
    "RecordInUse",
    "ServerFault",
    "SourceChanged",
    "TokenRefreshFailed",
    "TransportError",
    "UntrustedCertificate",
    "UploadError",
    "UploadTaskGone",
    "WrongEventLoop",
]


class KooDriveError(Exception):
    """Base of every exception of this package.

    Neither its text nor any text on it has a URL with a query or a user in it.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*map(_without_secrets, args))

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, _without_secrets(value))

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only constructors cannot be called again with ``args``: restore the state instead.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    cls: type[KooDriveError], args: tuple[Any, ...], state: dict[str, Any]
) -> KooDriveError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class InvalidArgument(KooDriveError, ValueError):
    """An argument breaks a rule of the interface; nothing was sent."""


class InvalidFileName(InvalidArgument):
    """The interface does not allow this file name; the message names the character or rule."""


class FileTooLarge(InvalidArgument):
    """The file is larger than the 200 GB that a multipart upload may have."""


class ConfigurationError(KooDriveError):
    """Settings are missing or contradict each other; the message lists them."""


class ClientClosed(KooDriveError):
    """The client was used before ``async with`` entered it or after it was left."""


class WrongEventLoop(KooDriveError):
    """The client was used in another event loop, or thread, than the one it was entered in.

    The error also means that it was entered without an event loop of asyncio, such as in trio.
    """


class ForkedClient(KooDriveError):
    """The client was used in a process forked from the one it was entered in; open another one."""


class OutOfThreads(KooDriveError, RuntimeError):
    """The system starts no thread for this process: its user or container has too many already.

    The error is raised only when not a single thread is left to work with; otherwise fewer do.
    """


class TokenRefreshFailed(KooDriveError):
    """The function that gives the token failed; its own exception is the cause of this one."""


class RecordInUse(KooDriveError):
    """Another process of this machine is backing up into the record that was to be resumed.

    :ivar record_id: The record.
    """

    def __init__(self, record_id: str) -> None:
        super().__init__(f"another process is backing up into record {record_id}")
        self.record_id = record_id


_MAY_BE_WHOLE = (
    "; of {} of them all outcomes were taken, and it was not known within Timeouts.cleanup whether "
    "another source follows: iterate to the end of the loop"
)


class BackupIncomplete(KooDriveError):
    """A loop over ``upload_many()`` or ``upload_tree()`` was left before its end, or never begun.

    Leaving the session raises this where it would have completed the record. The record stays
    unfinished: resume it with ``drive.backup(..., resume=error.record_id)``. Where leaving early
    is meant, call :meth:`BackupSession.complete_anyway` before the session is left.

    :ivar record_id: The record.
    :ivar arrived: How many files of this session are in the record.
    :ivar batches: How many batches of uploads were not gone through to their end.
    :ivar unknown: Those of them of which all outcomes had been taken, and whose sources had not
        ended within ``Timeouts.cleanup``: another one may follow, or not.
    """

    def __init__(self, record_id: str, *, arrived: int, batches: int, unknown: int = 0) -> None:
        files = "1 file has" if arrived == 1 else f"{arrived:,} files have"
        loops = (
            "a loop over uploads was" if batches == 1 else f"{batches:,} loops over uploads were"
        )
        super().__init__(
            f"{loops} left before the end or never begun: {files} arrived, and record {record_id} "
            f"stays unfinished; resume it with backup(..., resume={record_id!r}), or call "
            "session.complete_anyway() before leaving, where this is meant"
            + (_MAY_BE_WHOLE.format(unknown) if unknown else "")
        )
        self.record_id = record_id
        self.arrived = arrived
        self.batches = batches
        self.unknown = unknown


class Attempt(NamedTuple):  # attrs would take longer to load than this whole module
    """An attempt at a request that failed and was followed by another one.

    :param error: What it failed with, in words.
    :param delay: Seconds that were waited after it.
    """

    error: str
    delay: float


class _Attempted:
    """What is known of the attempts at a request, on the exception that ended them.

    :ivar attempts: How often the request was sent.
    :ivar history: The attempts before the last one, the latest 20 of them.
    :ivar gave_up: Why it was not sent once more, where that might have helped; None where not.
    """

    attempts: int = 1
    history: tuple[Attempt, ...] = ()
    gave_up: str | None = None

    def _ending(self) -> Iterator[str]:
        if self.attempts > 1:
            yield f"{self.attempts} attempts"
        if self.gave_up:
            yield f"given up: {self.gave_up}"


class TransportError(KooDriveError, _Attempted):
    """No usable answer arrived.

    :ivar method: HTTP method of the request.
    :ivar path: Path of the request, without host and query (a presigned query is a secret).
    :ivar trace_id: The ``X-Traceid`` that was sent, or None on an object store request.
    :ivar sent: False when it is certain that the other side did not see the request.
    :ivar attempts: How often the request was sent.
    :ivar history: The :class:`Attempt` before the last one, the latest 20 of them.
    :ivar gave_up: Why it was not sent once more, where that might have helped.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str,
        path: str,
        trace_id: str | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.path = path
        self.trace_id = trace_id
        self.sent = sent

    def __str__(self) -> str:
        parts = [f"{self.method} {self.path}: {_on_one_line(self.args[0])}"]
        if self.trace_id:
            parts.append(f"trace id {self.trace_id}")
        return "; ".join((*parts, *self._ending()))


class ConnectionFailed(TransportError):
    """The connection could not be made or broke."""


class UntrustedCertificate(ConnectionFailed):
    """The other side's certificate is not one that this machine trusts; trying again is no use."""


class ProxyFailed(ConnectionFailed):
    """The proxy cannot be reached, refused, or is not a proxy.

    One that takes too long is a :exc:`DeadlineExceeded`, which names it too.

    :ivar proxy: Its host and port.
    :ivar status: HTTP status of its answer; None when that was none.
    """

    def __init__(
        self,
        message: str,
        *,
        proxy: str,
        status: int | None,
        method: str,
        path: str,
        trace_id: str | None = None,
        sent: bool = False,
    ) -> None:
        super().__init__(message, method=method, path=path, trace_id=trace_id, sent=sent)
        self.proxy = proxy
        self.status = status


class DeadlineExceeded(TransportError):
    """A wait took longer than its deadline; the message names the wait and the setting."""


class MalformedResponse(TransportError):
    """The answer is not what the interface documents: not JSON, cut off, without ``code``.

    :ivar status: HTTP status of the answer.
    :ivar unreadable: Whether it is no answer of the interface at all, but a page of a gateway or
        half an answer: the next one may be better. Otherwise it has ``code`` 0 and lacks something.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str,
        path: str,
        status: int,
        trace_id: str | None = None,
        unreadable: bool = False,
    ) -> None:
        super().__init__(message, method=method, path=path, trace_id=trace_id)
        self.status = status
        self.unreadable = unreadable


class PagingError(KooDriveError):
    """The service returned a cursor it had returned before; going on would never end."""


class ApiError(KooDriveError, _Attempted):
    """The service answered and refused.

    :ivar status: HTTP status.
    :ivar code: ``code`` of the answer as a string, for example ``"13000405"``; empty without one.
    :ivar msg: ``msg`` of the answer, as sent but for URLs with a query or a user; the text of this
        exception has it in one line.
    :ivar trace_id: The ``X-Traceid`` that was sent: quote it to the vendor's support.
    :ivar retry_after: Seconds the service asked to wait, or None.
    :ivar method: HTTP method of the request.
    :ivar path: Path of the request.
    :ivar attempts: How often the request was sent.
    :ivar history: The :class:`Attempt` before the last one, the latest 20 of them.
    :ivar gave_up: Why it was not sent once more, where that might have helped.
    """

    advice: str | None = None

    def __init__(
        self,
        *,
        status: int,
        code: str,
        msg: str,
        method: str,
        path: str,
        trace_id: str | None = None,
        retry_after: float | None = None,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(msg)
        self.status = status
        self.code = code
        self.msg = msg
        self.method = method
        self.path = path
        self.trace_id = trace_id
        self.retry_after = retry_after
        self._take(answer or {})

    def _take(self, answer: Mapping[str, Any]) -> None:
        """Keep what a subclass needs of the rest of the answer."""

    def __str__(self) -> str:
        code = f", code {_on_one_line(self.code)}" if self.code else ""
        msg = _on_one_line(self.msg).rstrip(".")
        parts = [f"{self.method} {self.path}: HTTP {self.status}{code}: {msg}"]
        if self.advice:
            parts.append(self.advice)
        if self.retry_after is not None:
            parts.append(f"retry after {self.retry_after:g} s")
        if self.trace_id:
            parts.append(f"trace id {self.trace_id}")
        return "; ".join((*parts, *self._ending()))


class InvalidRequest(ApiError):
    """The service refused a field of the request; sending it again will not help."""


class AuthenticationError(ApiError):
    """The token, signature or user id was refused."""

    advice: str | None = (
        "check the token or app secret, the user id, and that the token is not used up"
    )


class PermissionDenied(ApiError):
    """The user may not do this, or not in this space."""


class NotFound(ApiError):
    """There is no such device, record, file or space."""


class LockRefused(ApiError):
    """The backup lock was not granted: most likely another client holds it.

    The service has no code of its own for this. A lock whose answer was lost on the way holds the
    next one off as well, until its life is over.
    """

    advice: str | None = (
        "another client may hold it: it is free again when that gives it back, or 10 minutes after "
        "its last renewal; Timeouts.lock says how long to wait for it"
    )


class DuplicateFileName(ApiError):
    """A file of this name exists and ``AutoRename.REJECT`` was asked for.

    :ivar existing_file_id: Id of the file that has the name, when the service says it.
    """

    existing_file_id: str | None = None
    advice: str | None = "choose another name, or AutoRename.RENAME or AutoRename.SKIP"

    def _take(self, answer: Mapping[str, Any]) -> None:
        existing = answer.get("existFileId")
        if existing and isinstance(existing, str | int):
            self.existing_file_id = str(existing)


class InsufficientSpace(ApiError):
    """The space is full: stop the run."""

    advice: str | None = (
        "free some space or choose another space; going on would fail for every file"
    )


class UploadTaskGone(ApiError):
    """The service no longer knows this upload: create the file again."""

    advice: str | None = "create the backup file again"


class IntegrityCheckFailed(ApiError):
    """What was stored is not what was announced: a part is missing or wrong."""

    advice: str | None = "upload the file again"


class RateLimited(ApiError):
    """Too many requests; ``retry_after`` says how long to wait, where the service says it."""


class ServerFault(ApiError):
    """The service failed; the same request may work later."""


class UploadError(KooDriveError):
    """A file did not get to the service."""


class PartRejected(UploadError, _Attempted):
    """The object store refused a part.

    :ivar part_number: Number of the part, from 1.
    :ivar status: HTTP status of the object store.
    :ivar code: The ``Code`` of its XML answer, for example ``"SignatureDoesNotMatch"``, or None.
    :ivar retry_after: Seconds the object store asked to wait, or None.
    :ivar attempts: How often the part was sent.
    :ivar history: The :class:`Attempt` before the last one, the latest 20 of them.
    :ivar gave_up: Why it was not sent once more, where that might have helped.
    """

    def __init__(
        self,
        *,
        part_number: int,
        status: int,
        code: str | None,
        msg: str,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(msg)
        self.part_number = part_number
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        refused = f"part {self.part_number} was refused: HTTP {self.status}"
        if self.code:
            refused += f" {_on_one_line(self.code)}"
        if self.args[0]:
            refused += f": {_on_one_line(self.args[0])}"
        return "; ".join((refused, *self._ending()))


class SourceChanged(UploadError):
    """The file changed between hashing and sending; nothing torn was completed.

    :ivar name: The file.
    :ivar changes: What changed, for example ``"size 10 -> 12"``.
    """

    def __init__(self, name: str, changes: str) -> None:
        super().__init__(f"{name} changed while it was being backed up: {changes}")
        self.name = name
        self.changes = changes


class LockLost(UploadError):
    """The backup lock could not be renewed in time; nothing was written after that.

    :ivar lock_id: The lock that was lost.
    """

    def __init__(self, lock_id: str, reason: str) -> None:
        super().__init__(f"backup lock {lock_id} was lost: {reason}")
        self.lock_id = lock_id
        self.reason = reason


# --- texts of others ---------------------------------------------------------------------------

_LONGEST_TEXT = 500


def _without_secrets(value: object) -> object:
    return without_secret_urls(value) if isinstance(value, str) else value


def _on_one_line(text: str) -> str:
    """Return what the other side wrote as it may be shown: printable, short, without any URL."""
    text = without_urls(text)
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + "..."
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
