from __future__ import annotations

import hashlib

import pytest

from koodrive_async.cli.comparison import compare
from koodrive_async.cli.download import Downloaded
from koodrive_async.cli.local import local_files, total_size

CONTENT = b"what is on this machine"
OTHER = b"what is on that machine"


def content(data):
    return hashlib.sha256(data).hexdigest(), len(data)


@pytest.fixture
def local(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(CONTENT)
    return local_files(tmp_path)


def came(path="folder/file", announced=CONTENT, received=CONTENT):
    return Downloaded(path=path, announced=content(announced), received=content(received))


def test_equal_files_are_no_difference(local):
    assert compare(local, [came()]) == []


@pytest.mark.parametrize(
    ("downloads", "path", "problem"),
    [
        ([], "folder/file", "the record does not have it"),
        ([came(received=OTHER)], "folder/file", "SHA-256"),
        # what the service says about itself is not believed
        ([came(announced=OTHER, received=OTHER)], "folder/file", "SHA-256"),
        ([came(received=CONTENT[:-1])], "folder/file", "23 bytes here, 22 bytes came back"),
        ([came(announced=OTHER)], "folder/file", "the listing says"),
        ([came(), came()], "folder/file", "the record has it twice"),
        ([came(), came("stray")], "stray", "there is no such file here"),
        (
            [Downloaded(path="folder/file", announced=content(CONTENT), problem="lost")],
            "folder/file",
            "lost",
        ),
    ],
)
def test_every_kind_of_difference_is_named(local, downloads, path, problem):
    (difference,) = compare(local, downloads)
    assert difference.path == path
    assert problem in difference.problem


def test_a_local_file_that_is_gone_is_a_difference(local):
    local["folder/file"].unlink()
    (difference,) = compare(local, [came()])
    assert "can no longer be read here" in difference.problem


def test_links_are_not_among_the_local_files(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    (tmp_path / "link").symlink_to("file")
    assert list(local_files(tmp_path)) == ["file"]
    assert total_size(tmp_path) == len(CONTENT)


def test_a_single_file_goes_by_its_name(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert local_files(file) == {"file": file}
    assert total_size(file) == len(CONTENT)
