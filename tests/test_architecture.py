"""Imports point downward only: the contracts stand in ``pyproject.toml``."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CHECK = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(cache_dir=None, no_cache=True))
"""


def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def test_the_import_contracts_are_kept():
    done = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    report = done.stdout + done.stderr
    if done.returncode:
        pytest.fail(f"an import contract is broken:\n{report}", pytrace=False)
    assert f"Contracts: {len(settings()['contracts'])} kept, 0 broken." in report


def test_every_part_of_the_package_is_under_a_contract():
    layers, *forbidden = settings()["contracts"]
    named = {name.strip() for layer in layers["layers"] for name in layer.split("|")}
    named |= {each.partition(".")[2] for rule in forbidden for each in rule["source_modules"]}
    package = ROOT / "koodrive_async"
    parts = {path.stem for path in package.glob("*.py")}
    parts |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert parts - {"__init__", "__main__", "_version"} <= named
