"""The files below a folder."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from koodrive_async import UploadFailure, UploadItem, UploadReceipt
from koodrive_async.resources.arguments import check_file_name
from koodrive_async.upload import tree_items
from koodrive_async.upload.tree import LeftOut, permitted_name, record_name

pytestmark = pytest.mark.anyio


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name in ("a.txt", "b.jpg", "sub/c.txt", "sub/deep/d.jpg", "sub/deep/a.txt", "空/文.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "hollow").mkdir()
    return root


async def items(root, **options):
    async for item in tree_items(root, **options):
        assert isinstance(item, UploadItem)
        yield item


async def paths(root, **options):
    return [str(item.description) async for item in items(root, **options)]


async def test_every_file_is_found_once_with_its_relative_path(tree):
    assert sorted(await paths(tree)) == [
        "a.txt",
        "b.jpg",
        "sub/c.txt",
        "sub/deep/a.txt",
        "sub/deep/d.jpg",
        "空/文.txt",
    ]


async def test_the_order_does_not_depend_on_the_file_system(tree):
    assert await paths(tree) == await paths(str(tree))
    assert (await paths(tree))[:2] == ["a.txt", "b.jpg"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg"], [], ["b.jpg", "sub/deep/d.jpg"]),
        (["*.txt"], ["deep"], ["a.txt", "sub/c.txt", "空/文.txt"]),
        ([], ["*.txt"], ["b.jpg", "sub/deep/d.jpg"]),
        (["sub/*"], [], ["sub/c.txt"]),
        ([], ["sub"], ["a.txt", "b.jpg", "空/文.txt"]),
        (["*.none"], [], []),
    ],
)
async def test_patterns_choose_files(tree, include, exclude, expected):
    assert sorted(await paths(tree, include=include, exclude=exclude)) == expected


class OnlyJpgOutsideOfDeep:
    def takes_folder(self, path):
        return path != "sub/deep"

    def takes_file(self, path):
        return path.endswith(".jpg")


async def test_rules_of_ones_own_choose_files(tree):
    assert await paths(tree, rules=OnlyJpgOutsideOfDeep()) == ["b.jpg"]


async def test_what_is_left_out_is_counted(tree):
    os.mkfifo(tree / "pipe.jpg")
    os.mkfifo(tree / "pipe")
    (tree / "link.jpg").symlink_to("nowhere")
    left_out: Counter[LeftOut] = Counter()
    await paths(tree, rules=OnlyJpgOutsideOfDeep(), left_out=left_out)
    assert left_out == {
        "excluded file": 4,
        "excluded folder": 1,
        "FIFO": 1,
        "symbolic link": 1,
    }


async def test_devices_are_left_out():
    left_out: Counter[LeftOut] = Counter()
    async for item in tree_items("/dev", include=["null"], left_out=left_out):
        assert item.name != "null"
    assert left_out["device"] == 1


async def test_symbolic_links_are_not_followed(tree, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (tree / "link").symlink_to(tmp_path / "outside")
    (tree / "loop").symlink_to(tree)
    (tree / "file-link").symlink_to(tree / "a.txt")
    found = await paths(tree)
    assert len(found) == 6
    assert not any("link" in path or "loop" in path for path in found)


async def test_pipes_are_left_out(tree):
    os.mkfifo(tree / "pipe")
    assert "pipe" not in await paths(tree)


async def test_a_folder_that_cannot_be_read_is_a_failure_and_the_rest_goes_on(tree, monkeypatch):
    open_as_usual = os.open

    def refuse(path, *arguments, **named):
        if os.path.basename(path) == "deep":  # noqa: PTH119 - a name or a path
            raise PermissionError(13, "Permission denied", path)
        return open_as_usual(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    found = [item async for item in tree_items(tree)]
    failures = [item for item in found if isinstance(item, UploadFailure)]
    assert [(item.name, type(item.error)) for item in failures] == [("deep", PermissionError)]
    assert isinstance(failures[0].error, OSError)
    assert failures[0].error.filename == str(tree / "sub" / "deep")
    assert len(found) == 5


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda root: root / "missing", FileNotFoundError),
        (lambda root: root / "a.txt", NotADirectoryError),
    ],
)
async def test_a_root_that_is_no_folder_is_an_error(session, tree, make, error):
    with pytest.raises(error):
        async for _ in session.upload_tree(make(tree)):
            pass
    session.complete_anyway()


async def test_a_tree_is_uploaded_with_paths_as_descriptions(session, drive, tree, stored):
    (tree / "what? a:name.txt").write_text("odd")
    outcomes = [outcome async for outcome in session.upload_tree(tree)]
    assert all(isinstance(outcome, UploadReceipt) for outcome in outcomes)
    by_path = {outcome.description: outcome for outcome in outcomes}
    assert by_path["what? a:name.txt"].name == "what_ a_name.txt"
    files = await drive.files.list(session.record.record_id).collect()
    assert {file.description for file in files} == by_path.keys()
    for path, outcome in by_path.items():
        assert await stored(outcome.file_id) == (tree / path).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
async def test_a_name_that_is_not_unicode_is_uploaded_under_a_legal_one(session, tree):
    with open(os.fsencode(tree) + b"/\xff.bin", "wb") as file:  # noqa: ASYNC230, PTH123 - bytes
        file.write(b"x")
    outcomes = [outcome async for outcome in session.upload_tree(tree)]
    odd = [outcome for outcome in outcomes if outcome.description == "\\xff.bin"]
    assert len(outcomes) == 7
    assert [(type(outcome), outcome.name) for outcome in odd] == [(UploadReceipt, "_.bin")]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("plain.txt", "plain.txt"),
        ('<>|:"*?.txt', "_______.txt"),
        ("x" * 300 + ".jpg", "x" * 246 + ".jpg"),
        ("y" * 250, "y" * 250),
        ("z" * 251, "z" * 250),
        ("." * 260, "." * 250),
        ("e\u0301 \U0001f600.txt", "e\u0301 \U0001f600.txt"),
    ],
)
def test_names_become_legal_and_keep_their_extension(name, allowed):
    assert record_name(name) == permitted_name(name) == check_file_name(allowed)


@pytest.mark.parametrize("text", ["", ".", "..", "/", "\ud800"])
def test_a_text_that_is_no_name_at_all_becomes_one(text):
    assert permitted_name(text) == "_"
