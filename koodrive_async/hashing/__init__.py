"""SHA-256 with its midstates, fingerprints of files, and the proof of possession."""

from __future__ import annotations

from koodrive_async.hashing.fingerprint import (
    MIDSTATE_GRID,
    Fingerprint,
    Fingerprinter,
    fingerprint,
)
from koodrive_async.hashing.proof import ProofCode, TruncatedReadError, proof_code
from koodrive_async.hashing.protocol import Midstate, Sha256Backend
from koodrive_async.hashing.sha256 import NotContiguousError, Sha256, backend

__all__ = [
    "MIDSTATE_GRID",
    "Fingerprint",
    "Fingerprinter",
    "Midstate",
    "NotContiguousError",
    "ProofCode",
    "Sha256",
    "Sha256Backend",
    "TruncatedReadError",
    "backend",
    "fingerprint",
    "proof_code",
]
