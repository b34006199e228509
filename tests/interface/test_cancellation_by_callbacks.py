"""A user's function that raises ``CancelledError`` has failed; a cancellation stays what it is."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import anyio
import pytest

from koodrive_async import (
    BearerToken,
    InvalidArgument,
    Module,
    TokenRefreshFailed,
    UploadFailure,
    sync,
)
from koodrive_async.sinks import Sink, show
from koodrive_async.testing import connect
from koodrive_async.upload import tree_items

pytestmark = pytest.mark.anyio

BY_ITSELF = "raised CancelledError"


def cancelled(*_):
    raise asyncio.CancelledError


async def cancelled_later(*_):
    future = asyncio.get_running_loop().create_future()
    future.get_loop().call_soon(future.cancel)
    await future


def of_a_generator():
    yield b"abc"
    cancelled()


async def of_an_async_generator():
    yield b"abc"
    await cancelled_later()


async def of_its_end():
    try:
        yield b"abc"
    finally:
        cancelled()


class Reads:
    def __init__(self, read):
        self.read = read


class Iterates:
    __iter__ = cancelled


class IteratesLater:
    __aiter__ = cancelled


async def leave_a_request_behind():
    """Do what leaves the task with a request to cancel it, on Python 3.11 and 3.12."""

    async def fail():
        await asyncio.sleep(0)
        raise OSError("failed")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    except* OSError:
        pass
    task = asyncio.current_task()
    assert task is not None
    assert sys.version_info >= (3, 13) or task.cancelling() == 1


SOURCES = {
    "read": lambda: Reads(cancelled),
    "async read": lambda: Reads(cancelled_later),
    "read gives an awaitable": lambda: Reads(partial(cancelled_later)),
    "generator": of_a_generator,
    "async generator": of_an_async_generator,
    "end of an async generator": of_its_end,
    "iter": Iterates,
    "aiter": IteratesLater,
}


@pytest.fixture
async def session(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as opened:
        yield opened


@pytest.mark.parametrize("token", [cancelled, cancelled_later])
@pytest.mark.parametrize("left_behind", [False, True])
async def test_a_token_function_has_failed(koodrive_emulator, token, left_behind):
    async with connect(koodrive_emulator, auth=BearerToken(token)) as drive:
        if left_behind:
            await leave_a_request_behind()
        with pytest.raises(TokenRefreshFailed, match=r"failed \(CancelledError\)") as error:
            await drive.devices.bind("laptop")
    assert isinstance(error.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("way", ["task", "scope"])
async def test_a_cancelled_call_that_waits_for_its_token_is_cancelled(koodrive_emulator, way):
    asked = anyio.Event()

    async def token():
        asked.set()
        await anyio.sleep_forever()

    async with connect(koodrive_emulator, auth=BearerToken(token)) as drive:
        with anyio.CancelScope() as scope:
            async with asyncio.TaskGroup() as group:
                call = group.create_task(drive.devices.bind("laptop"))
                await asked.wait()
                if way == "task":
                    call.cancel()
                else:
                    scope.cancel()
        assert call.cancelled()
        assert scope.cancelled_caught == (way == "scope")


async def test_a_call_of_a_task_that_is_about_to_be_cancelled_is_cancelled(koodrive_emulator):
    async def token():
        await asyncio.sleep(0)
        return "never"

    async def call():
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await drive.devices.bind("laptop")

    async with connect(koodrive_emulator, auth=BearerToken(token)) as drive:
        task = asyncio.create_task(call())
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_a_source_has_failed(session, source):
    with pytest.raises(InvalidArgument, match=f"a source {BY_ITSELF}") as error:
        await session.upload(source(), name="x")
    assert isinstance(error.value.__cause__, asyncio.CancelledError)
    [outcome] = [each async for each in session.upload_many([source()])]
    assert isinstance(outcome, UploadFailure)
    assert isinstance(outcome.error, InvalidArgument)


@pytest.mark.parametrize("sources", [of_a_generator, of_an_async_generator])
async def test_sources_have_failed(drive, device_id, sources):
    async def upload():
        async with drive.backup(device_id, Module.FOLDER) as session:
            async for _ in session.upload_many(sources()):
                pass

    with pytest.raises(InvalidArgument, match=f"sources {BY_ITSELF}"):
        await upload()


@pytest.mark.parametrize("size", [3, 2 * 2**20])
async def test_on_progress_has_failed(session, tmp_path, size):
    (tmp_path / "file").write_bytes(bytes(size))
    with pytest.raises(InvalidArgument, match=f"on_progress {BY_ITSELF}"):
        await session.upload(tmp_path / "file", on_progress=cancelled)


async def test_a_function_for_what_is_left_out_has_failed(tmp_path):
    (tmp_path / "left.out").touch()
    with pytest.raises(InvalidArgument, match=f"on_left_out {BY_ITSELF}"):
        await anext(tree_items(tmp_path, exclude=["*.out"], on_left_out=cancelled))


async def test_a_write_under_a_lock_has_failed(session):
    with pytest.raises(InvalidArgument, match=f"write {BY_ITSELF}"):
        await session.lock.run(cancelled_later)


async def test_a_sink_shows_nothing_more(session, caplog):
    class Cancelled(Sink):
        def update(self, event):
            cancelled(event)

    async with show(session, Cancelled()):
        await session.upload(b"abc", name="x")
    assert "Cancelled failed in update: it shows nothing more" in caplog.text


def test_without_async_it_is_the_same(koodrive_emulator):
    with sync.KooDrive.of(connect(koodrive_emulator)) as drive:
        device = drive.devices.bind("laptop")
        with drive.backup(device.device_id, Module.FOLDER) as session:
            with pytest.raises(InvalidArgument, match=f"on_progress {BY_ITSELF}"):
                session.upload(b"abc", name="x", on_progress=cancelled)
            with pytest.raises(InvalidArgument, match=f"a source {BY_ITSELF}"):
                session.upload(of_a_generator(), name="y")
