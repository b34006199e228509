"""The files in ``changes/``, of which a release makes ``CHANGELOG.md``."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FRAGMENTS = [path for path in sorted((ROOT / "changes").iterdir()) if path.name != "README.md"]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
KINDS = [kind["directory"] for kind in SETTINGS["type"]]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_a_change_has_a_known_kind_and_is_told_in_a_few_sentences(fragment):
    named = re.fullmatch(r"\+[a-z-]+\.([a-z]+)\.md", fragment.name)
    assert named, "a file here is called +word.kind.md"
    assert named[1] in KINDS
    text = fragment.read_text(encoding="utf-8")
    assert text.endswith(".\n")
    assert 1 <= len(re.findall(r"[.:;](?=\s)", text)) <= 8


def test_the_readme_names_the_kinds():
    told = (ROOT / "changes" / "README.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" in told] == KINDS


def test_the_changelog_has_the_place_where_a_release_goes():
    assert SETTINGS["start_string"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_release_would_tell_every_change():
    done = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = " ".join(done.stdout.split())
    for fragment in FRAGMENTS:
        assert " ".join(fragment.read_text(encoding="utf-8").split()) in told
