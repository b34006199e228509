"""Run the core suites in environments of their own: other Pythons, lowest declared versions.

``python -m tests.environments 3.13`` installs the pinned versions for that Python and runs the
suites of the core and of the command there. ``lowest`` installs the lowest version that
``pyproject.toml`` declares of every dependency, extras included, for the Python that runs this;
``lowest-3.12`` for another. ``--parameter-sets 2`` is a sample, for which ``.ci/run`` has time:
each test with two of its parameter sets only, and not the whole suite of the command.

A Python that is not installed is named at the end and left out. With ``--every-python`` it is a
failure when pyenv has a supported Python that nothing used, so that none is left out by mistake.

The environments are in ``build/environments``; making one asks the package index.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "build" / "environments"
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

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
CORE = ("hashing", "interface", "upload", "emulator", "test_dependencies.py")
COMMAND = ("cli",)
IN_THE_SAMPLE = ("cli/test_backup.py", "cli/test_command.py", "cli/test_demo.py")
IN_THE_SAMPLE_OF_LOWEST = (
    *IN_THE_SAMPLE,
    "cli/test_config_explain.py",
    "cli/test_dates.py",
    "cli/test_deleting.py",
    "cli/test_listings.py",
    "cli/test_login.py",
    "cli/test_network.py",
    "cli/test_profiles.py",
    "cli/test_resuming.py",
    "cli/test_rules.py",
    "cli/test_scopes.py",
)
"""Of the command's suite what starts few processes: the whole takes longer than all of the core."""
NOT_IN_THE_SAMPLE = ("upload/test_adaptive.py",)
"""Simulations of links, in plain Python."""

USING_EXTRAS = (
    "network/test_forks.py",  # imports every module of the package
    "network/test_tls.py",
    "notebook/test_frames.py",
    "telemetry",
    "testing",
)
WITH_WEB = ("web/test_requests.py",)

OLD_AMONG_NEW = ("-W", "ignore::pyparsing.warnings.PyparsingDeprecationWarning")
"""The lowest matplotlib uses names of a newer pyparsing that are deprecated there."""


@attrs.frozen
class Environment:
    """What the command line names: ``3.13``, ``lowest``, ``lowest-3.12``.

    :param python: A version, ``3.12`` for instance.
    :param lowest: Whether the lowest declared versions are installed instead of the pinned ones.
    """

    python: str
    lowest: bool

    @classmethod
    def named(cls, name: str) -> Environment:
        """Return what a name means.

        :raises argparse.ArgumentTypeError: It means nothing.
        """
        if name == "lowest":
            return cls(THIS_PYTHON, lowest=True)
        found = re.fullmatch(r"(lowest-)?(\d+\.\d+)", name)
        if not found:
            raise argparse.ArgumentTypeError(f"{name} is neither 3.x nor lowest nor lowest-3.x")
        return cls(found[2], lowest=bool(found[1]))

    def __str__(self) -> str:
        versions = "lowest" if self.lowest else "pinned"
        return f"Python {self.python} with the {versions} versions"


def main() -> int:
    """Run what the command line names; return the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("environments", nargs="+", type=Environment.named, metavar="3.x | lowest")
    parser.add_argument("--workers", default="auto", help="processes that run tests")
    parser.add_argument("--parameter-sets", type=int, metavar="N", help="of each test")
    parser.add_argument("--every-python", action="store_true", help="fail where pyenv has another")
    given = parser.parse_args()
    options = ["-n", given.workers]
    sampled = given.parameter_sets is not None
    if sampled:
        options += ["-p", "tests.sampling", "--parameter-sets", str(given.parameter_sets)]
        options += [f"--ignore=tests/{file}" for file in NOT_IN_THE_SAMPLE]
    results = {each: result_of(each, options, sampled=sampled) for each in given.environments}
    print("--- environments")
    for environment, result in results.items():
        print(f"{environment}: {result or 'NOT INSTALLED HERE, LEFT OUT'}")
    used = {THIS_PYTHON, *(each.python for each, result in results.items() if result)}
    unused = sorted(pythons_of_pyenv() & supported_pythons() - used) if given.every_python else []
    for version in unused:
        print(f"Python {version}: pyenv has it, but NOTHING RAN THERE")
    return len(unused) + sum((result or "").startswith("FAILED") for result in results.values())


def result_of(environment: Environment, options: list[str], *, sampled: bool) -> str | None:
    """Make an environment and run its suites; return what came of it, None without its Python."""
    interpreter = find_python(environment.python)
    if interpreter is None:
        return None
    began, cpu = time.monotonic(), seconds_of_children()
    run_all = run_lowest if environment.lowest else run_pinned
    passed = run_all(environment, interpreter, options, sampled=sampled)
    wall, cpu = time.monotonic() - began, seconds_of_children() - cpu
    return f"{'passed' if passed else 'FAILED'} in {wall:.0f} s ({cpu:.0f} s of processors)"


def run_pinned(
    environment: Environment, interpreter: str, options: list[str], *, sampled: bool
) -> bool:
    """Run the core suites with the pinned versions; return whether they passed."""
    python = make(f"pinned-{environment.python}", interpreter)
    install(python, "--constraint", "constraints.txt", "--editable", f".[{EXTRAS}]", *TOOLS)
    return run_tests(environment, python, CORE + (IN_THE_SAMPLE if sampled else COMMAND), options)


def run_lowest(
    environment: Environment, interpreter: str, options: list[str], *, sampled: bool
) -> bool:
    """Run the suites with the lowest declared versions; return whether they passed."""
    python = make(f"lowest-{environment.python}", interpreter)
    lowest = ("--resolution", "lowest-direct")
    install(python, *lowest, "--editable", f".[{EXTRAS}]", *pinned(TOOLS))
    places = CORE + USING_EXTRAS + (IN_THE_SAMPLE_OF_LOWEST if sampled else COMMAND)
    passed = run_tests(environment, python, places, [*options, *OLD_AMONG_NEW])
    install(python, *lowest, "--editable", f".[{WEB}]")
    return run_tests(environment, python, WITH_WEB, options) and passed


def find_python(version: str) -> str | None:
    """Return an interpreter of this version, ``3.13`` for instance, that starts."""
    candidates = [sys.executable, shutil.which(f"python{version}")]
    candidates += [str(path) for path in sorted(pyenv().glob(f"{version}.*/bin/python"))]
    candidates.append(known_to_uv(version))
    return next((each for each in candidates if each and version_of(each) == version), None)


def version_of(interpreter: str) -> str | None:
    """Return the version of an interpreter as it says; None when it does not start."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        asked = subprocess.run(
            [interpreter, "-c", code], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return asked.stdout.strip() or None


def known_to_uv(version: str) -> str | None:
    """Return an interpreter that uv knows of, without having it downloaded."""
    command = [uv(), "python", "find", "--no-python-downloads", "--system", version]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def pyenv() -> Path:
    """Return the folder in which pyenv keeps its Pythons."""
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"


def pythons_of_pyenv() -> set[str]:
    """Return the versions that pyenv has, as ``3.13``, whether they start or not."""
    names = (path.parent.parent.name for path in pyenv().glob("*/bin/python"))
    return {found[1] for name in names if (found := re.match(r"(\d+\.\d+)\.\d", name))}


def supported_pythons() -> set[str]:
    """Return the versions that the package says it runs on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set(re.findall(r"Python :: (\d+\.\d+)", "\n".join(project["classifiers"])))


def make(name: str, interpreter: str) -> Path:
    """Make an empty virtual environment; return its Python."""
    home = PLACE / name
    shutil.rmtree(home, ignore_errors=True)
    run(uv(), "venv", "--quiet", "--python", interpreter, str(home))
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


def install(python: Path, *arguments: str) -> None:
    """Install packages into an environment."""
    run(uv(), "pip", "install", "--quiet", "--python", str(python), *arguments)


def uv() -> str:
    """Return the installer, which comes with the development tools."""
    return str(Path(sys.executable).with_name("uv"))


def run_tests(
    environment: Environment, python: Path, places: tuple[str, ...], options: list[str]
) -> bool:
    """Run the tests of some folders and files; return whether they passed."""
    print(f"--- {environment}: {', '.join(places)}", flush=True)
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    ran = subprocess.run(
        [*command, *(f"tests/{place}" for place in places)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not re.match("PYTHON", name)},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return ran.returncode == 0


def run(*command: str) -> None:
    """Run a command in the project's folder; its failure ends everything."""
    subprocess.run(command, cwd=ROOT, check=True)


def seconds_of_children() -> float:
    """Return the processor time of all that ended below this process."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
