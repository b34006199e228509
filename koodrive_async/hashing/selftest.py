"""Whether a SHA-256 backend computes what it should, asked before it is used.

A backend reads and writes the memory of a library it was not compiled against. A wrong layout
would not crash, it would upload files under wrong digests; so each one first answers questions
whose answers are known. It takes less than a millisecond in C and a few in plain Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koodrive_async.hashing.protocol import INITIAL_MIDSTATE

if TYPE_CHECKING:
    from koodrive_async.hashing.protocol import Midstate, Sha256Backend


def fault_of(backend: Sha256Backend) -> str | None:
    """Return what a backend does wrong, or None if it may be used.

    :param backend: the backend to try.
    :returns: a phrase for a log line, or None.
    """
    try:
        for check in _CHECKS:
            if not check(backend):
                return check.__name__.strip("_").replace("_", " ")
    except Exception as error:  # noqa: BLE001 - whatever a foreign library makes of it is a fault
        return repr(error)
    return None


def _wrong_digest(backend: Sha256Backend) -> bool:
    state = backend.begin()
    if state.digest() != _EMPTY_DIGEST:
        return False
    return state.update(b"abc") == len(b"abc") and state.digest() == _ABC_DIGEST


def _wrong_midstate(backend: Sha256Backend) -> bool:
    state = backend.begin()
    if state.words() != INITIAL_MIDSTATE:
        return False
    # Read-only memory in pieces that straddle blocks.
    data = memoryview(_SAMPLE)
    for piece in (data[:1], data[1:1], data[1:190], data[190:320]):
        state.update(piece)
    return state.words() == _SAMPLE_MIDSTATE


def _wrong_count_at_32_bits(backend: Sha256Backend) -> bool:
    state = backend.resume(_ZEROS_BELOW, 2**29 - 64)
    if state.words() != _ZEROS_BELOW:
        return False
    state.update(bytes(100))
    return state.digest() == _ZEROS_BELOW_DIGEST


def _wrong_count_above_32_bits(backend: Sha256Backend) -> bool:
    state = backend.resume(_ZEROS_ABOVE, 2**32 + 64)
    state.update(b"abc")
    return state.digest() == _ZEROS_ABOVE_DIGEST


def _shared_copy(backend: Sha256Backend) -> bool:
    state = backend.begin()
    state.update(_SAMPLE[:100])
    state.copy().update(b"elsewhere")
    state.update(_SAMPLE[100:])
    return state.digest() == _SAMPLE_DIGEST


_CHECKS = (
    _wrong_digest,
    _wrong_midstate,
    _wrong_count_at_32_bits,
    _wrong_count_above_32_bits,
    _shared_copy,
)

_EMPTY_DIGEST = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
_ABC_DIGEST = bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")

_SAMPLE = bytes((31 * i + 7 * (i >> 8) + 11) & 0xFF for i in range(420))
_SAMPLE_DIGEST = bytes.fromhex("b90a95397070c9355c025494ab0d4ba5c4e0208cd88574dbdd7d96787b6f5dc8")
_SAMPLE_MIDSTATE: Midstate = (
    0xCA6DFB0B,
    0x77ECBE7C,
    0x08B8D7CC,
    0x3E79543E,
    0xE9AA5C4B,
    0x4E19A086,
    0x5CBEA461,
    0x5ED41402,
)

# Midstates of nothing but zeros, where the count of bits is about to need a 33rd bit and where it
# has both words in use; the digests, by hashlib, are of 100 zeros and of b"abc" after them.
_ZEROS_BELOW: Midstate = (
    0x70E51BF9,
    0x7A691B70,
    0x8432A251,
    0xDF0E6D25,
    0xEB7D37D9,
    0x13DF91FE,
    0xC58549EA,
    0x81461308,
)
_ZEROS_BELOW_DIGEST = bytes.fromhex(
    "05e6edd7539bd438bdca269faa6c51bdbca11be5a7187e4d3da41115cdd0d5d9"
)
_ZEROS_ABOVE: Midstate = (
    0x45E032AD,
    0x8AE0E09D,
    0x5A7DDD45,
    0x8F869AE1,
    0xD0740886,
    0xA32E3F24,
    0x0CA29A87,
    0x57C8A9AA,
)
_ZEROS_ABOVE_DIGEST = bytes.fromhex(
    "7d6c218c73aeafa4a083683c421934971b49acf6ca859318d2105ebb291a0ba9"
)
