"""The second server's own parts agree with the reference's vectors, and the stores do verify."""

from __future__ import annotations

import hashlib
import hmac

import aiohttp
import pytest
from yarl import URL

from tests.second_server.front import proof_of, string_to_sign
from tests.second_server.sha256 import INITIAL, digest_after, midstate

pytestmark = pytest.mark.anyio

HEADERS = [
    ("host", "intl.myhuaweicloud-koodrive.com"),
    ("x-date", "20251103T070140Z"),
    ("x-user-id", "1505084218764547200"),
]


def det(size):
    return bytes((31 * at + 7 * (at >> 8) + 11) & 0xFF for at in range(size))


@pytest.mark.parametrize(
    ("method", "path", "body", "signature"),
    [
        (
            "GET",
            "/koodrive/ose/v1/backup/record?moduleCode=101&pageSize=100&deviceId=1842812272691451648",
            b"",
            "d5390a479e686532deee9b8ce4a927ef69c31a5925f8f688d21cfbe4b84eb3ee",
        ),
        (
            "POST",
            "/koodrive/ose/v1/backup/lock",
            b'{"moduleCode":"102"}',
            "7e4fbee768846b46f5f1c7333f7158a4d0e6f0ce6fc9e5cafbe40f93fff462f4",
        ),
        (
            "GET",
            "/koodrive/ose/v1/backup/record/1842862763295184641/files?pageSize=1&cursor=a%20b%2F%2B%3D~",
            b"",
            "df66a17225b43717c29a1673aa42c2542b6ab90256f392230b8855f7c41097ca",
        ),
    ],
)
def test_signatures_are_those_of_the_reference(method, path, body, signature):
    text = string_to_sign(method, path, HEADERS, body)
    assert hmac.digest(b"kd-example-app-secret", text.encode(), "sha256").hex() == signature


@pytest.mark.parametrize(
    ("origin", "size", "proof"),
    [
        (
            "1505084218764547200",
            420,
            "09cea14d6fd0591f95fc324fdcd0f0eb4018c3925ec9f29fb7e69833dd2ef4a6",
        ),
        (
            "1505084218764547200",
            5,
            "edd4310566616d47bbb65f53860d7a4a4cf7642854e11f914906f55ebc34c46a",
        ),
        (
            "1505084218764547200",
            100,
            "bdc58408e49cc6fa79a342a4a98eeb5cca393565def2d20e219dba625ec9ed7c",
        ),
        ("user-1", 420, "9a41b06f364f1a88951d130400db5c7b3c35e0b919f6a46de745057d1392deea"),
    ],
)
def test_proof_codes_are_those_of_the_reference(origin, size, proof):
    assert proof_of(origin, det(size)) == proof


def test_midstates_are_those_of_the_reference():
    content = "\n".join(f"test-{number}" for number in range(100)).encode()
    words = midstate(content[:768])
    assert words == (
        *(2156254178, 2271146846, 3285757422, 4079239336),
        *(3289954368, 3496897604, 1490423711, 2468994605),
    )
    assert digest_after(words, content[768:], len(content)) == hashlib.sha256(content).hexdigest()
    assert digest_after(INITIAL, b"", 0) == hashlib.sha256(b"").hexdigest()


async def test_the_store_refuses_forged_and_expired_urls(strict_store):
    key = f"verified/{strict_store.name} 1+1=2"
    good = strict_store.put_url(key, life=60, age=0.0)
    forged = good[:-1] + ("0" if good[-1] != "0" else "1")
    longer = good.replace("X-Amz-Expires=60", "X-Amz-Expires=61")
    other = good.replace("verified/", "another/")
    expired = strict_store.put_url(key, life=60, age=120.0)
    async with aiohttp.ClientSession() as http:
        for url in (forged, longer, other, expired):
            async with http.put(URL(url, encoded=True), data=b"wrong") as answer:
                assert answer.status in {400, 403}, url
        assert await strict_store.read(http, key) is None
        async with http.put(URL(good, encoded=True), data=b"right") as answer:
            assert answer.status == 200
        assert await strict_store.read(http, key) == b"right"
