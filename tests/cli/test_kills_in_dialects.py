"""A killed command in dialects that answer a held lock and a bound machine otherwise."""

from __future__ import annotations

import pytest

from koodrive_async.emulator import Dialect, Fault
from tests.cli.interrupted import assert_is_backed_up
from tests.sample import sample


@pytest.mark.usefixtures("kept_journal")
@pytest.mark.parametrize(
    "koodrive_dialect",
    [
        Dialect(held_lock="423-13000901", unknown_lock="404-13000309"),
        Dialect(unfinished_files="listed", unique_names="folder"),
        Dialect(bound_machine="another-device", pages="empty"),
        Dialect(bound_machine="refused", refusal_status="200"),
    ],
    ids=str,
)
def test_the_next_backup_after_a_kill_goes_on(start, call, tmp_path, koodrive_emulator):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("one", "two"):
        (root / name).write_bytes(sample(2**20, seed=len(name)))
    stuck = Fault("silence", "files.complete")
    koodrive_emulator.faults.add(stuck)
    with start("backup", root) as process:
        assert koodrive_emulator.seen.wait_active("files.complete")
        process.kill()
        process.wait()
    koodrive_emulator.faults.remove(stuck)
    assert len(koodrive_emulator.locks()) == 1
    done = call("backup", root, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert_is_backed_up(koodrive_emulator, root)
