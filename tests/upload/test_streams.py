"""A stream ends where it says so, and is read by size, whatever else it can."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import os
import socket
import sys
import threading
import tracemalloc

import aiofiles
import aiohttp
import anyio
import pytest
from aiohttp import web
from anyio.streams.file import FileReadStream

from koodrive_async import InvalidArgument, Limits, Module, UploadItem, UploadReceipt
from koodrive_async.testing import connect
from tests.sample import sample

if sys.platform != "win32":
    import fcntl

pytestmark = pytest.mark.anyio

DATA = sample(300_000)
WRITES = 5


def write_slowly(write, began):
    """Write in pieces, each of them when a reader has found nothing to read."""
    step = len(DATA) // WRITES + 1
    for start in range(0, len(DATA), step):
        began.wait(30)
        began.clear()
        write(DATA[start : start + step])


class Watched:
    """A reader that says when it found nothing to read."""

    def __init__(self, file):
        self._file = file
        self.starved = threading.Event()
        self.nothing = 0

    def read(self, size):
        data = self._file.read(size)
        if data is None:
            self.nothing += 1
            self.starved.set()
        return data

    def fileno(self):
        return self._file.fileno()


class Raising(Watched):
    """The same, with the exception that :func:`os.read` raises."""

    def read(self, size):
        data = super().read(size)
        if data is None:
            raise BlockingIOError
        return data


class Asynchronous(Watched):
    async def read(self, size):
        return await asyncio.to_thread(super().read, size)


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(writer, "wb", buffering=0) as into:  # noqa: PTH123 - a descriptor
        yield reader, into


def raw_pipe(reader):
    return open(reader, "rb", buffering=0)  # noqa: PTH123 - a descriptor


def buffered_pipe(reader):
    return open(reader, "rb")  # noqa: PTH123 - a descriptor


@pytest.mark.skipif(os.name == "nt", reason="pipes always block there")
@pytest.mark.parametrize("kind", [Watched, Raising, Asynchronous])
@pytest.mark.parametrize("opened", [raw_pipe, buffered_pipe])
async def test_a_pipe_that_is_not_ready_is_waited_for(session, stored, pipe, kind, opened):
    reader, into = pipe
    with opened(reader) as file:
        source = kind(file)

        def write():
            with into:
                write_slowly(into.write, source.starved)

        writer = threading.Thread(target=write)
        writer.start()
        receipt = await session.upload(source, name="x")
        writer.join(30)
    assert source.nothing >= WRITES
    assert await stored(receipt.file_id) == DATA


async def test_a_socket_that_is_not_ready_is_waited_for(session, stored):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with ours.makefile("rb") as file:
            source = Watched(file)

            def write():
                write_slowly(theirs.sendall, source.starved)
                theirs.shutdown(socket.SHUT_WR)

            writer = threading.Thread(target=write)
            writer.start()
            receipt = await session.upload(source, name="x")
            writer.join(30)
    assert await stored(receipt.file_id) == DATA


@pytest.mark.skipif(os.name == "nt", reason="pipes always block there")
async def test_waiting_for_a_pipe_is_cancelled_at_once_and_leaves_no_descriptor(session, pipe):
    with raw_pipe(pipe[0]) as file:
        source = Watched(file)
        async with anyio.create_task_group() as group:

            async def upload():
                await session.upload(source, name="x")

            group.start_soon(upload)
            await asyncio.to_thread(source.starved.wait, 30)
            while len(ends_of(file)) == 1:  # noqa: ASYNC110 - nothing says that it waits
                await asyncio.sleep(0)
            group.cancel_scope.cancel()
        assert ends_of(file) == [file.fileno()]
        pipe[1].write(b"x")
        assert file.read(10) == b"x"


def ends_of(file):
    """Return the descriptors of this process that are the same end of a pipe."""
    same = os.fstat(file.fileno())
    found = []
    for number in range(1024):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            if (status.st_ino, status.st_dev) == (same.st_ino, same.st_dev):
                flags = fcntl.fcntl(number, fcntl.F_GETFL)
                if flags & os.O_ACCMODE == os.O_RDONLY:
                    found.append(number)
    return found


@pytest.mark.skipif(os.name == "nt", reason="pipes always block there")
async def test_a_descriptor_that_the_loop_watches_for_its_user_stays_watched(session, pipe):
    reader, into = pipe
    noticed, loop = asyncio.Event(), asyncio.get_running_loop()
    with raw_pipe(reader) as file:
        source = Watched(file)
        loop.add_reader(reader, noticed.set)
        try:

            def write():
                with into:
                    write_slowly(into.write, source.starved)

            writer = threading.Thread(target=write)
            writer.start()
            receipt = await session.upload(source, name="x")
            writer.join(30)
        finally:
            assert loop.remove_reader(reader)
    assert noticed.is_set()
    assert receipt.size == len(DATA)


class Never:
    """Has nothing yet, and nothing to wait for."""

    def read(self, _):
        return None


class NeverAsynchronous:
    async def read(self, _):
        return None

    async def fileno(self):
        return 0


class NeverWithDescriptor(Never):
    def __init__(self, file):
        self.fileno = file.fileno


@pytest.mark.parametrize("kind", [Never, NeverAsynchronous])
async def test_what_cannot_be_waited_for_is_an_error(session, koodrive_emulator, kind):
    with pytest.raises(InvalidArgument, match="no descriptor to wait for"):
        await session.upload(kind(), name="x")
    assert koodrive_emulator.seen.count("files.create") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="epoll refuses regular files")
async def test_a_regular_file_cannot_be_waited_for(session, make_file):
    with make_file().open("rb") as file, pytest.raises(InvalidArgument, match="be waited for"):
        await session.upload(NeverWithDescriptor(file), name="x")


def reading(*results, kind=None):
    """Return a stream whose ``read`` returns these, or raises them."""
    rest = list(results)

    def read(_):
        result = rest.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    async def read_async(size):
        return read(size)

    stream = type("Stream", (), {})()
    stream.read = read_async if kind == "async" else read
    return stream


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_only_empty_bytes_end_a_stream(session, koodrive_emulator, kind):
    odd: object
    for odd in ("", "text", 0, 5, [], (), {}, False, 1.5, [b"x"]):
        source = reading(b"abc", odd, b"def", b"", kind=kind)
        with pytest.raises(InvalidArgument, match=f"must give bytes, not {type(odd).__name__}"):
            await session.upload(source, name="x")
    assert koodrive_emulator.seen.count("files.create") == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_every_empty_buffer_ends_a_stream(session, stored, kind):
    pieces = (b"abc", bytearray(b"def"), memoryview(b"ghi"), memoryview(b"\1\0\2\0").cast("H"))
    for end in (b"", bytearray(), memoryview(b"")):
        receipt = await session.upload(reading(*pieces, end, b"more", kind=kind), name="x")
        assert await stored(receipt.file_id) == b"abcdefghi\1\0\2\0"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_stray_end_of_iteration_in_read_is_no_end(session, kind):
    for stop in (StopIteration, StopAsyncIteration):
        with pytest.raises(InvalidArgument, match=f"raised {stop.__name__}"):
            await session.upload(reading(b"abc", stop(), b"", kind=kind), name="x")


async def test_an_iterable_gives_bytes_and_nothing_else(session):
    async def each(odd: object):
        yield b"abc"
        yield odd
        yield b"def"

    for odd in (None, "", "text", 0):
        for source in (iter([b"abc", odd, b"def"]), each(odd)):
            with pytest.raises(InvalidArgument, match="must give bytes"):
                await session.upload(source, name="x")


async def test_empty_pieces_of_an_iterable_are_no_end(session, stored):
    receipt = await session.upload([b"abc", b"", bytearray(), b"def"], name="x")
    assert await stored(receipt.file_id) == b"abcdef"


def released():
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.mark.parametrize(
    "view", [released(), memoryview(b"abcdef")[::2]], ids=["released", "strided"]
)
async def test_a_view_that_cannot_be_read_is_refused(session, view):
    for source in (view, [b"abc", view], reading(b"abc", view, b"")):
        with pytest.raises(InvalidArgument, match="contiguous"):
            await session.upload(source, name="x")


async def test_a_file_that_is_closed_is_refused(session):
    closed = io.BytesIO(b"abc")
    closed.close()
    with pytest.raises(InvalidArgument, match="must be open"):
        await session.upload(closed, name="x")


async def test_what_reading_raises_reaches_the_caller_as_it_is(session, koodrive_emulator):
    class OwnError(Exception):
        pass

    for kind in ("sync", "async"):
        with pytest.raises(OwnError):
            await session.upload(reading(b"abc", OwnError(), kind=kind), name="x")
    assert koodrive_emulator.seen.count("files.create") == 0


# --- async readers -----------------------------------------------------------------------------


async def test_the_output_of_a_subprocess_arrives(session, stored):
    code = "import sys; sys.stdout.buffer.write(b'\\0' * 2_000_000)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    receipt = await session.upload(process.stdout, name="x")
    assert await process.wait() == 0
    assert await stored(receipt.file_id) == bytes(2_000_000)


async def test_a_stream_of_asyncio_needs_no_lines(session, stored):
    reader = asyncio.StreamReader(limit=1000)
    reader.feed_data(DATA)
    reader.feed_eof()
    receipt = await session.upload(reader, name="x")
    assert await stored(receipt.file_id) == DATA


async def test_an_asynchronous_file_without_lines_is_read_in_pieces(session, tmp_path):
    size = 64 * 1024 * 1024
    path = tmp_path / "no newline"
    with path.open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        async with aiofiles.open(path, "rb") as opened:
            receipt = await session.upload(opened, name="x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert receipt.size == size
    assert peak < size // 2


@pytest.mark.parametrize("kind", ["content", "part"])
async def test_a_body_that_aiohttp_receives_is_uploaded_while_it_comes(session, stored, kind):
    received = []

    async def handle(request):
        source = request.content
        if kind == "part":
            source = await (await request.multipart()).next()
        receipt = await session.upload(source, name="x")
        received.append(receipt)
        return web.Response()

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        data = DATA if kind == "content" else aiohttp.FormData({"file": io.BytesIO(DATA)})
        url = "http://{}:{}/".format(*runner.addresses[0])
        async with aiohttp.ClientSession() as http, http.post(url, data=data) as response:
            assert response.status == 200
    finally:
        await runner.cleanup()
    assert await stored(received[0].file_id) == DATA


async def test_the_answer_that_aiohttp_reads_is_uploaded_by_its_content(session, stored):
    async def handle(_):
        return web.Response(body=DATA)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}/".format(*runner.addresses[0])
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            with pytest.raises(InvalidArgument, match=r"response\.content"):
                await session.upload(response, name="x")
            receipt = await session.upload(response.content, name="x")
    finally:
        await runner.cleanup()
    assert await stored(receipt.file_id) == DATA


async def test_a_byte_stream_of_anyio_arrives(session, stored, make_file):
    path = make_file(300_000)
    async with await FileReadStream.from_path(path) as source:
        receipt = await session.upload(source, name="x")
    assert await stored(receipt.file_id) == path.read_bytes()


async def test_an_object_stream_of_anyio_is_gone_over(session, stored):
    send, receive = anyio.create_memory_object_stream[bytes](2)
    async with receive:
        with send:
            await send.send(b"abc")
            await send.send(b"def")
        receipt = await session.upload(receive, name="x")
    assert await stored(receipt.file_id) == b"abcdef"


async def test_reading_by_size_comes_before_going_by_lines(session, stored):
    class Both(io.BytesIO):
        def __aiter__(self):
            pytest.fail("it must be read by size")

        __iter__ = __aiter__

    receipt = await session.upload(Both(DATA), name="x")
    assert await stored(receipt.file_id) == DATA


async def test_a_plain_function_may_return_what_is_awaited(session, stored):
    class Wrapped:
        def __init__(self):
            self._reader = asyncio.StreamReader()
            self._reader.feed_data(DATA)
            self._reader.feed_eof()

        def read(self, size):
            return self._reader.read(size)

    receipt = await session.upload(Wrapped(), name="x")
    assert await stored(receipt.file_id) == DATA


# --- the context, the disk ---------------------------------------------------------------------

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


async def test_a_source_sees_the_context_of_its_upload(session):
    seen = []

    def note():
        seen.append(request_id.get())
        request_id.set("changed by the source")

    class File:
        def read(self, _):
            note()
            return b""

    def generator():
        try:
            note()
            yield b"abc"
        finally:
            seen.append(request_id.get())

    async def async_generator():
        note()
        yield b"abc"

    request_id.set("of this request")
    for source in (File(), generator()):
        await session.upload(source, name="x")
        assert request_id.get() == "of this request"
    await session.upload(async_generator(), name="x")
    request_id.set("of this request")
    async for outcome in session.upload_many(
        UploadItem(source=generator(), name="x") for _ in range(1)
    ):
        assert isinstance(outcome, UploadReceipt)
    assert seen == [
        "of this request",
        "of this request",
        "changed by the source",
        "of this request",
        "of this request",
        "changed by the source",
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full disk at hand")  # noqa: PTH110
async def test_a_full_disk_is_named_with_its_folder(
    session, monkeypatch, tmp_path, koodrive_emulator
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(
        "tempfile.TemporaryFile",
        lambda mode, buffering: open("/dev/full", mode, buffering=buffering),  # noqa: PTH123, SIM115
    )
    with pytest.raises(OSError, match="No space left") as error:
        await session.upload([b"abc"], name="x")
    assert error.value.filename == str(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "TMPDIR" in str(error.value)
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_folder_for_streams_that_has_gone_is_named(session, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="TMPDIR") as error:
        await session.upload([b"abc"], name="x")
    assert error.value.filename == str(tmp_path / "gone")


# --- how many at a time ------------------------------------------------------------------------


class Stuck:
    """A stream whose bytes do not come until it is let go."""

    reading = 0

    def __init__(self, let_go, began):
        self._let_go = let_go
        self._began = began
        self._read = False

    def read(self, _):
        if self._read:
            return b""
        self._read = True
        type(self).reading += 1
        self._began()
        self._let_go.wait(30)
        type(self).reading -= 1
        return b"abc"


async def test_streams_wait_for_a_place_and_files_do_not_wait_for_streams(
    koodrive_emulator, make_file
):
    let_go, places = threading.Event(), 4
    loop, begun = asyncio.get_running_loop(), asyncio.Semaphore(0)

    def began():
        loop.call_soon_threadsafe(begun.release)

    limits = Limits(files_in_flight=places)
    async with connect(koodrive_emulator, limits=limits) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            before = threading.active_count()
            streams = [
                asyncio.create_task(session.upload(Stuck(let_go, began), name=f"{number}"))
                for number in range(200)
            ]
            for _ in range(places):
                await begun.acquire()
            receipts = [await session.upload(make_file(size)) for size in (10, 2**21)]
            assert all(receipt.size for receipt in receipts)
            assert Stuck.reading == places
            assert threading.active_count() - before < 3 * places + 20
            streams[0].cancel()
            let_go.set()
            outcomes = await asyncio.gather(*streams, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert all(isinstance(outcome, UploadReceipt) for outcome in outcomes[1:])
