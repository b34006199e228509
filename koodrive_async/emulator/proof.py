"""proofCode as the service checks it (page ``koodrive_05_0036``)."""

from __future__ import annotations

import hashlib
from typing import Final

FRAGMENT_SIZE: Final = 8
SIGN_BIT_REMOVED: Final = 0x7FFF_FFFF_FFFF_FFFF


def proof_seed(origin: str) -> str:
    """Return ProofSeed, which stands in for the credential so that it need not be kept.

    :param origin: the ``X-User-Id`` value under the app signature, else the whole
        ``Authorization`` value.
    """
    return hashlib.sha256(origin.encode()).hexdigest()


def proof_range(seed: str, size: int, *, raw: bool = False) -> tuple[int, int]:
    """Return Start and End of the fragment, in bytes, of a file of ``size`` > 0 bytes.

    :param raw: whether the seed counts as the 32 bytes that its digits stand for.
    """
    digest = hashlib.sha256(bytes.fromhex(seed) if raw else seed.encode("ascii")).digest()
    start = (int.from_bytes(digest[24:32], "big") & SIGN_BIT_REMOVED) % size
    return start, min(start + FRAGMENT_SIZE, size)


def proof_code(fragment: bytes) -> str:
    """Return the proofCode of the bytes of ``[Start, End)``."""
    return hashlib.sha256(fragment).hexdigest()
