"""Settings of a client: small frozen values that pickle, and reading them from the environment."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import attrs

from koodrive_async.capacity import DEFAULT_MEMORY, MIN_MEMORY, available_cores
from koodrive_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENDPOINT = "KOODRIVE_ENDPOINT"
USER_ID = "KOODRIVE_USER_ID"
TOKEN = "KOODRIVE_TOKEN"  # noqa: S105 - the name of a variable, not a token
ALLOW_PLAIN_HTTP = "KOODRIVE_ALLOW_PLAIN_HTTP"
ALLOW_PLAIN_PART_URLS = "KOODRIVE_ALLOW_PLAIN_PART_URLS"
APP_ID = "KOODRIVE_APP_ID"
APP_SECRET = "KOODRIVE_APP_SECRET"  # noqa: S105 - the name of a variable, not a secret

_OFF = frozenset({"off", "none", "no", "false", "0"})


def is_off(setting: str) -> bool:
    """Say whether a setting that may name a file says that there is to be none."""
    return setting.strip().lower() in _OFF


def _whole(least: int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, setting: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not int or value < least:
            raise ValueError(f"{setting.name} must be a whole number from {least}, not {value!r}")

    return check


def _connections(settings: object, setting: attrs.Attribute[Any], value: object) -> None:
    if value != "auto":
        _whole(1)(settings, setting, value)


def _seconds(_: object, setting: attrs.Attribute[Any], value: object) -> None:
    if not _is_number(value) or not value > 0:
        raise ValueError(f"{setting.name} must be seconds above 0, not {value!r}")


def _seconds_or_none(_: object, setting: attrs.Attribute[Any], value: object) -> None:
    if not _is_number(value) or not value >= 0:
        raise ValueError(f"{setting.name} must be seconds from 0, not {value!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rate(_: object, setting: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (_is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{setting.name} must be a number above 0, or None, not {value!r}")


_REPEATS: float | None = 10.0
_ATTEMPTS = 7
_BASE_DELAY = 0.5
_OUTAGE = 900.0


@attrs.frozen(kw_only=True)
class Limits:
    """What one client may use, shared by everything it uploads at the same time.

    :param connections: Parts sent at the same time, over all files; ``"auto"`` chooses and keeps
        choosing by what the connections together carry, and no more than one for each 2 MiB per
        second of ``bandwidth``. At most one for each 512 KiB of ``memory``.
    :param memory: Bytes that file content may take in memory, over all files; at least 4 MiB. By
        default 32 MiB, or 2 MiB for each of more than 16 cores, and never more than an eighth of
        what the container has.
    :param hash_workers: Files over 1 MiB hashed at the same time; by default one for each core. At
        most one for each 2 MiB of ``memory``. Smaller ones are hashed where they are opened.
    :param files_in_flight: Files that ``upload_many`` and ``upload_tree`` work on at a time; also
        streams that ``upload`` reads or sends at a time, however many tasks call it: each takes a
        temporary file, and most take a thread. Streams that wait for each other need more places.
    :param bandwidth: Bytes per second that all parts together may take; without limit by default.
    :param requests_per_second: Calls of the interface; without limit by default.
    """

    connections: int | Literal["auto"] = attrs.field(default="auto", validator=_connections)
    memory: int = attrs.field(default=DEFAULT_MEMORY, validator=_whole(MIN_MEMORY))
    hash_workers: int = attrs.field(factory=available_cores, validator=_whole(1))
    files_in_flight: int = attrs.field(default=32, validator=_whole(1))
    bandwidth: float | None = attrs.field(default=None, validator=_rate)
    requests_per_second: float | None = attrs.field(default=None, validator=_rate)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each wait may take, in seconds.

    :param connect: Making a connection, through a proxy where there is one, with TLS.
    :param answer: One call of the interface, from when it has a connection to the last byte of its
        answer: the wait behind other calls is not counted. With ``stall``, the answer to a part
        once its last byte has left this machine, as far as the system shows that.
    :param complete: The completing call, for which the service merges and checks all parts.
    :param stall: A part of which less than 1 KiB moved while it waited for the link; there is no
        limit on a part as a whole.
    :param lease: Life of a backup lock. The service grants 10 minutes and does not say so in
        its answers (page ``createBackupLock``); it is renewed at a third of this.
    :param lock: A backup lock that another client holds; 0 does not wait for it.
    :param cleanup: Giving a lock back when its holder is cancelled; it runs out by itself anyway.
        Also the end of the sources of a batch, when its session is left after the last outcome.
    """

    connect: float = attrs.field(default=10.0, validator=_seconds)
    answer: float = attrs.field(default=60.0, validator=_seconds)
    complete: float = attrs.field(default=300.0, validator=_seconds)
    stall: float = attrs.field(default=60.0, validator=_seconds)
    lease: float = attrs.field(default=600.0, validator=_seconds)
    lock: float = attrs.field(default=0.0, validator=_seconds_or_none)
    cleanup: float = attrs.field(default=5.0, validator=_seconds)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often and how patiently a request is sent again, when that is safe.

    The wait before attempt n + 1 is a random part of ``min(max_delay, base_delay * 2 ** (n - 1))``
    (full jitter), or what the service asked for in ``Retry-After``, at most ``max_retry_after``.

    :param attempts: How often a request is sent, at most; 1 never repeats.
    :param base_delay: Upper bound of the first wait, in seconds.
    :param max_delay: Upper bound of every wait, in seconds.
    :param max_retry_after: A longer ``Retry-After`` ends the attempts instead, in seconds.
    :param outage: How long a backup session waits, beyond ``attempts``, while the service that it
        has reached before or the object store cannot be reached at all, in seconds from the
        beginning of the outage; 0 does not wait. By default 15 minutes, whatever the other values.
        Calls outside a session, and ``attempts=1``, never wait.
    :param per_second: Repeated requests per second of one client, all parts and calls together, so
        that what failed at the same time does not come back at the same time; None for no limit.
    """

    attempts: int = attrs.field(default=_ATTEMPTS, validator=_whole(1))
    base_delay: float = attrs.field(default=_BASE_DELAY, validator=_seconds_or_none)
    max_delay: float = attrs.field(default=20.0, validator=_seconds_or_none)
    max_retry_after: float = attrs.field(default=120.0, validator=_seconds_or_none)
    outage: float = attrs.field(default=_OUTAGE, validator=_seconds_or_none)
    per_second: float | None = attrs.field(default=_REPEATS, validator=_rate)


@attrs.frozen
class Environment:
    """The settings found in the environment; exactly one way to sign in is present."""

    endpoint: str
    user_id: str
    token: str | None = attrs.field(repr=False)
    app_id: str | None
    app_secret: str | None = attrs.field(repr=False)
    allow_plain_http: tuple[str, ...] = ()
    allow_plain_part_urls: tuple[str, ...] = ()


def read_environment(environ: Mapping[str, str] | None = None) -> Environment:
    """Read the ``KOODRIVE_*`` variables.

    :param environ: The variables; the process's own by default.
    :returns: What was found.
    :raises ConfigurationError: Something is missing (all of it is listed), or both a token and an
        app secret are given.
    """
    found = {
        name: value.strip()
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith("KOODRIVE_") and value.strip()
    }
    missing = [name for name in (ENDPOINT, USER_ID) if name not in found]
    has_signature = APP_ID in found and APP_SECRET in found
    if TOKEN not in found and not has_signature:
        missing.append(_missing_credentials(found))
    if missing:
        raise ConfigurationError(
            f"not set in the environment: {', '.join(missing)}; to try without an account: "
            "koodrive emulator -- COMMAND"
        )
    if TOKEN in found and (APP_ID in found or APP_SECRET in found):
        raise ConfigurationError(
            f"{TOKEN} and {APP_ID}/{APP_SECRET} are both set: keep one way to sign in"
        )
    return Environment(
        endpoint=found[ENDPOINT],
        user_id=found[USER_ID],
        token=found.get(TOKEN),
        app_id=found.get(APP_ID),
        app_secret=found.get(APP_SECRET),
        allow_plain_http=_listed(found.get(ALLOW_PLAIN_HTTP, "")),
        allow_plain_part_urls=_listed(found.get(ALLOW_PLAIN_PART_URLS, "")),
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(host.strip() for host in text.split(",") if host.strip())


def _missing_credentials(found: Mapping[str, str]) -> str:
    if APP_ID in found:
        return f"{APP_SECRET} (goes with {APP_ID})"
    if APP_SECRET in found:
        return f"{APP_ID} (goes with {APP_SECRET})"
    return f"{TOKEN} (or {APP_ID} and {APP_SECRET})"
