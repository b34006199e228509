"""Every rule of the interface about parts, for every size and part size there can be."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async import FileTooLarge, KooDriveError, plan_parts

MIB = 1024 * 1024
GIB = 1024 * MIB
LIMIT = 200 * 10**9

sizes = st.one_of(
    st.integers(0, LIMIT),
    st.integers(0, 64 * MIB),
    st.sampled_from([0, 1, 63, 64, 65, 5 * MIB, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, LIMIT]),
)


def legal_part_sizes(size):
    smallest = max(5 * MIB, math.ceil(math.ceil(size / 10_000) / 64) * 64)
    return st.integers(smallest // 64, 5 * GIB // 64).map(lambda blocks: blocks * 64)


def assert_keeps_the_rules(plan, size):
    parts = plan.parts
    assert 1 <= len(parts) <= 10_000
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert parts[0].offset == 0
    assert sum(part.size for part in parts) == size
    for part, following in pairwise(parts):
        assert part.offset + part.size == following.offset
        assert part.size == plan.part_size
        assert following.offset % 64 == 0
    assert all(5 * MIB <= part.size <= 5 * GIB for part in parts[:-1])
    assert 0 <= parts[-1].size <= min(plan.part_size, 5 * GIB)
    assert parts[-1].size > 0 or size == 0


@given(sizes)
def test_any_size_gets_a_legal_plan(size):
    plan = plan_parts(size)
    assert_keeps_the_rules(plan, size)
    assert plan.part_size % MIB == 0


@given(sizes.flatmap(lambda size: st.tuples(st.just(size), legal_part_sizes(size))))
def test_any_legal_part_size_is_kept(size_and_part_size):
    size, part_size = size_and_part_size
    plan = plan_parts(size, part_size)
    assert plan.part_size == part_size
    assert_keeps_the_rules(plan, size)


@given(sizes, st.integers(-10, 6 * GIB))
def test_an_illegal_part_size_is_refused_with_a_legal_one_to_use_instead(size, part_size):
    try:
        plan_parts(size, part_size)
    except ValueError as refusal:
        nearest = int(str(refusal).rsplit(" ", 1)[1])
        assert_keeps_the_rules(plan_parts(size, nearest), size)


@pytest.mark.parametrize(
    ("size", "part_size", "rule", "nearest"),
    [
        (100 * MIB, 5 * MIB + 1, "a multiple of 64 bytes", 5 * MIB),
        (100 * MIB, 5 * MIB + 63, "a multiple of 64 bytes", 5 * MIB + 64),
        (100 * MIB, 5 * MIB - 64, "at least 5 MiB", 5 * MIB),
        (100 * MIB, 0, "at least 5 MiB", 5 * MIB),
        (100 * MIB, 5 * GIB + 64, "at most 5 GiB", 5 * GIB),
        (LIMIT, 8 * MIB, "large enough for 200000000000 bytes in 10000 parts", 20_000_000),
    ],
)
def test_a_refusal_names_the_rule_and_the_nearest_legal_size(size, part_size, rule, nearest):
    with pytest.raises(ValueError, match=rule) as refusal:
        plan_parts(size, part_size)
    assert isinstance(refusal.value, KooDriveError)
    assert str(refusal.value).endswith(f"the nearest legal size is {nearest}")


def test_a_file_over_200_gb_is_refused_with_the_limit():
    assert len(plan_parts(LIMIT)) <= 10_000
    with pytest.raises(FileTooLarge, match="200 GB"):
        plan_parts(LIMIT + 1)


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="-1"):
        plan_parts(-1)


def test_an_empty_file_has_one_empty_part():
    assert plan_parts(0).parts == ((1, 0, 0),)


def test_200_gb_fit_into_10_000_parts():
    assert plan_parts(LIMIT).part_size == 20 * MIB
