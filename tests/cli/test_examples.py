from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SLOW = re.compile(r"Executing <.*> took \d+\.\d+ seconds")
"""What asyncio's debug mode says of a step on a busy machine."""


def example(name, *arguments):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=40,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    said = [line for line in done.stderr.splitlines() if not SLOW.fullmatch(line)]
    assert (done.returncode, said) == (0, [])
    return done.stdout


@pytest.mark.usefixtures("no_settings")
def test_backup_folder_starts_an_emulator_of_its_own(tree):
    assert "5 files, " in example("backup_folder.py", tree)


@pytest.mark.usefixtures("environment")
def test_backup_folder_uses_the_service_in_the_environment(tree, koodrive_emulator):
    example("backup_folder.py", tree)
    assert koodrive_emulator.seen.count("records.complete", status=200) == 1


@pytest.mark.usefixtures("no_settings")
def test_list_records_resumes_from_a_cursor():
    out = example("list_records.py")
    assert out.count("record ") == 5
    assert out.endswith("resumed from the cursor: 3 more records\n")
