from __future__ import annotations

import signal

import anyio
import pytest

from koodrive_async import Module, NewScope
from koodrive_async.emulator import Dialect, Fault
from koodrive_async.testing import connect

RECORDS = 103


@pytest.fixture
def koodrive_dialect(request):
    """The default, or one of what is answered for a record that does not exist."""
    return Dialect(missing_record=getattr(request, "param", "400-13000309"))


@pytest.fixture
def known(koodrive_emulator):
    """A device with a scope, more records than a page has, and a file in the newest."""

    async def make():
        async with connect(koodrive_emulator) as drive:
            device = await drive.devices.bind("testmachine", name="test", os="linux")
            await drive.scopes.add(
                device.device_id, Module.FOLDER, [NewScope(local_path="/home/a\tb")]
            )
            async with drive.locks.hold(Module.FOLDER) as lock:
                for _ in range(RECORDS - 1):
                    await drive.records.create(
                        device.device_id, Module.FOLDER, lock_id=lock.lock_id
                    )
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"hello", name="hello.txt", description="a/hello.txt")
            return device.device_id, session.record.record_id

    return anyio.run(make)


@pytest.mark.usefixtures("environment")
def test_records_are_lines_of_tab_separated_fields(invoke, known):
    done = invoke("records")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert len(rows) == RECORDS
    assert {len(row) for row in rows} == {5}
    assert rows[0][:2] == [known[1], "completed"]
    assert rows[1][1] == "unfinished"
    assert rows[1][3] == "-"


@pytest.mark.usefixtures("environment", "known")
def test_no_more_records_than_are_wanted(invoke):
    everything = invoke("records").stdout.splitlines()
    for limit in (1, RECORDS - 1, RECORDS, RECORDS + 1):
        assert invoke("records", "--limit", limit).stdout.splitlines() == everything[:limit]
    assert invoke("records", "--limit", 0).exit_code == 2


@pytest.mark.usefixtures("environment")
def test_records_of_another_module_or_device_are_left_out(invoke, known):
    assert invoke("records", "--module", "album").stdout == ""
    assert len(invoke("records", "--device", known[0]).stdout.splitlines()) == RECORDS
    assert invoke("records", "--device", "1").stdout == ""


@pytest.mark.usefixtures("environment")
def test_files_have_their_path(invoke, known):
    (row,) = [line.split("\t") for line in invoke("files", known[1]).stdout.splitlines()]
    assert row[1] == "5"
    assert row[4] == "a/hello.txt"


@pytest.mark.usefixtures("environment")
def test_devices_and_scopes_are_listed(invoke, known):
    (device,) = invoke("devices").stdout.splitlines()
    assert device.split("\t")[:4] == [known[0], "test", "linux", "testmachine"]
    (scope,) = invoke("scopes", "list", known[0]).stdout.splitlines()
    assert scope.split("\t")[1] == r"/home/a\tb"
    assert invoke("scopes", "list", known[0], "--module", "album").stdout == ""


@pytest.mark.usefixtures("environment")
def test_quiet_asks_the_service_and_tells_of_errors_only(invoke, known):
    device, record = known
    for arguments in (["records"], ["files", record], ["devices"], ["scopes", "list", device]):
        done = invoke(*arguments, "--quiet")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert invoke("files", "12345", "--quiet").exit_code == 4


@pytest.mark.usefixtures("environment")
def test_an_unknown_record_is_an_error_of_the_service(invoke):
    done = invoke("files", "12345")
    assert done.exit_code == 4
    assert done.stdout == ""
    assert done.stderr.startswith("error: GET /koodrive/")


@pytest.mark.usefixtures("environment", "known")
def test_the_first_page_is_written_before_the_last_is_fetched(start, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("latency", "records.list", seconds=600.0, after=1))
    with start("records") as process:
        first_page = [process.stdout.readline() for _ in range(100)]
        assert all(line.endswith("\n") for line in first_page)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


@pytest.mark.usefixtures("environment", "known")
def test_a_reader_that_leaves_is_no_traceback(start):
    with start("records") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=20) == 1


@pytest.mark.parametrize("options", [(), ("--quiet",), ("--json",)])
@pytest.mark.parametrize("koodrive_dialect", Dialect.choices()["missing_record"], indirect=True)
@pytest.mark.usefixtures("environment")
def test_files_of_a_record_that_is_not_there_are_an_error(invoke, options):
    done = invoke("files", "4242", *options)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr


@pytest.mark.parametrize("koodrive_dialect", ["200-null"], indirect=True)
@pytest.mark.usefixtures("environment")
def test_a_record_without_files_has_an_empty_listing(invoke, koodrive_emulator):
    async def make():
        async with connect(koodrive_emulator) as drive:
            device = await drive.devices.bind("testmachine")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                return session.record.record_id

    done = invoke("files", anyio.run(make))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("koodrive_dialect", ["200-null"], indirect=True)
def test_a_backup_into_a_record_that_is_not_there_leaves_no_entry(invoke, tree, kept_journal):
    done = invoke("backup", tree, "--record", "4242")
    assert (done.exit_code, kept_journal.exists()) == (4, True)
    assert invoke("journal").stdout == ""
