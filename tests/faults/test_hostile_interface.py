"""Answers made to harm: each ends in one exception of ours, soon, and says what is wrong."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
import zlib
from contextlib import suppress

import pytest

from koodrive_async import (
    ApiError,
    BackupRecord,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    KooDriveError,
    MalformedResponse,
    RetryPolicy,
    ServerFault,
    Timeouts,
)
from koodrive_async.transport import exchange
from tests.interface.scripted import LOCK, TOKEN, Scripted, answer, client_of, raw

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)
MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WORKED = b'{"code": 0}'


@pytest.fixture
async def scripted():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def once(scripted):
    """A client that never repeats."""
    async with client_of(scripted, retry=ONCE) as client:
        yield client


async def failure(client, kind):
    """Call the service, and return what is raised; its text is one line of a sane length."""
    with pytest.raises(kind) as caught:
        await client.devices.list()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1000
    assert text.encode()
    return caught.value


class Flood:
    """Sends the same bytes again and again, as fast as they are taken and for as long.

    :ivar sent: Bytes that were taken.
    """

    def __init__(self, head, again):
        self._head = head
        self._again = again
        self.sent = 0

    async def __call__(self, _request, writer):
        with suppress(OSError):
            writer.write(self._head)
            while not writer.is_closing():
                writer.write(self._again)
                await writer.drain()
                self.sent += len(self._again)


def packed(size, wbits=31):
    """Pack so many blanks; a thousandth of them is left."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    blanks = b" " * MIB
    return b"".join(packer.compress(blanks) for _ in range(size // MIB)) + packer.flush()


# --- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize("beginning", ["[", '{"code":', '[{"a":'])
@pytest.mark.parametrize("depth", [100_000, 400_000], ids=["in the loop", "in a thread"])
async def test_json_nested_without_end_is_malformed(once, scripted, beginning, depth):
    scripted.replies(answer(beginning * (depth // len(beginning) * 2)))
    error = await failure(once, MalformedResponse)
    assert "nested too deeply" in str(error)


@pytest.mark.parametrize("depth", [500, 900])
@pytest.mark.parametrize("place", ["deviceId", "createTime", "deviceName"])
async def test_a_field_nested_as_deep_as_json_may_be_is_malformed_or_passed_over(
    once, scripted, place, depth
):
    fields = {"deviceId": "1", place: "[" * depth + "]" * depth}
    device = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    scripted.replies(answer('{"code": 0, "data": [{' + device + "}]}"))
    with suppress(MalformedResponse):  # a time that cannot be read is none
        (device,) = await once.devices.list()
        assert device.create_time is None


@pytest.mark.parametrize("place", ["code", "data", "msg"])
@pytest.mark.parametrize("depth", [500, 900])
async def test_an_envelope_of_nested_lists_is_one_exception_of_ours(once, scripted, place, depth):
    fields = {"code": "1", "msg": '"no"', "data": "[]", place: "[" * depth + "]" * depth}
    body = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    scripted.replies(answer("{" + body + "}"))
    with pytest.raises((ApiError, MalformedResponse)) as caught:
        await once.devices.list()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("digits", [4301, 1_000_000])
@pytest.mark.parametrize("body", ['{"code": 0, "data": %s}', '{"code": %s}', "%s"])
async def test_a_number_of_a_million_digits_is_malformed(once, scripted, body, digits):
    scripted.replies(answer(body % ("9" * digits)))
    assert "a number is too long" in str(await failure(once, MalformedResponse))


@pytest.mark.parametrize("number", ["9" * 4000, "-" + "9" * 4000, "1e999", "NaN", "-Infinity"])
async def test_a_number_beyond_all_bounds_is_survived_wherever_it_stands(once, scripted, number):
    for body in (
        f'{{"code": {number}}}',
        f'{{"code": 0, "data": [{{"deviceId": {number}}}]}}',
        f'{{"code": 0, "data": [{{"deviceId": 1, "createTime": {number}}}]}}',
        f'{{"code": 1, "msg": {number}}}',
        f'{{"code": 0, "data": {{"recordId": 1, "version": {number}}}}}',
    ):
        scripted.replies(*[answer(body)] * 2)
        outcomes = await asyncio.gather(
            once.devices.list(), once.records.get("1"), return_exceptions=True
        )
        for outcome in outcomes:
            assert isinstance(outcome, KooDriveError | tuple | BackupRecord)
            assert not isinstance(outcome, KooDriveError) or len(str(outcome)) < 1000


async def test_more_values_than_any_answer_has_are_not_even_read(once, scripted, monkeypatch):
    def refuse(_raw):
        raise AssertionError

    scripted.replies(answer('{"code": 0, "data": [' + "{}," * 1_000_000 + "{}]}"))
    monkeypatch.setattr(json, "loads", refuse)
    assert "more values" in str(await failure(once, MalformedResponse))


async def test_an_array_of_what_is_no_device_ends_at_the_first(once, scripted):
    scripted.replies(answer('{"code": 0, "data": [' + "7," * 300_000 + "7]}"))
    assert "not the documented one" in str(await failure(once, MalformedResponse))


@pytest.mark.parametrize("body", [b"\xff\xfe\xfd", b"\x80" * 300_000, b"\x00" * 10])
async def test_bytes_that_are_no_text_are_malformed(once, scripted, body):
    scripted.replies(answer(body))
    assert "not JSON" in str(await failure(once, MalformedResponse))


@pytest.mark.parametrize("field", ["code", "msg"])
@pytest.mark.parametrize(
    "text",
    [
        "a\x00b",
        "a\r\nX-Evil: 1\r\n\r\nb",
        "\x1b[2J\x1b[31mred",
        "\u202eltr",
        "\ud800",
        "x" * 300_000,
        "see https://store.example/key?X-Amz-Signature=feed",
    ],
    ids=["nul", "lines", "terminal", "direction", "surrogate", "long", "url"],
)
async def test_what_a_refusal_says_is_shown_in_one_short_line(once, scripted, field, text):
    scripted.replies(answer({"code": "13000102", "msg": "no", field: text}, 400))
    error = await failure(once, ApiError if field == "code" else InvalidRequest)
    assert "feed" not in str(error)


async def test_a_refusal_does_not_keep_megabytes(once, scripted):
    scripted.replies(answer({"code": "1" * MIB, "msg": "x" * MIB, "data": "y" * MIB}, 500))
    error = await failure(once, ServerFault)
    assert len(json.dumps([error.msg, error.code, repr(error.args)])) < 50_000


# --- size --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (OK + b"Content-Length: 1000000000\r\n\r\n", b" " * 65536),
        (OK + b"\r\n", b" " * 65536),
        (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    ],
    ids=["announced", "until the end", "chunked"],
)
async def test_an_answer_of_a_gigabyte_is_left_at_the_limit(once, scripted, head, again):
    flood = Flood(head, again)
    scripted.replies(flood)
    assert "larger than 67108864 bytes" in str(await failure(once, MalformedResponse))
    await scripted.ended()
    # what is on its way through the system's buffers is not ours
    assert flood.sent < exchange.ANSWER_LIMIT + 16 * MIB


@pytest.mark.parametrize(
    "again", [b"1\r\n \r\n" * 1000, b"10;" + b"x" * 1000 + b"\r\n" + b" " * 16]
)
async def test_chunks_that_are_mostly_wrapping_are_left_as_well(scripted, monkeypatch, again):
    monkeypatch.setattr(exchange, "ANSWER_LIMIT", 10_000)
    flood = Flood(CHUNKED, again)
    scripted.replies(flood)
    async with client_of(scripted, retry=ONCE) as client:
        with pytest.raises((MalformedResponse, ConnectionFailed)):
            await client.devices.list()
    await scripted.ended()
    assert flood.sent < 64 * MIB


async def test_an_answer_over_the_bound_is_given_up(once, scripted, monkeypatch):
    monkeypatch.setattr(exchange, "ANSWER_LIMIT", 1000)
    scripted.replies(
        answer({"code": 0, "msg": "x" * 900}),
        raw(OK + b"\r\n" + b" " * 5000),
    )
    await once.devices.list()
    assert "larger than 1000 bytes" in str(await failure(once, MalformedResponse))


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15)])
async def test_a_bomb_is_measured_as_it_is_unpacked(once, scripted, monkeypatch, encoding, wbits):
    monkeypatch.setattr(exchange, "ANSWER_LIMIT", MIB)
    bomb = answer(packed(512 * MIB, wbits), content_encoding=encoding)
    scripted.replies(bomb)
    tracemalloc.start()
    try:
        error = await failure(once, MalformedResponse)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than 1048576 bytes" in str(error)
    assert peak < 64 * MIB


async def test_a_bomb_within_a_bomb_is_unpacked_once(once, scripted):
    inner = packed(512 * MIB)
    scripted.replies(answer(inner, content_encoding="gzip, gzip"))
    with pytest.raises((MalformedResponse, ConnectionFailed)):
        await once.devices.list()


async def test_an_honest_packed_answer_is_read(once, scripted):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    scripted.replies(answer(packer.compress(WORKED) + packer.flush(), content_encoding="gzip"))
    assert await once.devices.list() == ()


# --- HTTP --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flood",
    [
        Flood(OK, b"A: b\r\n" * 100),
        Flood(OK + b"A: ", b"a" * 1000),
        Flood(b"HTTP/1.1 200 ", b"O" * 1000),
        Flood(CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n" * 100),
        Flood(CHUNKED + b"0\r\nA: ", b"a" * 1000),
        Flood(b"", b"\x00" * 1000),
    ],
    ids=["headers", "header", "reason", "trailers", "trailer", "zeros"],
)
async def test_a_head_without_end_is_a_failed_connection(once, scripted, flood):
    scripted.replies(flood)
    await failure(once, ConnectionFailed)
    await scripted.ended()
    assert flood.sent < 32 * MIB


@pytest.mark.parametrize("status", [100, 102, 103])
async def test_announcements_without_end_last_as_long_as_an_answer_may(scripted, status):
    flood = Flood(b"", b"HTTP/1.1 %d Soon\r\n\r\n" % status)
    scripted.otherwise = lambda _: flood
    async with client_of(scripted, retry=ONCE, timeouts=Timeouts(answer=0.3)) as client:
        error = await failure(client, DeadlineExceeded)
    assert "Timeouts.answer" in str(error)


async def test_some_announcements_are_passed_over(once, scripted):
    scripted.replies(raw(b"HTTP/1.1 103 Soon\r\n\r\n" * 20 + OK + b"\r\n" + WORKED))
    assert await once.devices.list() == ()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (WORKED, "not an HTTP answer"),
        (b"HTTP/2 200 OK\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 -1 OK\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 99999 OK\r\n\r\n", "not an HTTP answer"),
        (OK + b"Content-Length: -1\r\n\r\n" + WORKED, "not an HTTP answer"),
        (OK + b"Content-Length: 1e1\r\n\r\n" + WORKED, "not an HTTP answer"),
        (OK + b"Content-Length: 9" + b"9" * 30 + b"\r\n\r\n" + WORKED, "not an HTTP answer"),
        (OK + b"Content-Length: 11\r\nContent-Length: 12\r\n\r\n" + WORKED, "not an HTTP answer"),
        (OK + b"Content-Length: 12\r\n\r\n" + WORKED, "cut off"),
        (OK + b"A: \x00\r\n\r\n" + WORKED, "not an HTTP answer"),
        (OK + b"A\x00: b\r\n\r\n" + WORKED, "not an HTTP answer"),
        (CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n", ""),
        (CHUNKED + b"fffffffffffffffff\r\n{}\r\n", ""),
        (CHUNKED + b"2\r\n{}xx0\r\n\r\n", ""),
        (OK + b"Content-Encoding: gzip\r\n\r\n" + WORKED, "garbled"),
    ],
)
async def test_what_is_not_quite_http_is_a_failed_connection(once, scripted, data, problem):
    scripted.replies(raw(data))
    error = await failure(once, ConnectionFailed)
    assert problem in str(error)
    assert "Evil" not in str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\n\r\n" + packed(MIB)[:100],
        OK + b"\r\n" + WORKED[:-1],
    ],
)
async def test_an_answer_that_merely_ends_is_known_by_its_json(once, scripted, data):
    scripted.replies(raw(data))
    assert "not JSON" in str(await failure(once, MalformedResponse))


@pytest.mark.parametrize("status", [101, 204, 205, 304])
async def test_a_status_without_a_body_is_no_answer(once, scripted, status):
    scripted.replies(raw(b"HTTP/1.1 %d Nothing\r\nUpgrade: x\r\n\r\n" % status))
    await failure(once, MalformedResponse)


async def test_bytes_behind_an_answer_are_not_the_next_one(once, scripted):
    worked = OK + b"Content-Length: 11\r\n\r\n" + WORKED
    poison = OK + b"Content-Length: 25\r\n\r\n" + b'{"code": 7, "msg": "bad"}'

    async def reply(_request, writer):
        writer.write(worked + poison)
        await writer.drain()

    scripted.otherwise = lambda _: reply
    for _ in range(3):
        await once.locks.renew(LOCK)


async def test_what_comes_on_an_idle_connection_is_not_the_next_answer(once, scripted):
    """A gateway says 408 to a connection it is tired of; a broken one answers twice."""
    poison = answer({"code": 13000102, "msg": "poisoned"}, 408)
    writers = []

    async def reply(request, writer):
        writers.append(writer)
        await answer()(request, writer)

    scripted.otherwise = lambda _: reply
    await once.locks.renew(LOCK)
    for _ in range(3):
        await poison(scripted.requests[0], writers[-1])
        # now it is on its way, and whether our loop has read it makes no difference
        await once.locks.renew(LOCK)
    assert scripted.connections == 4


async def test_an_answer_before_the_request_ends_the_call_either_way(scripted):
    async def reply_first(_reader, writer):
        writer.write(OK + b"Content-Length: 11\r\n\r\n" + WORKED)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(reply_first, "127.0.0.1", 0) as server:
        scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with client_of(scripted, retry=ONCE) as client:
            for _ in range(3):
                with suppress(ConnectionFailed):
                    assert await client.devices.list() == ()


# --- credentials -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_credentials_stay(once, scripted, status):
    async with Scripted() as elsewhere:
        elsewhere.replies({"code": 0})
        body = {"code": 0, "msg": "success"}
        location = f"{elsewhere.url}/koodrive/ose/v1/backup"
        scripted.replies(answer(body, status, location=location))
        error = await failure(once, MalformedResponse)
        assert elsewhere.requests == []
        assert elsewhere.connections == 0
    assert "redirects" in str(error)
    assert error.status == status
    assert elsewhere.host not in str(error)
    assert TOKEN not in str(error)


@pytest.mark.parametrize("status", [200, 401, 503])
async def test_cookies_are_not_kept(once, scripted, status):
    scripted.replies(answer({"code": 0}, status, set_cookie="session=1; Path=/"), {"code": 0})
    with suppress(ApiError):
        await once.devices.list()
    await once.devices.list()
    assert "Cookie" not in scripted.requests[-1].headers


async def test_an_answer_cannot_make_another_place_the_service(once, scripted):
    async with Scripted() as elsewhere:
        named = {"refresh": f"0; url={elsewhere.url}", "alt_svc": f'h2="{elsewhere.host}"'}
        scripted.replies(answer(None, 200, **named, link=f"<{elsewhere.url}>"), {"code": 0})
        await once.devices.list()
        await once.devices.list()
        assert elsewhere.connections == 0
