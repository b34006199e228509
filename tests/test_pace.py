"""A pace lets no more pass than its rate, in the order in which it was asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.pace import Pace

RATES = st.floats(0.1, 1e9)
ASKED = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1e6)), min_size=1, max_size=30)


class Hand:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def passes(rate, burst, asked):
    """Ask for amounts after pauses; return when each passes and how much it is."""
    clock = Hand()
    pace = Pace(rate, burst=burst, now=clock)
    passed = []
    for pause, amount in asked:
        clock.now += pause
        passed.append((clock.now + pace.delay(amount), amount))
    return passed


@given(RATES, st.floats(0, 2), ASKED)
def test_no_more_passes_in_any_time_than_the_rate_the_burst_and_one_amount(rate, burst, asked):
    passed = passes(rate, burst, asked)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            seconds = passed[last][0] - passed[first][0]
            amounts = [amount for _, amount in passed[first : last + 1]]
            allowed = rate * (seconds + burst) + max(amounts[-1], amounts[0])
            assert sum(amounts) <= allowed * (1 + 1e-6) + rate * 1e-6


@given(RATES, ASKED)
def test_who_asks_first_goes_first(rate, asked):
    times = [at for at, _ in passes(rate, 0.1, asked)]
    assert times == pytest.approx(sorted(times))  # but for the last digits of large numbers


@given(RATES, st.lists(st.floats(0, 1e6), min_size=1))
def test_whoever_waits_has_waited_for_all_before_and_no_longer(rate, amounts):
    times = [at - 1000 for at, _ in passes(rate, 0.0, [(0, amount) for amount in amounts])]
    assert times == pytest.approx([0, *accumulate(each / rate for each in amounts[:-1])])


def test_what_fits_into_the_burst_passes_at_once_after_a_pause():
    clock = Hand()
    pace = Pace(100, burst=0.5, now=clock)
    clock.now += 60
    assert [pace.delay(10) for _ in range(8)] == pytest.approx([0] * 6 + [0.1, 0.2])


def test_the_first_does_not_wait():
    assert Pace(1e-9).delay(1e9) == 0


def test_all_threads_share_one_pace():
    pace = Pace(1000, burst=0, now=Hand())
    with ThreadPoolExecutor(8) as threads:
        delays = list(threads.map(lambda _: [pace.delay(1) for _ in range(250)], range(8)))
    together = sorted(delay for each in delays for delay in each)
    assert together == pytest.approx([number / 1000 for number in range(2000)])
