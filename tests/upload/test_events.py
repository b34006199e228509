"""Events: what whoever watches a session hears, in which order, and at what cost."""

from __future__ import annotations

import gc
import pickle
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import anyio
import pytest

from koodrive_async import (
    FileCancelled,
    FileFailed,
    FileFinished,
    FileStarted,
    InvalidArgument,
    Module,
    PartRetried,
    Phase,
    Progress,
    Totals,
    UploadFailure,
    UploadItem,
)
from koodrive_async.emulator import Fault
from koodrive_async.tasks import task_group
from koodrive_async.upload.trace import PartClock
from koodrive_async.upload.watching import EVENTS_KEPT, PARTS_KEPT, Events, SessionWatch

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
async def heard(drive, device_id):
    """Upload in a session, and return all that was heard until it had ended."""

    async def upload(work, *, fails: Any = ()) -> list[Any]:
        session = drive.backup(device_id, Module.FOLDER)
        events = session.events()
        found: list[Any] = []

        async def listen() -> None:
            found.extend([event async for event in events])

        async with task_group() as group:
            group.start_soon(listen)
            if fails:
                with pytest.raises(fails):
                    async with session:
                        await work(session)
            else:
                async with session:
                    await work(session)
        return found

    return upload


def never_back(totals: list[Totals]) -> bool:
    names = (
        "files",
        "done",
        "failed",
        "cancelled",
        "size",
        "hashed",
        "uploaded",
        "sent",
        "retries",
    )
    return all(
        getattr(before, name) <= getattr(after, name)
        for before, after in pairwise(totals)
        for name in names
    )


async def test_a_file_begins_goes_through_two_phases_and_ends(heard, make_file):
    path = make_file(12 * MIB)

    async def work(session):
        await session.upload(path, part_size=5 * MIB, description="d")

    events = await heard(work)
    assert isinstance(events[0], FileStarted)
    assert events[0].source == path
    assert isinstance(events[-1], FileFinished)
    assert events[-1].receipt.parts == 3
    phases = [event.phase for event in events if isinstance(event, Progress)]
    assert phases == sorted(phases)
    assert set(phases) == set(Phase)
    assert {(event.number, event.name, event.description) for event in events} == {
        (1, "file.bin", "d")
    }
    assert never_back([event.totals for event in events])
    assert events[-1].totals == Totals(
        files=1, done=1, size=12 * MIB, hashed=12 * MIB, uploaded=12 * MIB, sent=12 * MIB
    )


async def test_the_totals_of_many_files_are_those_of_their_receipts(heard, make_file):
    paths = [make_file(size, f"{size}.bin", size) for size in (0, 1, 70_000, 6 * MIB)]

    async def work(session):
        async for _ in session.upload_many(paths):
            pass

    events = await heard(work)
    receipts = [event.receipt for event in events if isinstance(event, FileFinished)]
    assert len(receipts) == 4
    size = sum(receipt.size for receipt in receipts)
    assert events[-1].totals == Totals(
        files=4, done=4, size=size, hashed=size, uploaded=size, sent=size
    )
    assert never_back([event.totals for event in events])


async def test_parts_that_are_sent_again_are_told_with_their_error(
    heard, make_file, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=2))

    async def work(session):
        await session.upload(make_file(5 * MIB), part_size=5 * MIB)

    events = await heard(work)
    retries = [event for event in events if isinstance(event, PartRetried)]
    assert [(event.part, event.attempt) for event in retries] == [(1, 1), (1, 2)]
    assert all("part 1" in str(event.error) for event in retries)
    assert events[-1].totals.retries == 2


async def test_files_that_fail_are_told_whether_they_could_be_begun_or_not(heard, tmp_path):
    missing, unreadable = (
        tmp_path / "missing",
        UploadFailure(
            source="folder", name="folder", error=PermissionError("no"), description="a/folder"
        ),
    )

    async def work(session):
        async for _ in session.upload_many([missing, unreadable, UploadItem(source=b"")]):
            pass

    events = await heard(work)
    failures = {event.name: event.failure for event in events if isinstance(event, FileFailed)}
    assert isinstance(failures["missing"].error, FileNotFoundError)
    assert failures["folder"] == unreadable
    assert isinstance(failures[""].error, InvalidArgument)
    assert (events[-1].totals.files, events[-1].totals.failed) == (3, 3)
    numbers = [event.number for event in events if isinstance(event, FileFailed)]
    assert sorted(numbers) == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "again", "sent"),
    [
        (Fault("corrupt", "part.put", times=1), 1, 17 * MIB),
        (Fault("lost-upload", "files.complete", times=1), 3, 24 * MIB),
    ],
    ids=["mended", "forgotten"],
)
async def test_parts_that_arrived_in_vain_count_as_sent_again(
    heard, make_file, koodrive_emulator, fault, again, sent
):
    koodrive_emulator.faults.add(fault)

    async def work(session):
        await session.upload(make_file(12 * MIB), part_size=5 * MIB)

    events = await heard(work)
    assert never_back([event.totals for event in events])
    assert isinstance(events[-1], FileFinished)
    assert events[-1].receipt.retries == again
    assert events[-1].totals == Totals(
        files=1,
        done=1,
        size=12 * MIB,
        hashed=12 * MIB,
        uploaded=12 * MIB,
        sent=sent,
        retries=again,
    )


@pytest.mark.parametrize("forgotten", [False, True])
async def test_parts_of_an_earlier_run_have_arrived(
    drive, device_id, make_file, koodrive_emulator, forgotten
):
    path = make_file(12 * MIB)
    koodrive_emulator.faults.add(Fault("error", "files.complete", status=400, code="Bad"))
    with pytest.raises(Exception, match="fault"):
        async with drive.backup(device_id, Module.FOLDER) as first:
            await first.upload(path, part_size=5 * MIB)
    koodrive_emulator.faults.clear()
    if forgotten:
        koodrive_emulator.faults.add(Fault("lost-upload", "files.complete", times=1))
    async with drive.backup(device_id, Module.FOLDER, resume=first.record.record_id) as session:
        receipt = await session.upload(path, part_size=5 * MIB)
    assert receipt.parts_resumed == (0 if forgotten else 3)
    assert session.totals == Totals(
        files=1,
        done=1,
        size=12 * MIB,
        hashed=12 * MIB,
        uploaded=12 * MIB,
        sent=12 * MIB if forgotten else 0,
        retries=3 if forgotten else 0,
    )


async def test_events_keep_no_bytes(heard):
    async def work(session):
        await session.upload(b"x", name="x")

    events = await heard(work)
    sources = [event.source for event in events if isinstance(event, FileStarted | Progress)]
    assert sources == [None, None, None]  # one for the end of each phase


async def test_callbacks_of_both_phases_see_the_context_of_the_upload(
    session, make_file, monkeypatch
):
    monkeypatch.setattr("koodrive_async.upload.watching.REPORT_EVERY", 0)
    request: ContextVar[str] = ContextVar("request", default="none")
    request.set("mine")
    seen: list[tuple[int, str]] = []
    await session.upload(
        make_file(3 * MIB),
        on_progress=lambda progress: seen.append((progress.done, request.get())),
    )
    assert [done for done, _ in seen if done < 3 * MIB]  # some came from the hashing thread
    assert {told for _, told in seen} == {"mine"}


async def test_a_cancelled_upload_is_told(heard, make_file):
    async def work(session):
        with anyio.CancelScope() as scope:

            def stop(progress):
                if progress.phase is Phase.HASH:
                    scope.cancel()

            await session.upload(make_file(6 * MIB), on_progress=stop)

    events = await heard(work)
    assert isinstance(events[-1], FileCancelled)
    assert events[-1].totals.cancelled == 1


async def test_the_end_of_a_session_cancels_and_tells_what_is_on_its_way(heard):
    async def work(session):
        begun = anyio.Event()

        async def endless():
            begun.set()
            yield b"x"
            await anyio.sleep_forever()

        batch = session.upload_many([UploadItem(source=endless(), name="endless")])
        async with task_group() as group:
            group.start_soon(batch.__anext__)
            await begun.wait()
            raise LookupError

    events = await heard(work, fails=LookupError)
    assert [type(event) for event in events] == [FileStarted, FileCancelled]


async def test_events_end_when_the_session_cannot_be_entered(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER, resume="no-such-record")
    events = session.events()
    with pytest.raises(Exception, match="record"):
        await session.__aenter__()
    assert [event async for event in events] == []


async def test_whoever_comes_later_hears_the_rest_with_right_totals(session, make_file):
    await session.upload(make_file(1000))
    events = session.events()
    await session.upload(make_file(10, "second.bin"))
    first = await anext(events)
    assert (first.number, first.name, first.totals.files, first.totals.done) == (
        2,
        "second.bin",
        2,
        1,
    )
    assert session.totals.done == 2


async def test_whoever_comes_after_the_end_hears_nothing(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"x", name="x")
    assert [event async for event in session.events()] == []
    assert session.totals.done == 1


async def test_each_who_watches_hears_everything(session):
    first, second = session.events(), session.events()
    await session.upload(b"x", name="x")
    assert [type(await anext(first)) for _ in range(4)] == [
        type(await anext(second)) for _ in range(4)
    ]


async def test_two_tasks_may_take_from_the_same_events(session):
    events = session.events()
    taken: list[Any] = []

    async def take() -> None:
        taken.append(await anext(events))

    async with task_group() as group:
        group.start_soon(take)
        group.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        await session.upload(b"x", name="x")
    assert len(taken) == 2


async def test_whoever_has_closed_hears_no_more(session):
    events = session.events()
    await session.upload(b"x", name="x")
    await events.aclose()
    assert [event async for event in events] == []


async def test_waiting_can_be_cancelled_and_taken_up_again(session):
    events = session.events()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(events)
    await session.upload(b"x", name="x")
    assert isinstance(await anext(events), FileStarted)


# --- the cost of watching ------------------------------------------------------------------------


def progress(number: int, done: int, phase: Phase = Phase.UPLOAD) -> Progress:
    totals = Totals(uploaded=done)
    return Progress(number=number, name="n", phase=phase, done=done, total=100, totals=totals)


async def test_progress_that_nobody_took_is_replaced_by_what_is_newer():
    events = Events()
    for done in range(50):
        events.put(progress(1, done))
        events.put(progress(2, done))
    events.end()
    assert [(event.number, event.done) async for event in events] == [(1, 49), (2, 49)]  # type: ignore[union-attr]  # all are progress
    assert events.missed == 0


async def test_progress_that_replaces_other_comes_last_so_that_totals_never_go_back():
    events = Events()
    for number, done in [(1, 10), (2, 20), (1, 30)]:
        events.put(progress(number, done))
    events.end()
    assert [event.totals.uploaded async for event in events] == [20, 30]


async def test_parts_that_are_sent_again_replace_none_of_each_other():
    watch = SessionWatch()
    events = watch.events()
    file = watch.file(UploadItem(source=b"", name="n"), None)
    for attempt in (1, 2):
        file.retried(1, attempt, ConnectionResetError())
    watch.end()
    kinds = [type(event) async for event in events]
    assert kinds == [FileStarted, PartRetried, PartRetried]


async def test_the_oldest_events_give_way_when_nobody_takes_any():
    events = Events()
    for number in range(EVENTS_KEPT + 5):
        events.put(progress(number, 1))
    events.end()
    numbers = [event.number async for event in events]
    assert (len(numbers), numbers[0], events.missed) == (EVENTS_KEPT, 5, 5)


def test_events_that_were_dropped_are_watched_by_nobody():
    watch = SessionWatch()
    events = watch.events()
    assert watch.is_watched
    del events
    gc.collect()
    assert not watch.is_watched


async def test_events_that_were_closed_are_watched_by_nobody():
    watch = SessionWatch()
    events = watch.events()
    await events.aclose()
    assert not watch.is_watched


def test_totals_go_on_while_nobody_watches(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("koodrive_async.upload.watching.time.monotonic", lambda: now[0])
    watch = SessionWatch()
    file = watch.file(UploadItem(source=b"", name="n"), None)
    file.opened(100)
    assert not file.wants_progress
    now[0] += 1
    assert file.wants_progress
    file.hashing(40)
    assert watch.totals.hashed == 40
    assert not file.wants_progress


def test_progress_comes_ten_times_a_second_at_the_most_but_the_end_always(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("koodrive_async.upload.watching.time.monotonic", lambda: now[0])
    seen: list[Progress] = []
    file = SessionWatch().file(UploadItem(source=b"", name="n"), seen.append)
    file.opened(1000)
    for done in range(1, 1000):
        now[0] += 0.01
        file.hashing(done)
    file.hashed()
    assert 95 <= len(seen) <= 101
    assert seen[-1].done == 1000


def test_progress_never_goes_back(monkeypatch):
    monkeypatch.setattr("koodrive_async.upload.watching.REPORT_EVERY", 0)
    seen: list[Progress] = []
    file = SessionWatch().file(UploadItem(source=b"", name="n"), seen.append)
    file.opened(100)
    file.hashing(60)
    file.hashing(50)
    file.hashed()
    assert [each.done for each in seen] == [60, 60, 100]
    assert [each.totals.hashed for each in seen] == [60, 60, 100]


# --- traces --------------------------------------------------------------------------------------


async def test_a_receipt_knows_when_what_happened(session, make_file, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=1))
    receipt = await session.upload(make_file(12 * MIB), part_size=5 * MIB)
    trace = receipt.trace
    assert trace is not None
    assert trace.hashing is not None
    assert trace.began <= trace.hashing.queued <= trace.hashing.began <= trace.hashing.ended
    assert len(trace.parts) == 4
    (failed,) = [part for part in trace.parts if part.error is not None]
    assert sorted(part.number for part in trace.parts if part.error is None) == [1, 2, 3]
    assert failed.number in {1, 2, 3}
    for part in trace.parts:
        assert trace.hashing.ended <= part.queued <= part.began <= part.ended <= trace.ended
        assert part.connection is not None
        assert 0 <= part.reading <= part.ended - part.began
    assert session.traces == (trace,)
    assert pickle.loads(pickle.dumps(receipt)).trace == trace
    assert "trace" not in repr(receipt)


async def test_what_was_hashed_before_has_no_span(session, make_file):
    path = make_file(3 * MIB)
    first = await session.upload(path)
    assert first.trace.hashing is not None
    small = await session.upload(make_file(100, "small"))
    assert small.trace.hashing.queued == small.trace.began


async def test_what_failed_leaves_a_trace_too(session, make_file, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "part.put", status=400, code="Bad"))
    with pytest.raises(Exception, match="Bad"):
        await session.upload(make_file(100))
    ((part,),) = [trace.parts for trace in session.traces]
    assert "Bad" in str(part.error)


def test_a_session_remembers_the_newest_parts_only():
    watch = SessionWatch()
    for number in range(PARTS_KEPT + 10):
        file = watch.file(UploadItem(source=b"", name=str(number)), None)
        file.sent(PartClock().span(1, 10))
        with file.told():
            pass
    assert len(watch.traces) == PARTS_KEPT // 2  # a file counts like a part
    assert watch.traces[-1].name == str(PARTS_KEPT + 9)
    assert watch.totals.cancelled == PARTS_KEPT + 10
