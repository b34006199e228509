"""When a request is sent again: a list of small checks, the first with an opinion decides."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

import attrs

from koodrive_async.errors import (
    ApiError,
    KooDriveError,
    PartRejected,
    TransportError,
    UntrustedCertificate,
)

if TYPE_CHECKING:
    from koodrive_async.config import RetryPolicy

RETRYABLE_STATUS = frozenset({408, 429, 500, 502, 503, 504})
RETRYABLE_CODES = frozenset(
    {
        "13000201",  # INNER_INVOKE_FAILURE
        "13000304",  # target directory is abnormal: the page says to try again
        "13000403",  # CHANGE_FILE_STATE_FAILURE: the page says to call again
        # what object stores of this kind say of a body that came too slowly, and of their own load
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
    }
)
TOO_MANY_REQUESTS = 429


class Verdict(Enum):
    """What a check says."""

    RETRY = auto()
    GIVE_UP = auto()
    NO_OPINION = auto()


@attrs.frozen
class Failure:
    """A request that failed.

    :ivar error: How.
    :ivar attempt: How often it has been sent by now, from 1.
    :ivar repeatable: Whether sending it twice does what sending it once does.
    """

    error: KooDriveError
    attempt: int
    repeatable: bool
    policy: RetryPolicy

    @property
    def status(self) -> int | None:
        """HTTP status of the answer, or None when there was none."""
        return getattr(self.error, "status", None)

    @property
    def retry_after(self) -> float | None:
        """Seconds the other side asked to wait, or None."""
        return getattr(self.error, "retry_after", None)


Check = Callable[[Failure], Verdict]


def attempts_used_up(failure: Failure) -> Verdict:
    """Give up after the last attempt that the policy allows."""
    if failure.attempt >= failure.policy.attempts:
        return Verdict.GIVE_UP
    return Verdict.NO_OPINION


def wait_too_long(failure: Failure) -> Verdict:
    """Give up rather than wait longer than the policy allows."""
    if (failure.retry_after or 0) > failure.policy.max_retry_after:
        return Verdict.GIVE_UP
    return Verdict.NO_OPINION


def certificate_not_trusted(failure: Failure) -> Verdict:
    """Give up on a certificate: the next attempt meets the same one."""
    if isinstance(failure.error, UntrustedCertificate):
        return Verdict.GIVE_UP
    return Verdict.NO_OPINION


def service_did_not_act(failure: Failure) -> Verdict:
    """Repeat anything that certainly had no effect: never sent, or refused for its rate."""
    if isinstance(failure.error, TransportError) and not failure.error.sent:
        return Verdict.RETRY
    if failure.status == TOO_MANY_REQUESTS:
        return Verdict.RETRY
    return Verdict.NO_OPINION


def not_repeatable(failure: Failure) -> Verdict:
    """Give up on calls that would create something twice."""
    return Verdict.NO_OPINION if failure.repeatable else Verdict.GIVE_UP


def no_answer(failure: Failure) -> Verdict:
    """Repeat what was not answered."""
    if isinstance(failure.error, TransportError) and failure.status is None:
        return Verdict.RETRY
    return Verdict.NO_OPINION


def passing_fault(failure: Failure) -> Verdict:
    """Repeat what the service or a gateway failed at for the moment."""
    code = failure.error.code if isinstance(failure.error, ApiError | PartRejected) else None
    if failure.status in RETRYABLE_STATUS or code in RETRYABLE_CODES:
        return Verdict.RETRY
    return Verdict.NO_OPINION


CHECKS: tuple[Check, ...] = (
    attempts_used_up,
    wait_too_long,
    certificate_not_trusted,
    service_did_not_act,
    not_repeatable,
    no_answer,
    passing_fault,
)


def delay_before_retry(
    failure: Failure,
    checks: tuple[Check, ...] = CHECKS,
    pick: Callable[[float, float], float] = random.uniform,
) -> float | None:
    """Decide whether to send a request again.

    :returns: Seconds to wait before that, or None to give up.
    """
    for check in checks:
        verdict = check(failure)
        if verdict is Verdict.RETRY:
            return _delay(failure, pick)
        if verdict is Verdict.GIVE_UP:
            return None
    return None


def _delay(failure: Failure, pick: Callable[[float, float], float]) -> float:
    policy = failure.policy
    backoff = min(policy.max_delay, policy.base_delay * 2.0 ** (failure.attempt - 1))
    # the service's own wish is a lower bound; the jitter on top keeps many waiters from one instant
    return (failure.retry_after or 0.0) + pick(0.0, backoff)
