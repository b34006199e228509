"""A link that is put into a tree while it is backed up leads nowhere."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
from contextlib import aclosing

import pytest

from koodrive_async import SourceChanged, UploadFailure, UploadItem, UploadReceipt
from koodrive_async.upload import folders, tree_items
from koodrive_async.upload.folders import KEPT, TreeFolders
from koodrive_async.upload.source import SMALL
from tests.sample import sample

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="links need a privilege there"),
]

NAME = "a/b/c/file"
SECRET = b"of somebody else"


@pytest.fixture(params=["openat", "without openat"])
def any_system(request, monkeypatch):
    if request.param != "openat":
        monkeypatch.setattr(folders, "HAS_OPENAT", False)


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    (path / NAME).parent.mkdir(parents=True)
    (path / NAME).write_bytes(b"mine")
    (path / "other").write_bytes(b"mine, too")
    return path


@pytest.fixture
def elsewhere(tmp_path):
    """Return a folder with secrets under the very names that the tree has."""
    path = tmp_path / "elsewhere"
    for name in (NAME, "b/c/file", "c/file", "file"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(SECRET)
    return path


def swap(place, target):
    """Put a link into the place of a file or folder, which is moved away."""
    place.rename(place.with_name("moved away"))
    place.symlink_to(target)


@pytest.mark.usefixtures("any_system")
@pytest.mark.parametrize("place", [NAME, "a/b/c", "a/b", "a"])
@pytest.mark.parametrize("when", ["while it is walked", "after it was walked"])
async def test_a_link_in_the_place_of_a_file_or_folder_is_not_followed(
    session, stored, root, elsewhere, place, when
):
    target = {NAME: elsewhere / NAME, "a/b/c": elsewhere, "a/b": elsewhere / "b"}.get(
        place, elsewhere / "a"
    )

    async def items():
        async for item in tree_items(root):
            if item.description == NAME and when.startswith("while"):
                await asyncio.to_thread(swap, root / place, target)
            yield item

    if when.startswith("while"):
        sources = items()
    else:
        sources = [item async for item in tree_items(root)]
        swap(root / place, target)
    outcomes = {each.description: each async for each in session.upload_many(sources)}
    assert isinstance(outcomes["other"], UploadReceipt)
    odd = outcomes[NAME]
    if isinstance(odd, UploadReceipt):  # a folder that was open already stays what it was
        assert await stored(odd.file_id) == b"mine"
    else:
        assert isinstance(odd.error, SourceChanged)
        assert str(root / place) in str(odd.error)
        assert "symbolic link" in str(odd.error)
    assert place != NAME or isinstance(odd, UploadFailure)


@pytest.mark.usefixtures("any_system")
async def test_a_folder_that_becomes_a_link_before_it_is_listed_is_a_failure(root, elsewhere):
    found = []
    async for item in tree_items(root):
        found.append(item)
        if item.description == "other":
            swap(root / "a", elsewhere)
    assert [(each.description, type(each)) for each in found[1:]] == [("a", UploadFailure)]
    failure = found[1]
    assert isinstance(failure, UploadFailure)
    assert isinstance(failure.error, SourceChanged)


@pytest.mark.usefixtures("any_system")
async def test_a_root_that_is_a_link_is_followed(session, stored, root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    outcomes = {o.description: o async for o in session.upload_tree(tmp_path / "link")}
    assert outcomes.keys() == {NAME, "other"}
    assert await stored(outcomes[NAME].file_id) == b"mine"


@pytest.mark.usefixtures("any_system")
async def test_another_root_in_the_place_of_the_one_that_was_walked_is_an_error(
    session, root, elsewhere
):
    items = [item async for item in tree_items(root)]
    swap(root, elsewhere)
    async for outcome in session.upload_many(items):
        assert isinstance(outcome, UploadFailure)
        assert isinstance(outcome.error, SourceChanged)


async def test_a_path_that_the_user_names_is_followed(session, stored, root, elsewhere):
    (root / "link").symlink_to(elsewhere / NAME)
    receipt = await session.upload(root / "link")
    assert await stored(receipt.file_id) == SECRET


@pytest.mark.usefixtures("any_system")
@pytest.mark.parametrize("kind", ["FIFO", "folder"])
async def test_what_has_become_something_else_is_refused_without_waiting(session, root, kind):
    items = [item async for item in tree_items(root)]
    (root / NAME).unlink()
    (os.mkfifo if kind == "FIFO" else os.mkdir)(root / NAME)
    outcomes = {each.description: each async for each in session.upload_many(items)}
    assert isinstance(outcomes[NAME].error, OSError)
    assert outcomes[NAME].error.filename == str(root / NAME)


@pytest.mark.usefixtures("any_system")
async def test_a_large_file_of_a_tree_arrives_and_is_watched_for_changes(session, stored, root):
    (root / NAME).write_bytes(sample(SMALL + 1))
    outcomes = {each.description: each async for each in session.upload_tree(root)}
    assert await stored(outcomes[NAME].file_id) == sample(SMALL + 1)


async def test_items_of_a_tree_pickle_and_follow_no_link_elsewhere(session, root, elsewhere):
    items = pickle.loads(pickle.dumps([item async for item in tree_items(root)]))
    assert all(item.found for item in items)
    swap(root / "a", elsewhere / "a")
    outcomes = {each.description: each async for each in session.upload_many(items)}
    assert isinstance(outcomes["other"], UploadReceipt)
    assert isinstance(outcomes[NAME].error, SourceChanged)


def below(folder):
    """Return how many descriptors of this process are folders at or below this one."""
    each_folder = [path for path, _, _ in os.walk(folder)]
    inodes = {(s.st_dev, s.st_ino) for s in map(os.stat, each_folder)}
    count = 0
    for number in range(3, 1024):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        count += (status.st_dev, status.st_ino) in inodes
    return count


@pytest.mark.skipif(not folders.HAS_OPENAT, reason="needs openat")
async def test_a_deep_and_wide_tree_takes_few_descriptors(tmp_path):
    root = tmp_path / "root"
    deep = root.joinpath(*(["d"] * 100))
    deep.mkdir(parents=True)
    for number in range(100):
        (root / f"w{number}").mkdir()
        (root / f"w{number}" / "file").touch()
    (deep / "file").touch()
    found = []
    async for item in tree_items(root):
        assert isinstance(item, UploadItem)
        assert item.found is not None
        found.append(item.found)
        await asyncio.to_thread(open_and_close, item.found)
        assert below(root) <= KEPT
    assert len(found) == 101
    assert below(root) == 0
    for each in found:
        await asyncio.to_thread(open_and_close, each)
    assert below(root) == 0


def open_and_close(found):
    os.close(found.open(os.O_RDONLY))


@pytest.mark.skipif(not folders.HAS_OPENAT, reason="needs openat")
async def test_a_walk_that_is_left_early_keeps_no_descriptor(root):
    async with aclosing(tree_items(root)) as items:
        await anext(items)
        assert below(root) == 1
    assert below(root) == 0


def test_a_folder_that_is_in_use_is_closed_after_that(root):
    tree = TreeFolders(str(root))
    with tree.opened(("a",)), tree.opened(("a", "b")) as inner:
        tree.close()
        if isinstance(inner, int):
            assert os.fstat(inner)
    assert below(root) == 0
    shutil.rmtree(root / "a")
    with pytest.raises(FileNotFoundError) as error, tree.opened(("a", "b")):
        pass
    assert error.value.filename == str(root / "a")
