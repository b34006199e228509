"""A file is called stored only when its bytes are: by the service's word for them, or by a look."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from koodrive_async import (
    IntegrityCheckFailed,
    Module,
    PermissionDenied,
    RetryPolicy,
    UploadFailure,
    UploadItem,
)
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB
QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)
SIZES = {"small": 100, "large": PART + 17}
NOT_SAID = ["13000401", "13000402", "13000901"]


@pytest.fixture(params=[*SIZES.values()], ids=[*SIZES])
def content(request):
    return sample(request.param)


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


def stored(emulator, record_id):
    """Return name and bytes of the files that are complete, as they are stored."""
    return sorted(
        (file.name, emulator.content(file.file_id))
        for file in emulator.files()
        if file.completed and file.record_id == record_id
    )


async def backed_up(emulator, content, *faults, name="a.bin", **settings):
    """Back one file up; return the receipt, and what its record holds."""
    async with connect(emulator, retry=QUICK, **settings) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            emulator.faults.add(*faults)
            receipt = await session.upload(content, name=name, part_size=PART)
        return receipt, stored(emulator, session.record.record_id)


@pytest.mark.parametrize("dialect", [{}, {"unfinished_files": "listed"}], ids=str)
@pytest.mark.parametrize("fault", ["NoSuchUpload", "forgotten", "13000401"])
async def test_a_file_without_a_stored_byte_is_not_called_uploaded(
    service, content, dialect, fault
):
    emulator = service(**dialect)
    gone = {
        "NoSuchUpload": Fault("error", "part.put", status=404, code="NoSuchUpload", times=1),
        "forgotten": Fault("lost-upload", "part.put", times=1),
        "13000401": Fault("error", "files.complete", status=400, code="13000401", times=1),
    }[fault]
    receipt, held = await backed_up(emulator, content, gone)
    assert emulator.faults.hits(gone) == 1
    assert held == [(receipt.name, content)]
    assert emulator.content(receipt.file_id) == content


@pytest.mark.parametrize("links", ["refused", "given"])
@pytest.mark.parametrize("urls", ["refused", "given"])
@pytest.mark.parametrize("code", NOT_SAID)
async def test_a_file_whose_completion_was_not_answered_is_looked_at_and_is_there_once(
    service, content, code, urls, links
):
    emulator = service(completed_file=code, complete_part_urls=urls, unfinished_links=links)
    receipt, held = await backed_up(
        emulator, content, Fault("lost-answer", "files.complete", times=1)
    )
    assert held == [(receipt.name, content)]
    assert receipt.outcome == "uploaded"
    # the last cell, and not the file; and no part is sent again
    assert emulator.seen.count("object.get", status=206) == 1
    assert emulator.seen.count("part.put") == receipt.parts
    assert receipt.retries == 0


@pytest.mark.parametrize("links", ["refused", "given"])
async def test_a_refusal_after_a_lost_call_is_not_taken_for_a_complete_file(
    service, content, links
):
    """The call that completes is lost before it acts, and the upload forgotten meanwhile."""
    emulator = service(unfinished_links=links)
    lost = Fault("reset", "files.complete", moment="before", times=1)
    forgotten = Fault("lost-upload", "files.complete", times=1, after=1)
    receipt, held = await backed_up(emulator, content, lost, forgotten)
    assert emulator.faults.hits(lost) == emulator.faults.hits(forgotten) == 1
    assert held == [(receipt.name, content)]


@pytest.mark.parametrize("code", NOT_SAID)
@pytest.mark.parametrize(
    "look",
    [
        Fault("error", "files.download_urls", status=400, code="13000408"),
        Fault("error", "object.get", status=404),
    ],
    ids=["no link", "no object"],
)
async def test_a_file_that_cannot_be_looked_at_is_uploaded_again(service, content, code, look):
    # with a flash hit, that could not be looked at either, it is an error
    emulator = service(completed_file=code, flash_upload="never")
    receipt, held = await backed_up(
        emulator, content, look, Fault("lost-answer", "files.complete", times=1)
    )
    assert (receipt.name, content) in held
    assert emulator.content(receipt.file_id) == content


async def test_a_link_that_ignores_ranges_is_read_from_its_beginning(service, content, caplog):
    emulator = service(completed_file="13000901", ranges="ignored")
    receipt, held = await backed_up(
        emulator, content, Fault("lost-answer", "files.complete", times=1)
    )
    assert held == [(receipt.name, content)]
    assert ("ignores ranges" in caplog.text) == (len(content) > MIB)


@pytest.mark.parametrize("code", ["0", *NOT_SAID])
@pytest.mark.parametrize("files", ["hidden", "listed"])
@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "none"])
async def test_a_resume_believes_no_listing(service, content, code, files, with_journal, tmp_path):
    """The earlier run was cut off at its last call: complete, or without a single byte."""
    emulator = service(completed_file=code, unfinished_files=files)
    place = tmp_path / "journal.db" if with_journal else None
    items = [
        UploadItem(source=content, name="a.bin", description="x/a.bin", part_size=PART),
        UploadItem(source=content[:-1], name="b.bin", description="x/b.bin", part_size=PART),
    ]
    once = RetryPolicy(attempts=1)
    async with connect(emulator, retry=once, journal=place) as drive:
        device = await drive.devices.bind("m")
        session = drive.backup(device.device_id, Module.FOLDER)

        async def end_early():
            async with session:
                emulator.faults.add(Fault("lost-answer", "files.complete", times=1))
                emulator.faults.add(Fault("reset", "object.get"))
                [_ async for _ in session.upload_many(items[:1])]
                emulator.faults.clear()
                emulator.faults.add(Fault("error", "part.put", status=403))
                [_ async for _ in session.upload_many(items[1:])]
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await end_early()
    emulator.faults.clear()
    record_id = session.record.record_id
    async with (
        connect(emulator, retry=QUICK, journal=place) as drive,
        drive.backup(device.device_id, Module.FOLDER, resume=record_id) as session,
    ):
        outcomes = [each async for each in session.upload_many(items)]
    receipts = [each for each in outcomes if not isinstance(each, UploadFailure)]
    assert len(receipts) == len(items)
    held = sorted(bytes_ for _, bytes_ in stored(emulator, record_id))
    assert held == sorted([content, content[:-1]])
    for receipt in receipts:
        assert len(emulator.content(receipt.file_id)) == receipt.size
        assert receipt.file_id in {file.file_id for file in emulator.files() if file.completed}


@pytest.mark.parametrize("code", NOT_SAID)
async def test_a_file_of_which_no_space_is_known_is_uploaded_again(service, content, code):
    """Nothing can be looked at, and nothing had been completed: the first call did not act."""
    emulator = service(container_in_answer="absent", space_calls="neither")
    receipt, held = await backed_up(
        emulator,
        content,
        Fault("error", "files.complete", status=503, times=1),
        Fault("error", "files.complete", status=400, code=code, after=1, times=1),
    )
    assert held == [(receipt.name, content)]
    assert emulator.content(receipt.file_id) == content


@pytest.mark.parametrize("times", [1, 6])
@pytest.mark.parametrize("code", ["13000102", *NOT_SAID])
async def test_a_flash_upload_that_is_refused_to_be_completed_is_not_called_stored(
    service, content, code, times
):
    """A refusal that may be of the lock has it renewed; what is not proven is uploaded."""
    emulator = service(flash_hit="to-be-completed")
    await backed_up(emulator, content)
    renewals = emulator.seen.count("locks.renew")
    refused = Fault("error", "files.complete", status=400, code=code, times=times)
    receipt, held = await backed_up(emulator, content, refused, name="b.bin")
    assert emulator.faults.hits(refused)
    assert held == [(receipt.name, content)]
    assert receipt.outcome in {"rapid", "uploaded"}
    if times > 1 and code in {"13000102", "13000901"}:  # one is repeated with the lock
        assert emulator.seen.count("locks.renew") > renewals


async def test_a_flash_upload_that_nothing_proves_is_an_error(service, content):
    emulator = service(flash_hit="to-be-completed")
    await backed_up(emulator, content)
    never = Fault("error", "files.complete", status=400, code="13000402")
    with pytest.raises(IntegrityCheckFailed):
        await backed_up(emulator, content, never, name="b.bin")
    assert [file.name for file in emulator.files() if file.completed] == ["a.bin"]


@pytest.mark.parametrize("outcome", ["rapid", "uploaded", "exists"])
async def test_a_resume_does_not_believe_a_noted_outcome_that_the_record_does_not_list(
    service, tmp_path, content, outcome
):
    emulator, place = service(), tmp_path / "journal.db"
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    async with connect(emulator, retry=RetryPolicy(attempts=1), journal=place) as drive:
        device = await drive.devices.bind("m")
        session = drive.backup(device.device_id, Module.FOLDER)
        emulator.faults.add(Fault("error", "files.complete", status=403))
        with contextlib.suppress(PermissionDenied):
            async with session:
                await session.upload(path)
    emulator.faults.clear()
    with contextlib.closing(sqlite3.connect(place)) as store, store:
        noted = store.execute("UPDATE uploads SET outcome = ?", (outcome,)).rowcount
    assert noted == 1
    record_id = session.record.record_id
    async with (
        connect(emulator, retry=QUICK, journal=place) as drive,
        drive.backup(device.device_id, Module.FOLDER, resume=record_id) as session,
    ):
        receipt = await session.upload(path)
    assert stored(emulator, record_id) == [(receipt.name, content)]
