"""A parameter that takes many things refuses one string, and says so by its name.

The parameters are found by their annotations: one that is added is tested without being named here.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from koodrive_async import (
    BearerToken,
    ConfigurationError,
    InvalidArgument,
    Module,
    NewBackupFile,
    sync,
)
from koodrive_async.emulator import Faults
from koodrive_async.testing import connect

MANY = re.compile(
    r"\b(Sequence|MutableSequence|Iterable|AsyncIterable|Collection|AbstractSet|Set)\["
)
MODULES = (
    "koodrive_async",
    "koodrive_async.emulator",
    "koodrive_async.frames",
    "koodrive_async.hashing",
    "koodrive_async.resources",
    "koodrive_async.sinks",
    "koodrive_async.testing",
)

NOT_OF_TEXTS = {"midstate"}  # eight numbers, of a package that stands alone

NOT_FOR_USERS = {
    "UploadBatch",  # from upload_many and upload_tree
    "Pager",  # from the resources
}

FILLED = {
    "device_id": "1",
    "module": "100",
    "lock_id": "lock",
    "container_id": "19",
    "file_id": "1",
    "root": ".",
    "endpoint": "https://host.example",
    "auth": BearerToken("t"),
    "user_id": "u",
    "directory": ".",
    "file_name": "a",
    "sha256": "a" * 64,
    "length": 1,
    "environ": {
        "KOODRIVE_ENDPOINT": "https://host.example",
        "KOODRIVE_USER_ID": "u",
        "KOODRIVE_TOKEN": "t",
    },
}


def public_callables():
    """Yield the name of each public function and method, and a way to it."""
    for place in MODULES:
        module = import_module(place)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield f"{place}.{name}", None, name, value
            if not inspect.isclass(value) or name in NOT_FOR_USERS:
                continue
            for method, each in inspect.getmembers(value, callable):
                if method == "__init__" or not method.startswith("_"):
                    yield f"{place}.{name}.{method}", value, method, each


def many_parameters():
    seen = set()
    for where, owner, name, function in public_callables():
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # of C
            continue
        for parameter in signature.parameters.values():
            takes_many = isinstance(parameter.annotation, str) and MANY.search(parameter.annotation)
            code = getattr(
                inspect.unwrap(getattr(function, "__func__", function)), "__code__", where
            )
            if not takes_many or parameter.name in NOT_OF_TEXTS or (code, parameter.name) in seen:
                continue
            seen.add((code, parameter.name))
            yield pytest.param(owner, name, parameter.name, id=f"{where}({parameter.name})")


@pytest.fixture
async def session(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as opened:
        yield opened


FOUND = list(many_parameters())


def test_the_parameters_are_found():
    found = {each.id.rpartition(".")[2] for each in FOUND}
    assert {
        "upload_many(sources)",
        "upload_tree(include)",
        "upload_tree(exclude)",
        "add(scopes)",
        "delete(ids)",
        "part_urls(parts)",
        "download_urls(file_ids)",
        "create_once(known)",
        "__init__(rules)",
        "parse(rules)",
        "__init__(users)",
        "__init__(containers)",
        "__init__(allow_plain_http)",
        "to_pandas(items)",
    } <= found


async def called(owner, name, parameter, value, drive, session):
    """Call a method with one argument that is wrong, and others that are right."""
    if owner is None:
        function = getattr(import_module("koodrive_async.frames"), name, None)
        assert function is not None, f"say where {name} is"
    elif name == "__init__":
        function = owner
    elif isinstance(inspect.getattr_static(owner, name), classmethod):
        function = getattr(owner, name)
    else:
        objects = [drive, session, drive.devices, drive.scopes, drive.files, drive.records]
        (this,) = [each for each in objects if type(each) is owner]
        function = getattr(this, name)
    arguments = {parameter: value}
    for other in inspect.signature(function).parameters.values():
        if other.name != parameter and (
            other.default is inspect.Parameter.empty and other.kind != other.VAR_KEYWORD
        ):
            assert other.name in FILLED, f"say what {other.name} of {name} may be"
            arguments[other.name] = FILLED[other.name]
    if "environ" in inspect.signature(function).parameters:
        arguments["environ"] = FILLED["environ"]
    result = function(**arguments)
    if inspect.isawaitable(result):
        await result


@pytest.mark.anyio
@pytest.mark.parametrize("one", ["abc", b"abc", Path("abc"), 7], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(("owner", "name", "parameter"), FOUND)
async def test_one_thing_is_not_taken_for_many(
    owner, name, parameter, one, drive, koodrive_emulator
):
    session = drive.backup("1", Module.FOLDER)
    requests = len(koodrive_emulator.seen.requests())
    with pytest.raises((InvalidArgument, ConfigurationError), match=f"{parameter}: ") as caught:
        await called(owner, name, parameter, one, drive, session)
    assert "a list of" in str(caught.value) or "an iterable of" in str(caught.value)
    assert len(koodrive_emulator.seen.requests()) == requests


@pytest.mark.anyio
@pytest.mark.parametrize("parameter", ["include", "exclude"])
async def test_a_pattern_that_is_no_list_is_refused_before_anything_is_uploaded(
    parameter, session, tmp_path, koodrive_emulator
):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InvalidArgument) as caught:
        session.upload_tree(tmp_path, **{parameter: "*.tmp"})
    assert str(caught.value) == (f"{parameter}: a list of patterns, not one string: use ['*.tmp']")
    assert koodrive_emulator.seen.count("files.create") == 0


@pytest.mark.anyio
@pytest.mark.parametrize("patterns", [["*.tmp", b"*.log"], [None], [Path("a")]])
async def test_an_item_that_is_no_pattern_is_refused(session, tmp_path, patterns):
    with pytest.raises(InvalidArgument, match=r"exclude: a list of patterns, in which item \d"):
        session.upload_tree(tmp_path, exclude=patterns)


@pytest.mark.anyio
@pytest.mark.parametrize("parameter", ["include", "exclude"])
@pytest.mark.parametrize("pattern", ["", ".", "./", "/a", "../a", "a/../b"])
async def test_a_pattern_that_can_match_no_path_is_refused(session, tmp_path, parameter, pattern):
    with pytest.raises(InvalidArgument, match=f"{parameter}: '.*' is no pattern"):
        session.upload_tree(tmp_path, **{parameter: ["*.tmp", pattern]})


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [list, tuple, set, iter, dict.fromkeys])
async def test_any_iterable_of_patterns_will_do(session, tmp_path, kind):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a.txt", "b.tmp"):
        (tree / name).write_text(name)
    outcomes = [each async for each in session.upload_tree(tree, exclude=kind(["*.tmp"]))]
    assert [outcome.name for outcome in outcomes] == ["a.txt"]


@pytest.mark.parametrize("field", ["parent_folder", "multi_parts"])
@pytest.mark.parametrize("one", ["abc", b"abc", 7])
def test_a_field_of_a_request_refuses_one_thing(field, one):
    with pytest.raises(InvalidArgument, match=f"{field}: a list of"):
        NewBackupFile(file_name="a", sha256="a" * 64, length=1, **{field: one})


def test_the_synchronous_client_refuses_the_same(koodrive_emulator, tmp_path):
    with sync.KooDrive.of(connect(koodrive_emulator)) as drive:
        device_id = drive.devices.bind("machine").device_id
        with pytest.raises(InvalidArgument, match="ids: a list of ids, not one string"):
            drive.scopes.delete(device_id, "1842")
        with pytest.raises(InvalidArgument, match="file_ids: "):
            drive.files.download_urls("19", "F123")
        with drive.backup(device_id, Module.FOLDER) as session:
            with pytest.raises(InvalidArgument, match="exclude: "):
                session.upload_tree(tmp_path, exclude="*.tmp")
            with pytest.raises(InvalidArgument, match="sources: "):
                session.upload_many("abc")
    assert koodrive_emulator.seen.count("scopes.delete") == 0


def test_rules_of_faults_are_a_list_of_faults():
    with pytest.raises(ValueError, match="rules: a list of Fault, in which item 0"):
        Faults(["error files.create"])  # type: ignore[list-item]  # that is what is tested
