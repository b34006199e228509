"""Whatever the bytes come from, they arrive; what cannot be read fails before anything is sent."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import threading

import pytest

from koodrive_async import FileTooLarge, InvalidArgument, InvalidFileName
from koodrive_async.upload import source as sources
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
DATA = sample(3 * MIB + 5)


async def pieces(data, size):
    for start in range(0, len(data), size):
        yield data[start : start + size]


class Dripping(io.RawIOBase):
    """A readable that gives less than it is asked for."""

    def __init__(self, data):
        self._rest = data

    def readable(self):
        return True

    def read(self, size=-1):
        piece, self._rest = self._rest[: min(size, 1000)], self._rest[min(size, 1000) :]
        return piece


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: DATA, id="bytes"),
        pytest.param(lambda: bytearray(DATA), id="bytearray"),
        pytest.param(lambda: memoryview(DATA), id="memoryview"),
        pytest.param(lambda: memoryview(DATA).cast("B")[0:], id="slice"),
        pytest.param(lambda: io.BytesIO(DATA), id="file-object"),
        pytest.param(lambda: Dripping(DATA), id="slow-file-object"),
        pytest.param(lambda: [DATA[:10], DATA[10:]], id="list"),
        pytest.param(lambda: (bytes([byte]) for byte in DATA[:1000]), id="generator"),
        pytest.param(lambda: pieces(DATA, 100_000), id="async-generator"),
        pytest.param(lambda: pieces(DATA, 3 * MIB), id="large-chunks"),
        pytest.param(lambda: pieces(b"", 1), id="empty-stream"),
        pytest.param(lambda: b"", id="empty-bytes"),
    ],
)
async def test_every_kind_of_source_arrives(session, stored, make, request):
    receipt = await session.upload(make(), name="x")
    expected = {"generator": DATA[:1000], "empty-stream": b"", "empty-bytes": b""}.get(
        request.node.callspec.id, DATA
    )
    assert receipt.sha256 == hashlib.sha256(expected).hexdigest()
    assert receipt.size == len(expected)
    assert await stored(receipt.file_id) == expected


@pytest.mark.parametrize("kind", [str, lambda path: path])
async def test_a_path_arrives_under_its_own_name(session, stored, make_file, kind):
    path = make_file(1000, "a name.txt")
    receipt = await session.upload(kind(path))
    assert receipt.name == "a name.txt"
    assert await stored(receipt.file_id) == path.read_bytes()


async def test_a_file_object_is_read_from_where_it_stands_and_left_open(session, stored, make_file):
    with make_file(1000).open("rb") as file:
        file.seek(400)
        receipt = await session.upload(file)
        assert not file.closed
    assert receipt.name == "file.bin"
    assert await stored(receipt.file_id) == sample(1000)[400:]


async def test_nothing_is_left_of_a_spooled_source(session, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    await session.upload(pieces(DATA, MIB), name="x")
    assert set(tmp_path.iterdir()) == before


async def test_an_endless_stream_is_refused_at_the_limit(session, monkeypatch, koodrive_emulator):
    monkeypatch.setattr("koodrive_async.resources.files.MAX_LENGTH", 5 * MIB)

    async def endless():
        while True:
            yield bytes(MIB)

    with pytest.raises(FileTooLarge, match="200 GB"):
        await session.upload(endless(), name="x")
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_sparse_file_over_200_gb_is_refused(session, tmp_path, koodrive_emulator):
    path = tmp_path / "huge"
    path.touch()
    os.truncate(path, 200 * 10**9 + 1)
    with pytest.raises(FileTooLarge, match="200 GB"):
        await session.upload(path)
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_missing_file_is_its_own_error(session, tmp_path, koodrive_emulator):
    with pytest.raises(FileNotFoundError) as error:
        await session.upload(tmp_path / "missing")
    assert error.value.filename == str(tmp_path / "missing")
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_folder_is_not_a_file(session, tmp_path, koodrive_emulator):
    with pytest.raises(IsADirectoryError) as error:
        await session.upload(tmp_path)
    assert error.value.filename == str(tmp_path)
    assert koodrive_emulator.seen.count("files.create") == 0


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
async def test_a_file_without_permission_is_its_own_error(session, make_file):
    path = make_file()
    path.chmod(0)
    with pytest.raises(PermissionError) as error:
        await session.upload(path)
    assert error.value.filename == str(path)


async def test_an_error_of_the_system_reaches_the_caller_as_it_is(
    session, make_file, monkeypatch, koodrive_emulator
):
    path = make_file()

    def refuse(_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(sources.FileContent, "open", refuse)
    with pytest.raises(PermissionError) as error:
        await session.upload(path)
    assert error.value.filename == str(path)
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_pipe_is_refused_instead_of_waiting_for_its_other_end(session, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        await session.upload(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only Unix has pipes with a name")
async def test_a_pipe_is_refused_without_its_waiting_writer_noticing(session, tmp_path):
    def write():
        opening.set()
        try:
            pipe.write_bytes(b"precious")
        except BrokenPipeError:
            pipe.write_bytes(b"cut off")

    pipe, opening = tmp_path / "pipe", threading.Event()
    os.mkfifo(pipe)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    await asyncio.to_thread(opening.wait, 30)
    with pytest.raises(OSError, match="not a regular file"):
        await session.upload(pipe)
    assert await asyncio.to_thread(pipe.read_bytes) == b"precious"
    writer.join(30)


@pytest.mark.parametrize("source", [42, None, object()])
async def test_what_gives_no_bytes_is_refused(session, source):
    with pytest.raises(InvalidArgument, match="a source is a path"):
        await session.upload(source, name="x")


@pytest.mark.parametrize("source", [["text"], io.StringIO("text")])
async def test_text_is_refused(session, source):
    with pytest.raises(InvalidArgument, match="must give bytes, not str"):
        await session.upload(source, name="x")


async def test_a_source_without_a_name_needs_one(session):
    with pytest.raises(InvalidArgument, match="name="):
        await session.upload(b"abc")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        *((f"a{character}b", repr(character)) for character in '<>|:"*?/'),
        ("", "''"),
        (".", "'.'"),
        ("..", "'..'"),
        ("x" * 251, "at most 250"),
        ("bad\udcff", "Unicode"),
    ],
)
async def test_an_invalid_name_is_refused_before_the_source_is_touched(
    session, koodrive_emulator, tmp_path, name, named
):
    with pytest.raises(InvalidFileName, match=re.escape(named)):
        await session.upload(tmp_path / "missing", name=name)
    assert koodrive_emulator.seen.count("files.create") == 0


async def test_a_name_of_250_characters_is_allowed(session):
    assert (await session.upload(b"abc", name="x" * 250)).name == "x" * 250


async def test_an_illegal_part_size_is_refused_before_anything_is_read(session):
    async def untouchable():
        pytest.fail("the source must not be read")
        yield b""

    with pytest.raises(ValueError, match="a multiple of 64"):
        await session.upload(untouchable(), name="x", part_size=5 * MIB + 1)


async def test_an_unknown_policy_for_taken_names_is_refused(session):
    with pytest.raises(InvalidArgument, match="auto_rename must be one of"):
        await session.upload(b"abc", name="x", auto_rename=9)


async def test_a_file_object_may_be_asynchronous(session, stored):
    class Upload:
        def __init__(self):
            self.pieces = [b"abc", b"def", b""]

        async def read(self, size):
            assert size > 0
            return self.pieces.pop(0)

    receipt = await session.upload(Upload(), name="x")
    assert await stored(receipt.file_id) == b"abcdef"
