"""What a part looks like to the object store, and what its answers mean."""

from __future__ import annotations

import errno
import os

import pytest

from koodrive_async import (
    ClientClosed,
    Limits,
    MalformedResponse,
    Module,
    SourceChanged,
    UploadReceipt,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.threads import ThreadPool
from koodrive_async.upload.budget import MemoryBudget
from koodrive_async.upload.connection import READ_AT_ONCE
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.source import BytesContent, open_source
from tests.sample import sample
from tests.upload.raw_server import (
    LARGE,
    MIB,
    open_lane,
    put,
    serving,
    silent,
)

pytestmark = pytest.mark.anyio

SECRET = "/x?X-Amz-Signature=secret"


@pytest.fixture
async def lane():
    async with open_lane() as opened:
        yield opened


# --- the request -------------------------------------------------------------------------------


async def test_a_part_has_a_length_and_no_credentials(session, make_file, koodrive_emulator):
    await session.upload(make_file(11 * MIB), part_size=5 * MIB)
    puts = koodrive_emulator.seen.requests("part.put")
    assert sorted(put.body_size for put in puts) == [MIB, 5 * MIB, 5 * MIB]
    for each in puts:
        assert each.headers["Content-Length"] == str(each.body_size)
        assert "Transfer-Encoding" not in each.headers
        names = {name.lower() for name in each.headers}
        assert not names & {"authorization", "x-user-id", "x-date", "x-backup-lock-id", "cookie"}
        assert not any(name.startswith(("x-amz", "x-hw", "x-trace")) for name in names)


async def test_an_empty_part_has_a_length_too(session, koodrive_emulator):
    await session.upload(b"", name="empty")
    (only,) = koodrive_emulator.seen.requests("part.put")
    assert only.headers["Content-Length"] == "0"


async def test_a_part_does_not_ask_whether_it_may_come(lane):
    async with serving() as server:
        await put(lane, server.url)
    assert "expect" not in server.requests[0].headers


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 * MIB + 1])
async def test_the_bytes_of_a_part_arrive_as_they_are(lane, size):
    async with serving() as server:
        await put(lane, server.url, sample(size))
    assert server.requests[0].body == sample(size)


async def test_bytes_that_the_kernel_cannot_send_are_read_in_small_slices(lane):
    class Counting(BytesContent):
        def read(self, offset, length):
            lengths.append(length)
            return super().read(offset, length)

    lengths: list[int] = []
    data = sample(MIB + 1)
    async with serving() as server:
        await lane.send(PlannedPart(1, 0, len(data)), Counting(memoryview(data)), server.url)
    assert lengths == [READ_AT_ONCE] * (MIB // READ_AT_ONCE) + [1]


async def test_no_more_parts_at_a_time_than_connections_over_all_files(
    koodrive_emulator, make_file
):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=0.02))
    files = [make_file(11 * MIB, f"{number}", seed=number) for number in range(3)]
    async with connect(koodrive_emulator, limits=Limits(connections=2)) as drive:
        device = await drive.devices.bind("limited")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes = [outcome async for outcome in session.upload_many(files)]
    assert [isinstance(outcome, UploadReceipt) for outcome in outcomes] == [True] * 3
    assert koodrive_emulator.seen.peak("part.put") == 2


# --- the URL -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (target := "/a%20b//c%2Fd?X-Amz-A=content%3Bhost&b=%7e&a=+%2B&empty=&c=%e4", target),
        (target := "/%%/..//./a?b=c?d=/e;f=\"<>{}|\\^`'", target),
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("/a?", "/a?"),
        ("/a?b=c#fragment?d", "/a?b=c"),
        ("#fragment", "/"),
    ],
)
async def test_a_presigned_url_travels_byte_for_byte(lane, given, sent):
    async with serving() as server:
        await put(lane, server.url + given)
    assert server.requests[0].line == f"PUT {sent} HTTP/1.1"


async def test_the_host_header_is_the_authority_of_the_url(lane):
    async with serving() as server:
        await put(lane, server.url)
        await put(lane, f"HTTP://LocalHost:{server.port}/")
    hosts = [request.headers["host"] for request in server.requests]
    assert hosts == [f"127.0.0.1:{server.port}", f"LocalHost:{server.port}"]


async def test_a_host_may_be_an_ipv6_literal(lane):
    async with serving(host="::1") as server:
        await put(lane, server.url)
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/secret",
        "file:///secret",
        "/secret",
        "",
        "http:///secret",
        "http://user:secret@127.0.0.1/",
        "http://secret@127.0.0.1/",
        "http://127.0.0.1:port/secret",
        "http://127.0.0.1:99999/secret",
        "http://[::1/secret",
        "http://127.0.0.1/secret\r\nX-Header: 1",
        "http://127.0.0.1/secret\nX-Header: 1",
        "http://127.0.0.1/\x00secret",
        "http://127.0.0.1/a secret",
        "http://127.0.0.1/\tsecret",
        " http://127.0.0.1/secret",
        "http://127.0.0.1/secret\x7f",
        "http://127.0.0.1/ä?secret",
        "http://exämple/secret",
        "http://two..dots/secret",
        f"http://{'a' * 64}/secret",
    ],
)
async def test_a_url_that_cannot_be_sent_is_refused_and_not_shown(lane, url):
    with pytest.raises(MalformedResponse, match=r"part 1.*presigned URL") as error:
        await put(lane, url)
    assert "secret" not in f"{error.value!s}{error.value!r}"
    assert error.value.__cause__ is None


# --- sources that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.EPIPE, errno.ESTALE])
async def test_a_source_that_cannot_be_read_is_its_own_error_and_shows_no_url(lane, caplog, number):
    class Broken(BytesContent):
        def read(self, offset, length):
            if offset:
                raise OSError(number, os.strerror(number))
            return super().read(offset, length)

    data = sample(4 * MIB)
    caplog.set_level("DEBUG")
    async with serving(silent) as server:
        with pytest.raises(OSError, match=os.strerror(number)) as error:
            await lane.send(
                PlannedPart(1, 0, len(data)), Broken(memoryview(data)), server.url + SECRET
            )
    assert error.value.errno == number
    assert "secret" not in f"{error.value!s}{error.value!r}{caplog.text}"


async def test_a_file_that_becomes_shorter_while_the_kernel_sends_it_has_changed(lane, make_file):
    async def shorten(connection):
        await connection.head()
        os.truncate(path, MIB)
        await connection.left()

    path, pool = make_file(0), ThreadPool(1)
    os.truncate(path, len(LARGE))
    async with serving(shorten) as server, open_source(path, pool, MemoryBudget(0)) as content:
        with pytest.raises(SourceChanged, match=f"size {len(LARGE)} -> {MIB}"):
            await lane.send(PlannedPart(1, 0, content.size), content, server.url)
    await pool.aclose()


async def test_a_part_after_the_client_was_closed_is_a_clear_error(lane):
    await lane.aclose()
    with pytest.raises(ClientClosed):
        await put(lane, "http://127.0.0.1:1/")
