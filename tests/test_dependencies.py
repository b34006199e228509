"""What the project asks of its dependencies: declared bounds, and private names that it uses.

``make test-lowest`` installs the lowest declared versions and runs the suites there.
"""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import aiohttp
import click
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from packaging.requirements import Requirement
from packaging.version import Version
from pathspec import GitIgnoreSpec

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOR_USERS = ("cli", "keyring", "notebook", "otel", "testing", "truststore", "web")
DECLARED = [
    Requirement(line)
    for lines in (
        PROJECT["dependencies"],
        *(PROJECT["optional-dependencies"][extra] for extra in FOR_USERS),
    )
    for line in lines
]
PRIVATE_NAMES_OF = {"aiohttp", "click", "pathspec"}


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda each: each.name)
def test_each_dependency_of_users_has_a_lowest_version(requirement):
    operators = [specifier.operator for specifier in requirement.specifier]
    assert operators.count(">=") == 1


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda each: each.name)
def test_a_library_whose_private_names_are_used_has_an_upper_bound(requirement):
    bounds = [each for each in requirement.specifier if each.operator == "<"]
    assert bool(bounds) == (requirement.name in PRIVATE_NAMES_OF)


def test_the_pinned_versions_lie_within_the_bounds():
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {line.split("==")[0].lower(): line.split("==")[1] for line in lines if "==" in line}
    for requirement in DECLARED:
        assert requirement.specifier.contains(Version(pinned[requirement.name.lower()]))


def test_the_extras_of_users_are_those_that_are_declared():
    assert set(PROJECT["optional-dependencies"]) == {*FOR_USERS, "bench", "docs", "dev"}


# --- private names of aiohttp --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("connect", ["self", "req", "traces", "timeout"]),
        ("_create_connection", ["self", "req", "traces", "timeout"]),
        ("_get_ssl_context", ["self", "req"]),
    ],
)
def test_the_connector_of_aiohttp_has_the_methods_that_ours_overrides_or_calls(method, parameters):
    function = getattr(aiohttp.TCPConnector, method)
    assert inspect.iscoroutinefunction(function) == (method != "_get_ssl_context")
    assert list(inspect.signature(function).parameters) == parameters


def test_aiohttp_wraps_a_socket_that_is_connected():
    wrap = aiohttp.TCPConnector._wrap_existing_connection
    assert inspect.iscoroutinefunction(wrap)
    assert {"args", "req", "timeout", "kwargs"} <= set(inspect.signature(wrap).parameters)


@pytest.mark.anyio
async def test_the_connector_of_aiohttp_makes_its_protocols_by_its_factory():
    async with aiohttp.TCPConnector() as connector:
        assert isinstance(connector._factory(), ResponseHandler)


@pytest.mark.anyio
async def test_a_session_of_aiohttp_can_be_kept_from_repeating_requests():
    async with aiohttp.ClientSession() as session:
        assert session._retry_connection is True


@pytest.mark.parametrize("name", ["is_ssl", "host", "port"])
def test_a_request_of_aiohttp_says_where_it_goes(name):
    assert hasattr(ClientRequest, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Connection, "protocol"), (Connection, "close"), (ResponseHandler, "should_close")],
)
def test_a_connection_of_aiohttp_shows_what_it_is_made_of(kind, name):
    assert hasattr(kind, name)


# --- private names of others ---------------------------------------------------------------------


@click.group()
def group():
    """Do nothing."""


@group.command()
def inner():
    """Do nothing."""


def test_click_keeps_the_name_of_a_subcommand_before_it_is_invoked():
    with click.Context(group) as context:
        group.parse_args(context, ["inner"])
        assert context._protected_args == ["inner"]


def test_click_reads_answers_by_a_function_of_its_module(monkeypatch):
    monkeypatch.setattr(click.termui, "visible_prompt_func", lambda question: f"yes to {question}")
    assert click.prompt("a", prompt_suffix="?") == "yes to a?"


@pytest.mark.parametrize(("path", "below"), [("build/a", True), ("build/", True), ("build", False)])
def test_pathspec_marks_what_matched_by_the_folder_above(path, below):
    (pattern,) = GitIgnoreSpec.from_lines(["build/"]).patterns
    assert pattern.regex is not None
    match = pattern.regex.search(path)
    assert bool(match and match["ps_d"]) == below
