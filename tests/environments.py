"""Run the core suites in environments of their own: other Pythons, lowest declared versions.

``python -m tests.environments 3.12 3.13`` installs the pinned versions for each Python that is at
hand and runs the core suites there. ``python -m tests.environments lowest`` installs the lowest
version that ``pyproject.toml`` declares of every dependency, extras included, and runs the core
suites and those of the command. A Python that is not installed is named and left out.

The environments are in ``build/environments``; making one asks the package index.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "build" / "environments"
LOWEST = "lowest"

EXTRAS = "cli,keyring,notebook,otel,testing,truststore"
WEB = "web"
"""Installed last: the lowest FastAPI needs a newer OpenTelemetry than the extra ``otel`` does."""

TOOLS = (
    "blockbuster",
    "hypothesis",
    "import-linter",
    "ipykernel",
    "nbclient",
    "opentelemetry-sdk",
    "proxy.py",
    "pytest-randomly",
    "pytest-socket",
    "pytest-timeout",
    "pytest-xdist",
    "trustme",
    "uvloop",
)
CORE = ("hashing", "interface", "upload", "emulator")
WITH_EXTRAS = ("cli", "sync", "telemetry", "sinks", "testing", "network")


def main() -> int:
    """Run what the command line names; return the number of environments that failed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("environments", nargs="+", metavar="3.x | lowest")
    parser.add_argument("--workers", default="auto", help="processes that run tests")
    given = parser.parse_args()
    failed = 0
    for name in given.environments:
        works = lowest(given.workers) if name == LOWEST else of_python(name, given.workers)
        failed += not works
    return failed


def of_python(version: str, workers: str) -> bool:
    """Run the core suites with another Python; return whether they passed."""
    interpreter = find_python(version)
    if interpreter is None:
        print(f"Python {version}: not installed here, left out", flush=True)
        return True
    python = environment(version, interpreter)
    uv(python, "--constraint", "constraints.txt", "--editable", f".[{EXTRAS}]", *TOOLS)
    return tests(python, CORE, workers)


def lowest(workers: str) -> bool:
    """Run the suites with the lowest declared versions; return whether they passed."""
    python = environment(LOWEST, sys.executable)
    lowest_versions = ("--resolution", "lowest-direct")
    uv(python, *lowest_versions, "--editable", f".[{EXTRAS}]", *pinned(TOOLS))
    passed = tests(python, CORE + WITH_EXTRAS, workers)
    uv(python, *lowest_versions, "--editable", f".[{WEB}]")
    return tests(python, ("web",), workers) and passed


def find_python(version: str) -> str | None:
    """Return an interpreter of this version, ``3.13`` for instance, that starts."""
    found = [shutil.which(f"python{version}")]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += [str(path) for path in sorted(root.glob(f"versions/{version}*/bin/python"))]
    for each in found:
        asked = each and subprocess.run(
            [each, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked and asked.stdout.strip() == version:
            return each
    return None


def environment(name: str, interpreter: str) -> Path:
    """Make an empty virtual environment; return its Python."""
    home = PLACE / name
    shutil.rmtree(home, ignore_errors=True)
    run(str(uv_command()), "venv", "--quiet", "--python", interpreter, str(home))
    return home / ("Scripts" if os.name == "nt" else "bin") / "python"


def pinned(names: tuple[str, ...]) -> list[str]:
    """Return requirements of the versions in ``constraints.txt``.

    OpenTelemetry's SDK is of the version of its API, so that one is left open.
    """
    versions = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    free = {"opentelemetry-sdk": "opentelemetry-sdk>=1.27"}
    return [free.get(name) or f"{name}=={versions[name]}" for name in names]


def uv(python: Path, *arguments: str) -> None:
    """Install packages into an environment."""
    run(str(uv_command()), "pip", "install", "--quiet", "--python", str(python), *arguments)


def uv_command() -> Path:
    """Return the installer, which comes with the development tools."""
    return Path(sys.executable).with_name("uv")


def tests(python: Path, folders: tuple[str, ...], workers: str) -> bool:
    """Run the tests of some folders; return whether they passed."""
    version = subprocess.run(
        [python, "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"--- {version}, {python.parent.parent.name}: {', '.join(folders)}", flush=True)
    command = [str(python), "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, *(f"tests/{folder}" for folder in folders)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not re.match("PYTHON", name)},
        check=False,
    )
    return ran.returncode == 0


def run(*command: str) -> None:
    """Run a command in the project's folder; its failure ends everything."""
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
