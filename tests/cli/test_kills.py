from __future__ import annotations

import os
import re

import pytest

from koodrive_async.emulator import Fault
from tests.cli.interrupted import assert_is_backed_up, wait_for_row
from tests.sample import sample

PART = 8 * 2**20


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def sent(emulator):
    """The parts that were taken, by path of their URL and number."""
    puts = emulator.seen.requests("part.put")
    return [(put.path, put.part_number) for put in puts if put.status == 200]


def resume(call, root):
    done = call("backup", root, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^resume\trecord \d+, begun ", done.stdout, re.MULTILINE)
    return done.stdout


def test_killed_in_the_middle_of_a_big_part(start, call, root, kept_journal, koodrive_emulator):
    (root / "big.bin").write_bytes(sample(5 * PART + 1))
    slow = Fault("bandwidth", "part.put", bytes_per_second=1000, after=2)
    koodrive_emulator.faults.add(slow)
    with start("backup", root, "--connections", "1") as process:
        wait_for_row(kept_journal, "SELECT 1 FROM parts LIMIT 1 OFFSET 1")
        assert koodrive_emulator.seen.wait_active("part.put")
        process.kill()
        process.wait()
    earlier = sent(koodrive_emulator)
    (hashed,) = [wait_for_row(kept_journal, "SELECT sha256 FROM hashes")]
    assert hashed[0] is not None
    koodrive_emulator.faults.remove(slow)
    assert "2 parts sent by an earlier run" in resume(call, root)
    assert_is_backed_up(koodrive_emulator, root)
    assert len(earlier) == 2
    assert len(sent(koodrive_emulator)) == len(set(sent(koodrive_emulator))) == 6
    assert koodrive_emulator.seen.count("files.create", status=200) == 1


@pytest.mark.usefixtures("kept_journal")
def test_a_hash_that_was_finished_is_not_repeated(
    start, call, root, koodrive_emulator, monkeypatch
):
    (root / "big.bin").write_bytes(sample(2**21))
    silence = Fault("silence", "files.create")
    koodrive_emulator.faults.add(silence)
    with start("backup", root) as process:
        assert koodrive_emulator.seen.wait_active("files.create")
        process.kill()
        process.wait()
    koodrive_emulator.faults.remove(silence)
    # whoever hashes now finds that there is nothing to hash with
    monkeypatch.setenv("KOODRIVE_SHA256_BACKEND", "abacus")
    resume(call, root)
    assert_is_backed_up(koodrive_emulator, root)
    assert "abacus" in call("backup", root, "--journal", "off").stderr


def test_killed_in_the_middle_of_a_hash(start, call, root, kept_journal, koodrive_emulator):
    with (root / "big.bin").open("wb") as file:
        for megabytes in range(0, 512, 32):
            file.seek(megabytes * 2**20)
            file.write(sample(1000, seed=megabytes))
        file.truncate(512 * 2**20)
    with start("backup", root) as process:
        wait_for_row(kept_journal, "SELECT 1 FROM hashes WHERE offset > 0 AND sha256 IS NULL")
        process.kill()
        process.wait()
    assert koodrive_emulator.seen.count("files.create") == 0
    resume(call, root)
    assert_is_backed_up(koodrive_emulator, root)


@pytest.mark.usefixtures("kept_journal")
def test_killed_in_the_middle_of_many_files(start, call, root, koodrive_emulator):
    for number in range(300):
        (root / f"{number}.bin").write_bytes(sample(1000 + number, seed=number))
    with start("backup", root) as process:
        assert koodrive_emulator.seen.wait("files.complete", count=100)
        process.kill()
        process.wait()
    before = [file.file_id for file in koodrive_emulator.files() if file.completed]
    there = re.search(r"(\d+) files there already", resume(call, root))
    assert_is_backed_up(koodrive_emulator, root)
    # those that were completed are the same ones still; what was on its way may be one more
    assert there is not None
    assert len(before) <= int(there[1]) < 300
    assert set(before) <= {file.file_id for file in koodrive_emulator.files()}


@pytest.mark.usefixtures("kept_journal")
def test_killed_again_and_again(start, call, root, koodrive_emulator):
    for number in range(20):
        (root / f"{number}.bin").write_bytes(os.urandom(2**21 + number))
    for count in (3, 8, 14):
        with start("backup", root, "--resume") as process:
            assert koodrive_emulator.seen.wait("files.complete", count=count)
            process.kill()
            process.wait()
    resume(call, root)
    assert_is_backed_up(koodrive_emulator, root)


@pytest.mark.usefixtures("kept_journal")
def test_the_lock_of_a_killed_backup_holds_no_other_one_up(start, call, root, koodrive_emulator):
    (root / "big.bin").write_bytes(sample(2**21))
    stuck = Fault("silence", "files.create")
    koodrive_emulator.faults.add(stuck)
    with start("backup", root) as process:
        assert koodrive_emulator.seen.wait_active("files.create")
        process.kill()
        process.wait()
    koodrive_emulator.faults.remove(stuck)
    (left,) = koodrive_emulator.locks()
    other = root.parent / "other"
    other.mkdir()
    (other / "small.txt").write_text("small")
    assert call("backup", other).returncode == 0  # another folder, and no --resume
    assert koodrive_emulator.locks() == ()
    assert koodrive_emulator.seen.count("locks.renew", status=200) == 1
    assert left.lock_id
    resume(call, root)
    assert {record.status for record in koodrive_emulator.records()} == {1}


@pytest.mark.usefixtures("kept_journal")
def test_the_lock_of_a_backup_that_was_killed_before_it_had_a_record_is_taken_over(
    start, call, root, koodrive_emulator
):
    (root / "small.txt").write_text("small")
    stuck = Fault("silence", "records.create")
    koodrive_emulator.faults.add(stuck)
    with start("backup", root) as process:
        assert koodrive_emulator.seen.wait_active("records.create")
        (held,) = koodrive_emulator.locks()
        # a process that lives keeps its lock, whatever the journal says
        refused = call("backup", root)
        assert refused.returncode != 0
        assert koodrive_emulator.locks() == (held,)
        process.kill()
        process.wait()
    koodrive_emulator.faults.remove(stuck)
    done = call("backup", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert koodrive_emulator.locks() == ()
    assert koodrive_emulator.seen.count("locks.create", status=200) == 1


@pytest.mark.usefixtures("kept_journal")
def test_the_lock_of_a_killed_deletion_is_taken_over(start, call, root, koodrive_emulator):
    (root / "small.txt").write_text("small")
    call("backup", root)
    (record,) = koodrive_emulator.records()
    delete = ("delete", record.record_id, "--completed", "--yes")
    stuck = Fault("silence", "records.delete")
    koodrive_emulator.faults.add(stuck)
    with start(*delete) as process:
        assert koodrive_emulator.seen.wait_active("records.delete")
        process.kill()
        process.wait()
    koodrive_emulator.faults.remove(stuck)
    assert len(koodrive_emulator.locks()) == 1
    assert call(*delete).returncode == 0
    assert koodrive_emulator.locks() == ()
