"""What a part looks like to the object store."""

from __future__ import annotations

import contextlib
import errno

import anyio
import anyio.abc
import pytest

from koodrive_async import (
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    Limits,
    Module,
    PartRejected,
    Timeouts,
    UploadReceipt,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.transport.http import open_session, tls_context
from koodrive_async.upload.part import AiohttpPartSender, _PartBody
from koodrive_async.upload.plan import PlannedPart
from koodrive_async.upload.source import BytesContent
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def test_a_part_has_a_length_and_no_credentials(session, make_file, koodrive_emulator):
    await session.upload(make_file(11 * MIB), part_size=5 * MIB)
    puts = koodrive_emulator.seen.requests("part.put")
    assert sorted(put.body_size for put in puts) == [MIB, 5 * MIB, 5 * MIB]
    for put in puts:
        assert put.headers["Content-Length"] == str(put.body_size)
        assert "Transfer-Encoding" not in put.headers
        names = {name.lower() for name in put.headers}
        assert not names & {"authorization", "x-user-id", "x-date", "x-backup-lock-id", "cookie"}
        assert not any(name.startswith(("x-amz", "x-hw", "x-trace")) for name in names)


async def test_an_empty_part_has_a_length_too(session, koodrive_emulator):
    await session.upload(b"", name="empty")
    (put,) = koodrive_emulator.seen.requests("part.put")
    assert put.headers["Content-Length"] == "0"


async def send(url, data=b"abc", **timeouts):
    async with open_session(2, await tls_context()) as http:
        sender = AiohttpPartSender(http, anyio.CapacityLimiter(2), Timeouts(**timeouts))
        await sender.send(PlannedPart(1, 0, len(data)), BytesContent(memoryview(data)), url)


@pytest.fixture
async def raw_server():
    """Return a function that serves connections with a handler and gives the base URL."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:

        def serve(handler):
            group.start_soon(listener.serve, handler)
            return f"http://127.0.0.1:{port}"

        yield serve
        group.cancel_scope.cancel()
    await listener.aclose()


async def read_head(stream):
    """Read up to the end of the header section; return it and what came of the body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


async def test_a_presigned_url_travels_byte_for_byte(raw_server):
    target = "/a%20b//c%2Fd?X-Amz-SignedHeaders=content-length%3Bhost&b=%7e&a=+%2B&empty=&c=%e4"
    seen = []

    async def answer(stream):
        async with stream:
            seen.append((await read_head(stream))[0].split(b"\r\n")[0])
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    await send(raw_server(answer) + target)
    assert seen == [f"PUT {target} HTTP/1.1".encode()]


async def test_a_redirect_is_not_followed(raw_server):
    connections = []

    async def redirect(stream):
        connections.append(stream)
        async with stream:
            await read_head(stream)
            await stream.send(
                b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )

    with pytest.raises(PartRejected) as error:
        await send(raw_server(redirect))
    assert error.value.status == 307
    assert len(connections) == 1


async def test_a_refusal_carries_what_the_object_store_says(raw_server):
    body = (
        b"<?xml version='1.0'?><Error><Code>SlowDown</Code>"
        b"<Message>Please reduce your request rate</Message></Error>"
    )

    async def refuse(stream):
        async with stream:
            await read_head(stream)
            await stream.send(
                b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )

    with pytest.raises(PartRejected) as error:
        await send(raw_server(refuse))
    assert (error.value.status, error.value.code) == (503, "SlowDown")
    assert error.value.retry_after == 7
    assert "reduce your request rate" in str(error.value)


async def test_a_server_that_never_answers_is_given_up_with_a_name_for_the_wait(raw_server):
    async def silence(stream):
        async with stream:
            await read_head(stream)
            await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded, match=r"no answer came.*Timeouts\.answer"):
        await send(raw_server(silence), stall=0.1, answer=0.1)


async def test_a_server_that_stops_reading_is_given_up(raw_server):
    async def stop_reading(stream):
        async with stream:
            await read_head(stream)
            await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded, match="nothing of part 1 moved"):
        await send(raw_server(stop_reading), bytes(64 * MIB), stall=0.2)


async def test_a_failed_connection_does_not_show_the_url(raw_server):
    async def reset(stream):
        await read_head(stream)
        await stream.aclose()

    with pytest.raises(ConnectionFailed) as error:
        await send(raw_server(reset) + "/x?X-Amz-Signature=secret", bytes(32 * MIB))
    assert "secret" not in f"{error.value!s}{error.value!r}"
    assert error.value.__cause__ is None


async def test_a_part_is_read_in_slices_of_at_most_one_mib(raw_server):
    class Counting(BytesContent):
        def read(self, offset, length):
            lengths.append(length)
            return super().read(offset, length)

    async def swallow(stream):
        async with stream:
            _, body = await read_head(stream)
            received = len(body)
            while received < len(data):
                received += len(await stream.receive())
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    lengths: list[int] = []
    data = sample(3 * MIB + 1)
    async with open_session(2, await tls_context()) as http:
        sender = AiohttpPartSender(http, anyio.CapacityLimiter(2), Timeouts())
        part = PlannedPart(1, 0, len(data))
        await sender.send(part, Counting(memoryview(data)), raw_server(swallow))
    assert lengths == [MIB, MIB, MIB, 1]


async def test_cancelled_parts_leave_all_connections_usable(raw_server):
    answering = False
    reached = anyio.Event()

    async def answer_at_last(stream):
        async with stream:
            await read_head(stream)
            reached.set()
            if not answering:
                await anyio.sleep_forever()
            await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    url = raw_server(answer_at_last)
    part, data = PlannedPart(1, 0, 3), BytesContent(memoryview(b"abc"))
    async with open_session(2, await tls_context()) as http:
        sender = AiohttpPartSender(http, anyio.CapacityLimiter(2), Timeouts())
        for _ in range(50):
            reached = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(sender.send, part, data, url)
                await reached.wait()
                group.cancel_scope.cancel()
        answering = True
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(sender.send, part, data, url)


async def test_every_128_kib_that_the_transport_takes_count_as_movement():
    # At a minute of patience that is a little over 2 KB/s: a slow link is no stalled one.
    class Transport:
        def __init__(self):
            self.taken = bytearray()

        async def write(self, piece):
            events.append(len(piece))
            self.taken += piece

    events: list[object] = []
    data = sample(2 * MIB + 5)
    body = _PartBody(
        PlannedPart(1, 0, len(data)),
        BytesContent(memoryview(data)),
        anyio.CapacityLimiter(1),
        lambda **how: events.append(how),
    )
    transport = Transport()
    await body.write(transport)  # type: ignore[arg-type]  # as much of a writer as is needed
    assert transport.taken == data
    sizes, movements = events[0:-1:2], events[1:-1:2]
    assert sizes == [128 * 1024] * 16 + [5]
    assert movements == [{}] * 17
    assert events[-1] == {"last": True}


async def test_a_source_that_cannot_be_read_is_its_own_error_and_shows_no_url(raw_server, caplog):
    class Broken(BytesContent):
        def read(self, offset, length):
            if offset:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(offset, length)

    async def swallow(stream):
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()

    data = sample(4 * MIB)
    caplog.set_level("DEBUG")
    async with open_session(2, await tls_context()) as http:
        sender = AiohttpPartSender(http, anyio.CapacityLimiter(2), Timeouts())
        with pytest.raises(OSError, match="Input/output error") as error:
            await sender.send(
                PlannedPart(1, 0, len(data)),
                Broken(memoryview(data)),
                raw_server(swallow) + "/x?X-Amz-Signature=secret",
            )
    assert error.value.errno == errno.EIO
    assert "secret" not in f"{error.value!s}{error.value!r}{caplog.text}"


async def test_a_part_after_the_client_was_closed_is_a_clear_error():
    async with open_session(2, await tls_context()) as http:
        sender = AiohttpPartSender(http, anyio.CapacityLimiter(2), Timeouts())
    with pytest.raises(ClientClosed):
        await sender.send(
            PlannedPart(1, 0, 3), BytesContent(memoryview(b"abc")), "http://127.0.0.1:1/"
        )


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
