"""What went wrong with a part, as the errors of this package."""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, NoReturn

from koodrive_async.errors import (
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    PartRejected,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.transport.answer import retry_after
from koodrive_async.transport.tunnel import if_it_intercepts, through
from koodrive_async.upload.connection import HandshakeError
from koodrive_async.upload.sockets import AbortedError, ConnectionLostError
from koodrive_async.upload.stalls import StallError, StandstillError
from koodrive_async.url_text import without_urls

if TYPE_CHECKING:
    from koodrive_async.config import Timeouts
    from koodrive_async.transport.proxy import Proxy
    from koodrive_async.upload.answer import Answer
    from koodrive_async.upload.plan import PlannedPart

_SUCCESS = 2
_LONGEST_ETAG = 200


def fail(error: Exception, part: PlannedPart, timeouts: Timeouts, proxy: Proxy | None) -> NoReturn:
    """Raise the exception of our tree; what concerns the source stays as it is.

    :param proxy: What leads to the object store.
    """
    kind: type[TransportError] = ConnectionFailed
    sent = True
    match error:
        case AbortedError():
            raise ClientClosed("the client was closed while a part was being sent") from None
        case HandshakeError(reason=StallError()):
            kind, sent = DeadlineExceeded, False
            problem = f"connecting{through(proxy)} took longer than {timeouts.connect:g} s"
            problem += " (Timeouts.connect)"
        case HandshakeError():
            sent = False
            problem = f"cannot connect{through(proxy)} ({error})"
        case StandstillError():
            kind = DeadlineExceeded
            problem = str(error)
        case StallError():
            kind = DeadlineExceeded
            seconds = timeouts.stall + timeouts.answer
            problem = (
                f"all of it was sent, and no answer came within {seconds:g} s "
                "(Timeouts.stall and Timeouts.answer)"
            )
        case ssl.SSLCertVerificationError():
            kind, sent = UntrustedCertificate, False
            problem = f"the certificate is not trusted ({error.verify_message})"
            problem += if_it_intercepts(proxy)
        case ConnectionLostError() | http.client.HTTPException():
            problem = _broken(error)
        case _:
            raise error
    raise kind(problem, method="PUT", path=f"part {part.number}", sent=sent) from None


def _broken(error: ConnectionLostError | http.client.HTTPException) -> str:
    match error:
        case ConnectionLostError():
            return str(error)
        case http.client.RemoteDisconnected():
            return "the connection was closed before an answer came"
        case http.client.IncompleteRead():
            return "the answer was cut off"
    return "what came is no HTTP answer"


def check_answer(answer: Answer, part: PlannedPart, now: float) -> None:
    """See that the object store took the part.

    :param now: Its time in seconds since 1970.
    :raises PartRejected: It did not.
    """
    if answer.status // 100 == _SUCCESS:
        return
    text = without_urls(answer.text)
    code = re.search(r"<Code>(.{1,200}?)</Code>", text)
    message = re.search(r"<Message>(.{1,500}?)</Message>", text, re.DOTALL)
    raise PartRejected(
        part_number=part.number,
        status=answer.status,
        code=code[1] if code else None,
        msg=message[1] if message else "",
        retry_after=retry_after(answer.headers.get("Retry-After"), now),
    )


def etag_of(answer: Answer) -> str | None:
    """Return the ETag as it was sent, unless it is none."""
    etag = (answer.headers.get("ETag") or "").strip()
    return etag if etag and etag.isprintable() and len(etag) <= _LONGEST_ETAG else None
