"""The documentation builds without a warning, and its reference has every public name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from html import unescape
from importlib import import_module
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

from tests.docs.pages import DOCS

MODULES = ("", ".emulator", ".frames", ".hashing", ".sinks", ".sync", ".testing", ".upload")


pytestmark = pytest.mark.timeout(180)  # the first one builds


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(built)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)


@pytest.fixture(scope="module")
def site(build):
    return Path(build.args[-1])


@pytest.fixture(scope="module")
def documented(site):
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    names = set()
    for kind, entries in inventory.data.items():
        names |= set(entries) if kind.startswith("py:") else set()
    return names


def test_it_builds_without_a_warning(build):
    assert (build.returncode, build.stderr) == (0, "")


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(documented, module):
    package = import_module(f"koodrive_async{module}")
    missing = {
        name
        for name in package.__all__
        if f"{package.__name__}.{name}" not in documented
        # what it hands on is documented where most will import it from
        and not (is_handed_on(package, name) and f"koodrive_async.{name}" in documented)
    }
    assert not missing


def test_the_page_on_architecture_shows_the_layers_that_are_kept():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (chain,) = re.findall(r"^```\n(cli .*?)\n\n", page, re.DOTALL | re.MULTILINE)
    shown = [layer.strip().split(", ") for layer in chain.split("─►")]
    settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    (kept,) = [
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    assert shown == [layer.split(" | ") for layer in kept]


@pytest.mark.parametrize("builtin", [str, int, tuple, dict, type(int | str)])
def test_nothing_is_documented_as_what_python_says_of_its_type(site, builtin):
    said, *_ = (builtin.__doc__ or "").splitlines()
    for page in (site / "reference").glob("*.html"):
        assert said not in unescape(page.read_text(encoding="utf-8")), page


def is_handed_on(package, name):
    front = import_module("koodrive_async")
    return getattr(front, name, None) is getattr(package, name)


def test_no_page_leads_to_another_site_unawares(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text, page
