"""What a container says of its memory, and what a client takes of it."""

from __future__ import annotations

import os

import pytest

from koodrive_async.capacity import (
    MIN_MEMORY,
    available_cores,
    container_memory,
    memory_for,
)

MIB = 1024 * 1024


@pytest.fixture
def limits_in(tmp_path):
    """Return a function that writes the files of cgroups version 2 and 1, where there are any."""

    def write(version_2, version_1):
        paths = (tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes")
        for path, text in zip(paths, (version_2, version_1), strict=True):
            if text is not None:
                path.write_text(text)
        return tuple(map(str, paths))

    return write


@pytest.mark.parametrize(
    ("version_2", "version_1", "found"),
    [
        ("268435456\n", None, 256 * MIB),
        (None, "268435456\n", 256 * MIB),
        ("268435456\n", "1\n", 256 * MIB),
        ("max\n", None, None),
        ("max\n", "268435456\n", 256 * MIB),
        ("", None, None),
        (None, None, None),
        (None, "9223372036854771712\n", 9223372036854771712),
    ],
)
def test_the_memory_of_a_container_is_what_its_control_group_says(
    limits_in, version_2, version_1, found
):
    assert container_memory(limits_in(version_2, version_1)) == found


def test_a_limit_that_cannot_be_read_is_none(tmp_path):
    assert container_memory((str(tmp_path),)) is None


@pytest.mark.parametrize(
    ("container", "memory"),
    [
        (None, 32 * MIB),
        (9223372036854771712, 32 * MIB),
        (1024 * MIB, 32 * MIB),
        (256 * MIB, 32 * MIB),
        (128 * MIB, 16 * MIB),
        (32 * MIB, 4 * MIB),
        (8 * MIB, MIN_MEMORY),
        (0, MIN_MEMORY),
    ],
)
def test_an_eighth_of_a_container_is_taken_between_4_and_32_mib(container, memory):
    assert memory_for(container, cores=16) == memory


def test_many_cores_have_memory_to_hash_with():
    assert memory_for(None, cores=64) == 128 * MIB
    assert memory_for(256 * MIB, cores=64) == 32 * MIB


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only where it can be set")
def test_only_cores_that_may_be_used_count():
    allowed = os.sched_getaffinity(0)
    assert available_cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
