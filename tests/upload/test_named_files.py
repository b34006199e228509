"""An error of the system says which file it is about, also where only a descriptor was read."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from koodrive_async import InvalidArgument, UploadFailure
from koodrive_async.hashing import fingerprint
from koodrive_async.upload import tree_items
from koodrive_async.upload.journal import Journal

pytestmark = pytest.mark.anyio

UNREADABLE = Path("/proc/self/mem")  # nothing is mapped at address 0
linux_only = pytest.mark.skipif(not UNREADABLE.exists(), reason="only Linux has such a file")


@linux_only
@pytest.mark.parametrize("kind", ["path", "file", "tree"])
async def test_a_source_that_cannot_be_read_is_named(session, kind, koodrive_emulator):
    if kind == "tree":
        found = [each async for each in session.upload_tree("/proc/self/task", ["mem"])]
        assert Path(found[0].error.filename).match("/proc/self/task/*/mem")
    elif kind == "path":
        with pytest.raises(OSError, match="Input/output error: '/proc/self/mem'") as raised:
            await session.upload(UNREADABLE)
        assert raised.value.filename == str(UNREADABLE)
    else:
        with (
            UNREADABLE.open("rb") as opened,  # noqa: ASYNC230 - not read here
            pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"),
        ):
            await session.upload(opened)
    assert koodrive_emulator.seen.count("files.create") == 0


@linux_only
def test_a_hashed_file_that_cannot_be_read_is_named():
    with pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"):
        fingerprint(UNREADABLE)


async def test_a_file_that_is_open_for_writing_alone_is_refused_by_name(session, tmp_path):
    with (
        (tmp_path / "written").open("wb") as opened,
        pytest.raises(InvalidArgument, match="a source must be open for reading: "),
    ):
        await session.upload(opened)
    with pytest.raises(InvalidArgument, match="a source must be open for reading: "):
        await session.upload(io.BufferedWriter(io.BytesIO()), name="x")


async def test_a_failing_disk_of_streams_is_named(session, monkeypatch, tmp_path):
    def writable_alone(mode, buffering):
        descriptor = os.open(tmp_path / "spool", os.O_CREAT | os.O_WRONLY)
        return open(descriptor, mode, buffering=buffering)  # noqa: PTH123

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tempfile.TemporaryFile", writable_alone)
    with pytest.raises(OSError, match=r"\(streams are kept there") as error:
        await session.upload([b"abc"], name="x")
    assert error.value.filename == str(tmp_path)


async def test_a_spool_that_loses_bytes_is_named(session, monkeypatch, tmp_path):
    spool = tmp_path / "spool"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(
        "tempfile.TemporaryFile",
        lambda mode, buffering: spool.open(mode, buffering=buffering),
    )

    def truncate(progress):
        if progress.done == progress.total:
            os.truncate(spool, 0)

    with pytest.raises(OSError, match="temporary file") as error:
        await session.upload([b"abc"], name="x", on_progress=truncate)
    assert error.value.filename == str(tmp_path)


class FailingListing:
    """Lists a folder that a bad disk is under; the error has what was given to be listed."""

    def __init__(self, folder):
        self._folder = folder

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        raise OSError(errno.EIO, os.strerror(errno.EIO), self._folder)


async def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    good = os.scandir
    walk = tree_items(root)
    inode = (root / "sub").stat().st_ino
    monkeypatch.setattr(
        os,
        "scandir",
        lambda where: (FailingListing if os.stat(where).st_ino == inode else good)(where),  # noqa: PTH116 - a descriptor
    )
    [failure] = [each async for each in walk]
    assert isinstance(failure, UploadFailure)
    assert isinstance(failure.error, OSError)
    assert failure.error.filename == str(root / "sub")
    walk = tree_items(root / "sub")
    with pytest.raises(OSError, match="Input/output error") as raised:
        await anext(walk)
    assert raised.value.filename == str(root / "sub")


@pytest.fixture
def without_a_folder(tmp_path, monkeypatch):
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    working.rmdir()


@pytest.mark.usefixtures("without_a_folder")
@pytest.mark.skipif(os.name == "nt", reason="a working folder cannot be removed there")
async def test_a_relative_root_is_named_where_the_working_folder_was_removed(drive, device_id):
    with pytest.raises(FileNotFoundError) as error:
        await drive.find_unfinished(device_id, "1", root="photos")
    assert error.value.filename == "photos"


@pytest.mark.usefixtures("without_a_folder")
@pytest.mark.skipif(os.name == "nt", reason="a working folder cannot be removed there")
def test_a_relative_journal_is_done_without_where_the_working_folder_was_removed(caplog):
    assert Journal("journal.db").path is None
    assert "going on without the journal journal.db" in caplog.text
