"""No file is created to find out which space a file is in."""

from __future__ import annotations

import pytest

from koodrive_async import AutoRename, Module, RetryPolicy
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)


def add_a_space(path, answer):
    if path.startswith("/koodrive/ose/v2/space/"):
        spaces = answer["data"]
        spaces.insert(0, {**spaces[0], "containerId": "another"})


@pytest.mark.parametrize("details", ["offered", "absent"])
@pytest.mark.parametrize("calls", ["both", "v1", "v2", "neither"])
async def test_each_file_is_created_once_whoever_knows_its_space(tmp_path, calls, details):
    dialect = Dialect(container_in_answer="absent", space_calls=calls, details_call=details)
    journal, place = tmp_path / "journal.db", tmp_path / "a"
    place.write_bytes(b"first")
    with Emulator(tmp_path / "koodrive", dialect=dialect) as emulator:
        receipts, created = [], []

        async def run(work, **more):
            async with connect(emulator, retry=QUICK, journal=journal) as drive:
                device = await drive.devices.bind("m")
                async with drive.backup(device.device_id, Module.FOLDER, **more) as session:
                    for source, options in work:
                        receipts.append(await session.upload(source, **options))
                    created.append(emulator.seen.count("files.create"))
                    if not more:
                        raise LookupError

        # completing is refused after a lost answer: its bytes have to be looked at, in its space
        emulator.faults.add(Fault("lost-answer", "files.complete", times=1))
        with pytest.raises(LookupError):
            await run([(place, {})])
        (record,) = emulator.records()
        skip = {"name": "a", "auto_rename": AutoRename.SKIP}
        again = [(place, {}), (b"first", skip), (b"second", {"name": "b"})]
        await run(again, resume=record.record_id)
    known = None if calls == "neither" else emulator.container_id
    assert [each.container_id for each in receipts] == [known] * 4
    assert [each.outcome for each in receipts] == ["uploaded", "exists", "exists", "uploaded"]
    # one call for each file; a file that is skipped is asked for by the same call
    assert created == [1, 3]


@pytest.mark.parametrize(
    "koodrive_dialect", [Dialect(container_in_answer="absent", description_limit="512")]
)
async def test_which_of_several_spaces_it_is_a_file_shows_that_was_refused_at_first(
    rewriting, koodrive_emulator
):
    """A refusal has the space asked for before there is a file that is in one."""
    async with rewriting(add_a_space) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(b"bytes", name="a", description="d" * 900)
    assert receipt.stored_description is not None
    assert receipt.container_id == koodrive_emulator.container_id


@pytest.mark.parametrize("koodrive_dialect", [Dialect(container_in_answer="absent")])
async def test_which_of_several_spaces_it_is_no_unfinished_file_has_to_show(
    rewriting, koodrive_emulator
):
    """A call to complete a file is lost before it acts, and the file looked for in every space."""
    koodrive_emulator.faults.add(
        Fault("reset", "files.complete", moment="before", times=1),
        Fault("error", "files.complete", status=400, code="13000401", times=1, after=1),
    )
    async with rewriting(add_a_space) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipts = [await session.upload(name, name="a") for name in (b"1", b"2")]
    assert [each.container_id for each in receipts] == [koodrive_emulator.container_id] * 2
    stored = {file.file_id for file in koodrive_emulator.files() if file.completed}
    assert stored == {each.file_id for each in receipts}
