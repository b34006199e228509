"""The wheel and the source archive: complete, the same each time, and working where installed.

Each is installed into an environment that holds the declared dependencies and nothing else. They
are lent to it from the environment of the tests, so that this needs no package index; only
``pytest -m index`` asks one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parent.parent
PROJECT = "koodrive-async"
NOT_SHIPPED = {".ci/run"}


def run(*command, cwd=None, **environment):
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{command}:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


def clean_environment():
    """Return the environment without what would lead into this tree or to somebody's settings."""
    unwanted = ("KOODRIVE_", "PYTHON", "VIRTUAL_ENV", "PIP_", "COVERAGE")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of the repository's files, to which nobody writes meanwhile."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    copy = tmp_path_factory.mktemp("tree") / "koodrive-async"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", *ignored))
    return copy


def build(tree, directory):
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, tree)
    (wheel,) = directory.glob("*.whl")
    (archive,) = directory.glob("*.tar.gz")
    return wheel, archive


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
    return build(tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """Return the folder of an unpacked source archive."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built[1]) as archive:
        archive.extractall(place, filter="data")
    (folder,) = place.iterdir()
    return folder


# --- what is in them ---------------------------------------------------------------------------


def test_the_wheel_holds_the_package_and_nothing_else(built, tree):
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
        told = next(wheel.read(name).decode() for name in names if name.endswith("/METADATA"))
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"koodrive_async"}
    assert "koodrive_async/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name for name in files_of(tree) if name.startswith("koodrive_async/")} <= names
    assert "Provides-Extra: cli" in told
    assert "Typing :: Typed" in told


def test_the_source_archive_holds_every_file_of_the_repository(unpacked, tree):
    assert files_of(tree) - files_of(unpacked) <= NOT_SHIPPED


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_tests_of_the_source_archive_can_be_collected_there(unpacked):
    told = run(
        sys.executable, "-P", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider",
        "--assert=plain",  # nothing is run, and rewriting all asserts takes half of the time
        cwd=unpacked,
    )  # fmt: skip
    assert " tests collected" in told


def test_what_is_built_is_the_same_each_time(built, tree, tmp_path):
    again = build(tree, tmp_path)
    assert [path.name for path in again] == [path.name for path in built]
    for one, other in zip(built, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


# --- where they are installed ------------------------------------------------------------------


def test_the_demo_runs_from_an_installed_wheel(built, tmp_path):
    python = environment(tmp_path, lent=closure(PROJECT, "cli"))
    install(python, built[0])
    check_demo(python, tmp_path)


def test_the_demo_runs_from_an_installed_source_archive(built, tmp_path):
    lent = closure(PROJECT, "cli") | closure("hatchling") | {"hatchling"}
    python = environment(tmp_path, lent=lent)
    install(python, built[1], "--no-build-isolation")
    check_demo(python, tmp_path)


@pytest.mark.index
@pytest.mark.usefixtures("systems_authorities")
def test_the_demo_runs_from_a_wheel_whose_dependencies_come_from_an_index(built, tmp_path):
    python = environment(tmp_path, lent=())
    told = {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
    run(sys.executable, "-m", "pip", "--python", python, "install", f"{built[0]}[cli]", **told)
    check_demo(python, tmp_path)


def environment(place, *, lent):
    """Make a virtual environment with some of the packages of this one; return its Python."""
    home = place / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for top in {top for name in lent for top in tops(name)}:
        (site / top.name).symlink_to(top)
    return python


def tops(name):
    """Return what a package has put into the folder of packages."""
    site = Path(sysconfig.get_path("purelib"))
    files = metadata.distribution(name).files or ()
    return {site / file.parts[0] for file in files if file.parts[0] not in {"..", "__pycache__"}}


def closure(name, extra=""):
    """Return the names of the packages that a package declares to need, and what they need."""
    found: set[str] = set()
    waiting = [(name, extra)]
    while waiting:
        current, wanted = waiting.pop()
        for line in metadata.distribution(current).requires or ():
            requirement = Requirement(line)
            needed = canonicalize_name(requirement.name)
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            if needed not in found:
                found.add(needed)
                waiting.extend((needed, each) for each in ("", *requirement.extras))
    return found


def install(python, what, *options):
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-index",
        "--disable-pip-version-check", *options, f"{what}[cli]",
    )  # fmt: skip


def check_demo(python, tmp_path):
    where = run(python, "-c", "import koodrive_async; print(koodrive_async.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(tmp_path)
    command = python.with_name("koodrive")
    home = tmp_path / "home"
    home.mkdir()
    told = run(command, "demo", cwd=home, HOME=str(home))
    assert "Every file came back byte for byte." in told
