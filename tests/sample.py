"""Sample bytes."""

from __future__ import annotations

import hashlib


def sample(size, seed=0):
    """Return bytes without a pattern that a shifted or repeated slice would keep."""
    return hashlib.shake_128(str(seed).encode()).digest(size)
