from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from koodrive_async import BackupRecord, Module
from koodrive_async.cli.progress import Screen
from koodrive_async.cli.report import Lines, Report
from koodrive_async.cli.resuming import named
from koodrive_async.cli.uploading import Tally
from koodrive_async.emulator import Fault
from koodrive_async.errors import ConnectionFailed, DeadlineExceeded, NotFound
from koodrive_async.testing import connect
from koodrive_async.upload import UploadFailure, UploadReceipt
from tests.cli.interrupted import assert_is_backed_up

FULL = Fault("error", "files.create", status=400, code="13000311", msg="full")
NONE = "resume\tno unfinished record: a new one is begun"


def facts(output):
    return dict(line.split("\t") for line in output.splitlines() if line.count("\t") == 1)


@pytest.fixture
def interrupted(invoke, koodrive_emulator):
    """Back up until the service gives out, after so many files; return the record."""

    def run(*arguments, after=0):
        fault = Fault("error", "files.create", status=400, code="13000311", after=after)
        koodrive_emulator.faults.add(fault)
        done = invoke("backup", *arguments)
        koodrive_emulator.faults.remove(fault)
        assert done.exit_code == 4
        return koodrive_emulator.records()[-1].record_id

    return run


@pytest.mark.usefixtures("kept_journal")
def test_it_goes_on_where_it_was(invoke, interrupted, tree, koodrive_emulator):
    record = interrupted(tree, after=2)
    done = invoke("backup", tree, "--resume")
    assert (done.exit_code, done.stderr) == (0, "")
    assert facts(done.stdout)["resume"].startswith(f"record {record}, begun 2")
    assert facts(done.stdout)["record"] == record
    there = koodrive_emulator.seen.count("files.complete", status=200)
    assert there == 5
    assert "2 files there already" in facts(done.stdout)["done"]
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.usefixtures("kept_journal")
def test_a_run_that_goes_on_and_is_stopped_counts_what_is_its_own(
    invoke, interrupted, tree, koodrive_emulator
):
    record = interrupted(tree, "--connections", "1", after=3)
    there = koodrive_emulator.seen.count("files.complete", status=200)
    assert there == 3
    koodrive_emulator.faults.add(FULL)
    done = invoke("backup", tree, "--resume")
    assert done.exit_code == 4
    stopped = next(line for line in done.stderr.splitlines() if line.startswith("stopped: "))
    assert stopped.startswith("stopped: 0 files backed up by this run")
    assert stopped.endswith(
        f", record {record} is unfinished; go on with: koodrive backup --resume {tree}"
    )


@pytest.mark.usefixtures("kept_journal")
def test_the_same_command_can_stand_in_a_cron_job(invoke, tree, koodrive_emulator):
    for _ in range(2):
        done = invoke("backup", tree, "--resume")
        assert (done.exit_code, done.stderr) == (0, "")
        assert NONE in done.stdout
    assert [record.status for record in koodrive_emulator.records()] == [1, 1]


@pytest.mark.usefixtures("kept_journal")
def test_a_record_of_another_folder_is_not_gone_on_with(invoke, interrupted, tree, tmp_path):
    record = interrupted(tree)
    other = tmp_path / "other"
    other.mkdir()
    done = invoke("backup", other, "--resume")
    assert done.exit_code == 0
    assert NONE in done.stdout
    assert facts(invoke("backup", tree, "--resume").stdout)["record"] == record


@pytest.mark.usefixtures("kept_journal")
def test_a_relative_path_is_the_same_folder(invoke, interrupted, tree, monkeypatch):
    record = interrupted(tree)
    monkeypatch.chdir(tree.parent)
    assert facts(invoke("backup", tree.name, "--resume").stdout)["record"] == record


@pytest.mark.usefixtures("kept_journal")
def test_a_record_that_was_ended_elsewhere_is_left_alone(
    invoke, interrupted, tree, koodrive_emulator
):
    ended, deleted = interrupted(tree), interrupted(tree)

    async def end():
        async with (
            connect(koodrive_emulator) as drive,
            drive.locks.hold(Module.FOLDER) as lock,
        ):
            await drive.records.complete(ended, lock_id=lock.lock_id)
            await drive.records.delete(deleted, lock_id=lock.lock_id)

    anyio.run(end)
    done = invoke("backup", tree, "--resume")
    assert (done.exit_code, done.stderr) == (0, "")
    assert NONE in done.stdout


@pytest.mark.parametrize("options", [[], ["--journal", "off"]])
@pytest.mark.usefixtures("environment")
def test_without_a_journal_the_service_knows_the_record(
    invoke, interrupted, tree, koodrive_emulator, options
):
    record = interrupted(tree, *options, after=2)
    done = invoke("backup", tree, "--resume", *options)
    assert facts(done.stdout)["record"] == record
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.usefixtures("environment")
def test_the_journal_can_be_named(invoke, interrupted, tree, tmp_path):
    first = interrupted(tree, "--journal", tmp_path / "one.db")
    interrupted(tree.parent / "tree" / "2024", "--journal", tmp_path / "one.db")
    done = invoke("backup", tree, "--resume", "--journal", tmp_path / "one.db")
    assert facts(done.stdout)["record"] == first


@pytest.mark.usefixtures("kept_journal")
def test_a_record_can_be_named(invoke, interrupted, tree):
    first, second = interrupted(tree), interrupted(tree)
    assert first != second
    done = invoke("backup", tree, "--record", first)
    assert facts(done.stdout)["record"] == first
    again = invoke("backup", tree, "--record", first)
    assert again.exit_code == 2
    assert "takes no more files" in again.stderr
    assert invoke("backup", tree, "--record", "12345").exit_code == 4


@pytest.mark.usefixtures("environment")
def test_what_stops_it_is_followed_by_the_command_to_go_on(invoke, tree, koodrive_emulator):
    koodrive_emulator.faults.add(FULL)
    done = invoke("backup", tree, "--exclude", "a b*", "--connections", "3")
    (record,) = koodrive_emulator.records()
    stopped, _ = done.stderr.splitlines()
    _, _, command = stopped.partition("; go on with: ")
    # there is no journal here that would know it
    assert command == (
        f"koodrive backup --record {record.record_id} --exclude 'a b*' --connections 3 "
        f"{shlex.quote(str(tree))}"
    )


@pytest.mark.usefixtures("environment")
def test_parts_can_be_verified_on_their_way(invoke, tree, koodrive_emulator):
    assert invoke("backup", tree, "--verify").exit_code == 0
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("seconds", "code"), [("60", 0), ("0", 4), ("-1", 2)])
def test_a_lock_can_be_waited_for(invoke, tree, koodrive_emulator, seconds, code):
    # somebody holds it for the first time of asking
    koodrive_emulator.faults.add(
        Fault("error", "locks.create", status=400, code="13000102", times=1)
    )
    assert invoke("backup", tree / "empty.txt", "--wait", seconds).exit_code == code


def test_a_record_is_named_with_the_time_it_was_begun():
    begun = datetime(2026, 11, 21, 7, 30, 5, 123, tzinfo=UTC)
    assert (
        named(BackupRecord(record_id="7", create_time=begun))
        == "record 7, begun 2026-11-21T07:30:05+00:00"
    )
    assert named(BackupRecord(record_id="7")) == "record 7"


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"])
def test_a_record_of_the_first_or_the_last_day_can_be_named(when):
    record = BackupRecord(record_id="7", create_time=datetime.fromisoformat(when))
    assert named(record) == f"record 7, begun {when}"


# --- what is told ------------------------------------------------------------------------------


def receipt(outcome="uploaded", **fields):
    settings: dict[str, Any] = {"name": "a", "sha256": "0", "size": 10, "parts": 1, "retries": 0}
    return UploadReceipt(outcome=outcome, file_id="1", seconds=0.1, **(settings | fields))


def failure(error):
    return UploadFailure(source="a", name="a", error=error)


def gone(kind=ConnectionFailed):
    return kind("refused", method="PUT", path="/x")


def missing():
    return NotFound(status=404, code="1", msg="", method="GET", path="/x")


def test_the_summary_says_what_an_earlier_run_has_done():
    tally = Tally()
    for each in (
        receipt("exists", parts=0),
        receipt(parts=3, parts_resumed=7, size=2_000_000),
        receipt("rapid", parts=0),
    ):
        tally.add(each)
    assert tally.summary(2.0) == (
        "3 files, 2.0 MB, 3 parts in 2.00 s: 300.0 kB/s; 1 file there already; "
        "7 parts sent by an earlier run; 1 file not sent, the service had the bytes"
    )


@pytest.fixture
def report():
    return Report(Lines(Screen()), patience=3)


@pytest.mark.anyio
async def test_a_service_that_is_gone_is_told_once(report, capsys):
    await report.tell(failure(gone()))
    await report.tell(failure(OSError(2, "missing", "b")))
    await report.tell(failure(missing()))
    await report.tell(failure(gone()))
    await report.tell_withheld(gone(DeadlineExceeded))
    assert [line.partition(": ")[2][:10] for line in capsys.readouterr().err.splitlines()] == [
        "a: b: miss",
        "a: GET /x:",
    ]


@pytest.mark.anyio
async def test_a_failure_is_told_when_another_file_has_got_through(report, capsys):
    await report.tell(failure(gone()))
    assert capsys.readouterr().err == ""
    await report.tell(receipt())
    assert capsys.readouterr().err.startswith("failed: a: PUT /x: refused")
    await report.tell_withheld()
    assert capsys.readouterr().err == ""


@pytest.mark.anyio
async def test_a_service_that_answers_nothing_is_given_up(report):
    await report.tell(failure(gone()))
    await report.tell(failure(gone()))
    await report.tell(receipt())
    await report.tell(failure(gone()))
    await report.tell(failure(gone()))
    with pytest.raises(ConnectionFailed):
        await report.tell(failure(gone()))


@pytest.mark.usefixtures("koodrive_environment")
def test_without_a_journal_the_record_of_another_folder_is_not_gone_on_with(
    invoke, interrupted, tree, tmp_path
):
    record = interrupted(tree, "--journal", "OFF")
    other = tmp_path / "other"
    other.mkdir()
    assert NONE in invoke("backup", other, "--resume", "--journal", "off").stdout
    again = invoke("backup", tree, "--resume", "--journal", "off")
    assert facts(again.stdout)["record"] == record


@pytest.mark.usefixtures("koodrive_environment")
def test_a_damaged_journal_is_told_of_and_costs_nothing(invoke, tree, tmp_path, koodrive_emulator):
    journal = tmp_path / "journal.db"
    journal.write_bytes(b"no database at all" * 1000)
    done = invoke("backup", tree, "--journal", journal)
    assert done.exit_code == 0
    assert done.stderr.startswith("warning: the journal ")
    assert "set aside" in done.stderr
    assert_is_backed_up(koodrive_emulator, tree)


@pytest.mark.usefixtures("koodrive_environment")
def test_a_journal_needs_a_name(invoke, tree):
    done = invoke("backup", tree, "--journal", "")
    told = "error: --journal must name a file, or be off; hint: see koodrive backup --help\n"
    assert (done.exit_code, done.stderr) == (2, told)
