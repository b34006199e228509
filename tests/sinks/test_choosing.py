"""Which sink is chosen where, and what a missing package says."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

import koodrive_async.sinks

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

CHOICE = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from koodrive_async.sinks import sink_for_here
print("chosen:", type(sink_for_here()).__name__)
"""


def chosen(*missing, term="xterm-256color", **streams):
    command = [sys.executable, "-c", CHOICE, *missing]
    env = os.environ | {"TERM": term}
    done = subprocess.run(
        command, env=env, check=True, encoding="utf-8", stdout=subprocess.PIPE, **streams
    )
    return done.stdout.split("chosen: ")[1].strip()


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield {"stderr": theirs, "stdin": theirs}
    os.close(ours)
    os.close(theirs)


def test_a_terminal_gets_bars(terminal):
    assert chosen(**terminal) == "RichSink"


def test_without_rich_it_gets_lines(terminal):
    assert chosen("rich", "rich.console", **terminal) == "PlainSink"


def test_a_dumb_terminal_gets_lines(terminal):
    assert chosen(term="dumb", **terminal) == "PlainSink"


def test_a_pipe_gets_lines():
    assert chosen(stderr=subprocess.DEVNULL) == "PlainSink"


def test_a_program_without_standard_error_gets_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert type(koodrive_async.sinks.sink_for_here()).__name__ == "PlainSink"


def test_ipython_without_a_kernel_is_a_terminal(monkeypatch):
    class Loaded:
        @staticmethod
        def get_ipython():
            return object()

    monkeypatch.setitem(sys.modules, "IPython", Loaded)
    assert type(koodrive_async.sinks.sink_for_here()).__name__ == "PlainSink"


def test_the_total_goes_to_the_sink():
    assert koodrive_async.sinks.sink_for_here(total=5).total == 5


@pytest.mark.parametrize(
    ("sink", "package", "message"),
    [
        ("RichSink", "rich", "RichSink needs rich: pip install 'koodrive-async[cli]'"),
        ("TqdmSink", "tqdm", "TqdmSink needs tqdm: pip install 'koodrive-async[notebook]'"),
        (
            "NotebookSink",
            "IPython",
            "NotebookSink needs IPython: pip install 'koodrive-async[notebook]'",
        ),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(sink, package, message):
    code = f"import sys; sys.modules[{package!r}] = None\nfrom koodrive_async.sinks import {sink}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {message}"


def test_nothing_optional_is_loaded_before_it_is_wanted():
    code = (
        "import sys\n"
        "from koodrive_async.sinks import show, PlainSink, LoggingSink, JsonSink, Sink\n"
        "print({'rich', 'tqdm', 'IPython'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", koodrive_async.sinks.__all__)
def test_public_names_resolve_and_are_documented(name):
    assert getattr(koodrive_async.sinks, name).__name__ == name
    assert getattr(koodrive_async.sinks, name).__doc__
    assert name in dir(koodrive_async.sinks)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"koodrive_async\.sinks.*nonsense"):
        koodrive_async.sinks.nonsense  # noqa: B018 - that it raises is what is tested
