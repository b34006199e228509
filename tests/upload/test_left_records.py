"""What a session believes of the record that an earlier run has left, and keeps of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from koodrive_async import (
    ApiError,
    KooDriveError,
    MalformedResponse,
    Module,
    NotFound,
    RecordStatus,
    RetryPolicy,
    TransportError,
)
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from koodrive_async.upload import Journal

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)


@pytest.fixture
def service(tmp_path):
    """Return a function that starts an emulator of a dialect."""
    begun: list[Emulator] = []

    def start(**dialect):
        emulator = Emulator(tmp_path / f"koodrive-{len(begun)}", dialect=Dialect(**dialect))
        begun.append(emulator)
        return emulator.__enter__()

    yield start
    for emulator in begun:
        emulator.__exit__(None, None, None)


async def left(drive, name="a", **settings):
    """Leave an unfinished record with one file; return its id."""
    device = await drive.devices.bind("m")
    session = drive.backup(device.device_id, Module.FOLDER, **settings)

    async def end_early():
        async with session:
            await session.upload(name.encode(), name=name)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await end_early()
    return session.record.record_id


async def go_on(drive, record_id, name="b", **settings):
    device = await drive.devices.bind("m")
    async with drive.backup(
        device.device_id, Module.FOLDER, resume=record_id, **settings
    ) as session:
        await session.upload(name.encode(), name=name)


async def properties_of(drive, record_id):
    return json.loads((await drive.records.get(record_id)).properties or "null")


# --- properties ----------------------------------------------------------------------------------


@pytest.mark.parametrize("left_out", ["kept", "cleared"])
async def test_a_resume_keeps_the_properties_of_the_earlier_run(service, left_out):
    emulator = service(left_out_properties=left_out)
    async with connect(emulator) as drive:
        mine = {"job": "nightly", "tags": [1, {"a": None}], "containerIds": ["another"]}
        record_id = await left(drive, properties=mine)
        await go_on(drive, record_id)
        kept = await properties_of(drive, record_id)
    assert kept == {**mine, "containerIds": sorted(["another", emulator.container_id])}


async def test_properties_given_to_a_resume_are_added(service):
    emulator = service()
    async with connect(emulator) as drive:
        record_id = await left(drive, properties={"job": "nightly", "try": 1})
        await go_on(drive, record_id, properties={"try": 2})
        kept = await properties_of(drive, record_id)
    assert kept == {"job": "nightly", "try": 2, "containerIds": [emulator.container_id]}


@pytest.mark.parametrize("left_out", ["kept", "cleared"])
async def test_properties_of_another_form_stay_as_they_are(service, left_out):
    emulator = service(left_out_properties=left_out)
    async with connect(emulator) as drive:
        record_id = await left(drive, properties='["a", "b"]')
        await go_on(drive, record_id)
        assert await properties_of(drive, record_id) == ["a", "b"]


@pytest.mark.parametrize("left_out", ["kept", "cleared"])
async def test_properties_of_a_new_record_stay_as_they_were_given(service, left_out):
    emulator = service(left_out_properties=left_out)
    async with connect(emulator) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER, properties={"mine": 1}) as session:
            await session.upload(b"a", name="a")
        assert await properties_of(drive, session.record.record_id) == {"mine": 1}


async def test_a_record_whose_properties_would_be_too_long_is_completed_without_ours(
    service, caplog
):
    emulator = service(properties_limit="124", left_out_properties="cleared")
    mine = {"text": "x" * 100}
    async with connect(emulator) as drive:
        record_id = await left(drive, properties=mine)
        await go_on(drive, record_id)
        assert await properties_of(drive, record_id) == mine
    assert caplog.text.count("does not say which spaces") == 1
    assert [record.status.name for record in emulator.records()] == ["COMPLETED"]


# --- a record that is not found -------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.db"


async def knows(journal, emulator, record_id):
    opened = Journal(journal)
    await opened.open()
    account = f"{emulator.user_id}@{emulator.url}"
    try:
        return await opened.record(account, record_id) is not None
    finally:
        await opened.aclose()


NOT_FOUND = [(404, "13000309"), (400, "13000309"), (404, "13000901"), (400, "13000901")]


@pytest.mark.parametrize(("status", "code"), NOT_FOUND)
async def test_one_refusal_does_not_make_a_record_forgotten(service, journal, status, code):
    emulator = service()
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        device = await drive.devices.bind("m")
        record_id = await left(drive)
        emulator.faults.add(Fault("error", "records.get", status=status, code=code, times=2))
        found = await drive.find_unfinished(device.device_id, Module.FOLDER)
        assert found is not None
        assert found.record_id == record_id
        await go_on(drive, record_id)
        assert (await drive.records.get(record_id)).status is RecordStatus.COMPLETED
        assert {file.record_id for file in emulator.files()} == {record_id}


@pytest.mark.parametrize(
    ("missing", "is_forgotten"),
    [("400-13000309", True), ("404-13000901", False), ("200-null", False)],
)
async def test_a_record_is_forgotten_when_both_looks_say_that_it_is_gone(
    service, journal, missing, is_forgotten
):
    emulator = service(missing_record=missing)
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        device = await drive.devices.bind("m")
        record_id = await left(drive)
        async with drive.locks.hold(Module.FOLDER) as lease:
            await drive.records.delete(record_id, lock_id=lease.lock_id)
        assert await drive.find_unfinished(device.device_id, Module.FOLDER) is None
    assert await knows(journal, emulator, record_id) is not is_forgotten


async def test_a_listing_that_fails_makes_no_record_forgotten(service, journal):
    emulator = service()
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        record_id = await left(drive)
        emulator.faults.add(
            Fault("error", "records.get", status=404, code="13000309"),
            Fault("error", "records.list", status=400, code="13000102"),
        )
        with pytest.raises(NotFound):
            await go_on(drive, record_id)
    assert await knows(journal, emulator, record_id)


@pytest.mark.parametrize("order", ["newest-first", "oldest-first"])
async def test_all_records_that_were_left_are_listed(service, order):
    emulator = service(record_order=order)
    async with connect(emulator) as drive:
        device = await drive.devices.bind("m")
        ids = [await left(drive, name=f"{n}") for n in range(3)]
        await go_on(drive, ids.pop(1))
        records = await drive.records.unfinished(Module.FOLDER, device.device_id)
        assert {record.record_id for record in records} == set(ids)
        begun = [record.create_time.timestamp() for record in records if record.create_time]
        assert begun == sorted(begun, reverse=True)
        assert await drive.list_unfinished(device.device_id, Module.FOLDER) == records
        found = await drive.find_unfinished(device.device_id, Module.FOLDER)
        assert found == records[0]


async def test_records_of_the_journal_and_of_the_service_are_listed_once(
    service, journal, tmp_path
):
    emulator = service()
    root, other = tmp_path / "root", tmp_path / "other"
    async with connect(emulator) as drive:
        elsewhere = await left(drive, root=root)
        await left(drive, root=other)
    async with connect(emulator, journal=journal) as drive:
        device = await drive.devices.bind("m")
        here = await left(drive, root=root)
        found = await drive.list_unfinished(device.device_id, Module.FOLDER, root=root)
        assert [record.record_id for record in found] == [here, elsewhere]
        assert len(await drive.list_unfinished(device.device_id, Module.FOLDER)) == 3


async def test_a_service_that_refuses_credentials_forgets_nothing(service, journal):
    emulator = service(bad_credentials="403-13000410")
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        device = await drive.devices.bind("m")
        record_id = await left(drive)
        emulator.faults.add(Fault("error", "records.get", status=401, code="APIGW.0301"))
        with pytest.raises(ApiError):
            await drive.find_unfinished(device.device_id, Module.FOLDER)
    assert await knows(journal, emulator, record_id)


# --- a journal that cannot be written -------------------------------------------------------------


async def test_without_a_place_for_the_journal_files_keep_their_names(service, tmp_path, caplog):
    emulator = service()
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    async with connect(emulator, journal=in_the_way / "journal.db") as drive:
        record_id = await left(drive, name="holiday.jpg")
        await go_on(drive, record_id, name="other.jpg")
    assert {file.name for file in emulator.files()} == {"holiday.jpg", "other.jpg"}
    warnings = [line for line in caplog.text.splitlines() if "going on without" in line]
    assert len(warnings) == 1


# --- a lock that was taken anew ------------------------------------------------------------------


async def test_a_run_killed_just_after_it_took_another_lock_leaves_that_one(service, journal):
    emulator = service()
    once = RetryPolicy(attempts=1)

    async def run():
        async with connect(emulator, journal=journal, retry=once) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                emulator.faults.add(
                    Fault("expired-lock", "files.create", times=1), Fault("silence", "records.get")
                )
                await session.upload(b"a", name="a")

    task = asyncio.create_task(run())
    assert await asyncio.to_thread(emulator.seen.wait_active, "records.get")
    emulator.faults.add(Fault("reset", "locks.release"))  # as if it had been killed
    task.cancel()
    await asyncio.wait([task])
    emulator.faults.clear()
    assert len(emulator.locks()) == 1
    async with connect(emulator, journal=journal) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            assert (await session.upload(b"a", name="a")).outcome == "uploaded"


@pytest.mark.parametrize("missing", Dialect.choices()["missing_record"])
async def test_a_record_that_was_never_there_is_not_in_the_journal(service, journal, missing):
    emulator = service(missing_record=missing)
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        with pytest.raises(KooDriveError):
            await go_on(drive, "4242")
    assert not await knows(journal, emulator, "4242")


async def test_an_entry_that_was_there_before_stays_when_its_record_cannot_be_looked_at(
    service, journal
):
    emulator = service(missing_record="200-null")
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        record_id = await left(drive)
        async with drive.locks.hold(Module.FOLDER) as lease:
            await drive.records.delete(record_id, lock_id=lease.lock_id)
        for _ in range(2):
            with pytest.raises(MalformedResponse):
                await go_on(drive, record_id)
    assert await knows(journal, emulator, record_id)


@pytest.mark.parametrize("fault", ["lock", "other device"])
async def test_a_session_that_never_wrote_into_a_record_leaves_no_entry(
    service, tmp_path, journal, fault
):
    emulator = service(device_info="given")
    async with connect(emulator, journal=tmp_path / "of-another.db", retry=QUICK) as drive:
        record_id = await left(drive)
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        device = await drive.devices.bind("another" if fault == "other device" else "m")
        if fault == "lock":
            emulator.faults.add(Fault("error", "locks.create", status=400, code="13000101"))
        with pytest.raises(KooDriveError):
            async with drive.backup(device.device_id, Module.FOLDER, resume=record_id):
                pass
    assert not await knows(journal, emulator, record_id)


async def test_an_entry_stays_for_the_lock_when_no_answer_says_what_the_record_is(
    service, tmp_path, journal
):
    emulator = service()
    async with connect(emulator, journal=tmp_path / "of-another.db", retry=QUICK) as drive:
        record_id = await left(drive)
    emulator.faults.add(Fault("reset", "records.*"))
    async with connect(emulator, journal=journal, retry=QUICK) as drive:
        with pytest.raises(TransportError):
            await go_on(drive, record_id)
    assert await knows(journal, emulator, record_id)
