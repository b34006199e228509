"""What the runs with other Pythons and the lowest versions take, and what they leave out aloud."""

from __future__ import annotations

import argparse
import shutil
import sys

import pytest

from tests import environments
from tests.environments import Environment, find_python, main, pythons_of_pyenv, supported_pythons
from tests.sampling import sample

THIS = environments.THIS_PYTHON


@pytest.fixture
def pyenv_with(monkeypatch, tmp_path):
    """Return a function that lets pyenv have Pythons, none of which starts."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    def have(*versions):
        for version in versions:
            python = tmp_path / "versions" / version / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()

    return have


@pytest.fixture
def passing(monkeypatch):
    """Let every environment pass whose Python starts, without making it."""
    monkeypatch.setattr(environments, "known_to_uv", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for name in ("run_pinned", "run_lowest"):
        monkeypatch.setattr(environments, name, lambda *_, **__: True)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["environments", *arguments])
    return main()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("3.13", Environment("3.13", lowest=False)),
        ("lowest", Environment(THIS, lowest=True)),
        ("lowest-3.12", Environment("3.12", lowest=True)),
    ],
)
def test_a_name_says_which_python_and_which_versions(name, meant):
    assert Environment.named(name) == meant


@pytest.mark.parametrize("name", ["", "3", "py3.13", "lowest-", "lowest3.12", "highest", "3.13-"])
def test_a_name_that_means_nothing_is_refused(name):
    with pytest.raises(argparse.ArgumentTypeError, match="neither"):
        Environment.named(name)


def test_this_python_is_found():
    assert find_python(THIS) == sys.executable


@pytest.mark.usefixtures("passing")
def test_a_python_that_is_not_installed_is_left_out_aloud(monkeypatch, capsys, pyenv_with):
    pyenv_with()
    assert run(monkeypatch, "--every-python", THIS, "3.99") == 0
    told = capsys.readouterr().out
    assert f"Python {THIS} with the pinned versions: passed" in told
    assert "Python 3.99 with the pinned versions: NOT INSTALLED HERE, LEFT OUT" in told


@pytest.mark.usefixtures("passing")
def test_a_python_of_pyenv_that_nothing_used_is_a_failure(monkeypatch, capsys, pyenv_with):
    others = sorted(supported_pythons() - {THIS})
    pyenv_with("2.7.18", "3.10.13", "pypy3.10-7.3", *(f"{version}.1" for version in others))
    assert pythons_of_pyenv() == {"2.7", "3.10", *others}
    assert run(monkeypatch, "--every-python", THIS, *others) == len(others)
    assert "pyenv has it, but NOTHING RAN THERE" in capsys.readouterr().out
    assert run(monkeypatch, THIS) == 0


@pytest.mark.usefixtures("passing")
def test_suites_that_fail_are_failures(monkeypatch, capsys):
    monkeypatch.setattr(environments, "run_lowest", lambda *_, **__: False)
    assert run(monkeypatch, "lowest", THIS) == 1
    assert f"Python {THIS} with the lowest versions: FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "place",
    [
        *environments.CORE,
        *environments.COMMAND,
        *environments.IN_THE_SAMPLE_OF_LOWEST,
        *environments.NOT_IN_THE_SAMPLE,
        *environments.USING_EXTRAS,
        *environments.WITH_WEB,
    ],
)
def test_each_place_that_is_run_exists(place):
    assert (environments.ROOT / "tests" / place).exists()


@pytest.mark.parametrize(
    ("most", "chosen"), [(1, "a"), (2, "ae"), (3, "ace"), (4, "abce"), (5, "abcde"), (9, "abcde")]
)
def test_a_sample_has_the_first_and_the_last_parameter_set_of_each_test(most, chosen):
    everything = [f"t.py::swept[{each}]" for each in "edcba"] + ["t.py::single"]
    expected = ["t.py::single", *(f"t.py::swept[{each}]" for each in chosen)]
    assert sorted(sample(everything, most)) == expected
