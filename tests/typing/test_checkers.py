"""mypy and pyright see the public interface as its users are to see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ACCEPTED = HERE / "accepted.py"
REFUSED = HERE / "refused.py"
SETTINGS = {
    # pyright looks at the packages of the first Python it finds
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT),
    # and would ask an index for a newer one of itself
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
}
MARKED = re.compile(r"  # ([a-z-]+), (report[A-Za-z]+)$")


def marked(which):
    """Return what is wrong in which line, as the file says: 0 for mypy, 1 for pyright."""
    found = {}
    for number, line in enumerate(REFUSED.read_text(encoding="utf-8").splitlines(), start=1):
        if mark := MARKED.search(line):
            found[number] = mark.groups()[which]
    return found


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


def mypy(path):
    lines = run("mypy", "--output", "json", path).splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    return {each["line"]: each["code"] for each in told if each["severity"] == "error"}


def pyright(path):
    told = json.loads(run("pyright", "--outputjson", path))
    return {each["range"]["start"]["line"] + 1: each["rule"] for each in told["generalDiagnostics"]}


def test_mypy_accepts_what_is_right():
    assert mypy(ACCEPTED) == {}


def test_mypy_refuses_each_wrong_line_and_no_other():
    assert mypy(REFUSED) == marked(0)


def test_pyright_accepts_what_is_right():
    assert pyright(ACCEPTED) == {}


def test_pyright_refuses_each_wrong_line_and_no_other():
    assert pyright(REFUSED) == marked(1)


def test_every_public_name_has_a_known_type():
    told = json.loads(
        run("pyright", "--outputjson", "--ignoreexternal", "--verifytypes", "koodrive_async")
    )
    completeness = told["typeCompleteness"]
    symbols = [each for each in completeness["symbols"] if each["isExported"]]
    assert [each["name"] for each in symbols if not each["isTypeKnown"]] == []
    assert completeness["completenessScore"] == 1
