"""What the command says while it waits: for the backup lock, and for a service that is gone."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from koodrive_async.emulator import Fault
from tests.cli.interrupted import wait_for_row
from tests.cli.talking import talk

HELD = Fault("error", "locks.create", status=400, code="13000102", msg="held")
SLOW = Fault("bandwidth", "part.put", bytes_per_second=1000)


@pytest.fixture
def other(start, tree, kept_journal, koodrive_emulator):
    """Another process of this machine that is backing up, and is given up at the end."""
    koodrive_emulator.faults.add(SLOW)
    with start("backup", tree) as process:
        assert koodrive_emulator.seen.wait_active("part.put")
        wait_for_row(kept_journal, "SELECT 1 FROM records WHERE lock_id IS NOT NULL")
        yield process


@pytest.mark.usefixtures("other", "kept_journal")
def test_a_lock_that_is_waited_for_is_told_at_once_and_for_whom(start, tree, other):
    with start("backup", tree / "2024", "--wait", "5m") as process:
        said = process.stderr.readline()
    assert re.fullmatch(
        r"waiting for the backup lock, at most \d:\d\d more: "
        rf"process {other.pid} of this machine is backing up {tree}\n",
        said,
    )


@pytest.mark.usefixtures("other", "kept_journal")
def test_a_lock_that_a_process_of_this_machine_holds_is_not_another_machines(call, tree, other):
    done = call("backup", tree / "2024")
    assert done.returncode == 4
    hint = f"process {other.pid} of this machine is backing up {tree}; --wait SECONDS waits for it"
    assert done.stderr.endswith(f"hint: {hint}\n")


@pytest.mark.usefixtures("environment")
def test_a_lock_of_another_machine_is_told_as_that(start, call, tree, koodrive_emulator):
    koodrive_emulator.faults.add(HELD)
    assert "hint: another client is backing up, or" in call("backup", tree).stderr
    with start("backup", tree, "--wait", "30", "--json") as process:
        said = json.loads(process.stderr.readline())["waiting"]["message"]
    assert said == (
        "waiting for the backup lock, at most 30 s more: "
        "another client holds it, or has left it behind"
    )


@pytest.mark.usefixtures("environment")
def test_a_wait_is_shown_to_a_person_and_not_to_quiet(start, tree, koodrive_emulator):
    koodrive_emulator.faults.add(HELD)
    with talk(start, "backup", tree, "--wait", "600") as talking:
        talking.wait_for("waiting for the backup lock, at most 10:00 more: another client")
        talking.wait_for("waiting for the backup lock")
    koodrive_emulator.faults.clear()
    once = Fault("error", "locks.create", status=400, code="13000102", times=1)
    koodrive_emulator.faults.add(once)
    with start("backup", tree / "empty.txt", "--wait", "600", "-q") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("done\t1 file")


@pytest.mark.usefixtures("environment")
def test_an_outage_is_waited_for_as_long_as_is_said(start, tree, tmp_path, koodrive_emulator):
    # the attempts before that follow one another without the usual pauses
    (tmp_path / "sitecustomize.py").write_text("import random\nrandom.uniform = min\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path))}
    # all that is asked once the record is there: a service that answers anything is not gone
    koodrive_emulator.faults.add(
        *(Fault("error", route, status=503) for route in ("files.*", "records.get", "locks.renew"))
    )
    with start("backup", tree / "empty.txt", "--outage", "2h", env=env) as process:
        said = process.stderr.readline()
        koodrive_emulator.faults.clear()
        out, err = process.communicate(timeout=60)
    assert re.fullmatch(
        r"waiting for 127.0.0.1:\d+: .+ \(since [\d:]+ UTC, at most 2:00:00\)\n", said
    )
    assert re.fullmatch(r"127.0.0.1:\d+ can be reached again, after [\d:]+( s)?\n", err)
    assert (process.returncode, "done\t1 file" in out) == (0, True)


@pytest.mark.usefixtures("kept_journal")
def test_what_earlier_runs_have_left_is_mentioned(invoke, tree, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("error", "files.create", status=400, code="13000311"))
    for _ in range(3):
        assert invoke("backup", tree).exit_code == 4
    koodrive_emulator.faults.clear()
    first, second, third = [record.record_id for record in koodrive_emulator.records()]
    done = invoke("backup", tree, "--resume", "--quiet")
    assert done.exit_code == 0
    assert done.stderr == (
        f"warning: 2 unfinished records of earlier runs of {tree}: {second} {first}; --resume "
        "continues the newest, koodrive delete RECORD... deletes those that are not wanted\n"
    )
    assert third not in done.stderr
    assert invoke("backup", tree / "2024").stderr == ""
