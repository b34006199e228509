"""What the answers of an object store mean, whole and broken, in time and before it."""

from __future__ import annotations

import os

import anyio
import pytest

from koodrive_async import ConnectionFailed, DeadlineExceeded, PartRejected
from koodrive_async.threads import ThreadPool
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.source import BytesContent, open_source
from tests.upload.raw_server import (
    LARGE,
    MIB,
    OK,
    answering,
    open_lane,
    put,
    serving,
    silent,
    stuck,
)

pytestmark = pytest.mark.anyio

SECRET = "/x?X-Amz-Signature=secret"


@pytest.fixture
async def lane():
    async with open_lane() as opened:
        yield opened


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nup to the end",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK,
        b"HTTP/1.1 102 Processing\r\n\r\n" + OK,
        b"HTTP/1.1 100 Continue\r\n" + b"A: a\r\n" * 150 + b"\r\n" + OK,
        b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 1000 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: a\r\n Content-Length: 9\r\n\tb\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_every_form_of_a_good_answer_is_understood(lane, answer):
    async with serving(answering(answer)) as server:
        await put(lane, server.url)
    assert server.connections == 1


async def test_a_connection_is_used_again_after_150_headers_and_its_etag_is_known(lane):
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(150))
    answer = head + b'ETag: "of it"\r\nContent-Length: 0\r\n\r\n'

    async def twice(connection):
        for _ in range(2):
            await connection.request()
            await connection.send(answer)

    async with serving(twice) as server:
        for _ in range(2):
            etag = await lane.send(
                PlannedPart(1, 0, 3), BytesContent(memoryview(b"abc")), server.url
            )
            assert etag == '"of it"'
    assert server.connections == 1


async def test_a_redirect_is_not_followed(lane):
    redirect = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(redirect)) as server:
        with pytest.raises(PartRejected) as error:
            await put(lane, server.url)
    assert error.value.status == 307
    assert server.connections == 1


async def test_a_refusal_carries_what_the_object_store_says(lane):
    body = (
        b"<?xml version='1.0'?><Error><Code>SlowDown</Code>"
        b"<Message>Please reduce your request rate</Message></Error>"
    )
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(answering(head + body)) as server:
        with pytest.raises(PartRejected) as error:
            await put(lane, server.url)
    assert (error.value.status, error.value.code) == (503, "SlowDown")
    assert error.value.retry_after == 7
    assert "reduce your request rate" in str(error.value)


@pytest.mark.parametrize(
    "form", [b"Content-Length: 9999999999", b"Transfer-Encoding: chunked", b"Connection: close"]
)
async def test_no_more_of_an_endless_error_is_read_than_is_worth_reading(lane, form):
    async def go_on(connection):
        await connection.request()
        await connection.send(b"HTTP/1.1 500 Oh\r\n" + form + b"\r\n\r\n")
        while True:  # until the other side has enough
            await connection.send((b"1000\r\n" if b"chunked" in form else b"") + bytes(4096))
            await connection.send(b"\r\n" if b"chunked" in form else b"")

    async with serving(go_on) as server:
        with pytest.raises(PartRejected, match="HTTP 500"):
            await put(lane, server.url)


@pytest.mark.parametrize(
    "disaster",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + bytes(2 * MIB),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 two-hundred\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02F",
        b"\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nETag: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: a",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
    ],
)
async def test_a_broken_answer_is_a_failed_connection(lane, disaster):
    async with serving(answering(disaster)) as server:
        with pytest.raises(ConnectionFailed) as error:
            await put(lane, server.url + SECRET)
    assert error.value.sent
    assert (error.value.method, error.value.path) == ("PUT", "part 1")
    assert "secret" not in f"{error.value!s}{error.value!r}"


async def test_a_server_that_never_answers_is_given_up_with_a_name_for_the_wait():
    async with serving(silent) as server, open_lane(stall=0.05, answer=0.05) as lane:
        with pytest.raises(DeadlineExceeded, match=r"no answer came.*Timeouts\.answer"):
            await put(lane, server.url)


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_comes_byte_by_byte_is_given_up_all_the_same(begun):
    async def trickle(connection):
        await connection.request()
        await connection.send(begun)
        while True:
            await connection.send(b"a")
            await anyio.sleep(0.01)

    async with serving(trickle) as server, open_lane(stall=0.05, answer=0.05) as lane:
        with pytest.raises(DeadlineExceeded):
            await put(lane, server.url)


async def test_a_server_that_stops_reading_is_given_up():
    async with serving(stuck) as server, open_lane(stall=0.1) as lane:
        with pytest.raises(DeadlineExceeded, match=r"stalled: .* bytes went in .*Timeouts\.stall"):
            await put(lane, server.url, LARGE)


# --- answers that come before the end of the part ----------------------------------------------


@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize("stays", [True, False])
async def test_an_answer_in_the_middle_of_a_part_is_noticed_at_once(lane, status, stays):
    async def refuse(connection):
        await connection.head()
        await connection.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        if stays:
            await anyio.sleep_forever()

    async with serving(refuse) as server:
        with pytest.raises(PartRejected) as error:
            await put(lane, server.url, LARGE)
    assert error.value.status == status


@pytest.mark.parametrize("stays", [True, False])
async def test_an_answer_while_the_kernel_sends_a_file_is_noticed_at_once(lane, make_file, stays):
    async def refuse(connection):
        await connection.head()
        await connection.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        if stays:
            await anyio.sleep_forever()

    path, pool = make_file(0), ThreadPool(1)
    os.truncate(path, len(LARGE))
    async with serving(refuse) as server, open_source(path, pool, MemoryBudget(0)) as content:
        with pytest.raises(PartRejected, match="HTTP 403"):
            await lane.send(PlannedPart(1, 0, content.size), content, server.url)
    await pool.aclose()


@pytest.mark.parametrize("stays", [True, False])
async def test_success_before_the_end_of_a_part_is_none(lane, stays):
    async def welcome(connection):
        await connection.head()
        await connection.send(OK)
        if stays:
            await anyio.sleep_forever()

    async with serving(welcome) as server:
        with pytest.raises(ConnectionFailed):
            await put(lane, server.url, LARGE)


async def test_a_reset_does_not_show_the_url(lane):
    async def reset(connection):
        await connection.head()
        connection.reset()

    async with serving(reset) as server:
        with pytest.raises(ConnectionFailed) as error:
            await put(lane, server.url + SECRET, LARGE)
    assert "secret" not in f"{error.value!s}{error.value!r}"
    assert error.value.__cause__ is None
