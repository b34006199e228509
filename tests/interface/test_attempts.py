"""The attempts of one request: the rules as a whole, the shared budget, and the history."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async import (
    ApiError,
    Attempt,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    MalformedResponse,
    NotFound,
    PartRejected,
    RetryPolicy,
    ServerFault,
    UntrustedCertificate,
)
from koodrive_async.transport.retry import BURST, KEPT_ATTEMPTS, Attempts, RetryBudget
from tests.interface.scripted import LOCK, FakeClock, HeldClock, answer, client_of

pytestmark = pytest.mark.anyio

UNAVAILABLE = answer({"code": 1, "msg": "later"}, 503)
STATUSES = [200, 400, 401, 403, 404, 408, 409, 413, 429, 500, 501, 502, 503, 504]
CODES = ["", "13000102", "13000201", "13000304", "13000403", "13000405"]


def broken(sent=True):
    return ConnectionFailed("it broke", method="GET", path="/x", sent=sent)


def refused(status, **more):
    return ApiError(status=status, code="", msg="no", method="GET", path="/x", **more)


def attempts_of(policy=None, *, clock=None, budget=None, repeatable=True, **more):
    return Attempts(
        policy or RetryPolicy(),
        clock or FakeClock(),
        budget or RetryBudget(None),
        repeatable=repeatable,
        **more,
    )


async def given_up(attempts, error):
    """Fail with the error until it is raised."""
    raised = None
    while raised is None:
        try:
            await attempts.after(error)
        except type(error) as same:
            raised = same
    assert raised is error
    return error


# --- the rules as a whole ----------------------------------------------------------------------

waits = st.none() | st.floats(0, 1000)
errors = (
    st.builds(
        ApiError,
        status=st.sampled_from(STATUSES),
        code=st.sampled_from(CODES),
        msg=st.just("m"),
        method=st.just("GET"),
        path=st.just("/"),
        retry_after=waits,
    )
    | st.builds(
        PartRejected,
        part_number=st.just(1),
        status=st.sampled_from(STATUSES),
        code=st.none(),
        msg=st.just(""),
        retry_after=waits,
    )
    | st.builds(
        MalformedResponse,
        st.just("m"),
        method=st.just("GET"),
        path=st.just("/"),
        status=st.sampled_from(STATUSES),
    )
    | st.builds(
        ConnectionFailed,
        st.just("m"),
        method=st.just("GET"),
        path=st.just("/"),
        sent=st.booleans(),
    )
)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 10),
    base_delay=st.floats(0, 10),
    max_delay=st.floats(0, 100),
    max_retry_after=st.floats(0, 500),
)


@settings(deadline=None)
@given(errors, st.booleans(), policies)
def test_a_repetition_is_safe_allowed_and_not_too_soon(error, repeatable, policy):
    async def fail():
        attempts = attempts_of(policy, repeatable=repeatable)
        asked = getattr(error, "retry_after", None) or 0.0
        status = getattr(error, "status", None)
        with suppress(type(error)):
            for number in range(1, policy.attempts + 1):
                assert attempts.number == number
                delay = await attempts.after(error)
                assert asked <= delay <= asked + policy.max_delay
                assert asked <= policy.max_retry_after
                assert repeatable or status == 429 or (status is None and not error.sent)
                assert not isinstance(error, InvalidRequest | NotFound)
        assert error.attempts == attempts.number <= policy.attempts
        assert len(error.history) == error.attempts - 1

    asyncio.run(fail())


@settings(deadline=None)
@given(st.integers(1, 200), st.floats(0, 10), st.floats(0, 100))
def test_many_attempts_do_not_overflow_the_wait(count, base, most):
    async def fail():
        policy = RetryPolicy(attempts=5000, base_delay=base, max_delay=most)
        attempts = attempts_of(policy, pick=lambda _, high: high)
        attempts.number = 10 * count
        assert await attempts.after(broken()) <= most

    asyncio.run(fail())


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BadDigest"),
        (400, "IncompleteBody"),
        (400, "RequestTimeout"),
        (400, "XAmzContentSHA256Mismatch"),
        (403, "RequestTimeTooSkewed"),
        (409, "OperationAborted"),
        (409, "ConditionalRequestConflict"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
    ],
)
async def test_what_object_stores_say_may_pass_is_repeated(status, code):
    attempts = attempts_of(RetryPolicy(attempts=2, base_delay=0))
    await attempts.after(PartRejected(part_number=1, status=status, code=code, msg=""))
    assert attempts.number == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "EntityTooLarge"), (403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (409, None)],
)
async def test_what_object_stores_refuse_for_good_is_not(status, code):
    attempts = attempts_of()
    with pytest.raises(PartRejected):
        await attempts.after(PartRejected(part_number=1, status=status, code=code, msg=""))


@pytest.mark.parametrize("wait", [math.inf, 1e300, 121.0])
async def test_no_wait_is_begun_that_is_longer_than_allowed(wait):
    clock = FakeClock()
    error = await given_up(attempts_of(clock=clock), refused(503, retry_after=wait))
    assert clock.slept == []
    assert error.gave_up == (
        f"the service asks to wait {wait:g} s, more than RetryPolicy.max_retry_after (120 s)"
    )


# --- why it was given up, and what came before ----------------------------------------------------


@pytest.mark.parametrize(
    ("error", "repeatable", "reason"),
    [
        (broken(), True, "RetryPolicy.attempts (3) allows no more"),
        (refused(503), True, "RetryPolicy.attempts (3) allows no more"),
        (broken(), False, "the service may have acted on it, and may not do it twice"),
        (refused(503), False, "the service may have acted on it, and may not do it twice"),
        (broken(sent=False), False, "RetryPolicy.attempts (3) allows no more"),
        (refused(429), False, "RetryPolicy.attempts (3) allows no more"),
        (
            UntrustedCertificate("who is this", method="GET", path="/x", sent=False),
            True,
            "the next attempt would meet the same certificate",
        ),
        (refused(400), True, None),
        (refused(404), False, None),
        (MalformedResponse("html", method="GET", path="/x", status=200), True, None),
    ],
)
async def test_an_error_says_why_it_was_given_up(error, repeatable, reason):
    attempts = attempts_of(RetryPolicy(attempts=3), repeatable=repeatable)
    await given_up(attempts, error)
    assert error.gave_up == reason
    assert (f"; given up: {reason}" in str(error)) == (reason is not None)


async def test_an_error_knows_all_attempts_and_waits_before_it(scripted, fake_clock):
    scripted.replies(UNAVAILABLE, answer({"code": 7, "msg": "busy"}, 429, retry_after="3"))
    scripted.otherwise = lambda _: UNAVAILABLE
    policy = RetryPolicy(attempts=4)
    async with client_of(scripted, retry=policy, clock=fake_clock) as client:
        with pytest.raises(ServerFault) as caught:
            await client.devices.list()
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.attempts == 4
    assert [attempt.delay for attempt in error.history] == fake_clock.slept
    first, second, third = (attempt.error for attempt in error.history)
    assert "HTTP 503, code 1: later" in first
    assert "HTTP 429, code 7: busy; retry after 3 s" in second
    assert "attempts" not in third
    ids = [request.headers["X-Traceid"] for request in scripted.requests]
    assert all(each in text for each, text in zip(ids, (first, second, third), strict=False))


async def test_a_history_keeps_the_latest_attempts_only():
    attempts = attempts_of(RetryPolicy(attempts=100))
    for number in range(1, 100):
        error = ConnectionFailed(f"number {number}", method="GET", path="/x")
        await attempts.after(error)
    await given_up(attempts, error)
    assert error.attempts == 100
    assert len(error.history) == KEPT_ATTEMPTS == 20
    assert "number 80;" in error.history[0].error + ";"


async def test_a_history_holds_no_urls_and_only_short_texts():
    attempts = attempts_of()
    secret = "https://store.example/bucket/key?X-Amz-Signature=feed"
    error = PartRejected(part_number=1, status=503, code="Busy", msg=f"{secret} " + "x" * 10_000)
    await given_up(attempts, error)
    for attempt in error.history:
        assert "feed" not in attempt.error
        assert "://" not in attempt.error
        assert len(attempt.error) < 1000


async def test_an_attempt_without_a_wait_is_counted_and_kept():
    attempts = attempts_of(RetryPolicy(attempts=1))
    attempts.at_once(refused(401))
    assert attempts.number == 2
    error = attempts.told(refused(401), "no other token")
    assert error.history == (Attempt("GET /x: HTTP 401: no", 0.0),)
    assert str(error) == "GET /x: HTTP 401: no; 2 attempts; given up: no other token"


async def test_attempts_are_logged_with_what_they_are_about(caplog):
    attempts = attempts_of(name="holiday.jpg")
    await attempts.after(broken())
    assert caplog.messages[0].startswith("holiday.jpg: attempt 1 failed, next in ")


# --- the budget --------------------------------------------------------------------------------


class StillClock(FakeClock):
    """Time that stands still, however long somebody sleeps."""

    async def sleep(self, seconds):
        self.slept.append(seconds)


async def test_a_hundred_that_fail_together_do_not_come_back_together():
    clock = StillClock()
    budget = RetryBudget(10, now=clock.time)
    policy = RetryPolicy(base_delay=0.5)
    for _ in range(100):
        await attempts_of(policy, clock=clock, budget=budget).after(broken())
    # the ten that may come at once are spread by chance over half a second, the others by turns
    in_each_second = Counter(int(slept) for slept in clock.slept)
    assert max(in_each_second.values()) <= 20
    assert max(clock.slept) == pytest.approx(9.0, abs=0.6)
    assert len(clock.slept) == 100


async def test_a_hundred_that_were_told_to_wait_do_not_come_back_together():
    clock = StillClock()
    budget = RetryBudget(10, now=clock.time)
    policy = RetryPolicy(base_delay=0.0)
    for _ in range(100):
        error = refused(503, retry_after=30)
        await attempts_of(policy, clock=clock, budget=budget).after(error)
    late = sorted(slept - 30 for slept in clock.slept)
    assert late[:BURST] == [0.0] * BURST
    assert late[BURST:] == pytest.approx([n / 10 for n in range(1, 91)], abs=1e-4)


async def test_a_budget_fills_up_with_time():
    clock = StillClock()
    budget = RetryBudget(2, now=clock.time)
    assert [budget.take() for _ in range(BURST + 2)] == pytest.approx([0.0] * BURST + [0.5, 1.0])
    clock.now += 1000
    assert [budget.take() for _ in range(BURST + 1)] == pytest.approx([0.0] * BURST + [0.5])


async def test_a_success_gives_a_token_back():
    clock = StillClock()
    budget = RetryBudget(1, now=clock.time)
    attempts = [attempts_of(clock=clock, budget=budget) for _ in range(BURST)]
    for each in attempts:
        await each.after(broken())
    for each in attempts[:3]:
        each.succeeded()
    assert [budget.take() for _ in range(4)] == pytest.approx([0.0, 0.0, 0.0, 1.0])


async def test_more_successes_than_failures_fill_no_more_than_the_bucket():
    budget = RetryBudget(1, now=StillClock().time)
    for _ in range(1000):
        budget.give_back()
    assert [budget.take() for _ in range(BURST + 1)] == pytest.approx([0.0] * BURST + [1.0])


async def test_whoever_is_cancelled_while_waiting_gives_the_turn_to_others():
    held = HeldClock()
    budget = RetryBudget(1, now=held.time)
    for _ in range(BURST):
        budget.take()
    waiting = asyncio.create_task(attempts_of(clock=held, budget=budget).after(broken()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.take() == pytest.approx(1.0)


async def test_without_a_limit_there_is_no_wait_at_all():
    clock = StillClock()
    budget = RetryBudget(None, now=clock.time)
    policy = RetryPolicy(base_delay=0.0, per_second=None)
    for _ in range(1000):
        assert await attempts_of(policy, clock=clock, budget=budget).after(broken()) == 0.0


async def test_calls_of_one_client_share_its_budget(scripted, fake_clock):
    scripted.otherwise = lambda _: UNAVAILABLE
    policy = RetryPolicy(attempts=2, base_delay=0.0, per_second=0.001)
    async with client_of(scripted, retry=policy, clock=fake_clock) as client:
        for _ in range(BURST + 2):
            with pytest.raises(ServerFault):
                await client.devices.list()
    assert fake_clock.slept[:BURST] == [0.0] * BURST
    assert all(slept > 900 for slept in fake_clock.slept[BURST:])


async def test_keeping_a_lock_does_not_wait_for_the_budget(scripted, fake_clock):
    scripted.otherwise = lambda _: UNAVAILABLE
    policy = RetryPolicy(attempts=2, base_delay=0.0, per_second=0.001)
    async with client_of(scripted, retry=policy, clock=fake_clock) as client:
        for _ in range(BURST + 2):
            with pytest.raises(ServerFault):
                await client.locks.renew(LOCK)
    assert fake_clock.slept == [0.0] * (BURST + 2)


async def test_a_deadline_is_a_failure_like_others():
    error = DeadlineExceeded("waited 60 s", method="PUT", path="/x")
    await given_up(attempts_of(), error)
    assert error.attempts == RetryPolicy().attempts
