"""The fingerprint of a file: one pass for its size, its digest and its midstates."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import io
import itertools
import os
import pickle
import struct
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async.hashing import (
    MIDSTATE_GRID,
    Fingerprint,
    Fingerprinter,
    Sha256,
    fingerprint,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MIB = 1 << 20
GRIDS = st.integers(1, 6).map(lambda blocks: 64 * blocks)


def det(size: int) -> bytes:
    period = bytes((31 * i + 7 * (i >> 8) + 11) & 0xFF for i in range(min(size, 1 << 16)))
    return (period * (size // (1 << 16) + 1))[:size]


def make(directory: Path, size: int) -> Path:
    path = directory / f"{size}.bin"
    path.write_bytes(det(size))
    return path


def walked(data: bytes, grid: int) -> bytes:
    """Pack the midstates of the grid as a plain walk with Sha256 finds them."""
    running = Sha256()
    packed = b""
    while len(data) - running.length >= grid:
        running.update(data[running.length : running.length + grid])
        packed += struct.pack(">8I", *running.midstate())
    return packed


@pytest.mark.parametrize(
    "size",
    [0, 1, 63, 64, 65, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB - 64, 2 * MIB, 2 * MIB + 65, 3 * MIB],
)
@pytest.mark.parametrize("grid", [64 << 10, MIDSTATE_GRID, 3 * MIB, 3 * (64 << 10) + 64])
def test_the_digest_is_that_of_hashlib_and_the_midstates_those_of_a_walk(
    tmp_path: Path, size: int, grid: int
) -> None:
    path = make(tmp_path, size)
    found = fingerprint(path, grid=grid)

    assert found == Fingerprint(
        size=size,
        sha256=hashlib.sha256(det(size)).hexdigest(),
        grid=grid,
        midstates=walked(det(size), grid),
    )


def test_the_grid_is_one_mebibyte_unless_told_otherwise(tmp_path: Path) -> None:
    assert fingerprint(make(tmp_path, 100)).grid == MIDSTATE_GRID == MIB


def test_a_path_may_be_text_too(tmp_path: Path) -> None:
    path = make(tmp_path, 100)

    assert fingerprint(str(path)) == fingerprint(path)


def test_an_open_file_is_read_from_where_it_stands_and_left_open(tmp_path: Path) -> None:
    path = make(tmp_path, 5000)
    with path.open("rb") as buffered, path.open("rb", buffering=0) as raw:
        buffered.seek(100)
        raw.seek(100)
        found = {fingerprint(buffered), fingerprint(raw), fingerprint(io.BytesIO(det(5000)[100:]))}

        assert [one.sha256 for one in found] == [hashlib.sha256(det(5000)[100:]).hexdigest()]
        assert (buffered.tell(), raw.tell()) == (5000, 5000)


class Dribble(io.RawIOBase):
    """A file that gives a few bytes at a time, as files on networks may."""

    def __init__(self, data: bytes) -> None:
        self.rest = memoryview(data)

    def readinto(self, buffer: ReadableBuffer, /) -> int:
        count = min(len(self.rest), 97)
        memoryview(buffer)[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


def test_short_reads_do_not_move_the_grid() -> None:
    found = fingerprint(Dribble(det(5000)), grid=640)

    assert found.sha256 == hashlib.sha256(det(5000)).hexdigest()
    assert found.midstates == walked(det(5000), 640)


def test_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = make(tmp_path, 16 * MIB)
    fingerprint(path)
    tracemalloc.start()
    try:
        fingerprint(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1.5 * MIB


def test_files_are_fingerprinted_by_several_threads_at_once(tmp_path: Path) -> None:
    paths = [make(tmp_path, 3 * MIB + extra) for extra in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(fingerprint, paths))

    assert found == [fingerprint(path) for path in paths]


def test_a_missing_file_and_a_folder_are_reported_as_the_system_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "missing")
    with pytest.raises(PermissionError if sys.platform == "win32" else IsADirectoryError):
        fingerprint(tmp_path)


def test_a_file_that_fails_halfway_is_reported_as_the_system_does() -> None:
    class Failing(Dribble):
        def readinto(self, buffer: ReadableBuffer, /) -> int:
            if len(self.rest) < 500:
                raise OSError(errno.EIO, "the disk is dying")
            return super().readinto(buffer)

    with pytest.raises(OSError, match="the disk is dying"):
        fingerprint(Failing(det(1000)))


@pytest.mark.parametrize("file", [b"bytes", 7, None, io.StringIO("text")])
def test_what_is_no_path_and_no_binary_file_is_refused(file: str) -> None:
    with pytest.raises(TypeError, match="path or a binary file object"):
        fingerprint(file)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes do not block otherwise there")
def test_a_file_that_has_nothing_to_read_yet_is_not_taken_for_its_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with (
        os.fdopen(reading, "rb", buffering=0) as pipe,
        os.fdopen(writing, "wb", buffering=0),
        pytest.raises(BlockingIOError),
    ):
        fingerprint(pipe)


def test_the_checkpoint_hears_of_every_slice_in_order(tmp_path: Path) -> None:
    heard: list[int] = []
    fingerprint(make(tmp_path, 3 * MIB + 5), checkpoint=heard.append)

    assert heard == [MIB, 2 * MIB, 3 * MIB, 3 * MIB + 5]


OPEN_FILES = Path("/dev/fd")


class Stopped(Exception):  # noqa: N818 - it is no error
    pass


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files cannot be listed")
def test_a_checkpoint_that_raises_ends_the_pass_and_closes_the_file(tmp_path: Path) -> None:
    path = make(tmp_path, 3 * MIB)
    heard: list[int] = []
    before = len(list(OPEN_FILES.iterdir()))
    during = 0

    def checkpoint(hashed: int) -> None:
        nonlocal during
        heard.append(hashed)
        during = len(list(OPEN_FILES.iterdir()))
        if hashed == 2 * MIB:
            raise Stopped

    with pytest.raises(Stopped):
        fingerprint(path, checkpoint=checkpoint)

    assert heard == [MIB, 2 * MIB]
    assert during == before + 1
    assert len(list(OPEN_FILES.iterdir())) == before


def test_an_interrupted_pass_goes_on_from_its_last_grid_point(tmp_path: Path) -> None:
    path = make(tmp_path, 5 * MIB + 7)
    grid = 3 * MIB // 2
    interrupted = Fingerprinter(grid)

    def stop(hashed: int) -> None:
        if hashed >= 4 * MIB:
            raise Stopped

    with path.open("rb", buffering=0) as file, pytest.raises(Stopped):
        interrupted.read_from(file, stop)
    assert (interrupted.length, interrupted.resume_offset) == (4 * MIB, 3 * MIB)

    heard: list[int] = []
    resumed = Fingerprinter.resume(interrupted.midstates, interrupted.resume_offset, grid=grid)
    with path.open("rb", buffering=0) as file:
        file.seek(resumed.length)
        resumed.read_from(file, heard.append)

    assert heard == [4 * MIB, 5 * MIB, 5 * MIB + 7]
    assert resumed.finish() == fingerprint(path, grid=grid)


@settings(deadline=None, max_examples=60)
@given(
    data=st.binary(max_size=2000),
    grid=GRIDS,
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    stopped=st.integers(0, 2000),
)
def test_any_pieces_and_any_interruption_give_the_same_fingerprint(
    data: bytes, grid: int, cuts: list[int], stopped: int
) -> None:
    edges = sorted({*(min(cut, len(data)) for cut in cuts), 0, len(data)})
    whole = Fingerprinter(grid)
    for start, end in itertools.pairwise(edges):
        whole.update(data[start:end])

    first = Fingerprinter(grid)
    first.update(memoryview(data)[:stopped])
    second = Fingerprinter.resume(first.midstates, first.resume_offset, grid=grid)
    second.update(bytearray(data[second.length :]))

    expected = Fingerprint(
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        grid=grid,
        midstates=walked(data, grid),
    )
    assert whole.finish() == second.finish() == expected
    assert whole.length == len(data)


@pytest.mark.parametrize("grid", [64, 192])
def test_midstates_behind_an_offset_are_those_that_were_not_there_before(grid: int) -> None:
    fingerprinter = Fingerprinter(grid)
    pieces, offset = [], 0
    for size in (10, 190, 500, 0, 300):
        fingerprinter.update(det(1000)[fingerprinter.length : fingerprinter.length + size])
        pieces.append(fingerprinter.midstates_from(offset))
        offset = fingerprinter.resume_offset

    assert b"".join(pieces) == fingerprinter.midstates == walked(det(1000), grid)
    assert fingerprinter.midstates_from(0) == fingerprinter.midstates
    assert fingerprinter.midstates_from(offset) == b""


def test_finishing_does_not_end_a_fingerprinter() -> None:
    fingerprinter = Fingerprinter(64)
    fingerprinter.update(det(100))
    early = fingerprinter.finish()
    fingerprinter.update(det(300)[100:])

    assert (early.size, early.sha256) == (100, hashlib.sha256(det(100)).hexdigest())
    assert early.midstates == walked(det(100), 64)
    assert fingerprinter.finish().sha256 == hashlib.sha256(det(300)).hexdigest()


def test_a_fingerprinter_takes_bytes_of_any_shape_and_nothing_else() -> None:
    fingerprinter = Fingerprinter(64)
    fingerprinter.update(memoryview(det(96)).cast("B", (4, 8, 3)))
    fingerprinter.update(b"")
    fingerprinter.update((ctypes.c_char * 3 * 0)())
    with pytest.raises(BufferError, match="C-contiguous"):
        fingerprinter.update(memoryview(b"every other")[::2])
    with pytest.raises(TypeError):
        fingerprinter.update("text")  # type: ignore[arg-type] # the mistake under test

    assert fingerprinter.finish().sha256 == hashlib.sha256(det(96)).hexdigest()


@pytest.mark.parametrize("grid", [0, -64, 1, 100, MIB + 1])
def test_a_grid_is_a_positive_multiple_of_64(tmp_path: Path, grid: int) -> None:
    message = f"positive multiple of 64 bytes, not {grid}"
    with pytest.raises(ValueError, match=message):
        fingerprint(make(tmp_path, 10), grid=grid)
    with pytest.raises(ValueError, match=message):
        Fingerprinter.resume(b"", 0, grid=grid)
    with pytest.raises(ValueError, match=message):
        Fingerprint(size=0, sha256="0" * 64, grid=grid, midstates=b"")


@pytest.mark.parametrize(
    ("midstates", "offset"),
    [(bytes(32), 0), (bytes(32), 128), (b"", 64), (bytes(31), 64), (bytes(33), 64), (b"", 10)],
)
def test_resuming_refuses_midstates_that_do_not_lead_to_the_offset(
    midstates: bytes, offset: int
) -> None:
    with pytest.raises(ValueError, match=f"do not lead to offset {offset}"):
        Fingerprinter.resume(midstates, offset, grid=64)


@pytest.fixture(scope="module")
def of_1000_bytes() -> Fingerprint:
    return fingerprint(io.BytesIO(det(1000)), grid=128)


def test_any_grid_point_resumes_the_digest(of_1000_bytes: Fingerprint) -> None:
    for offset in range(0, 1000, 128):
        rest = Sha256.resume(of_1000_bytes.midstate(offset), offset)
        rest.update(det(1000)[offset:])

        assert rest.hexdigest() == of_1000_bytes.sha256


def test_the_last_grid_point_may_be_the_size_itself() -> None:
    found = fingerprint(io.BytesIO(det(256)), grid=128)

    assert Sha256.resume(found.midstate(256), 256).hexdigest() == found.sha256


@pytest.mark.parametrize(
    ("offset", "nearest"),
    [
        (1, "0 and 128"),
        (64, "0 and 128"),
        (200, "128 and 256"),
        (800, "768 and 896"),
        (900, "896"),
        (1000, "896"),
        (1024, "896"),
        (10**9, "896"),
        (-1, "0"),
        (-128, "0"),
    ],
)
def test_off_the_grid_there_is_no_midstate_and_the_nearest_are_named(
    of_1000_bytes: Fingerprint, offset: int, nearest: str
) -> None:
    message = (
        rf"offset {offset}: they lie at multiples of the grid of 128 bytes up to the size of 1000,"
        rf" the nearest at {nearest}$"
    )
    with pytest.raises(ValueError, match=message):
        of_1000_bytes.midstate(offset)


def test_fingerprints_compare_hash_and_pickle_by_value(of_1000_bytes: Fingerprint) -> None:
    again = fingerprint(io.BytesIO(det(1000)), grid=128)
    other_grid = fingerprint(io.BytesIO(det(1000)), grid=64)

    assert again == of_1000_bytes
    assert hash(again) == hash(of_1000_bytes)
    assert other_grid != of_1000_bytes
    assert pickle.loads(pickle.dumps(again)) == of_1000_bytes


def test_the_repr_is_short_and_a_fingerprint_is_frozen(of_1000_bytes: Fingerprint) -> None:
    assert repr(of_1000_bytes) == (
        f"Fingerprint(size=1000, sha256='{hashlib.sha256(det(1000)).hexdigest()}', grid=128)"
    )
    with pytest.raises(AttributeError):
        of_1000_bytes.size = 1  # type: ignore[misc] # the mistake under test
    assert not hasattr(of_1000_bytes, "__dict__")


@pytest.mark.parametrize(
    ("size", "sha256", "midstates", "message"),
    [
        (-1, "0" * 64, b"", "negative size: -1"),
        (10, "0" * 63, b"", "no lower-case hexadecimal SHA-256"),
        (10, "A" * 64, b"", "no lower-case hexadecimal SHA-256"),
        (10, "0" * 64 + "\n", b"", "no lower-case hexadecimal SHA-256"),
        (128, "0" * 64, bytes(32), "have 2 midstates of 32 bytes, not 32 bytes"),
        (63, "0" * 64, bytes(32), "have 0 midstates of 32 bytes, not 32 bytes"),
    ],
)
def test_a_stored_fingerprint_that_does_not_fit_together_is_refused(
    size: int, sha256: str, midstates: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fingerprint(size=size, sha256=sha256, grid=64, midstates=midstates)
