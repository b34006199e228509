"""The ways in which an upload can end well, and the one in which a name is refused."""

from __future__ import annotations

import hashlib
import random

import pytest

from koodrive_async import AutoRename, DuplicateFileName, Module
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "part_size", "parts"),
    [
        (0, None, 1),
        (1, None, 1),
        (63, None, 1),
        (64, None, 1),
        (8 * MIB, None, 1),
        (8 * MIB + 1, None, 2),
        (11 * MIB + 7, 5 * MIB, 3),
        (11 * MIB + 7, 5 * MIB + 64, 3),
        (10 * MIB, 5 * MIB, 2),
    ],
)
async def test_a_file_of_any_size_is_uploaded(session, stored, make_file, size, part_size, parts):
    path = make_file(size)
    receipt = await session.upload(path, part_size=part_size)
    assert receipt.outcome == "uploaded"
    assert receipt.size == size
    assert receipt.parts == parts
    assert receipt.retries == 0
    assert receipt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert await stored(receipt.file_id) == path.read_bytes()


async def test_the_receipt_says_where_the_time_went(session, make_file):
    receipt = await session.upload(make_file(9 * MIB), description="why")
    phases = receipt.phases
    assert min(phases.hash, phases.create, phases.send, phases.complete) > 0
    spent = phases.hash + phases.create + phases.send + phases.complete
    assert receipt.seconds == pytest.approx(spent)
    assert receipt.description == "why"


async def test_bytes_that_the_service_has_are_not_sent_again(
    session, make_file, stored, koodrive_emulator
):
    await session.upload(make_file(1000, "first"))
    puts = koodrive_emulator.seen.count("part.put")
    receipt = await session.upload(make_file(1000, "second"))
    assert (receipt.outcome, receipt.parts, receipt.name) == ("rapid", 0, "second")
    assert koodrive_emulator.seen.count("part.put") == puts
    assert koodrive_emulator.seen.count("files.complete") == 1
    assert await stored(receipt.file_id) == sample(1000)


async def test_a_file_that_the_record_has_is_skipped_when_asked(session, make_file):
    path = make_file(1000)
    first = await session.upload(path)
    again = await session.upload(path, auto_rename=AutoRename.SKIP)
    assert (again.outcome, again.file_id, again.parts) == ("exists", first.file_id, 0)


async def test_a_taken_name_gets_a_time_stamp(session, make_file):
    await session.upload(make_file(1000))
    second = await session.upload(make_file(1000, seed=1))
    assert second.name != "file.bin"
    assert second.name.startswith("file_")


async def test_a_taken_name_is_refused_when_asked(session, make_file):
    first = await session.upload(make_file(1000))
    with pytest.raises(DuplicateFileName) as refusal:
        await session.upload(make_file(1000, seed=1), auto_rename=AutoRename.REJECT)
    assert refusal.value.existing_file_id == first.file_id


@pytest.mark.parametrize("missing", [(), (1,), (2, 3), (1, 2, 3)])
async def test_parts_are_matched_by_number_and_missing_urls_are_fetched(
    rewriting, koodrive_emulator, make_file, stored, missing
):
    def shuffle(path, answer):
        parts = answer.get("multiParts")
        if parts is None:
            return
        random.Random(1).shuffle(parts)
        if path.endswith("/file"):
            for part in parts:
                if part["partNumber"] in missing:
                    del part["uploadUrl"]

    path = make_file(11 * MIB)
    async with rewriting(shuffle) as drive:
        device = await drive.devices.bind("proxied")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(path, part_size=5 * MIB)
    assert await stored(receipt.file_id) == path.read_bytes()
    assert koodrive_emulator.seen.count("files.part_urls") == (1 if missing else 0)


async def test_parts_that_the_answer_leaves_out_are_asked_for(rewriting, make_file, stored):
    def drop(path, answer):
        if path.endswith("/file"):
            answer.pop("multiParts")

    path = make_file(11 * MIB)
    async with rewriting(drop) as drive:
        device = await drive.devices.bind("proxied")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(path, part_size=5 * MIB)
    assert await stored(receipt.file_id) == path.read_bytes()


async def test_a_space_can_be_chosen(session, make_file, koodrive_emulator):
    receipt = await session.upload(
        make_file(), container_id=koodrive_emulator.container_id, parent_folder="root"
    )
    assert receipt.container_id == koodrive_emulator.container_id
