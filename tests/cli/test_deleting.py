from __future__ import annotations

import json
import signal

import pytest

from koodrive_async.emulator import Fault
from tests.cli.talking import talk

FULL = Fault("error", "files.create", status=400, code="13000311")


@pytest.fixture
def left(invoke, tree, koodrive_emulator, kept_journal):
    """Two records that interrupted backups have left."""
    assert kept_journal is not None
    koodrive_emulator.faults.add(FULL)
    for _ in range(2):
        assert invoke("backup", tree).exit_code == 4
    koodrive_emulator.faults.clear()
    return [record.record_id for record in koodrive_emulator.records()]


def test_records_that_were_left_are_listed_and_can_be_deleted(
    invoke, tree, left, koodrive_emulator
):
    assert invoke("backup", tree / "empty.txt").exit_code == 0
    listed = invoke("records")
    assert len(listed.stdout.splitlines()) == 3
    assert listed.stderr.startswith("2 records are unfinished: koodrive backup PATH --resume")
    only = invoke("records", "--unfinished")
    assert {line.split("\t")[0] for line in only.stdout.splitlines()} == set(left)
    assert invoke("records", "--unfinished", "--limit", "1").stdout.count("\n") == 1
    assert invoke("records", "--json").stderr == ""
    done = invoke("delete", *left, "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == left
    (kept,) = koodrive_emulator.records()
    assert kept.status == 1
    assert koodrive_emulator.locks() == ()
    assert invoke("journal").stdout == ""
    assert invoke("records").stderr == ""
    assert "no unfinished record" in invoke("backup", tree, "--resume").stdout


def test_what_is_completed_is_deleted_only_by_name_of_that(invoke, tree, left, koodrive_emulator):
    assert invoke("backup", tree / "empty.txt").exit_code == 0
    (record,) = [each.record_id for each in koodrive_emulator.records() if each.status == 1]
    done = invoke("delete", left[0], record, "--yes")
    assert done.exit_code == 1
    assert f"error: record {record}, begun " in done.stderr
    assert "is completed; hint: --completed deletes it" in done.stderr
    assert len(koodrive_emulator.records()) == 3  # all or nothing was asked for
    done = invoke("delete", record, "--yes", "--completed", "--json")
    assert json.loads(done.stdout) == {"deleted": [record], "failed": []}
    assert len(koodrive_emulator.records()) == 2


def test_nothing_is_deleted_without_a_yes(invoke, start, left, koodrive_emulator):
    done = invoke("delete", left[0])
    assert done.exit_code == 2
    assert "--yes deletes without a question" in done.stderr
    assert invoke("delete", left[0], "12345", "--yes").exit_code == 4
    with talk(start, "delete", left[0]) as talking:
        talking.wait_for(f"record {left[0]}, begun 2")
        talking.answer("Delete 1 record and every file there for good? [y/N]: ", "")
        talking.wait_for("error: nothing was deleted")
    assert len(koodrive_emulator.records()) == 2
    with talk(start, "delete", left[0]) as talking:
        talking.answer("for good? [y/N]: ", "y")
        assert talking.end() == 0
    assert [record.record_id for record in koodrive_emulator.records()] == left[1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_question_deletes_nothing_and_is_not_the_end_of_input(
    start, left, koodrive_emulator, number
):
    with talk(start, "delete", left[0]) as talking:
        talking.wait_for("for good? [y/N]: ")
        talking.interrupt(number)
        talking.wait_for("\r\ninterrupted; nothing was deleted\r\n")
        assert talking.end() == 128 + number
    assert len(koodrive_emulator.records()) == 2


def test_an_interrupted_question_is_one_object_with_json(start, left, koodrive_emulator):
    with talk(start, "delete", "--json", left[0]) as talking:
        talking.wait_for("for good? [y/N]: ")
        talking.interrupt()
        assert talking.end() == 130
    error = json.loads(talking.written.splitlines()[-1])["error"]
    assert error["message"] == "interrupted; nothing was deleted"
    assert len(koodrive_emulator.records()) == 2


def test_the_end_of_input_at_the_question_deletes_nothing(start, left, koodrive_emulator):
    with talk(start, "delete", left[0]) as talking:
        talking.wait_for("for good? [y/N]: ")
        talking.type("\x04")
        talking.wait_for("\r\nerror: the input has ended\r\n")
        assert talking.end() == 1
    assert len(koodrive_emulator.records()) == 2


def test_a_record_that_is_being_written_is_not_deleted(
    invoke, start, tree, koodrive_emulator, kept_journal
):
    assert kept_journal is not None
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=1000))
    with start("backup", tree):
        assert koodrive_emulator.seen.wait_active("part.put")
        (record,) = koodrive_emulator.records()
        done = invoke("delete", record.record_id, "--yes")
        assert done.exit_code == 1
        assert record.record_id in done.stderr
        assert len(koodrive_emulator.records()) == 1


def test_a_record_that_is_being_written_is_listed_as_in_use_and_not_counted(
    invoke, start, tree, left, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=1000))
    with start("backup", tree):
        assert koodrive_emulator.seen.wait_active("part.put")
        for options in ((), ("--unfinished",)):
            listed = invoke("records", *options)
            status = dict(line.split("\t")[:2] for line in listed.stdout.splitlines())
            (written,) = status.keys() - set(left)
            assert status == dict.fromkeys(left, "unfinished") | {written: "in use"}
            assert listed.stderr.startswith("2 records are unfinished: ")
            found = [
                json.loads(each)
                for each in invoke("records", *options, "--json").stdout.splitlines()
            ]
            assert {each["record_id"]: each["in_use"] for each in found} == dict.fromkeys(
                left, False
            ) | {written: True}
            assert {each["status"] for each in found} == {"unfinished"}


def test_the_lock_of_a_killed_backup_holds_no_deleting_up(
    invoke, start, tree, koodrive_emulator, kept_journal
):
    assert kept_journal is not None
    koodrive_emulator.faults.add(Fault("bandwidth", "part.put", bytes_per_second=1000))
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        process.kill()
        process.wait()
    (record,) = koodrive_emulator.records()
    assert len(koodrive_emulator.locks()) == 1
    assert invoke("delete", record.record_id, "--yes").exit_code == 0
    assert (koodrive_emulator.records(), koodrive_emulator.locks()) == ((), ())
