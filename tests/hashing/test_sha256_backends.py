"""How the SHA-256 backend of a process is found, tried and chosen."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from koodrive_async.hashing import Sha256, backend, commoncrypto, libcrypto
from koodrive_async.hashing.portable import PortableBackend, PortableState
from koodrive_async.hashing.protocol import INITIAL_MIDSTATE
from koodrive_async.hashing.selftest import fault_of
from koodrive_async.hashing.sha256 import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import ReadableBuffer

    from koodrive_async.hashing import Midstate, Sha256Backend


class ByteSwappedWords(PortableBackend):
    def resume(self, words: Midstate, length: int) -> PortableState:
        swapped: Midstate = struct.unpack("<8I", struct.pack(">8I", *words))
        return super().resume(swapped, length)


class CountOf32Bits(PortableBackend):
    def resume(self, words: Midstate, length: int) -> PortableState:
        return super().resume(words, length % 2**29)


class CountThatDoesNotCarry(PortableBackend):
    def resume(self, words: Midstate, length: int) -> PortableState:
        return NoCarry(words, length)


class NoCarry(PortableState):
    def digest(self) -> bytes:
        self._length = self._length if self._length > 2**30 else self._length % 2**29
        return super().digest()


class CountFromZero(PortableBackend):
    def resume(self, words: Midstate, length: int) -> PortableState:  # noqa: ARG002 - the fault
        return super().resume(words, 0)


class CopyThatIsShared(PortableBackend):
    def begin(self) -> PortableState:
        return SharedCopy(super().begin().words(), 0)


class SharedCopy(PortableState):
    def copy(self) -> PortableState:
        return self

    def digest(self) -> bytes:
        return PortableState(self._words, self._length, self._pending).digest()


class WordsOfTheStart(PortableBackend):
    def begin(self) -> PortableState:
        return Stale(super().begin().words(), 0)


class Stale(PortableState):
    def words(self) -> Midstate:
        return INITIAL_MIDSTATE

    def digest(self) -> bytes:
        return PortableState(self._words, self._length, self._pending).digest()


class OneStateForAll(PortableBackend):
    def __init__(self) -> None:
        self.state = super().begin()

    def begin(self) -> PortableState:
        return self.state


class Sha224(PortableBackend):
    def begin(self) -> PortableState:
        initial: Midstate = struct.unpack(
            ">8I",
            bytes.fromhex("c1059ed8367cd5073070dd17f70e5939ffc00b31685815116 4f98fa7befa4fa4"),
        )
        return PortableState(initial, 0)


class LengthsUntold(PortableBackend):
    def begin(self) -> PortableState:
        return Untold(super().begin().words(), 0)


class Untold(PortableState):
    def update(self, buffer: ReadableBuffer) -> int:
        super().update(buffer)
        return 0


class Missing(PortableBackend):
    def begin(self) -> PortableState:
        raise OSError("no such library")


FAULTY = [
    ByteSwappedWords,
    CountOf32Bits,
    CountThatDoesNotCarry,
    CountFromZero,
    CopyThatIsShared,
    OneStateForAll,
    Sha224,
    WordsOfTheStart,
    LengthsUntold,
    Missing,
]


@pytest.mark.parametrize("faulty", FAULTY)
def test_a_backend_that_fails_its_self_test_is_passed_over(
    faulty: type[PortableBackend], caplog: pytest.LogCaptureFixture
) -> None:
    good = PortableBackend()

    def first() -> Iterator[Sha256Backend]:
        yield faulty()
        yield good

    def second() -> Iterator[Sha256Backend]:
        raise AssertionError("the first had a usable candidate")

    with caplog.at_level(logging.DEBUG, logger="koodrive_async"):
        assert choose(candidates={"first": first, "second": second}) is good

    assert any(
        faulty.__name__ in record.getMessage() and record.levelno == logging.DEBUG
        for record in caplog.records
    )


def test_a_name_without_a_usable_candidate_is_passed_over() -> None:
    good = PortableBackend()
    candidates: dict[str, Callable[[], list[Sha256Backend]]] = {
        "absent": list,
        "faulty": lambda: [Sha224()],
        "good": lambda: [good],
    }

    assert choose(candidates=candidates) is good


def test_nothing_usable_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no usable SHA-256 backend among faulty"):
        choose(candidates={"faulty": lambda: [Sha224()]})


def test_the_portable_backend_passes_the_self_test() -> None:
    assert fault_of(PortableBackend()) is None


@pytest.mark.skipif(
    sys.platform == "win32" or "_hashlib" in sys.builtin_module_names,
    reason="hashlib's module is not linked to a library of its own",
)
def test_the_library_that_hashlib_uses_comes_first_and_passes_the_self_test() -> None:
    first = next(libcrypto.candidates())

    assert fault_of(first) is None
    assert first.origin == importlib.import_module("_hashlib").__file__


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is usable")
def test_commoncrypto_is_passed_over_where_there_is_none() -> None:
    assert list(commoncrypto.candidates()) == []


def test_the_contexts_are_laid_out_as_the_headers_say() -> None:
    words: Midstate = (1, 2, 3, 4, 5, 6, 7, 0xFFFFFFFF)
    length = 2**32 + 64

    openssl = libcrypto.Sha256Ctx()
    openssl.place(words, length)
    apple = commoncrypto.CcSha256Ctx()
    apple.place(words, length)

    assert bytes(openssl)[:40] == struct.pack("=8I2I", *words, 512, 8)
    assert bytes(apple)[:40] == struct.pack("=Q8I", length, *words)
    assert openssl.words() == apple.words() == words
    assert libcrypto.Sha256Ctx.num.offset == 104
    assert commoncrypto.CcSha256Ctx.wbuf.offset == 40


def test_the_mac_is_never_asked_for_libcrypto_by_bare_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / "lib" / "libcrypto.3.dylib"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))

    origins = [origin for origin in libcrypto._origins() if origin is not None]

    assert str(library) in origins
    assert all(Path(origin).is_absolute() and Path(origin).exists() for origin in origins)
    assert not any(origin.startswith("/usr/lib/libcrypto") for origin in origins)


def test_windows_is_asked_for_the_dlls_that_python_brings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["DLLs/libcrypto-3-x64.dll", "DLLs/libssl-3-x64.dll", "Library/bin/libcrypto-3-x64.dll"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))

    assert list(libcrypto._origins()) == [str(tmp_path / names[0]), str(tmp_path / names[2])]


def test_the_choice_is_kept_and_named() -> None:
    assert backend() == backend()
    assert backend() in {"libcrypto", "commoncrypto", "portable"}


def test_a_backend_may_be_forced_and_is_used_without_a_warning() -> None:
    answer = python("print(backend(), type(Sha256()._state).__name__)", forced="portable")

    assert answer.stdout.split() == ["portable", "PortableState"]
    assert answer.stderr == ""


def test_an_empty_variable_forces_nothing() -> None:
    assert python("print(backend())", forced="").stdout.strip() == backend()


def test_forcing_an_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(
        ValueError,
        match="KOODRIVE_SHA256_BACKEND='md5' is not one of libcrypto, commoncrypto, port",
    ):
        choose("md5")


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is usable")
def test_forcing_a_backend_that_is_not_here_does_not_fall_back() -> None:
    with pytest.raises(RuntimeError, match="no usable SHA-256 backend among commoncrypto"):
        choose("commoncrypto")


def test_importing_chooses_nothing() -> None:
    answer = python(
        "from koodrive_async.hashing.sha256 import _selection; print(_selection._backend)"
    )

    assert answer.stdout.strip() == "None"


def test_falling_back_to_plain_python_warns_once_whatever_the_threads() -> None:
    answer = python(
        """
import ctypes, sys, threading

def no_library_loads(event, _):
    if event == "ctypes.dlopen":
        raise OSError("no library in this test")

sys.addaudithook(no_library_loads)
barrier = threading.Barrier(4)
found = []

def first_use():
    barrier.wait()
    running = Sha256()
    running.update(b"abc")
    found.extend([backend(), running.hexdigest()])

threads = [threading.Thread(target=first_use) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*found)
""",
        "-Walways",
    )

    assert answer.stdout.split() == ["portable", hashlib.sha256(b"abc").hexdigest()] * 4
    assert answer.stderr.count("RuntimeWarning: SHA-256 runs in plain Python") == 1


def test_a_brought_backend_is_used_to_begin_and_to_resume() -> None:
    begun = Sha256(backend=PortableBackend())
    resumed = Sha256.resume((), 0, backend=PortableBackend())

    assert isinstance(begun._state, PortableState)
    assert isinstance(resumed._state, PortableState)


def python(code: str, *options: str, forced: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run code after the imports in a new interpreter, where nothing is chosen yet."""
    environment = {**os.environ, "KOODRIVE_SHA256_BACKEND": forced or ""}
    if forced is None:
        del environment["KOODRIVE_SHA256_BACKEND"]
    return subprocess.run(
        [
            *(sys.executable, *options),
            *("-c", f"from koodrive_async.hashing import Sha256, backend\n{code}"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
