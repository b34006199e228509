"""The running SHA-256 and its midstates, on every backend this machine has."""

from __future__ import annotations

import array
import ctypes
import functools
import hashlib
import mmap
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async.hashing import Sha256
from koodrive_async.hashing.sha256 import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import ReadableBuffer

    from koodrive_async.hashing import Sha256Backend


def usable_backends() -> list[Sha256Backend]:
    backends = []
    for name in ("libcrypto", "commoncrypto", "portable"):
        try:
            backends.append(choose(name))
        except RuntimeError:
            continue
    return backends


USABLE = usable_backends()

on_every_backend = pytest.mark.parametrize("backend", USABLE, ids=[each.name for each in USABLE])


def det(size: int) -> bytes:
    return bytes((31 * i + 7 * (i >> 8) + 11) & 0xFF for i in range(size))


def table(rows: str) -> dict[int, tuple[int, ...]]:
    numbers = [[int(number) for number in row.split()] for row in rows.strip().splitlines()]
    return {offset: tuple(words) for offset, *words in numbers}


LINES = "\n".join(f"test-{i}" for i in range(100)).encode()
LINES_SHA256 = "d248ebfb21764620f802bb87a2df6bbe0caa6f55657b842025f5b01c0525a7ed"
LINES_MIDSTATES = table("""
128 1551767500 240515010 4044416987 1875549608 718798394 2036682412 1672660396 1187032014
256 2050365013 3897403527 3931772215 842282659 4084335008 1001308302 1539255923 1913818192
384 4001603664 1034843850 3562206173 3196964254 1265174015 2032816292 1290053536 1813516445
512 1191465901 815107361 1818893166 2595500469 3743724965 3831216250 3949380122 1255222877
640 2206231212 3051128296 4098117944 3038939452 2924847149 1250837324 4228065843 1903718024
768 2156254178 2271146846 3285757422 4079239336 3289954368 3496897604 1490423711 2468994605
""")

DET_SHA256 = "b90a95397070c9355c025494ab0d4ba5c4e0208cd88574dbdd7d96787b6f5dc8"
DET_MIDSTATES = table("""
0 1779033703 3144134277 1013904242 2773480762 1359893119 2600822924 528734635 1541459225
128 2047434565 1037524200 3573503676 2697979504 2590803167 2910381572 1114110351 3002990187
320 3396205323 2012003964 146331596 1048138814 3920256075 1310302342 1555997793 1590957058
""")


VECTORS = [
    pytest.param(LINES, LINES_SHA256, LINES_MIDSTATES, id="lines"),
    pytest.param(det(420), DET_SHA256, DET_MIDSTATES, id="det(420)"),
]


@on_every_backend
@pytest.mark.parametrize(("data", "sha256", "midstates"), VECTORS)
def test_midstates_and_digest_are_the_published_ones(
    backend: Sha256Backend, data: bytes, sha256: str, midstates: dict[int, tuple[int, ...]]
) -> None:
    running = Sha256(backend=backend)
    for offset, words in midstates.items():
        running.update(data[running.length : offset])
        assert running.midstate() == words
    running.update(data[running.length :])

    assert running.hexdigest() == sha256
    assert running.digest().hex() == sha256


@on_every_backend
@pytest.mark.parametrize(("data", "sha256", "midstates"), VECTORS)
def test_the_rest_of_the_bytes_from_any_midstate_gives_the_digest(
    backend: Sha256Backend, data: bytes, sha256: str, midstates: dict[int, tuple[int, ...]]
) -> None:
    for offset, words in midstates.items():
        resumed = Sha256.resume(words, offset, backend=backend)
        assert resumed.midstate() == words
        resumed.update(data[offset:])

        assert resumed.length == len(data)
        assert resumed.hexdigest() == sha256


def test_a_midstate_is_not_the_digest_of_the_bytes_before() -> None:
    first_part = Sha256()
    first_part.update(det(128))

    words_of_the_digest = struct.unpack(">8I", first_part.digest())

    assert words_of_the_digest[0] == 947675759
    assert first_part.midstate() == DET_MIDSTATES[128] != words_of_the_digest


@on_every_backend
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_resuming_from_any_midstate_gives_the_digest_of_hashlib(
    backend: Sha256Backend, data: st.DataObject
) -> None:
    message = data.draw(st.binary(max_size=1000))
    offset = 64 * data.draw(st.integers(0, len(message) // 64))

    before = Sha256(backend=backend)
    for piece in cut(message[:offset], data.draw(st.lists(st.integers(0, 200)))):
        before.update(piece)
    after = Sha256.resume(before.midstate(), offset, backend=data.draw(st.sampled_from(USABLE)))
    for piece in cut(message[offset:], data.draw(st.lists(st.integers(0, 200)))):
        after.update(piece)

    assert before.hexdigest() == hashlib.sha256(message[:offset]).hexdigest()
    assert after.hexdigest() == hashlib.sha256(message).hexdigest()
    assert after.length == len(message)


def cut(message: bytes, lengths: Sequence[int]) -> list[bytes]:
    pieces, start = [], 0
    for length in lengths:
        pieces.append(message[start : start + length])
        start += length
    return [*pieces, message[start:]]


@on_every_backend
def test_the_count_goes_on_beyond_32_bits(backend: Sha256Backend) -> None:
    below = Sha256.resume(ZEROS_BELOW_32_BITS, 2**29 - 64, backend=backend)
    below.update(bytes(64))
    above = Sha256.resume(below.midstate(), 2**29, backend=backend)
    below.update(b"the end")
    above.update(b"the end")

    assert below.hexdigest() == above.hexdigest() == digest_after_512_mib_of_zeros(b"the end")


# After 2**29 - 64 zeros: with the next block the count of bits no longer fits 32 bits.
ZEROS_BELOW_32_BITS = struct.unpack(
    ">8I", bytes.fromhex("70e51bf97a691b708432a251df0e6d25eb7d37d913df91fec58549ea81461308")
)


@functools.cache
def digest_after_512_mib_of_zeros(tail: bytes) -> str:
    reference = hashlib.sha256()
    mib = bytes(1 << 20)
    for _ in range(512):
        reference.update(mib)
    reference.update(tail)
    return reference.hexdigest()


@on_every_backend
@pytest.mark.parametrize(
    "buffer",
    [
        pytest.param(b"read-only", id="bytes"),
        pytest.param(bytearray(b"writable"), id="bytearray"),
        pytest.param(memoryview(b"xread-only slicex")[1:-1], id="read-only slice"),
        pytest.param(memoryview(bytearray(b"xwritable slicex"))[1:-1], id="writable slice"),
        pytest.param(memoryview(bytes(range(96))).cast("B", (4, 8, 3)), id="several dimensions"),
        pytest.param(array.array("I", [1, 2, 3]), id="items of four bytes"),
        pytest.param((ctypes.c_char * 5).from_buffer_copy(b"bytes"), id="ctypes array"),
        pytest.param((ctypes.c_char * 3 * 0)(), id="empty with several dimensions"),
        pytest.param(b"", id="empty bytes"),
        pytest.param(memoryview(b"empty slice")[3:3], id="empty slice"),
        pytest.param(memoryview(b"").cast("B"), id="empty view"),
    ],
)
def test_update_takes_every_contiguous_buffer(
    backend: Sha256Backend, buffer: ReadableBuffer
) -> None:
    running = Sha256(backend=backend)
    running.update(buffer)

    assert running.length == memoryview(buffer).nbytes
    assert running.digest() == hashlib.sha256(memoryview(buffer).tobytes()).digest()


@on_every_backend
def test_update_takes_a_map_of_memory(backend: Sha256Backend) -> None:
    running = Sha256(backend=backend)
    with mmap.mmap(-1, 100) as mapped:
        mapped.write(b"mapped")
        running.update(mapped)

    assert running.digest() == hashlib.sha256(b"mapped".ljust(100, b"\0")).digest()


@on_every_backend
@pytest.mark.parametrize(
    ("buffer", "error"),
    [
        pytest.param("text", TypeError, id="str"),
        pytest.param(7, TypeError, id="int"),
        pytest.param(None, TypeError, id="None"),
        pytest.param(memoryview(b"every other")[::2], BufferError, id="strided"),
    ],
)
def test_update_refuses_what_is_no_contiguous_buffer_and_counts_nothing(
    backend: Sha256Backend, buffer: ReadableBuffer, error: type[Exception]
) -> None:
    running = Sha256(backend=backend)
    with pytest.raises(error):
        running.update(buffer)

    assert running.length == 0
    assert running.digest() == hashlib.sha256().digest()


@on_every_backend
def test_update_lets_go_of_the_buffer(backend: Sha256Backend) -> None:
    buffer = bytearray(b"held only while it is hashed")
    Sha256(backend=backend).update(buffer)

    # A bytearray refuses to grow while its memory is exported.
    buffer.extend(b"!")


@pytest.mark.parametrize("make", [bytes, lambda size: memoryview(bytes(size))[1:]])
def test_update_copies_nothing(make: Callable[[int], ReadableBuffer]) -> None:
    buffer = make(16 << 20)
    running = Sha256(backend=choose("libcrypto"))
    tracemalloc.start()
    try:
        running.update(buffer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 64 << 10


def test_a_buffer_longer_than_one_call_takes_is_hashed_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("koodrive_async.hashing._ctypes_state._UPDATE_LIMIT", 100)
    running = Sha256(backend=choose("libcrypto"))
    running.update(det(1001))

    assert running.length == 1001
    assert running.digest() == hashlib.sha256(det(1001)).digest()


@on_every_backend
def test_digests_and_midstates_leave_the_running_state_alone(backend: Sha256Backend) -> None:
    running = Sha256(backend=backend)
    running.update(det(420)[:128])
    running.midstate()
    running.digest()
    running.update(det(420)[128:300])
    running.hexdigest()
    running.update(det(420)[300:])

    assert running.hexdigest() == running.hexdigest() == DET_SHA256


@on_every_backend
def test_a_copy_goes_its_own_way(backend: Sha256Backend) -> None:
    running = Sha256(backend=backend)
    running.update(b"the same ")
    twin = running.copy()
    twin.update(b"and more")

    assert (running.length, twin.length) == (9, 17)
    assert running.digest() == hashlib.sha256(b"the same ").digest()
    assert twin.digest() == hashlib.sha256(b"the same and more").digest()


def test_threads_with_one_each_do_not_disturb_each_other() -> None:
    def digest(seed: int) -> str:
        running = Sha256()
        for _ in range(64):
            running.update(bytes([seed]) * (64 << 10))
        return running.hexdigest()

    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(digest, range(8)))

    assert digests == [hashlib.sha256(bytes([seed]) * (4 << 20)).hexdigest() for seed in range(8)]


@on_every_backend
@pytest.mark.parametrize(("length", "past", "short"), [(1, 1, 63), (63, 63, 1), (100, 36, 28)])
def test_there_is_no_midstate_inside_a_block(
    backend: Sha256Backend, length: int, past: int, short: int
) -> None:
    running = Sha256(backend=backend)
    running.update(bytes(length))

    with pytest.raises(ValueError, match=rf"{length} is {past} past one and {short} before"):
        running.midstate()


@pytest.mark.parametrize("words", [(), [], DET_MIDSTATES[0], list(DET_MIDSTATES[0])])
def test_resuming_at_the_start_takes_no_words_or_the_initial_ones(words: Sequence[int]) -> None:
    resumed = Sha256.resume(words, 0)
    resumed.update(b"abc")

    assert resumed.digest() == hashlib.sha256(b"abc").digest()


@pytest.mark.parametrize(
    ("words", "length", "message"),
    [
        pytest.param((1,) * 8, 65, "multiple of 64 bytes", id="inside a block"),
        pytest.param((1,) * 8, -64, "multiple of 64 bytes", id="negative length"),
        pytest.param((1,) * 8, 2**61, "below 2", id="more bits than 64 can count"),
        pytest.param((), 64, "8 words, not 0", id="no words after the start"),
        pytest.param((1,) * 7, 64, "8 words, not 7", id="too few words"),
        pytest.param((1,) * 9, 64, "8 words, not 9", id="too many words"),
        pytest.param((1, 1, -1, 1, 1, 1, 1, 1), 64, "word 2 .* no uint32: -1", id="negative"),
        pytest.param((2**32,) + (1,) * 7, 64, "word 0 .* no uint32", id="more than 32 bits"),
        pytest.param((1,) * 7 + (1.0,), 64, "word 7 .* no uint32: 1.0", id="float"),
        pytest.param(("1",) * 8, 64, "word 0 .* no uint32: '1'", id="text"),
        pytest.param((1,) * 8, 0, "at length 0", id="other words at the start"),
    ],
)
def test_resuming_refuses_what_cannot_be_a_midstate(
    words: Sequence[int], length: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Sha256.resume(words, length)
