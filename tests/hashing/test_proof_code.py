"""The proofCode by the published formula."""

from __future__ import annotations

import pytest

from koodrive_async.hashing import ProofCode, proof_code


def det(size: int) -> bytes:
    return bytes((31 * i + 7 * (i >> 8) + 11) & 0xFF for i in range(size))


USER = "1505084218764547200"
BEARER_PLUS = "Bearer+10f88kd00exampletoken4791e9ff"
BEARER_SPACE = "Bearer 10f88kd00exampletoken4791e9ff"


@pytest.mark.parametrize(
    ("origin", "size", "start", "fragment", "proof"),
    [
        pytest.param(
            *(USER, 420, 355, "0f2e4d6c8baac9e8"),
            "09cea14d6fd0591f95fc324fdcd0f0eb4018c3925ec9f29fb7e69833dd2ef4a6",
            id="inside",
        ),
        pytest.param(
            *(USER, 5, 0, "0b2a496887"),
            "edd4310566616d47bbb65f53860d7a4a4cf7642854e11f914906f55ebc34c46a",
            id="shorter than the fragment",
        ),
        pytest.param(
            *(USER, 100, 95, "8cabcae908"),
            "bdc58408e49cc6fa79a342a4a98eeb5cca393565def2d20e219dba625ec9ed7c",
            id="clipped at the end",
        ),
        pytest.param(
            *(USER, 1000003, 559779, "8eadcceb0a294867"),
            "c19f67a19124d07d335ef9573436fc0320411d148331f3cd0ef711fac6382622",
            id="far inside",
        ),
        pytest.param(
            *("user-1", 420, 407, "5b7a99b8d7f61534"),
            "9a41b06f364f1a88951d130400db5c7b3c35e0b919f6a46de745057d1392deea",
            id="sign bit removed",
        ),
        pytest.param(
            *(BEARER_PLUS, 420, 340, "3e5d7c9bbad9f817"),
            "a6e897de28596fa887dc5dff9a0e49c9e7a9e353c5152cf1f34813accd398a6a",
            id="Bearer plus",
        ),
        pytest.param(
            *(BEARER_SPACE, 420, 143, "5c7b9ab9d8f71635"),
            "1641db1ddce977f6bc7ff8c24f8287eef852c3d4d9a72b036646d84d573c8b67",
            id="Bearer space",
        ),
    ],
)
def test_the_proof_is_the_digest_of_the_fragment_the_origin_points_at(
    origin: str, size: int, start: int, fragment: str, proof: str
) -> None:
    file = det(size)
    asked = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return file[offset : offset + length]

    formula: ProofCode = proof_code

    assert formula(origin, size, read) == proof
    assert asked == [(start, len(fragment) // 2)]
    assert file[start : start + 8].hex() == fragment


def test_an_empty_file_has_no_proof_and_is_not_read() -> None:
    def read(offset: int, length: int) -> bytes:
        raise AssertionError((offset, length))

    assert proof_code(USER, 0, read) is None


@pytest.mark.parametrize("returned", [b"", b"seven b", b"nine byte"])
def test_a_read_of_another_length_says_that_the_file_changed(returned: bytes) -> None:
    message = f"changed: {len(returned)} bytes at offset 355 instead of 8, though its size was 420"
    with pytest.raises(EOFError, match=message):
        proof_code(USER, 420, lambda _offset, _length: returned)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="negative size: -1"):
        proof_code(USER, -1, lambda _offset, length: bytes(length))
