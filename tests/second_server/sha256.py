"""SHA-256's compression function in plain Python, from FIPS 180-4, with its state in the open.

The second server uses it to check midstates (``hashCtx``) without any code of the package: if what
follows a midstate, added to it, gives the digest of the whole, then the midstate is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BLOCK = 64
_WORD = 0xFFFFFFFF


def _first_primes(count: int) -> list[int]:
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes


def _root_fraction(number: int, degree: int) -> int:
    """Return the first 32 bits of the fraction of a square or cube root."""
    scaled, low, high = number << (32 * degree), 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= scaled else (low, middle)
    return low & _WORD


INITIAL = tuple(_root_fraction(prime, 2) for prime in _first_primes(8))
_ROUND = tuple(_root_fraction(prime, 3) for prime in _first_primes(64))


def midstate(data: bytes, words: Sequence[int] = INITIAL) -> tuple[int, ...]:
    """Return the state after whole blocks of 64 bytes, starting from ``words``."""
    if len(data) % BLOCK:
        raise ValueError("a midstate exists between blocks of 64 bytes only")
    state = tuple(words)
    for start in range(0, len(data), BLOCK):
        state = _compress(state, data[start : start + BLOCK])
    return state


def digest_after(words: Sequence[int], tail: bytes, size: int) -> str:
    """Return the digest of a message of which ``tail`` is the end, from the state before that.

    :param size: Bytes of the whole message.
    """
    padding = b"\x80" + bytes(-(size + 9) % BLOCK) + (size * 8).to_bytes(8, "big")
    return "".join(f"{word:08x}" for word in midstate(tail + padding, words))


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    w = [int.from_bytes(block[at : at + 4], "big") for at in range(0, BLOCK, 4)]
    for t in range(16, 64):
        s0 = _xor(_turn(w[t - 15], 7), _turn(w[t - 15], 18), w[t - 15] >> 3)
        s1 = _xor(_turn(w[t - 2], 17), _turn(w[t - 2], 19), w[t - 2] >> 10)
        w.append((w[t - 16] + s0 + w[t - 7] + s1) & _WORD)
    a, b, c, d, e, f, g, h = state
    for t in range(64):
        s1 = _xor(_turn(e, 6), _turn(e, 11), _turn(e, 25))
        first = h + s1 + ((e & f) ^ (~e & g)) + _ROUND[t] + w[t]
        s0 = _xor(_turn(a, 2), _turn(a, 13), _turn(a, 22))
        second = s0 + ((a & b) ^ (a & c) ^ (b & c))
        h, g, f, e = g, f, e, (d + first) & _WORD
        d, c, b, a = c, b, a, (first + second) & _WORD
    return tuple(
        (old + new) & _WORD for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)
    )


def _turn(word: int, bits: int) -> int:
    return (word >> bits) | (word << (32 - bits)) & _WORD


def _xor(*words: int) -> int:
    return _folded(words) & _WORD


def _folded(words: Iterable[int]) -> int:
    result = 0
    for word in words:
        result ^= word
    return result
