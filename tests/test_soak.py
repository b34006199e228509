"""A few seconds of the soak, so that it can be relied on when it is wanted."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.soak.findings import UNFINISHED, differences
from benchmarks.soak.journal_rows import JournalRows, read_journal
from benchmarks.soak.result import Result
from benchmarks.soak.soak import Plan, Soak
from benchmarks.soak.trees import MIB, Scale, Tree
from benchmarks.soak.weather import Weather
from koodrive_async import PartRejected
from koodrive_async.emulator import Fault

SMALL = Scale(small=20, several=2, large=1, large_size=3 * MIB)


@pytest.mark.timeout(120)
def test_a_short_soak_finds_nothing_and_counts_what_it_did(tmp_path):
    soak = Soak(Plan(seconds=2, seed=1, folder=tmp_path / "soak", scale=SMALL, pace=0.5))

    soak.run()

    assert not soak.result.findings
    assert soak.result.records >= 1
    assert soak.result.files >= 20
    assert soak.result.requests


@pytest.mark.anyio
async def test_an_unfinished_file_is_noted_only_beside_one_that_is_complete(
    drive, device_id, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("lost-answer", "files.create", times=1))
    stuck = Fault("error", "part.put", status=403)
    async with drive.backup(device_id, "100") as session:
        receipt = await session.upload(b"here", name="a.txt", description="a.txt")
        koodrive_emulator.faults.add(stuck)
        with pytest.raises(PartRejected):
            await session.upload(b"there", name="b.txt", description="b.txt")
    expected = {"a.txt": (4, receipt.sha256), "b.txt": (5, "")}
    notes: Counter[str] = Counter()

    found = list(differences(koodrive_emulator, session.record.record_id, expected, notes))

    assert notes == {UNFINISHED: 1}
    assert len(found) == 1
    assert "'b.txt' was not completed" in found[0]
    strictly = list(differences(koodrive_emulator, session.record.record_id, expected))
    assert len(strictly) == 2
    assert "'a.txt' is 2 times" in strictly[0]


def test_the_same_seed_makes_the_same_tree_and_the_same_changes(tmp_path):
    one, other = (Tree(tmp_path / name, SMALL, "7") for name in ("one", "other"))
    assert one.contents() == other.contents()

    one.change()
    changed = one.contents()
    assert changed != other.contents()

    other.change()
    assert changed == other.contents()


def test_the_same_seed_brings_the_same_weather():
    one, other = (Weather(7) for _ in range(2))

    assert [one._rule() for _ in range(100)] == [other._rule() for _ in range(100)]


@pytest.mark.anyio
async def test_a_file_that_is_twice_in_a_record_is_found(drive, device_id, koodrive_emulator):
    async with drive.backup(device_id, "100") as session:
        for _ in range(2):
            receipt = await session.upload(b"twice", name="a.txt", description="a.txt")

    found = list(
        differences(koodrive_emulator, session.record.record_id, {"a.txt": (5, receipt.sha256)})
    )

    assert len(found) == 1
    assert "2 times" in found[0]


@pytest.mark.anyio
async def test_a_file_that_is_missing_and_one_that_is_too_many_are_found(
    drive, device_id, koodrive_emulator
):
    async with drive.backup(device_id, "100") as session:
        await session.upload(b"here", name="a.txt", description="a.txt")

    found = list(differences(koodrive_emulator, session.record.record_id, {"b.txt": (4, "")}))

    assert len(found) == 2


@pytest.mark.anyio
async def test_what_an_interrupted_backup_leaves_in_the_journal_is_read(drive, device_id, tmp_path):
    (tmp_path / "large.bin").write_bytes(bytes(2 * MIB))
    session = drive.backup(device_id, "100")
    with pytest.raises(InterruptedError):
        await _interrupted(session, tmp_path / "large.bin")

    rows = read_journal(tmp_path / "state" / "journal.db")

    assert rows.records == (session.record.record_id,)
    assert rows.uploads == 1
    assert read_journal(tmp_path / "none.db") == JournalRows()


def test_the_table_replaces_the_one_before_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- soak -->\nold\n<!-- /soak -->\nafter\n")

    Result(seed=7).insert(page)

    text = page.read_text()
    assert "old" not in text
    assert "| seed | 7 |" in text
    assert text.endswith("<!-- /soak -->\nafter\n")
    (tmp_path / "empty.md").touch()
    with pytest.raises(ValueError, match="no place"):
        Result(seed=7).insert(tmp_path / "empty.md")


async def _interrupted(session, path):
    async with session:
        await session.upload(path)
        raise InterruptedError
