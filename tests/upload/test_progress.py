"""Progress: two phases, forward only, complete at the end."""

from __future__ import annotations

import pytest

from koodrive_async.emulator import Fault
from koodrive_async.upload import Phase, Progress

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def test_both_phases_go_forward_and_end_at_the_size(session, make_file, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=2))
    seen: list[Progress] = []
    receipt = await session.upload(make_file(23 * MIB), part_size=5 * MIB, on_progress=seen.append)
    assert receipt.retries == 2
    for phase in Phase:
        done = [progress.done for progress in seen if progress.phase is phase]
        assert done == sorted(done)
        assert done[-1] == 23 * MIB
        assert done.count(23 * MIB) == 1
    phases = [progress.phase for progress in seen]
    assert phases == sorted(phases)  # "hash" comes before "upload"
    assert {(progress.name, progress.total) for progress in seen} == {("file.bin", 23 * MIB)}


async def test_a_file_that_needs_no_sending_is_reported_as_done(session, make_file):
    await session.upload(make_file(1000))
    seen: list[Progress] = []
    await session.upload(make_file(1000), on_progress=seen.append)
    assert (seen[-1].phase, seen[-1].done) == (Phase.UPLOAD, 1000)


async def test_an_error_in_the_callback_reaches_the_caller(session, make_file):
    def refuse(progress):
        raise LookupError(progress.phase)

    with pytest.raises(LookupError):
        await session.upload(make_file(1000), on_progress=refuse)


async def test_files_of_the_same_name_can_be_told_apart(session, make_file):
    seen: list[Progress] = []
    paths = [make_file(100, "a/same.bin", 1), make_file(100, "b/same.bin", 2)]
    root = paths[0].parent.parent
    async for outcome in session.upload_tree(root, on_progress=seen.append):
        assert outcome.description in {"a/same.bin", "b/same.bin"}
    assert {progress.description for progress in seen} == {"a/same.bin", "b/same.bin"}
    assert {progress.source for progress in seen} == set(paths)
