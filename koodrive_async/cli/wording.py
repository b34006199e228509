"""Numbers, names and errors as a person reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from koodrive_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InsufficientSpace,
    LockRefused,
    NotFound,
    ProxyFailed,
    RecordInUse,
    SourceChanged,
    TokenRefreshFailed,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.transport.plain_http import ALLOW_PLAIN_HTTP, ALLOW_PLAIN_PART_URLS
from koodrive_async.wording import (
    count_text,
    in_zone,
    moment_text,
    printable,
    size_text,
    time_text,
)

__all__ = [
    "count_text",
    "hint",
    "in_zone",
    "moment_text",
    "printable",
    "reason",
    "size_text",
    "speed_text",
    "time_text",
]

REFUSED: Final = "koodrive_async.refused"
"""Where a command says what helps when the service refuses its credentials."""


HELD: Final = "koodrive_async.held"
"""Where a command says which process holds the lock that it did not get."""

ADRIFT: Final = "the working folder of the command has been removed: name files by absolute paths"
_PLAIN: Final = re.compile(rf"\b({ALLOW_PLAIN_HTTP}|{ALLOW_PLAIN_PART_URLS})=\('([^']+)',\)")


def speed_text(size: int, seconds: float) -> str:
    """Return a speed such as ``123.4 MB/s``."""
    return f"{size_text(size / max(seconds, 1e-6))}/s"


_HINTS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        LockRefused,
        (
            "another client is backing up, or one that was killed elsewhere, or had no journal, "
            "has left its lock behind; --wait SECONDS waits, and 10 minutes after its last renewal "
            "it is free by itself"
        ),
    ),
    (AuthenticationError, "koodrive login takes other credentials, koodrive doctor checks them"),
    (NotFound, "koodrive devices and koodrive records list what there is"),
    (InsufficientSpace, "make room in the space, then go on with --resume"),
    (TokenRefreshFailed, "koodrive login signs in again"),
    (
        UntrustedCertificate,
        (
            "koodrive --ca-file FILE trusts the authority of a network that looks into TLS; "
            "koodrive doctor says what is trusted"
        ),
    ),
    (
        ProxyFailed,
        (
            "koodrive --proxy none goes without, NO_PROXY does for a host, and KOODRIVE_PROXY may "
            "have user and password; koodrive doctor says which proxy it is"
        ),
    ),
    (TransportError, "koodrive doctor looks at the endpoint and the connection"),
    (RecordInUse, "wait for it, or end it; koodrive journal shows what is in use"),
    (SourceChanged, "back it up again when it rests"),
    (
        ConfigurationError,
        (
            "koodrive login asks for what is missing, koodrive config explain says where each "
            "setting comes from; koodrive emulator is a service to try things out"
        ),
    ),
)


def reason(error: BaseException) -> str:
    """Return what went wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return printable(_of_the_system(error, error.strerror))
    if isinstance(error, LockRefused):
        return printable(error.msg)
    if isinstance(error, KeyboardInterrupt):
        return str(getattr(error, "words", "interrupted"))
    if isinstance(error, click.Abort):
        return "the input has ended"
    if isinstance(error, click.ClickException):
        return printable(error.format_message().removesuffix(".").replace("\n\t", " "))
    return printable(_without_class(error) or type(error).__name__)


def _of_the_system(error: OSError, words: str) -> str:
    if error.filename is not None:
        return f"{error.filename}: {words}"
    return ADRIFT if isinstance(error, FileNotFoundError) and _is_adrift() else words


def _is_adrift() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _without_class(error: BaseException) -> str:
    """Return the words of an error without a policy that only a program could have set."""
    gave_up: str | None = getattr(error, "gave_up", None)
    if gave_up is None or "RetryPolicy" not in gave_up:
        return str(error)
    return str(error).replace(f"; given up: {gave_up}", "")


def hint(error: BaseException) -> str | None:
    """Return what may help against it, in one line; None when nothing is known to."""
    context = click.get_current_context(silent=True)
    for kind, key in ((AuthenticationError, REFUSED), (LockRefused, HELD)):
        if isinstance(error, kind) and context and key in context.meta:
            return str(context.meta[key])
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"see {error.ctx.command_path} --help"
    if isinstance(own := getattr(error, "hint", None), str):
        return own
    if isinstance(error, ConfigurationError) and (found := _PLAIN.search(str(error))):
        option = found[1].replace("_", "-")
        return f"koodrive --{option} {found[2]} allows it, and so does {found[1]} of a profile"
    return next((text for kind, text in _HINTS if isinstance(error, kind)), None)
