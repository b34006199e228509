"""What a store answers to a look at a file: only the file itself proves that it is there."""

from __future__ import annotations

import io
import socket

import pytest

from koodrive_async import Timeouts
from koodrive_async.hashing import fingerprint
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.dialing import Dialer
from koodrive_async.upload.proof import StoredBytes, _UnreadableError
from tests.interface.scripted import TLS, Scripted, answer, reset
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
CONTENT = sample(2 * MIB + 1000)
TAIL = CONTENT[2 * MIB :]
SIZE = len(CONTENT)


def part(data, content_range):
    return answer(data, 206, content_range=content_range)


HELD = {
    "the last cell": part(TAIL, f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"),
    "the last cell, with the status of a whole file": answer(
        TAIL, content_range=f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"
    ),
    "all of it": answer(CONTENT),
}
NOT_HELD = {
    "another file of the size": answer(bytes(SIZE)),
    "a warning file": answer(b"this file was withheld"),
    "another last cell": part(bytes(1000), f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"),
    "a longer file": part(TAIL, f"bytes {2 * MIB}-{SIZE - 1}/{SIZE + 1}"),
    "another range": part(TAIL, f"bytes 0-999/{SIZE}"),
    "a range of unknown size": part(TAIL, f"bytes {2 * MIB}-{SIZE - 1}/*"),
    "no range": answer(TAIL, 206),
    "too few bytes": part(TAIL[:-1], f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"),
    "too many bytes": part(TAIL + b"x", f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"),
    "no object": answer("<Error><Code>NoSuchKey</Code></Error>", 404),
    "no permission": answer("", 403),
    "an end before the range": answer("", 416),
    "nothing": answer("", 204),
    "another place": answer("", 302, location="http://127.0.0.1:1/"),
}
PASSING = {"a fault of the moment": answer("", 503), "no answer": reset()}


@pytest.fixture
async def store():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def stored():
    work = ThreadPool(1)
    reader = StoredBytes(work, TLS, Dialer(), Timeouts())
    yield reader
    await reader.aclose()
    await work.aclose()


async def holds(stored, store, reply, content=CONTENT):
    store.replies(reply)
    return await stored.holds(store.url + "/object?sig=1", fingerprint(io.BytesIO(content)))


@pytest.mark.parametrize("name", HELD)
async def test_the_bytes_of_a_file_prove_that_it_is_stored(stored, store, name):
    assert await holds(stored, store, HELD[name])
    assert store.request.headers["Range"] == f"bytes={2 * MIB}-{SIZE - 1}"
    assert "Authorization" not in store.request.headers
    assert store.request.target == "/object?sig=1"


@pytest.mark.parametrize("name", NOT_HELD)
async def test_nothing_else_does(stored, store, name):
    assert not await holds(stored, store, NOT_HELD[name])


@pytest.mark.parametrize("name", PASSING)
async def test_a_store_that_does_not_answer_says_nothing(stored, store, name):
    with pytest.raises(_UnreadableError):
        await holds(stored, store, PASSING[name])


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[:MIB], CONTENT[: MIB + 1]], ids=len)
async def test_a_file_of_any_size_is_proven(stored, store, content):
    assert await holds(stored, store, answer(content), content)
    assert not await holds(stored, store, answer(content + b"x"), content)


@pytest.mark.parametrize("host", ["localhost", "localhost."])
async def test_the_host_is_spelt_as_in_the_link_because_it_is_signed(
    stored, store, monkeypatch, host
):
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *more, **named: resolve("127.0.0.1", *more, **named)
    )
    store.replies(HELD["all of it"])
    port = store.url.rpartition(":")[2]
    link = f"http://{host}:{port}/object?sig=1"
    assert await stored.holds(link, fingerprint(io.BytesIO(CONTENT)))
    assert store.request.headers["Host"] == f"{host}:{port}"
