"""What networks do to parts: each ends with the right bytes after another try, or in one error."""

from __future__ import annotations

from functools import partial

import anyio
import attrs
import pytest
import trustme

from koodrive_async import (
    ConnectionFailed,
    DeadlineExceeded,
    PartRejected,
    RetryPolicy,
    TransportError,
)
from tests.sample import sample
from tests.upload.raw_server import MIB, OK, open_lane, serve_all, serving
from tests.upload.small_upload import file_of
from tests.upload.test_parts_over_tls import client_context, server_context

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = 8 * MIB
"""Bytes that do not fit into the buffers of a connection."""

SOON = {"stall": 0.1, "answer": 0.1}


@attrs.frozen
class Trouble:
    """Something that happens to a connection.

    :param raises: What it ends in if it happens every time.
    :param saying: What the error says then.
    """

    handler: object
    raises: type[TransportError | PartRejected]
    saying: str
    size: int = 1000


def says(data, then):
    async def handle(connection):
        await connection.request()
        await connection.send(data)
        await then(connection)

    return handle


async def closes(_connection):
    pass


async def resets(connection):
    connection.reset()


async def keeps_silent(connection):
    await connection.left()


async def drops(connection):
    """Answer a byte at a time, and never to the end."""
    await connection.request()
    for byte in ANSWER:
        await connection.send(bytes([byte]))
    while True:
        await connection.send(b"a")
        await anyio.sleep(0.01)


async def accepts_and_closes(_connection):
    pass


async def accepts_and_resets(connection):
    connection.reset()


async def stops_reading(connection):
    await connection.head()
    await anyio.sleep_forever()


async def resets_in_the_body(connection):
    await connection.head()
    await connection.some()
    connection.reset()


def answers_early(answer, then):
    async def handle(connection):
        await connection.head()
        await connection.send(answer)
        await then(connection)

    return handle


async def waits(_connection):
    await anyio.sleep_forever()


BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
TROUBLES = {
    "closed": Trouble(says(b"", closes), ConnectionFailed, "closed before an answer"),
    "reset": Trouble(says(b"", resets), ConnectionFailed, "PUT part 1"),
    "closed in the head": Trouble(says(b"HTTP/1.1 200", closes), ConnectionFailed, "no HTTP|cut"),
    "closed after the head": Trouble(says(ANSWER, closes), ConnectionFailed, "cut off"),
    "closed in the body": Trouble(says(ANSWER + b"{", closes), ConnectionFailed, "cut off"),
    "reset in the answer": Trouble(says(ANSWER + b"{", resets), ConnectionFailed, "PUT part 1"),
    "closed in a chunk": Trouble(says(CHUNKED + b"20\r\n{", closes), ConnectionFailed, "cut off"),
    "garbage": Trouble(says(b"SSH-2.0-OpenSSH_9.6\r\n", closes), ConnectionFailed, "no HTTP"),
    "noise": Trouble(says(bytes(range(256)) * 9, closes), ConnectionFailed, "no HTTP"),
    "accepted and closed": Trouble(accepts_and_closes, ConnectionFailed, "PUT part 1"),
    "accepted and reset": Trouble(accepts_and_resets, ConnectionFailed, "PUT part 1"),
    "reset in the part": Trouble(resets_in_the_body, ConnectionFailed, "PUT part 1", LARGE),
    "welcome before the end": Trouble(
        answers_early(OK, waits), ConnectionFailed, "no HTTP answer", LARGE
    ),
    "refusal before the end": Trouble(answers_early(BUSY, waits), PartRejected, "HTTP 503", LARGE),
    "refusal and end before the end": Trouble(
        answers_early(BUSY, closes), PartRejected, "HTTP 503", LARGE
    ),
}
STUCK = {
    "silence": Trouble(says(b"", keeps_silent), DeadlineExceeded, "no answer came"),
    "headers only": Trouble(says(ANSWER, keeps_silent), DeadlineExceeded, "no answer came"),
    "half an answer": Trouble(says(ANSWER + b"{", keeps_silent), DeadlineExceeded, "no answer"),
    "drops": Trouble(drops, DeadlineExceeded, "no answer came"),
    "not reading": Trouble(stops_reading, DeadlineExceeded, r"stalled.*Timeouts\.stall", LARGE),
}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module", params=["plain", "tls"])
def contexts(request, authority):
    """TLS of the server and of the client, or none."""
    if request.param == "plain":
        return None, client_context(authority)
    return server_context(authority, "127.0.0.1"), client_context(authority)


async def upload(handler, contexts, size, *, attempts, times, timeouts):
    """Send two parts to a server that is in trouble for its first connections.

    :returns: The bodies that the server has taken as a whole.
    """

    async def troubled(connection):
        if server.connections <= times:
            await handler(connection)
        else:
            await serve_all(server, connection)

    policy = RetryPolicy(attempts=attempts, base_delay=0, per_second=None, outage=0)
    server_tls, client_tls = contexts
    async with (
        serving(troubled, tls=server_tls) as server,
        open_lane(tls=client_tls, **timeouts) as lane,
        file_of(2, part=size, connections=1, given=[], retry=policy) as file,
    ):
        file.store.send = lane.send
        file.service.url = lambda number: f"{server.url}/{number}?X-Amz-Signature=secret"
        await file.upload.run()
    return [request.body for request in server.requests]


def timeouts_of(name):
    return SOON if name in STUCK else {}


@pytest.mark.parametrize("name", [*TROUBLES, *STUCK])
async def test_a_part_in_trouble_is_sent_again_and_arrives_as_it_is(name, contexts):
    trouble = (TROUBLES | STUCK)[name]
    size = trouble.size - trouble.size % 64
    bodies = await upload(
        trouble.handler, contexts, size, attempts=10, times=2, timeouts=timeouts_of(name)
    )
    data = sample(2 * size)
    assert bodies == [data[:size], data[size:]]


@pytest.mark.parametrize("name", [*TROUBLES, *STUCK])
async def test_trouble_that_does_not_end_is_one_error_that_shows_no_url(name, contexts):
    trouble = (TROUBLES | STUCK)[name]
    size = trouble.size - trouble.size % 64
    with pytest.raises(trouble.raises, match=trouble.saying) as error:
        await upload(
            trouble.handler, contexts, size, attempts=2, times=1000, timeouts=timeouts_of(name)
        )
    assert type(error.value) is trouble.raises
    assert error.value.attempts == 2
    assert len(error.value.history) == 1
    told = f"{error.value!s}{error.value!r}{error.value.history}"
    assert "secret" not in told
    assert "Signature" not in told
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["HTTP/1.0", "close"])
async def test_an_object_store_that_closes_after_every_part_is_no_trouble(name, contexts):
    head = b"HTTP/1.0 200 OK" if name == "HTTP/1.0" else b"HTTP/1.1 200 OK\r\nConnection: close"

    async def answer_and_close(bodies, connection):
        bodies.append((await connection.request()).body)
        await connection.send(head + b"\r\nContent-Length: 0\r\n\r\n")

    bodies: list[bytes] = []
    await upload(
        partial(answer_and_close, bodies), contexts, 128, attempts=1, times=1000, timeouts={}
    )
    assert bodies == [sample(256)[:128], sample(256)[128:]]
