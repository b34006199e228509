from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from koodrive_async import BackupIncomplete, ClientClosed, Module, UploadItem
from koodrive_async.sinks import Sink, show
from koodrive_async.upload.events import FileFailed, FileFinished, FileStarted

pytestmark = pytest.mark.anyio


class Noting(Sink):
    """Notes what it is told."""

    def __init__(self):
        self.calls = []
        self.events = []
        self.error = None

    def start(self):
        self.calls.append("start")

    def update(self, event):
        self.events.append(event)

    def close(self, error=None):
        self.calls.append("close")
        self.error = error

    def kinds(self):
        return [type(event) for event in self.events]


async def test_everything_that_happens_in_the_block_is_told(session):
    async with show(session, Noting()) as sink:
        await session.upload(b"first", name="first")
        await session.upload(b"second", name="second")
    assert sink.calls == ["start", "close"]
    assert sink.kinds().count(FileStarted) == 2
    assert sink.kinds()[-1] is FileFinished
    assert sink.events[-1].totals.done == 2
    assert sink.error is None


async def test_it_is_entered_once(session):
    showing = show(session, Noting())
    async with showing as sink:
        with pytest.raises(ClientClosed, match="entered once"):
            await showing.__aenter__()
    with pytest.raises(ClientClosed, match="entered once"):
        await showing.__aenter__()
    assert sink.calls == ["start", "close"]


async def test_nothing_is_told_after_the_block(session):
    async with show(session, Noting()) as sink:
        await session.upload(b"first", name="first")
    before = len(sink.events)
    await session.upload(b"second", name="second")
    assert len(sink.events) == before


async def test_it_may_be_entered_around_the_session(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER)
    async with show(session, Noting()) as sink, session:
        await session.upload(b"first", name="first")
    assert sink.kinds()[-1] is FileFinished
    assert sink.calls == ["start", "close"]


async def test_a_sink_is_closed_with_the_error_that_ended_the_block(session):
    sink = Noting()

    async def work():
        async with show(session, sink):
            await session.upload(b"first", name="first")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert isinstance(sink.error, ZeroDivisionError)
    assert sink.kinds()[-1] is FileFinished


async def test_a_sink_is_closed_when_the_block_is_cancelled(session):
    sink, entered = Noting(), asyncio.Event()

    async def work():
        async with show(session, sink):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sink.calls == ["start", "close"]
    assert isinstance(sink.error, asyncio.CancelledError)


async def test_several_may_watch_the_same_session(session):
    async with show(session, Noting()) as one, show(session, Noting()) as other:
        await session.upload(b"first", name="first")
    assert one.events == other.events


async def test_a_failure_is_told(session, tmp_path):
    async with show(session, Noting()) as sink:
        with pytest.raises(FileNotFoundError):
            await session.upload(tmp_path / "nothing")
    assert sink.kinds()[-1] is FileFailed


@pytest.mark.parametrize("where", ["start", "update", "close"])
async def test_a_sink_that_fails_is_logged_and_stops_nothing(session, where, caplog, monkeypatch):
    def fail(*_):
        raise RuntimeError("the sink is broken")

    sink = Noting()
    monkeypatch.setattr(sink, where, fail)
    with caplog.at_level(logging.ERROR, "koodrive_async.sinks"):
        async with show(session, sink):
            first = await session.upload(b"first", name="first")
            await session.upload(b"second", name="second")
    assert first.outcome == "uploaded"
    assert caplog.messages == [f"Noting failed in {where}: it shows nothing more"]


async def test_a_sink_that_does_not_close_is_left_behind(session, caplog, monkeypatch):
    monkeypatch.setattr("koodrive_async.sinks.showing._TO_CLOSE", 0.05)
    let_go = threading.Event()
    sink = Noting()
    monkeypatch.setattr(sink, "close", lambda _: let_go.wait(30))
    async with show(session, sink):
        await session.upload(b"first", name="first")
    assert caplog.messages == ["Noting was left behind: it did not close"]
    let_go.set()


async def test_the_total_is_told_to_the_sink(session):
    async with show(session, Noting(), total=123) as sink:
        assert sink.total == 123


def test_a_sink_of_ones_own_needs_no_more_than_update(story):
    class Counting(Sink):
        count = 0

        def update(self, event):  # noqa: ARG002 - counted
            self.count += 1

    story.finished("a")
    with Counting() as sink:
        for event in story.taken():
            sink.update(event)
    assert sink.count == 4


@pytest.mark.parametrize("means_it", [False, True])
async def test_a_loop_that_was_left_early_has_not_ended_well(drive, device_id, means_it):
    session = drive.backup(device_id, Module.FOLDER)
    sink = Noting()

    async def back_up():
        async with session, show(session, sink):
            async for _ in session.upload_many([b"1", b"2", b"3"]):
                break
            if means_it:
                session.complete_anyway()

    if means_it:
        await back_up()
        assert sink.error is None
    else:
        with pytest.raises(BackupIncomplete):
            await back_up()
        assert isinstance(sink.error, BackupIncomplete)


async def test_a_loop_that_was_gone_through_has_ended_well(session):
    items = [UploadItem(source=b"%d" % number, name=f"{number}") for number in range(3)]
    async with show(session, Noting()) as sink:
        async for _ in session.upload_many(items):
            pass
        await anext(session.upload_many(items[:1]))
    assert sink.error is None
