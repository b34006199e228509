"""What this process may use of its machine or container: cores and memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MIB = 1024 * 1024

MIN_MEMORY = 4 * MIB
_MEMORY = 32 * MIB
_MEMORY_FOR_A_CORE = 2 * MIB
"""Half of the memory is for hashing, which takes 1 MiB for each core."""

_SHARE = 8
"""A part of a container's memory that uploading may take: one eighth."""

_CGROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
"""Where the kernel tells a container its limit: cgroups version 2, and 1."""


def available_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def container_memory(paths: tuple[str, ...] = _CGROUP_LIMITS) -> int | None:
    """Return the bytes of memory that the container may use, or None when nothing limits it."""
    for path in paths:
        # "max" in version 2 is no number; version 1 says a very large one
        with contextlib.suppress(OSError, ValueError):
            return int(Path(path).read_text(encoding="ascii"))
    return None


def memory_for(container: int | None, cores: int) -> int:
    """Return the bytes that file content may take.

    :param container: Bytes the container has, or None.
    """
    wanted = max(_MEMORY, _MEMORY_FOR_A_CORE * cores)
    return wanted if container is None else max(MIN_MEMORY, min(wanted, container // _SHARE))


# looked up while modules are loaded: settings are made in event loops, which read no files
DEFAULT_MEMORY = memory_for(container_memory(), available_cores())
