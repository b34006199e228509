"""What a store answers to a look at a file: only the file itself proves that it is there."""

from __future__ import annotations

import asyncio
import io
import socket
from contextlib import suppress
from types import SimpleNamespace

import anyio
import pytest

from koodrive_async import ConfigurationError, Download, RetryPolicy, Timeouts
from koodrive_async.hashing import fingerprint
from koodrive_async.threads import ThreadPool
from koodrive_async.transport.clock import SystemClock
from koodrive_async.transport.dialing import Dialer
from koodrive_async.transport.retry import RetryBudget
from koodrive_async.upload.proof import StoredBytes, _UnreadableError, is_stored
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
    "an end before the range": answer("", 416),
}
SAYS_NOTHING = {
    "a fault of the moment": answer("", 503),
    "no answer": reset(),
    "too many requests": answer("", 429),
    "a request that came too slowly": answer("", 408),
    "a link that has expired": answer("<Code>AccessDenied</Code>", 403),
    "nothing": answer("", 204),
    "another place": answer("", 302, location="http://127.0.0.1:1/"),
}


@pytest.fixture
async def store():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def work():
    pool = ThreadPool(1)
    yield pool
    await pool.aclose()


@pytest.fixture
async def stored(work):
    reader = StoredBytes(work, TLS, Dialer(), Timeouts())
    yield reader
    await reader.aclose()


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


@pytest.mark.parametrize("name", SAYS_NOTHING)
async def test_a_store_that_does_not_answer_says_nothing(stored, store, name):
    with pytest.raises(_UnreadableError):
        await holds(stored, store, SAYS_NOTHING[name])


@pytest.mark.parametrize(
    "timeouts", [Timeouts(stall=0.2), Timeouts(connect=0.1, answer=0.1)], ids=["stall", "whole"]
)
async def test_a_store_that_drips_is_not_waited_for_without_end(work, store, timeouts):
    async def drip(_request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with suppress(OSError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    stored = StoredBytes(work, TLS, Dialer(), timeouts)
    try:
        with anyio.fail_after(8), pytest.raises(_UnreadableError, match="Timeout"):
            await holds(stored, store, drip, bytes(1000))
    finally:
        await stored.aclose()


# --- looking until there is an answer ----------------------------------------------------------


class Links:
    """Gives a link for each look, as the service does."""

    def __init__(self, store, error=None):
        self.given = 0
        self._store, self._error = store, error

    async def download_urls(self, _container_id, file_ids):
        if self._error is not None:
            raise self._error
        self.given += 1
        url = f"{self._store.url}/object?sig={self.given}"
        return [Download(file_id=file_ids[0], url=url)]


def means_of(stored, links):
    return SimpleNamespace(
        stored=stored,
        files=links,
        retry=RetryPolicy(base_delay=0, per_second=None),
        clock=SystemClock(),
        budget=RetryBudget(None),
    )


async def looks(stored, links):
    found = fingerprint(io.BytesIO(CONTENT))
    return await is_stored(means_of(stored, links), "7", "1", found)


@pytest.mark.parametrize("name", ["no answer", "too many requests", "a link that has expired"])
async def test_a_file_is_looked_at_again_with_a_fresh_link(stored, store, name):
    links = Links(store)
    store.replies(SAYS_NOTHING[name], SAYS_NOTHING[name], HELD["the last cell"])
    assert await looks(stored, links)
    assert [request.query for request in store.requests] == ["sig=1", "sig=2", "sig=3"]


async def test_a_store_that_refuses_every_link_proves_nothing(stored, store):
    store.otherwise = lambda _: SAYS_NOTHING["a link that has expired"]
    assert not await looks(stored, Links(store))
    assert len(store.requests) == 3


async def test_a_store_that_never_answers_is_asked_as_often_as_the_policy_says(stored, store):
    store.otherwise = lambda _: answer("", 503)
    assert not await looks(stored, Links(store))
    assert len(store.requests) == RetryPolicy().attempts


async def test_links_that_the_settings_refuse_are_a_warning_once(stored, store, caplog):
    links = Links(store, ConfigurationError("allow it with allow_plain_part_urls=('a',)"))
    for _ in range(2):
        assert not await looks(stored, links)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(said) == 1
    assert "allow_plain_part_urls" in said[0]


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
