"""Functions that a user gives: an async one where a plain one belongs is refused, and reversed."""

from __future__ import annotations

import asyncio
import gc
import warnings
from functools import partial, wraps

import pytest

from koodrive_async import (
    BearerToken,
    ConfigurationError,
    InvalidArgument,
    Module,
    NewBackupFile,
    UploadFailure,
    UploadItem,
    sync,
)
from koodrive_async.sinks import Sink, show
from koodrive_async.testing import connect
from koodrive_async.upload import tree_items
from tests.interface.scripted import LOCK, client_of

pytestmark = pytest.mark.anyio


async def coroutine_function(_):
    await asyncio.sleep(0)


async def generator_function(_):
    yield


class AsyncCall:
    async def __call__(self, _):
        await asyncio.sleep(0)

    async def method(self, _):
        await asyncio.sleep(0)


ASYNC = {
    "function": coroutine_function,
    "generator": generator_function,
    "partial": partial(coroutine_function),
    "partial of a partial": partial(partial(coroutine_function)),
    "method": AsyncCall().method,
    "object": AsyncCall(),
    "partial of an object": partial(AsyncCall()),
    "no function": "abc",
}


@wraps(print)
def hidden(_):
    return coroutine_function(_)


@pytest.fixture(autouse=True)
def nothing_is_left_unawaited():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in caught if "never awaited" in str(each.message)] == []


@pytest.fixture
async def session(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as opened:
        yield opened


@pytest.mark.parametrize("callback", ASYNC.values(), ids=ASYNC)
async def test_an_async_callback_is_refused_before_anything_is_sent(
    session, koodrive_emulator, tmp_path, callback
):
    with pytest.raises(InvalidArgument, match="on_progress: a"):
        await session.upload(b"a", name="a", on_progress=callback)
    with pytest.raises(InvalidArgument, match="on_progress: a"):
        session.upload_many([b"a"], on_progress=callback)
    with pytest.raises(InvalidArgument, match="on_progress: a"):
        session.upload_tree(tmp_path, on_progress=callback)
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_callback_that_returns_a_coroutine_ends_the_upload(session):
    with pytest.raises(InvalidArgument, match=r"on_progress: .* returns a coroutine"):
        await session.upload(b"a", name="a", on_progress=hidden)
    items = [UploadItem(source=b"b", name="b")]
    (outcome,) = [each async for each in session.upload_many(items, on_progress=hidden)]
    assert isinstance(outcome, UploadFailure)
    assert isinstance(outcome.error, InvalidArgument)


async def test_a_callback_may_return_a_task_which_runs_by_itself(session):
    queue: asyncio.Queue[object] = asyncio.Queue()
    receipt = await session.upload(
        b"a", name="a", on_progress=lambda progress: asyncio.ensure_future(queue.put(progress))
    )
    assert receipt.outcome == "uploaded"
    assert await queue.get()


async def test_plain_callbacks_of_every_kind_are_taken(session):
    class Plain:
        def __init__(self):
            self.seen = []

        def __call__(self, progress):
            self.seen.append(progress)

    plain = Plain()
    seen: list[object] = []
    for number, callback in enumerate([plain, partial(plain), plain.seen.append, seen.append]):
        await session.upload(b"a", name=f"{number}", on_progress=callback)
    assert plain.seen
    assert seen


@pytest.mark.parametrize("callback", ASYNC.values(), ids=ASYNC)
def test_the_synchronous_client_refuses_them_too(koodrive_emulator, callback):
    with (
        sync.KooDrive.of(connect(koodrive_emulator)) as drive,
        drive.backup(drive.devices.bind("machine").device_id, Module.FOLDER) as session,
    ):
        with pytest.raises(InvalidArgument, match="on_progress: a"):
            session.upload(b"a", name="a", on_progress=callback)
        with pytest.raises(InvalidArgument, match="on_progress: a"):
            session.upload_many([b"a"], on_progress=callback)
        with pytest.raises(InvalidArgument, match="returns a coroutine"):
            session.upload(b"a", name="a", on_progress=hidden)


@pytest.mark.parametrize("method", ["start", "update", "close"])
async def test_a_sink_with_an_async_method_is_refused(drive, device_id, method):
    class Plain(Sink):
        def update(self, event):
            """Take nothing."""

    async def late(*_):
        await asyncio.sleep(0)

    sink = Plain()
    setattr(sink, method, late)
    with pytest.raises(InvalidArgument, match=f"Plain.{method}: a plain function"):
        show(drive.backup(device_id, Module.FOLDER), sink)
    with pytest.raises(InvalidArgument, match=r"\.start: a function"):
        show(drive.backup(device_id, Module.FOLDER), object())  # type: ignore[call-overload]  # that is what is tested


async def test_a_sink_whose_method_returns_a_coroutine_shows_nothing_more(session, caplog):
    class Hiding(Sink):
        def update(self, event):
            return coroutine_function(event)

    async with show(session, Hiding()):
        assert (await session.upload(b"a", name="a")).outcome == "uploaded"
    assert "shows nothing more" in caplog.text


async def test_rules_of_a_tree_are_plain(tmp_path):
    class Rules:
        def takes_folder(self, _):
            return True

        async def takes_file(self, _):
            return True

    with pytest.raises(InvalidArgument, match="takes_file: a plain function"):
        await anext(aiter(tree_items(tmp_path, rules=Rules())))  # type: ignore[arg-type]  # that is what is tested


def test_an_action_of_the_emulator_is_plain(koodrive_emulator):
    async def act():
        await asyncio.sleep(0)

    with pytest.raises(ValueError, match="action: a plain function"):
        koodrive_emulator.seen.then("files.create", act)


async def test_a_token_function_that_is_plain_is_refused_by_name(scripted):
    auth = BearerToken(lambda: "secret-token")  # type: ignore[arg-type,return-value]  # that is what is tested
    async with client_of(scripted, auth=auth) as client:
        with pytest.raises(ConfigurationError, match="token function must be async") as caught:
            await client.devices.list()
    assert "secret" not in str(caught.value)


async def test_a_write_under_a_lock_that_is_plain_is_refused_by_name(drive):
    async with drive.locks.hold(Module.FOLDER) as lease:
        with pytest.raises(InvalidArgument, match="write: an async function"):
            await lease.run(lambda: None)


async def test_a_proof_function_that_is_plain_is_refused_by_name(client):
    file = NewBackupFile(
        file_name="a",
        sha256="a" * 64,
        length=1,
        proof_code=lambda _: "proof",  # type: ignore[arg-type,return-value]  # that is what is tested
    )
    with pytest.raises(InvalidArgument, match="proof_code: text or an async function"):
        await client.files.create("1", file, lock_id=LOCK)
