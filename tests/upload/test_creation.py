"""A file is created once, however often the answer to that is lost."""

from __future__ import annotations

import re

import pytest

from koodrive_async import (
    AutoRename,
    DuplicateFileName,
    InsufficientSpace,
    Module,
    RetryPolicy,
    ServerFault,
    UploadItem,
)
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio

AMBIGUOUS = {
    "the answer is lost": Fault("lost-answer", "files.create", times=1),
    "the answer is lost three times": Fault("lost-answer", "files.create", times=3),
    "the connection breaks before it acts": Fault("reset", "files.create", moment="after", times=1),
    "it says that it failed": Fault("error", "files.create", status=500, times=1),
    "a gateway gives up on it": Fault("error", "files.create", status=504, times=2),
    "an inner call failed": Fault("error", "files.create", status=400, code="13000201", times=1),
}


@pytest.fixture(params=[*AMBIGUOUS.values()], ids=[*AMBIGUOUS])
def ambiguous(request):
    return request.param


def complete(emulator):
    """Return the files that are complete.

    An unfinished one may stay where an answer was lost: it may be another backup's, for whether
    names are unique in a record, a folder or a space is not documented. It is not touched then.
    """
    return [file for file in emulator.files() if file.completed]


def names(emulator):
    return sorted(file.name for file in complete(emulator))


def is_of(name, stem, extension):
    """Return whether a name is the wanted one, or one that identifies the record and the file."""
    return re.fullmatch(rf"{stem}(_[0-9a-f]{{16}})?{re.escape(extension)}", name) is not None


async def test_it_is_there_once_with_the_right_bytes(
    ambiguous, session, koodrive_emulator, make_file
):
    koodrive_emulator.faults.add(ambiguous)
    receipt = await session.upload(make_file(3_000_000))
    assert koodrive_emulator.faults.hits(ambiguous) == ambiguous.times
    (file,) = complete(koodrive_emulator)
    assert (file.file_id, file.name) == (receipt.file_id, receipt.name)
    assert is_of(file.name, "file", ".bin")
    assert koodrive_emulator.content(file.file_id) == make_file(3_000_000).read_bytes()


@pytest.mark.parametrize("policy", [AutoRename.RENAME, AutoRename.SKIP])
async def test_whatever_is_to_be_done_about_names(policy, ambiguous, session, koodrive_emulator):
    koodrive_emulator.faults.add(ambiguous)
    receipt = await session.upload(b"hello", name="a.txt", auto_rename=policy)
    assert names(koodrive_emulator) == [receipt.name]
    assert is_of(receipt.name, "a", ".txt")


async def test_a_file_that_must_have_its_name_has_it_or_is_refused(
    ambiguous, session, koodrive_emulator
):
    """An unfinished file that has the name may be another backup's: it is not written to."""
    koodrive_emulator.faults.add(ambiguous)
    upload = session.upload(b"hello", name="a.txt", auto_rename=AutoRename.REJECT)
    if ambiguous.kind == "lost-answer":
        with pytest.raises(DuplicateFileName, match="may be this one"):
            await upload
        assert koodrive_emulator.seen.count("part.put") == 0
    else:
        assert (await upload).name == "a.txt"
        assert names(koodrive_emulator) == ["a.txt"]


async def test_many_of_one_name_are_as_many(device_id, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("lost-answer", "files.create", rate=0.5), Fault("error", "files.create", rate=0.2)
    )
    items = [
        UploadItem(source=f"{n}".encode(), name="a.txt", description=f"{n}/a.txt")
        for n in range(20)
    ]
    # seven attempts in a row fail for one of twenty files now and then; sixty do not
    patience = RetryPolicy(attempts=60, base_delay=0, per_second=None, outage=0)
    async with (
        connect(koodrive_emulator, retry=patience) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        outcomes = [outcome async for outcome in session.upload_many(items)]
    assert not [outcome for outcome in outcomes if hasattr(outcome, "error")]
    files = complete(koodrive_emulator)
    assert {file.description for file in files} == {item.description for item in items}
    assert len(files) == len(items)
    assert {koodrive_emulator.content(file.file_id) for file in files} == {i.source for i in items}
    assert len({file.name for file in files}) == 20


async def test_bytes_that_the_service_has_are_not_sent_and_not_there_twice(
    ambiguous, session, koodrive_emulator
):
    await session.upload(b"the same", name="first.txt")
    koodrive_emulator.faults.add(ambiguous)
    receipt = await session.upload(b"the same", name="second.txt")
    assert receipt.outcome == "rapid"
    assert names(koodrive_emulator) == ["first.txt", "second.txt"]
    assert koodrive_emulator.seen.count("part.put") == 1


async def test_a_name_that_is_taken_is_refused_all_the_same(ambiguous, session, koodrive_emulator):
    first = await session.upload(b"first", name="a.txt")
    koodrive_emulator.faults.add(ambiguous)
    with pytest.raises(DuplicateFileName) as caught:
        await session.upload(b"second", name="a.txt", auto_rename=AutoRename.REJECT)
    assert caught.value.existing_file_id == first.file_id
    assert names(koodrive_emulator) == ["a.txt"]


async def test_a_file_that_is_to_be_skipped_is_not_created_again(
    ambiguous, session, koodrive_emulator
):
    await session.upload(b"same", name="a.txt")
    koodrive_emulator.faults.add(ambiguous)
    receipt = await session.upload(b"same", name="a.txt", auto_rename=AutoRename.SKIP)
    assert receipt.outcome in {"exists", "rapid"}
    assert names(koodrive_emulator) == ["a.txt"]


async def test_a_clear_refusal_is_not_asked_again(session, koodrive_emulator):
    full = Fault("error", "files.create", status=400, code="13000311")
    koodrive_emulator.faults.add(full)
    with pytest.raises(InsufficientSpace):
        await session.upload(b"hello", name="a.txt")
    assert koodrive_emulator.faults.hits(full) == 1


async def test_a_service_that_always_fails_ends_it_with_what_was_tried(
    koodrive_emulator, device_id
):
    broken = Fault("error", "files.create", status=500)
    koodrive_emulator.faults.add(broken)
    patience = RetryPolicy(attempts=3, base_delay=0, per_second=None, outage=0)
    async with (
        connect(koodrive_emulator, retry=patience) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
    ):
        with pytest.raises(ServerFault) as caught:
            await session.upload(b"hello", name="a.txt")
    assert koodrive_emulator.faults.hits(broken) == 3
    assert caught.value.attempts == 3
    assert len(caught.value.history) == 2


async def test_a_name_is_made_different_here_so_that_it_is_known(session, koodrive_emulator):
    receipts = [await session.upload(f"{n}".encode(), name="a.tar.gz") for n in range(3)]
    assert receipts[0].name == "a.tar.gz"
    for receipt in receipts[1:]:
        assert re.fullmatch(r"a\.tar_[0-9a-f]{8}\.gz", receipt.name)
    assert names(koodrive_emulator) == sorted(receipt.name for receipt in receipts)
