"""No file is created to find out which space a file is in."""

from __future__ import annotations

import pytest

from koodrive_async import AutoRename, Module, RetryPolicy
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio

QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)


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
