"""Object stores made to harm: each part ends in one clear error, soon, and costs no memory."""

from __future__ import annotations

import tracemalloc

import anyio
import pytest

from koodrive_async import (
    ConnectionFailed,
    DeadlineExceeded,
    KooDriveError,
    MalformedResponse,
    PartRejected,
    RetryPolicy,
)
from tests.upload.raw_server import MIB, OK, open_lane, serving
from tests.upload.small_upload import file_of

pytestmark = pytest.mark.anyio

GIB = 1024 * MIB
ONCE = RetryPolicy(attempts=1)
ERROR = b"HTTP/1.1 500 Oh\r\n"
CHUNK = b"10000\r\n" + bytes(0x10000) + b"\r\n"


async def upload(url, *, retry=ONCE, **timeouts):
    """Send a part to a URL, and return what is said of it."""
    async with (
        open_lane(**timeouts) as lane,
        file_of(1, connections=1, given=[], retry=retry) as file,
    ):
        file.store.send = lane.send
        file.service.url = lambda _: url
        await file.upload.run()
        assert len(file.service.asked) == 1
        return dict(file.arrived)[1]


async def refused(handler, kind, **settings):
    """Send a part to a server, and return what is raised: one line without a secret."""
    async with serving(handler) as server:
        with pytest.raises(kind) as error:
            await upload(f"{server.url}/x?X-Amz-Signature=secret", **settings)
    assert type(error.value) is kind
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 1000
    assert "secret" not in f"{text}{error.value!r}"
    return error.value


def saying(answer):
    async def handle(connection):
        while True:
            await connection.request()
            await connection.send(answer)

    return handle


def going_on(head, more):
    """Send something over and over, until the other side has enough or a GiB is through."""

    async def handle(connection):
        await connection.request()
        await connection.send(head)
        sent = 0
        while sent < GIB:
            await connection.send(more)
            sent += len(more)
        raise AssertionError("all of it was read")

    return handle


# --- answers without end -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (ERROR + b"Content-Length: %d\r\n\r\n" % GIB, bytes(64 * 1024)),
        (ERROR + b"Connection: close\r\n\r\n", bytes(64 * 1024)),
        (ERROR + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    ],
    ids=["with a length", "up to the end", "in chunks"],
)
async def test_an_error_of_a_gigabyte_is_left_after_what_is_worth_reading(head, more):
    tracemalloc.start()
    try:
        error = await refused(going_on(head, more), PartRejected)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.status == 500
    assert peak < 4 * MIB


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Bomb: " + b"a" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Bomb: ", b"a" * 64 * 1024),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 100 Continue\r\nX-Bomb: ", b"a" * 64 * 1024),
        (b"", b"a" * 64 * 1024),
        (b"", bytes(64 * 1024)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 64 * 1024),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n" * 1000),
    ],
    ids=[
        "headers",
        "a header",
        "announcements",
        "an announcement",
        "a status line",
        "zeros",
        "the size of a chunk",
        "trailers",
    ],
)
async def test_a_head_without_an_end_is_no_answer(head, more):
    tracemalloc.start()
    try:
        await refused(going_on(head, more), ConnectionFailed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


async def test_announcements_for_ever_are_left_at_the_deadline():
    async def announce(connection):
        await connection.request()
        while True:
            await connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await anyio.sleep(0.005)

    await refused(announce, DeadlineExceeded, stall=0.05, answer=0.05)


# --- what errors say ---------------------------------------------------------------------------


def error_of(code, message, status=b"500 Oh"):
    body = b"<Error><Code>%s</Code><Message>%s</Message></Error>" % (code, message)
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"A" * 10_000, b"B" * 50_000),
        (b"\x1b[2J\x07", b"\x1b]0;owned\x07\r\nINFO all is well\r\n"),
        (b"\xff\xfe", b"\x00\x80\xe2\x80\xae"),
        (b"Odd", b"try http://store/x?X-Amz-Signature=secret instead"),
        (b"https://user:secret@store/", b""),
    ],
)
async def test_what_an_error_says_is_shown_on_one_line_and_without_urls(code, message):
    error = await refused(saying(error_of(code, message)), PartRejected)
    assert error.status == 500


@pytest.mark.parametrize(
    "retry_after", [b"-1", b"1e9", b"9" * 400, b"\xd9\xa1", b"Thu, 99 Foo 9999", b"nan", b"inf"]
)
async def test_a_wait_that_nobody_can_mean_is_not_waited(retry_after):
    answer = b"HTTP/1.1 503 No\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % retry_after
    await refused(
        saying(answer), PartRejected, retry=RetryPolicy(attempts=2, base_delay=0, outage=0)
    )


@pytest.mark.parametrize(
    ("header", "etag"),
    [
        (b'ETag: "abc-3"', '"abc-3"'),
        (b"ETag:   ", None),
        (b"X-Other: 1", None),
        (b"ETag: " + b"a" * 10_000, None),
        (b"ETag: a\x1b[2Jb", None),
        (b"ETag: \xff\xff", "ÿÿ"),
    ],
)
async def test_an_etag_is_kept_only_if_it_can_be_one(header, etag):
    answer = b"HTTP/1.1 200 OK\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(answer)) as server:
        assert await upload(server.url) == etag


# --- where parts go ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_is_followed_to_another_host(status):
    async with serving() as other:
        head = f"HTTP/1.1 {status} Over There\r\nLocation: {other.url}/secret\r\n"
        error = await refused(saying(head.encode() + b"Content-Length: 0\r\n\r\n"), PartRejected)
        assert error.status == status
        assert other.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://{host}/secret",
        "file:///etc/secret",
        "data:text/plain,secret",
        "javascript:secret",
        "ws://{host}/secret",
        "http:{host}/secret",
        "//{host}/secret",
        "/secret",
        "http://{host}/a b?secret",
        "http://{host}/a\nHost: other?secret",
        "http://{host}/a\r\n\r\nDELETE /secret",
        "http://{host}/a\tsecret",
        "http://user:secret@{host}/",
        "http://secret@{host}/",
        "http://{host}@secret/",
        "http://{host}\\@secret/",
        " http://{host}/secret",
        "http://{host}/secret ",
        "http://{host}/\ud800secret",
        "http://{host}\u2044secret/",
    ],
)
async def test_a_url_that_is_no_url_of_a_host_is_refused_before_anything_goes_out(url):
    async with serving() as server:
        with pytest.raises(MalformedResponse, match=r"part 1.*presigned URL") as error:
            await upload(url.format(host=f"127.0.0.1:{server.port}"))
        assert server.connections == 0
    assert "secret" not in f"{error.value!s}{error.value!r}"
    assert error.value.__cause__ is None
    assert error.value.attempts == 1


async def test_what_an_object_store_did_never_breaks_the_next_part():
    async def misbehave_once(connection):
        await connection.request()
        if server.connections == 1:
            await connection.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra")
        else:
            await connection.send(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
        await connection.left()

    async with serving(misbehave_once) as server, open_lane() as lane:
        async with file_of(2, connections=1, given=[], retry=ONCE) as file:
            file.store.send = lane.send
            file.service.url = lambda _: server.url
            with pytest.raises(KooDriveError, match="HTTP 400"):
                await file.upload.run()
        assert file.arrived == [(1, None)]
