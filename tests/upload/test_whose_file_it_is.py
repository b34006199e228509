"""No upload takes another one's file for its own, however much alike they are."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import anyio
import pytest

from koodrive_async import AutoRename, DuplicateFileName, Module, RecordStatus, UploadItem
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from tests.sample import sample
from tests.upload.interrupting import resume

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB


async def failing(drive, device_id, content, **more):
    """Return a session that left its record unfinished."""
    session = drive.backup(device_id, Module.FOLDER, **more)
    with contextlib.suppress(RuntimeError):
        async with session:
            await session.upload(content, name="x.txt")
            raise RuntimeError
    return session


def in_record(emulator, record_id=None):
    """Return what is complete: description and bytes of each file."""
    return sorted(
        (file.description or file.name, emulator.content(file.file_id))
        for file in emulator.files()
        if file.completed and record_id in {None, file.record_id}
    )


@pytest.mark.parametrize("first", AutoRename)
@pytest.mark.parametrize("policy", [AutoRename.REJECT, AutoRename.SKIP])
async def test_a_name_that_another_upload_has_taken_is_not_ours(
    first, policy, koodrive_emulator, device_id
):
    emulator = koodrive_emulator
    outcomes: list[Any] = []
    async with (
        connect(emulator) as drive,
        drive.backup(device_id, Module.FOLDER) as session,
        anyio.create_task_group() as group,
    ):
        stuck = Fault("latency", "part.put", seconds=3600, times=1)
        emulator.faults.add(stuck)

        async def begin():
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await session.upload(b"aaaa", name="x", auto_rename=first)

        scopes: list[anyio.CancelScope] = []
        group.start_soon(begin)
        assert await asyncio.to_thread(emulator.seen.wait_active, "part.put")
        emulator.faults.add(Fault("error", "files.create", status=503, times=1))
        try:
            outcomes.append(await session.upload(b"bbbb", name="x", auto_rename=policy))
        except DuplicateFileName as error:
            outcomes.append(error)
        scopes[0].cancel()
    (outcome,) = outcomes
    if policy is AutoRename.REJECT:
        assert isinstance(outcome, DuplicateFileName)
        assert in_record(emulator) == []
    else:
        assert in_record(emulator) == [(outcome.name, b"bbbb")]


async def test_a_name_that_was_refused_is_not_noted_for_a_resume(
    koodrive_emulator, device_id, journal, make_file
):
    first, second = make_file(2 * MIB), make_file(2 * MIB, "other", seed=1)

    async def refused(session):
        await session.upload(first, name="x")
        await session.upload(second, name="x", auto_rename=AutoRename.REJECT)

    async with connect(koodrive_emulator, journal=journal) as drive:
        session = drive.backup(device_id, Module.FOLDER)
        with contextlib.suppress(DuplicateFileName):
            async with session:
                await refused(session)
    with contextlib.closing(sqlite3.connect(journal)) as store:
        noted = store.execute("SELECT stored_name, outcome FROM uploads").fetchall()
    assert noted == [('"x"', "uploaded")]


@pytest.mark.parametrize("parent", [None, "root"])
@pytest.mark.parametrize("with_journal", [True, False], ids=["journal", "none"])
@pytest.mark.parametrize("size", [4, 2 * MIB, 2 * PART + 9])
@pytest.mark.parametrize("reverse", [True, False])
async def test_twins_of_one_name_are_two_files(
    size,
    with_journal,
    parent,
    reverse,
    interrupted,
    journal,
    koodrive_emulator,
    device_id,
    make_file,
):
    place = journal if with_journal else None
    items = [
        UploadItem(
            source=make_file(size, f"{folder}/big.bin", seed=3),
            description=f"{folder}/big.bin",
            part_size=PART,
            parent_folder=parent,
        )
        for folder in "abc"
    ]
    record_id = await interrupted(items[:2], "part.put", 0, journal=place)
    again = items[::-1] if reverse else items
    outcomes = await resume(koodrive_emulator, place, device_id, record_id, again)
    assert len({outcome.file_id for outcome in outcomes}) == 3
    assert in_record(koodrive_emulator, record_id) == [
        (f"{folder}/big.bin", sample(size, 3)) for folder in "abc"
    ]


async def test_a_name_that_looks_as_if_it_had_been_made_different_is_another_file(
    interrupted, koodrive_emulator, device_id
):
    names = ["IMG.jpg", "IMG_20200101_120000.jpg", "IMG_0a1b2c3d.jpg"]
    items = [UploadItem(source=b"the same", name=name) for name in names]
    stop = UploadItem(source=b"other", name="stop")
    record_id = await interrupted([*items[1:], stop], "files.complete", 2, journal=None)
    await resume(koodrive_emulator, None, device_id, record_id, [*items, stop])
    there = in_record(koodrive_emulator, record_id)
    assert len([name for name, content in there if content == b"the same"]) == len(names)


async def test_answers_lost_while_resuming_create_nothing_twice(
    interrupted, koodrive_emulator, device_id
):
    items = [UploadItem(source=b"%d" % n, name="x.txt", description=f"{n}/x.txt") for n in range(6)]
    record_id = await interrupted(items[:3], "part.put", 1, journal=None)
    koodrive_emulator.faults.add(Fault("lost-answer", "files.create", rate=0.5, times=6))
    await resume(koodrive_emulator, None, device_id, record_id, items)
    assert in_record(koodrive_emulator, record_id) == [(f"{n}/x.txt", b"%d" % n) for n in range(6)]


async def test_two_sessions_in_a_row_have_two_records_whatever_is_lost(
    koodrive_emulator, device_id
):
    async with connect(koodrive_emulator) as drive:
        first = await failing(drive, device_id, b"first")
        koodrive_emulator.faults.add(Fault("error", "records.create", status=503, times=1))
        async with drive.backup(device_id, Module.FOLDER) as second:
            await second.upload(b"second", name="x.txt")
        assert second.record.record_id != first.record.record_id
        assert in_record(koodrive_emulator, first.record.record_id) == [("x.txt", b"first")]
        assert in_record(koodrive_emulator, second.record.record_id) == [("x.txt", b"second")]
        left = await drive.records.get(first.record.record_id)
        assert left.status is RecordStatus.NEW


async def test_the_record_of_another_folder_is_not_found(koodrive_emulator, device_id, tmp_path):
    async with connect(koodrive_emulator) as drive:
        session = await failing(drive, device_id, b"bytes", root=tmp_path / "a")
        find = drive.find_unfinished
        assert await find(device_id, Module.FOLDER, root=tmp_path / "b") is None
        found = await find(device_id, Module.FOLDER, root=tmp_path / "a")
        assert found is not None
        assert found.record_id == session.record.record_id
        assert await find(device_id, Module.FOLDER) == found


@pytest.mark.parametrize("asked", [True, False], ids=["spaces", "no spaces"])
async def test_answers_without_a_space_are_put_up_with(
    asked, rewriting, interrupted, koodrive_emulator, device_id, caplog
):
    record_id = await interrupted(
        [UploadItem(source=b"a", name="a"), UploadItem(source=b"b", name="b")],
        "files.complete",
        1,
        journal=None,
    )
    if not asked:
        for route in ("spaces.get", "spaces.list"):
            koodrive_emulator.faults.add(Fault("error", route, status=404, code="13000309"))

    def without_space(_, answer):
        answer.pop("containerId", None)

    async with (
        rewriting(without_space) as drive,
        drive.backup(device_id, Module.FOLDER, resume=record_id) as session,
    ):
        for name in ("a", "b"):
            receipt = await session.upload(name.encode(), name=name)
            assert receipt.container_id == (koodrive_emulator.container_id if asked else None)
    assert koodrive_emulator.seen.count("spaces.list") == 1
    assert caplog.text.count("which space files go to") == (0 if asked else 1)
