"""Faults after which the other side has no answer, or one that is not what it should be."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest

from koodrive_async.emulator import Fault

pytestmark = pytest.mark.anyio


@attrs.frozen
class Line:
    """A connection to the emulator on which a test reads and writes bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, method, url, body=b"", *, announced=None, headers=()):
        parts = urlsplit(url)
        lines = [
            f"{method} {parts.path}?{parts.query} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Content-Length: {len(body) if announced is None else announced}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
async def dial():
    lines = []

    async def dial(url):
        parts = urlsplit(url)
        lines.append(Line(*await asyncio.open_connection(parts.hostname, parts.port)))
        return lines[-1]

    yield dial
    for line in lines:
        await line.close()


@pytest.fixture
def is_idle(wire):
    """Waits until no request of a route is handled any more."""

    async def is_idle(route):
        return await asyncio.to_thread(wire.emulator.seen.wait_idle, route)

    return is_idle


def arrived(emulator):
    return [file.arrived for file in emulator.files()]


async def test_half_an_answer_is_its_head_and_half_of_its_body(wire, dial):
    device = await wire.device("m")
    wire.emulator.faults.add(Fault("half-answer", "devices.list", times=1))
    line = await dial(wire.emulator.url)
    url = wire.emulator.url + "/koodrive/ose/v1/backup/device"
    line.send("GET", url, headers=wire.headers().items())
    head, _, body = (await line.reader.read()).partition(b"\r\n\r\n")
    whole = (await wire.call("GET", "/backup/device")).body
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(whole)}".encode() in head
    assert body == whole[: len(whole) // 2]
    assert device.encode() in whole
    assert [each.status for each in wire.emulator.seen.requests("devices.list")] == [200, 200]


@pytest.mark.parametrize("kind", ["half-answer", "garbage", "lost-answer"])
async def test_a_call_without_a_whole_answer_has_acted(wire, kind):
    wire.emulator.faults.add(Fault(kind, "devices.bind", times=1))
    with pytest.raises(aiohttp.ClientError):
        await wire.call("POST", "/backup/device", {"machineCode": "m"})
    assert len((await wire.call("GET", "/backup/device")).json["data"]) == 1


@pytest.mark.parametrize("kind", ["half-answer", "garbage", "lost-answer"])
async def test_a_part_without_a_whole_answer_has_arrived(wire, part, data, kind):
    wire.emulator.faults.add(Fault(kind, "part.put", times=1))
    with pytest.raises(aiohttp.ClientError):
        await wire.put(part["uploadUrl"], data)
    assert arrived(wire.emulator) == [1]
    assert (await wire.complete(part["fileId"])).status == 200


async def test_half_an_answer_without_a_body_lacks_its_end(wire, part, data, dial):
    wire.emulator.faults.add(Fault("half-answer", "part.put", times=1))
    line = await dial(part["uploadUrl"])
    line.send("PUT", part["uploadUrl"], data)
    answer = await line.reader.read()
    assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
    assert b"Content-Length" not in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("kind", ["half-answer", "headers-only", "trickle", "garbage"])
async def test_a_refusal_can_be_spoiled_as_well(wire, data, kind, dial):
    url = wire.emulator.object_url + "/no/such/object"
    wire.emulator.faults.add(Fault(kind, "part.put", seconds=0.0))
    line = await dial(url)
    line.send("PUT", url, data)
    answer = await line.reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"\x00" if kind == "garbage" else b"HTTP/1.1 403 Forbidden\r\n")


async def test_behind_headers_alone_there_is_silence_until_the_other_side_leaves(
    wire, part, data, dial, is_idle
):
    wire.emulator.faults.add(Fault("headers-only", "part.put", times=1))
    line = await dial(part["uploadUrl"])
    line.send("PUT", part["uploadUrl"], data)
    head = await line.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert arrived(wire.emulator) == [1]
    assert wire.emulator.seen.active("part.put") == 1
    await line.close()
    assert await is_idle("part.put")


async def test_an_answer_can_come_byte_by_byte(wire, part, data, dial):
    wire.emulator.faults.add(Fault("trickle", "part.put", seconds=0.001, times=1))
    line, begin = await dial(part["uploadUrl"]), time.monotonic()
    line.send("PUT", part["uploadUrl"], data)
    answer = await line.reader.read()
    assert time.monotonic() - begin >= 0.001 * len(answer)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 0\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer


async def test_a_trickle_is_a_whole_answer_in_the_end(wire):
    await wire.device("m")
    wire.emulator.faults.add(Fault("trickle", "devices.list", seconds=0.0))
    assert len((await wire.call("GET", "/backup/device")).json["data"]) == 1


async def test_a_trickle_ends_when_the_other_side_leaves(wire, part, data, dial, is_idle):
    wire.emulator.faults.add(Fault("trickle", "part.put", seconds=0.005))
    line = await dial(part["uploadUrl"])
    line.send("PUT", part["uploadUrl"], data)
    assert await line.reader.readexactly(1) == b"H"
    await line.close()
    assert await is_idle("part.put")


@pytest.mark.parametrize("kind", ["half-answer", "headers-only", "garbage"])
async def test_a_download_can_be_spoiled(wire, part, data, kind, dial):
    await wire.put(part["uploadUrl"], data)
    await wire.complete(part["fileId"])
    url = await wire.download_url(part["fileId"])
    wire.emulator.faults.add(Fault(kind, "object.get", times=1))
    line = await dial(url)
    line.send("GET", url)
    if kind == "headers-only":
        answer = await line.reader.readuntil(b"\r\n\r\n")
    else:
        answer = await line.reader.read()
    got = {"half-answer": data[:178], "headers-only": b"", "garbage": b""}[kind]
    assert answer.partition(b"\r\n\r\n")[2] == got
    assert (await wire.get(url)).body == data


@pytest.mark.parametrize("route", ["devices.bind", "part.put"])
async def test_an_early_answer_does_not_wait_for_the_body(wire, part, dial, route):
    wire.emulator.faults.add(Fault("early-answer", route, status=503, retry_after=3))
    url = part["uploadUrl"]
    method = "PUT"
    if route == "devices.bind":
        url, method = wire.emulator.url + "/koodrive/ose/v1/backup/device", "POST"
    line = await dial(url)
    line.send(method, url, announced=1_000_000)
    head = await line.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nConnection: close\r\n" in head
    assert b"\r\nRetry-After: 3\r\n" in head
    (seen,) = wire.emulator.seen.requests(route)
    assert (seen.status, seen.body_size) == (503, 0)
    assert arrived(wire.emulator) == [0]


async def test_an_early_answer_is_503_and_of_the_form_of_its_site(wire, part, data):
    wire.emulator.faults.add(Fault("early-answer", times=2))
    put = await wire.put(part["uploadUrl"], data)
    assert (put.status, put.xml_code) == (503, "SlowDown")
    call = await wire.call("GET", "/backup/device")
    assert (call.status, call.json["code"]) == (503, 13000201)


@pytest.mark.parametrize("moment", ["before", "middle", "after"])
@pytest.mark.parametrize("route", ["devices.bind", "part.put"])
async def test_silence_comes_before_the_service_acts(
    wire, part, data, dial, is_idle, route, moment
):
    wire.emulator.faults.add(Fault("silence", route, moment=moment, times=1))
    url, method, body = part["uploadUrl"], "PUT", data
    if route == "devices.bind":
        url, method = wire.emulator.url + "/koodrive/ose/v1/backup/device", "POST"
        body = b'{"machineCode": "m"}'
    line = await dial(url)
    headers = wire.headers().items() if method == "POST" else ()
    line.send(method, url, body, headers=headers)
    assert await asyncio.to_thread(wire.emulator.seen.wait, route)
    (seen,) = wire.emulator.seen.requests(route)
    assert seen.status is None
    assert (seen.body_size == 0) == (moment == "before")
    assert wire.emulator.seen.active(route) == 1
    await line.close()
    assert await is_idle(route)
    assert await line.reader.read() == b""
    assert arrived(wire.emulator) == [0]
    assert (await wire.call("GET", "/backup/device")).json["data"] == []


async def test_a_download_can_fall_silent_in_its_middle(wire, part, data, dial, is_idle):
    await wire.put(part["uploadUrl"], data)
    await wire.complete(part["fileId"])
    url = await wire.download_url(part["fileId"])
    wire.emulator.faults.add(Fault("silence", "object.get", moment="middle"))
    line = await dial(url)
    line.send("GET", url)
    await line.reader.readuntil(b"\r\n\r\n")
    assert await line.reader.readexactly(178) == data[:178]
    assert wire.emulator.seen.active("object.get") == 1
    await line.close()
    assert await is_idle("object.get")


async def test_silence_notices_that_a_sender_of_much_has_gone(wire, dial, is_idle):
    body = bytes(8 * 2**20)
    url = wire.emulator.object_url + "/x"
    wire.emulator.faults.add(Fault("silence", "part.put"))
    line = await dial(url)
    line.send("PUT", url, body)
    assert await asyncio.to_thread(wire.emulator.seen.wait, "part.put")
    line.writer.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    line.writer.transport.abort()
    assert await is_idle("part.put")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("silence", "part.put"),
        Fault("silence", "part.put", moment="after"),
        Fault("headers-only", "part.put"),
        Fault("trickle", "part.put", seconds=3600.0),
        Fault("early-answer", "part.put"),
    ],
)
async def test_stopping_waits_for_no_silence(new_emulator, new_wire, data, dial, fault):
    async with aiohttp.ClientSession() as session, new_emulator() as emulator:
        wire = new_wire(emulator, session)
        created = await wire.call("POST", "/files/create", wire.new_file(data, part_size=512))
        url = created.json["multiParts"][0]["uploadUrl"]
        emulator.faults.add(fault)
        line = await dial(url)
        line.send("PUT", url, data, announced=len(data) + (fault.kind == "early-answer"))
        # In the log, and the other side stays: now the emulator stops.
        assert await asyncio.to_thread(emulator.seen.wait, "part.put")
    await line.reader.read()
    assert line.reader.at_eof()


@pytest.mark.parametrize("route", ["devices.list", "part.put", "object.get"])
async def test_a_good_answer_can_be_the_last_of_its_connection(wire, part, data, dial, route):
    url, method, body, headers = part["uploadUrl"], "PUT", data, ()
    if route == "object.get":
        await wire.put(url, data)
        await wire.complete(part["fileId"])
        url, method, body = await wire.download_url(part["fileId"]), "GET", b""
    elif route == "devices.list":
        url, method, body = wire.emulator.url + "/koodrive/ose/v1/backup/device", "GET", b""
        headers = wire.headers().items()
    wire.emulator.faults.add(Fault("close", route))
    line = await dial(url)
    line.send(method, url, body, headers=headers)
    answer = await line.reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    if route == "object.get":
        assert answer.endswith(data)
