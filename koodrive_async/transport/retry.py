"""When a request is sent again: small checks, one budget for all, and a history of each."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.errors import (
    ApiError,
    Attempt,
    MalformedResponse,
    PartRejected,
    ProxyFailed,
    RateLimited,
    TransportError,
    UntrustedCertificate,
)
from koodrive_async.pace import Pace
from koodrive_async.transport.outage import is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from koodrive_async.config import RetryPolicy
    from koodrive_async.transport.clock import Clock
    from koodrive_async.transport.outage import Outage

logger: logging.Logger = logging.getLogger(__name__)

RETRYABLE_STATUS = frozenset(
    {
        408,  # the request came too slowly
        425,  # too early
        429,  # too many requests
        500,
        502,  # these three and the following are a gateway's: it got nothing from behind it
        503,
        504,
        509,  # bandwidth exceeded
        *range(520, 531),  # content delivery networks: their origin failed, or was not reached
        598,
        599,
    }
)
RETRYABLE_CODES: Final[Mapping[str, str]] = {
    # of the interface
    "13000201": "INNER_INVOKE_FAILURE",
    "13000304": "the target directory is abnormal: its page says to try again",
    "13000403": "CHANGE_FILE_STATE_FAILURE: its page says to call again",
    # of object stores, as S3 and those that speak as it does document them
    "BadDigest": "the bytes were damaged on the way",
    "BandwidthLimitExceeded": "too much at a time",
    "ConditionalRequestConflict": "another request for this part was under way",
    "IncompleteBody": "the connection lost some of the bytes",
    "InternalError": "the store failed",
    "OperationAborted": "a conflicting operation was under way",
    "RequestLimitExceeded": "too many requests",
    "RequestThrottled": "too many requests",
    "RequestTimeTooSkewed": "the clock that signed the URL was off, and may be set by now",
    "RequestTimeout": "the bytes came too slowly",
    "ServerBusy": "the store is under load",
    "ServiceUnavailable": "the store is under load",
    "SlowDown": "the store is under load",
    "Throttling": "too many requests",
    "ThrottlingException": "too many requests",
    "TooManyRequests": "too many requests",
    "XAmzContentSHA256Mismatch": "the bytes were damaged on the way",
}
"""Codes of what may pass, whatever the status, and why."""

TOO_MANY_REQUESTS = 429
_SUCCESS = 2

BURST = 10
"""Repeated requests that may go at once, after a time without."""

LEAST_PAUSE = 1.0
"""Seconds between two attempts of a request that waits for the end of an outage, at least."""

KEPT_ATTEMPTS = 20
"""Attempts that the history on an exception goes back."""

RequestError = ApiError | PartRejected | TransportError


def _nobody_counts() -> None:
    """Do nothing."""


class RetryBudget:
    """Spaces the repeated requests of one client, so that all do not come back at the same time.

    A bucket of :data:`BURST` tokens: every repetition takes one or waits for its turn, time brings
    ``per_second`` of them, and every success gives one back.

    :param per_second: Of :class:`~koodrive_async.config.RetryPolicy`; None for no limit.
    :param now: A clock that only goes forward.
    :ivar on_retry: Called for each request that is sent again.
    """

    def __init__(
        self, per_second: float | None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace = (
            None
            if per_second is None
            else Pace(per_second, burst=(BURST - 1) / per_second, now=now)
        )
        self.on_retry: Callable[[], None] = _nobody_counts

    def take(self) -> float:
        """Take a token, and return the seconds until it is there."""
        return 0.0 if self._pace is None else self._pace.delay(1)

    def give_back(self) -> None:
        """Give back a token: after a success, or when a repetition is cancelled."""
        if self._pace is not None:
            self._pace.give_back(1)


class Attempts:
    """The attempts of one request: decides whether there is another one, and waits for it.

    :param repeatable: Whether sending it twice does what sending it once does.
    :param name: What the request is about, for the log.
    :param outage: Of the place that the request is for, if that is followed.
    :param waits: Whether the end of an outage is waited for, beyond the attempts of the policy.
    :param pick: Chooses a number between two.
    :ivar number: Of the attempt that is being made, from 1.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Clock,
        budget: RetryBudget,
        *,
        repeatable: bool,
        name: str = "",
        outage: Outage | None = None,
        waits: bool = True,
        pick: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.number: int = 1
        self._policy = policy
        self._clock = clock
        self._budget = budget
        self._repeatable = repeatable
        self._name = name
        self._pick = pick
        self._outage = outage
        self._waits = waits and policy.attempts > 1
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._ended = 0 if outage is None else outage.ended
        self._waited_out = False
        self._not_counted = 0
        self._history: deque[Attempt] = deque(maxlen=KEPT_ATTEMPTS)

    async def after(self, error: RequestError) -> float:
        """Wait until it is time for the next attempt.

        :param error: What the attempt failed with.
        :returns: Seconds that were waited.
        :raises RequestError: That very error, when there is no next attempt, with the history.

        Cancellation ends the wait and gives the turn to others.
        """
        left = self._left(error)
        counted = self.number - self._not_counted
        failure = Failure(error, counted, self._repeatable, self._policy, left)
        if not is_passing(failure):
            raise self.told(error)
        if objection := first_objection(failure):
            raise self.told(error, objection)
        error.gave_up = None  # who repeats it has more patience than whoever raised it
        delay = backoff(failure, self._pick)
        if self._outage is not None and failure.waits_out:
            self._waited_out = True
            self._outage.waits(error)
            delay = max(LEAST_PAUSE, delay)
        delay += self._budget.take()
        logger.warning(
            "%sattempt %d failed, next in %.1f s: %s",
            f"{self._name}: " if self._name else "",
            self.number,
            delay,
            error,
        )
        try:
            await self._clock.sleep(delay)
        except BaseException:
            self._budget.give_back()
            raise
        self._count(error, delay)
        return delay

    def at_once(self, error: RequestError) -> None:
        """Count another attempt without a wait: what the last one failed with has been mended."""
        if self._outage is not None and not is_outage(error):
            self._outage.reached()
        self._count(error, 0.0)

    def told(self, error: RequestError, gave_up: str | None = None) -> RequestError:
        """Return the error with all that is known of the attempts.

        :param gave_up: Why there is no other attempt, where one might have helped.
        """
        error.attempts = self.number
        error.history = tuple(self._history)
        error.gave_up = gave_up
        return error

    def succeeded(self) -> None:
        """Say that the attempt worked: others may be repeated a little sooner."""
        self._budget.give_back()
        if self._outage is not None:
            self._outage.reached()

    def _left(self, error: RequestError) -> float:
        """Return the seconds that a request may still wait for the end of an outage."""
        outage = self._outage
        if outage is None:
            return 0.0
        if is_outage(error):
            outage.failed()
        else:
            outage.reached()
        if outage.ended != self._ended:
            self._ended = outage.ended
            if self._waited_out:  # attempts during an outage say nothing about the request
                self._waited_out, self._not_counted = False, self.number - 1
        now = self._clock.time()
        if self._failing_since is None:
            self._failing_since = self._failed_at = now
        before, self._failed_at = self._failed_at, now
        # a place that answers meanwhile is not out of reach, however this request ends
        answered = outage.since is not None and outage.since > before
        return outage.left(self._failing_since) if self._waits and not answered else 0.0

    def _count(self, error: RequestError, delay: float) -> None:
        self._history.append(Attempt(str(error), delay))
        self._budget.on_retry()
        self.number += 1


@attrs.frozen
class Failure:
    """A request that failed.

    :ivar error: How.
    :ivar attempt: How often it has been sent by now, from 1.
    :ivar repeatable: Whether sending it twice does what sending it once does.
    :ivar outage_left: Seconds for which the end of an outage is waited for still; 0 when it is not.
    """

    error: RequestError
    attempt: int
    repeatable: bool
    policy: RetryPolicy
    outage_left: float = 0.0

    @property
    def status(self) -> int | None:
        """HTTP status of the answer, or None when there was none."""
        return getattr(self.error, "status", None)

    @property
    def waits_out(self) -> bool:
        """Whether there is another attempt only because of an outage."""
        return self.attempt >= self.policy.attempts and self.outage_left > 0

    @property
    def retry_after(self) -> float:
        """Seconds the other side asked to wait."""
        return getattr(self.error, "retry_after", None) or 0.0


def may_have_acted(error: RequestError) -> bool:
    """Say whether the other side may have done what was asked, although it did not say so."""
    if isinstance(error, TransportError):
        return error.sent
    if isinstance(error, RateLimited) or error.status == TOO_MANY_REQUESTS:
        return False
    return error.status in RETRYABLE_STATUS or error.code in RETRYABLE_CODES


# --- what may pass: one that says so is enough -------------------------------------------------


def service_did_not_act(failure: Failure) -> bool:
    """Say whether it certainly had no effect: never sent, or refused for its rate."""
    if isinstance(failure.error, TransportError) and not failure.error.sent:
        return True
    return isinstance(failure.error, RateLimited) or failure.status == TOO_MANY_REQUESTS


def no_answer(failure: Failure) -> bool:
    """Say whether there was no answer at all."""
    return isinstance(failure.error, TransportError) and failure.status is None


def answer_of_something_else(failure: Failure) -> bool:
    """Say whether an answer with a status of success is a gateway's page, or half an answer."""
    error = failure.error
    if not isinstance(error, MalformedResponse) or not error.unreadable:
        return False
    return error.status // 100 == _SUCCESS


def passing_fault(failure: Failure) -> bool:
    """Say whether the service or a gateway failed at it for the moment."""
    code = failure.error.code if isinstance(failure.error, ApiError | PartRejected) else None
    return failure.status in RETRYABLE_STATUS or code in RETRYABLE_CODES


def url_expired(failure: Failure) -> bool:
    """Say whether a part came to an object store too late: the next URL may be quicker."""
    error = failure.error
    return isinstance(error, PartRejected) and "expired" in str(error.args[0]).lower()


REASONS: tuple[Callable[[Failure], bool], ...] = (
    service_did_not_act,
    no_answer,
    answer_of_something_else,
    passing_fault,
    url_expired,
)


def is_passing(failure: Failure) -> bool:
    """Say whether the same request may work later."""
    return any(reason(failure) for reason in REASONS)


# --- what speaks against another attempt: the first that objects decides -----------------------


def certificate_not_trusted(failure: Failure) -> str | None:
    """Object to trying a certificate again: the next attempt meets the same one."""
    if isinstance(failure.error, UntrustedCertificate):
        return "the next attempt would meet the same certificate"
    return None


def proxy_refuses(failure: Failure) -> str | None:
    """Object to asking a proxy again that does not want to: the next attempt is refused too."""
    refused = isinstance(failure.error, ProxyFailed) and failure.status is not None
    if refused and failure.status not in RETRYABLE_STATUS:
        return "the proxy would refuse the next attempt too"
    return None


def would_act_twice(failure: Failure) -> str | None:
    """Object to calls that could create something twice."""
    if failure.repeatable or service_did_not_act(failure):
        return None
    return "the service may have acted on it, and may not do it twice"


def attempts_used_up(failure: Failure) -> str | None:
    """Object to more attempts than the policy allows."""
    if failure.attempt < failure.policy.attempts or failure.waits_out:
        return None
    return f"RetryPolicy.attempts ({failure.policy.attempts}) allows no more"


def wait_too_long(failure: Failure) -> str | None:
    """Object to a longer wait than the policy allows."""
    if failure.retry_after <= max(failure.policy.max_retry_after, failure.outage_left):
        return None
    return (
        f"the service asks to wait {failure.retry_after:g} s, more than "
        f"RetryPolicy.max_retry_after ({failure.policy.max_retry_after:g} s)"
    )


OBJECTIONS: tuple[Callable[[Failure], str | None], ...] = (
    certificate_not_trusted,
    proxy_refuses,
    would_act_twice,
    attempts_used_up,
    wait_too_long,
)


def first_objection(failure: Failure) -> str | None:
    """Return why there is no other attempt, or None when there is one."""
    return next(filter(None, (objection(failure) for objection in OBJECTIONS)), None)


# --- how long to wait --------------------------------------------------------------------------


def backoff(failure: Failure, pick: Callable[[float, float], float] = random.uniform) -> float:
    """Return the seconds until the next attempt: what the other side asked for, and jitter."""
    policy = failure.policy
    # a power of two beyond all bounds would overflow
    doublings = min(failure.attempt - 1, 60)
    longest = min(policy.max_delay, policy.base_delay * 2.0**doublings)
    # the service's own wish is a lower bound; the jitter on top keeps many waiters from one instant
    return failure.retry_after + pick(0.0, longest)
