"""An unfinished file that has the wanted name is finished when nothing says that it is another's.

Where listings hide unfinished files, a killed run or a lost answer leaves one that no call calls
this record's. Its details do, or the file is left alone and the upload takes a name of its own.
"""

from __future__ import annotations

import re

import pytest

from koodrive_async import (
    AutoRename,
    DuplicateFileName,
    Module,
    RetryPolicy,
    ServerFault,
    UploadItem,
)
from koodrive_async.emulator import Dialect, Fault
from koodrive_async.testing import connect
from tests.upload.interrupting import resume

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)
LOST = Fault("lost-answer", "files.create", times=1)
CONTENT = b"the bytes of a.txt"
DETAILS = Dialect(unfinished_details="given")
SPACE = Dialect(unfinished_details="given", unique_names="space")


@pytest.fixture
def koodrive_dialect():
    return DETAILS


def is_own_name(name):
    return re.fullmatch(r"a_[0-9a-f]{16}\.txt", name) is not None


def held(emulator, record_id):
    """Return the files of a record, complete or not."""
    return [
        (file.name, file.completed, file.arrived)
        for file in emulator.files()
        if file.record_id == record_id
    ]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("content", [CONTENT, b""], ids=["bytes", "empty"])
async def test_a_lost_answer_leaves_no_second_file(session, koodrive_emulator, content, times):
    koodrive_emulator.faults.add(Fault("lost-answer", "files.create", times=times))
    receipt = await session.upload(content, name="a.txt")
    assert receipt.name == "a.txt"
    (file,) = koodrive_emulator.files()
    assert (file.file_id, file.name, file.completed) == (receipt.file_id, "a.txt", True)
    assert koodrive_emulator.content(file.file_id) == content


async def test_a_killed_run_leaves_no_second_file(
    interrupted, journal, koodrive_emulator, device_id, make_file
):
    items = [
        UploadItem(source=make_file(100 + n, f"{n}/a.txt", seed=n), description=f"{n}/a.txt")
        for n in range(4)
    ]
    record_id = await interrupted(items, "part.put", 1, active=3)
    assert len(koodrive_emulator.files()) == 4
    outcomes = await resume(koodrive_emulator, journal, device_id, record_id, items)
    files = {file.file_id: file for file in koodrive_emulator.files()}
    assert len(files) == 4
    assert all(file.completed for file in files.values())
    assert {files[each.file_id].description for each in outcomes} == {
        item.description for item in items
    }
    assert not [file.name for file in files.values() if is_own_name(file.name)]


@pytest.mark.parametrize("koodrive_dialect", [SPACE], ids=str)
async def test_the_record_is_not_listed_for_a_doubt_that_is_settled(
    drive, device_id, koodrive_emulator
):
    """The answers are about a file of another record, which only a listing says in doubt."""
    async with drive.backup(device_id, Module.ALBUM) as session:
        await session.upload(CONTENT, name="b.txt")
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(CONTENT, name="c.txt")  # the first that needs no bytes is looked for
        koodrive_emulator.faults.add(LOST)
        await session.upload(CONTENT, name="a.txt")
        listings = koodrive_emulator.seen.count("files.list")
        await session.upload(CONTENT, name="b.txt", auto_rename=AutoRename.SKIP)
        assert koodrive_emulator.seen.count("files.list") == listings


# --- what is left alone --------------------------------------------------------------------------


async def begun_elsewhere(emulator, *, content=CONTENT, journal=None):
    """Leave an unfinished file of the same name in another record, and return its id."""
    before = {file.file_id for file in emulator.files()}
    async with connect(emulator, retry=QUICK, journal=journal) as drive:
        device = await drive.devices.bind("another")
        session = drive.backup(device.device_id, Module.ALBUM)
        stuck = Fault("error", "part.put", status=403)
        emulator.faults.add(stuck)
        with pytest.raises(Exception, match="403"):
            async with session:
                await session.upload(content, name="a.txt", description="theirs")
        emulator.faults.remove(stuck)
    (file,) = [file for file in emulator.files() if file.file_id not in before]
    return file.file_id


async def uploaded_in_doubt(emulator, device_id, *, elsewhere=None, journal=None):
    """Upload a file whose first answer is lost; return its receipt and the id of its record."""
    async with (
        connect(emulator, retry=QUICK, journal=journal) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        if elsewhere is not None:
            await begun_elsewhere(emulator, **elsewhere)
        emulator.faults.add(LOST)
        receipt = await session.upload(CONTENT, name="a.txt", description="ours")
    return receipt, session.record.record_id


def state_of(emulator, description):
    (file,) = [file for file in emulator.files() if file.description == description]
    return file.record_id, file.name, file.completed, file.arrived


@pytest.mark.parametrize(
    ("koodrive_dialect", "when", "elsewhere"),
    [
        (SPACE, "before", {}),
        (SPACE, "after", {"content": b"other bytes, of a.txt"}),
        (SPACE, "after", {"content": CONTENT[::-1]}),
        (SPACE, "after", {"journal": True}),
        (Dialect(unique_names="space"), "after", {}),
        (
            Dialect(unique_names="space", unfinished_details="given", duplicate_name="13000405"),
            "after",
            {},
        ),
        (
            Dialect(
                unique_names="space",
                unfinished_details="given",
                space_calls="neither",
                container_in_answer="absent",
            ),
            "after",
            {},
        ),
    ],
    ids=["older", "size", "digest", "journal", "no details", "no id", "no space"],
)
async def test_a_file_that_may_be_another_records_is_not_touched(
    koodrive_emulator, device_id, tmp_path, when, elsewhere
):
    emulator, journal = koodrive_emulator, tmp_path / "noted.db"
    elsewhere = {**elsewhere, "journal": journal} if elsewhere.get("journal") else elsewhere
    if when == "before":
        await begun_elsewhere(emulator, **elsewhere)
        elsewhere = None
    receipt, record_id = await uploaded_in_doubt(
        emulator, device_id, elsewhere=elsewhere, journal=journal
    )
    theirs, name, completed, arrived = state_of(emulator, "theirs")
    assert theirs != record_id
    assert (name, completed, arrived) == ("a.txt", False, 0)
    assert is_own_name(receipt.name)
    assert (receipt.name, True, 1) in held(emulator, record_id)


@pytest.mark.parametrize("koodrive_dialect", [SPACE], ids=str)
async def test_a_file_that_its_record_does_not_list_then_is_another_ones(
    koodrive_emulator, device_id, caplog
):
    """Another machine began the same file meanwhile, which only the listing shows."""
    receipt, record_id = await uploaded_in_doubt(koodrive_emulator, device_id, elsewhere={})
    assert is_own_name(receipt.name)
    assert (receipt.name, True) in [each[:2] for each in held(koodrive_emulator, record_id)]
    assert koodrive_emulator.content(receipt.file_id) == CONTENT
    theirs, *state = state_of(koodrive_emulator, "theirs")
    assert theirs != record_id
    assert state == ["a.txt", True, 1]
    assert "is not of this upload" in caplog.text


def changed(**fields):
    def rewrite(path, answer):
        if path.endswith("/detail"):
            answer.update(fields)

    return rewrite


@pytest.mark.parametrize(
    "fields",
    [
        {"createdTime": None},
        {"createdTime": "2999-01-01 00:00:00"},
        {"createdTime": "yesterday"},
        {"recycled": True},
        {"fileName": "A.txt"},
        {"sha256": None},
        {"size": None},
        {"id": "another"},
    ],
    ids=str,
)
async def test_details_that_do_not_say_it_prove_nothing(
    rewriting, koodrive_emulator, device_id, fields
):
    async with (
        rewriting(changed(**fields)) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        koodrive_emulator.faults.add(LOST)
        receipt = await session.upload(CONTENT, name="a.txt")
    assert is_own_name(receipt.name)
    assert ("a.txt", False, 0) in held(koodrive_emulator, session.record.record_id)


async def test_a_record_of_an_unknown_time_proves_nothing(rewriting, koodrive_emulator, device_id):
    def rewrite(path, answer):
        if path.endswith("/backup/record"):
            del answer["data"]["createTime"]

    async with rewriting(rewrite) as drive, drive.backup(device_id, Module.FOLDER) as session:
        koodrive_emulator.faults.add(LOST)
        assert is_own_name((await session.upload(CONTENT, name="a.txt")).name)


async def test_details_that_are_refused_for_the_moment_are_a_failure_of_the_moment(
    koodrive_emulator, device_id
):
    """Another name would be right as well, but the file that is there could not be removed."""
    async with (
        connect(koodrive_emulator, retry=QUICK) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        koodrive_emulator.faults.add(LOST, Fault("error", "files.details", status=503))
        with pytest.raises(ServerFault):
            await session.upload(CONTENT, name="a.txt")
        koodrive_emulator.faults.clear()
        assert held(koodrive_emulator, session.record.record_id) == [("a.txt", False, 0)]


async def test_a_file_that_must_have_its_name_is_not_adopted(session, koodrive_emulator):
    """Several uploads may ask for such a name: which of them began the file is not known."""
    koodrive_emulator.faults.add(LOST)
    with pytest.raises(DuplicateFileName, match="may be this one"):
        await session.upload(CONTENT, name="a.txt", auto_rename=AutoRename.REJECT)
    assert koodrive_emulator.seen.count("files.details") == 0


async def test_a_file_that_was_begun_under_an_unknown_name_is_not_adopted(
    interrupted, koodrive_emulator, device_id
):
    """Without a journal nothing says that this upload asked for the name before."""
    item = UploadItem(source=CONTENT, name="a.txt", description="a.txt")
    record_id = await interrupted([item], "part.put", 0, journal=None)
    (outcome,) = await resume(koodrive_emulator, None, device_id, record_id, [item])
    assert is_own_name(outcome.name)
    assert koodrive_emulator.seen.count("files.details") == 0
