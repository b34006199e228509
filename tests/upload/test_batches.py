"""Many files at a time: outcomes as they come, sources as fast as they are needed."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from koodrive_async import (
    AuthenticationError,
    BearerToken,
    ClientClosed,
    InsufficientSpace,
    InvalidArgument,
    InvalidFileName,
    Limits,
    Module,
    UploadFailure,
    UploadItem,
    UploadReceipt,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio


async def collect(batch):
    return [outcome async for outcome in batch]


async def test_every_file_has_its_outcome_and_failures_stop_nobody(session, make_file, tmp_path):
    good = [make_file(1000 + number, f"{number}", seed=number) for number in range(20)]
    missing = tmp_path / "missing"
    outcomes = await collect(session.upload_many([*good[:10], missing, tmp_path, *good[10:]]))
    receipts = [item for item in outcomes if isinstance(item, UploadReceipt)]
    failures = {item.name: item for item in outcomes if isinstance(item, UploadFailure)}
    assert sorted(item.name for item in receipts) == sorted(path.name for path in good)
    assert failures.keys() == {"missing", tmp_path.name}
    assert failures["missing"].source == missing
    assert isinstance(failures["missing"].error, FileNotFoundError)
    assert isinstance(failures[tmp_path.name].error, IsADirectoryError)


async def test_items_say_more_than_sources(session, drive, make_file):
    items = [
        UploadItem(source=b"abc", name="a", description="first"),
        UploadItem(source=make_file(), name="b"),
        UploadItem(source=b"abc", name="bad?"),
    ]
    outcomes = await collect(session.upload_many(items))
    assert [type(item.error) for item in outcomes if isinstance(item, UploadFailure)] == [
        InvalidFileName
    ]
    files = await drive.files.list(session.record.record_id).collect()
    assert sorted((file.file_name, file.description) for file in files) == [
        ("a", "first"),
        ("b", None),
    ]


@pytest.mark.parametrize("kind", ["list", "generator", "async-generator"])
async def test_sources_may_come_from_any_iterable(session, kind):
    items = [UploadItem(source=bytes([number]), name=str(number)) for number in range(5)]

    async def asynchronous():
        for item in items:
            yield item

    sources = {
        "list": lambda: items,
        "generator": lambda: (item for item in items),
        "async-generator": asynchronous,
    }[kind]()
    outcomes = await collect(session.upload_many(sources))
    assert sorted(outcome.name for outcome in outcomes) == ["0", "1", "2", "3", "4"]


async def test_no_sources_give_no_outcomes(session):
    assert await collect(session.upload_many([])) == []


async def test_an_endless_iterable_is_taken_from_only_as_fast_as_outcomes_are(
    koodrive_emulator,
):
    taken = 0

    async def endless():
        nonlocal taken
        for taken in itertools.count(1):
            yield UploadItem(source=sample(10, taken), name=f"{taken}")

    limits = Limits(files_in_flight=3)
    async with connect(koodrive_emulator, limits=limits) as drive:
        device = await drive.devices.bind("endless")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes = 0
            async for _ in session.upload_many(endless()):
                outcomes += 1
                assert taken <= outcomes + 3
                if outcomes == 10:
                    break
            session.complete_anyway()


async def test_no_more_files_at_a_time_than_the_limit(koodrive_emulator, make_file):
    koodrive_emulator.faults.add(Fault("latency", "files.create", seconds=0.02))
    files = [make_file(100, f"{number}", seed=number) for number in range(8)]
    async with connect(koodrive_emulator, limits=Limits(files_in_flight=2)) as drive:
        device = await drive.devices.bind("limited")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            assert len(await collect(session.upload_many(files))) == 8
    assert koodrive_emulator.seen.peak("files.create") == 2


async def test_leaving_the_loop_cancels_the_rest_and_completes_the_record_where_that_is_meant(
    drive, device_id, koodrive_emulator, make_file
):
    running_before = asyncio.all_tasks()
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=60, after=1))
    files = [make_file(100, f"{number}", seed=number) for number in range(8)]
    async with drive.backup(device_id, Module.FOLDER) as session:
        async for outcome in session.upload_many(files):
            assert isinstance(outcome, UploadReceipt)
            break
        session.complete_anyway()
        gc.collect()
    record = await drive.records.get(session.record.record_id)
    assert record.end_time is not None
    assert asyncio.all_tasks() <= running_before


async def test_a_batch_that_is_closed_gives_nothing_more(session, make_file):
    batch = session.upload_many([make_file(10, f"{number}") for number in range(5)])
    await anext(batch)
    await batch.aclose()
    assert await collect(batch) == []
    session.complete_anyway()


async def test_a_batch_that_is_never_iterated_uploads_nothing_and_warns(session, koodrive_emulator):
    batch = session.upload_many([UploadItem(source=b"a", name="a")])
    with pytest.warns(RuntimeWarning, match="never begun: iterate over them with 'async for'"):
        del batch
    closed = session.upload_many([UploadItem(source=b"a", name="a")])
    await closed.aclose()  # says that it is not wanted
    session.complete_anyway()
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_refused_credentials_end_the_batch_with_that_error(koodrive_emulator, make_file):
    token = koodrive_emulator.token

    async def provide():
        return token

    files = [make_file(100, f"{number}", seed=number) for number in range(8)]
    async with connect(koodrive_emulator, auth=BearerToken(provide)) as drive:
        device = await drive.devices.bind("refused")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            koodrive_emulator.faults.add(Fault("error", "files.create", status=401))
            with pytest.raises(AuthenticationError):
                await collect(session.upload_many(files))
            session.complete_anyway()


async def test_an_error_of_the_iterable_itself_reaches_the_caller(session):
    def broken():
        yield UploadItem(source=b"a", name="a")
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await collect(session.upload_many(broken()))
    session.complete_anyway()


async def test_hashing_one_file_overlaps_sending_another(koodrive_emulator, make_file):
    # The first file's part is held back until the second has been created, which is after it was
    # hashed: if one file waited for the other, this would never end.
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=30, times=1))
    files = [make_file(100, "a", 1), make_file(100, "b", 2)]
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("overlap")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            with anyio.fail_after(20):
                async for outcome in session.upload_many(files):
                    assert isinstance(outcome, UploadReceipt)
                    break
            session.complete_anyway()


async def test_receipts_of_files_that_arrived_are_handed_out_before_the_error_that_ends_all(
    koodrive_emulator, make_file
):
    koodrive_emulator.faults.add(
        Fault("error", "files.create", status=400, code="13000311", after=4)
    )
    files = [make_file(100, f"{number}", seed=number) for number in range(8)]
    async with connect(koodrive_emulator, limits=Limits(files_in_flight=4)) as drive:
        device = await drive.devices.bind("full")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            outcomes: list[object] = []

            async def take_all():
                async for outcome in session.upload_many(files):
                    outcomes.append(outcome)  # noqa: PERF401 - the loop raises

            with pytest.raises(InsufficientSpace):
                await take_all()
            session.complete_anyway()
            listed = await drive.files.list(session.record.record_id).collect()
    arrived = {outcome.file_id for outcome in outcomes if isinstance(outcome, UploadReceipt)}
    assert arrived == {file.file_id for file in listed}


async def test_a_batch_does_not_outlive_its_session_in_silence(drive, device_id, make_file):
    files = [make_file(100, f"{number}", seed=number) for number in range(30)]
    async with drive.backup(device_id, Module.FOLDER) as session:
        begun, untouched = session.upload_many(files), session.upload_many(files)
        await anext(begun)
        session.complete_anyway()
    with pytest.raises(ClientClosed):
        await collect(begun)
    with pytest.raises(ClientClosed):
        await collect(untouched)


async def test_a_closed_batch_has_nothing_running(session, koodrive_emulator, make_file):
    running_before = asyncio.all_tasks()
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=60, after=1))
    batch = session.upload_many([make_file(100, f"{number}", number) for number in range(5)])
    await anext(batch)
    await batch.aclose()
    assert asyncio.all_tasks() <= running_before
    session.complete_anyway()


@pytest.mark.parametrize(
    "source",
    ["ab", b"ab", Path("ab"), io.BytesIO(b"a\nb"), asyncio.StreamReader, UploadItem(source=b"ab")],
)
async def test_one_source_is_not_taken_for_many(session, source):
    source = source() if isinstance(source, type) else source
    with pytest.raises(InvalidArgument, match=r"^sources: "):
        session.upload_many(source)


async def test_an_async_generator_of_sources_is_closed_when_the_loop_is_left(session):
    closed = anyio.Event()

    async def endless():
        try:
            for number in itertools.count():
                yield UploadItem(source=sample(10, number), name=f"{number}")
        finally:
            closed.set()

    batch = session.upload_many(endless())
    await anext(batch)
    await batch.aclose()
    assert closed.is_set()
    session.complete_anyway()


async def test_a_generator_is_closed_when_the_loop_over_its_uploads_is_left(session):
    closed = threading.Event()

    def sources():
        try:
            for number in itertools.count():
                yield UploadItem(source=b"x", name=f"{number}")
        finally:
            closed.set()

    batch = session.upload_many(sources())
    async for _ in batch:
        break
    await batch.aclose()
    assert await anyio.to_thread.run_sync(closed.wait, 30)
    session.complete_anyway()


# --- several tasks over one batch --------------------------------------------------------------


def named(count):
    return [UploadItem(source=sample(10, number), name=f"{number}") for number in range(count)]


@pytest.mark.parametrize("consumers", [2, 10])
async def test_tasks_that_share_a_batch_get_each_outcome_once_and_all_end(session, consumers):
    batch = session.upload_many(named(25))
    with anyio.fail_after(60):
        shares = await asyncio.gather(*[collect(batch) for _ in range(consumers)])
    assert sorted(outcome.name for share in shares for outcome in share) == sorted(
        item.name for item in named(25)
    )


async def test_consumers_that_are_cancelled_take_no_outcome_with_them(session):
    batch = session.upload_many(named(30))
    taken: list[str] = []
    came = asyncio.Event()

    async def consume():
        async for outcome in batch:
            taken.append(outcome.name)
            came.set()
            await asyncio.sleep(0)

    with anyio.fail_after(60):
        while len(taken) < 20:
            came.clear()
            consumers = [asyncio.create_task(consume()) for _ in range(3)]
            await came.wait()
            for consumer in consumers:
                consumer.cancel()
            await asyncio.wait(consumers)
        await consume()
    assert sorted(taken) == sorted(item.name for item in named(30))


async def test_closing_a_batch_ends_the_loops_of_other_tasks(session, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("latency", "part.put", seconds=3600))
    batch = session.upload_many(named(3))
    waiting = [asyncio.create_task(collect(batch)) for _ in range(2)]
    assert await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
    with anyio.fail_after(60):
        await batch.aclose()
        assert await asyncio.gather(*waiting) == [[], []]
    session.complete_anyway()


async def test_the_error_that_ends_a_shared_batch_is_raised_once_and_all_its_loops_end(session):
    def broken():
        yield UploadItem(source=b"a", name="a")
        raise LookupError("no more")

    batch = session.upload_many(broken())
    with anyio.fail_after(60):
        ends = await asyncio.gather(*[collect(batch) for _ in range(3)], return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["LookupError", "list", "list"]
    session.complete_anyway()
