from __future__ import annotations

import os
import signal
import sys

import pytest

from koodrive_async.emulator import blobs, objects

FILES = 5


def test_demo_makes_a_tree_and_brings_every_byte_back(call, tmp_path):
    done = call("demo", env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "29 of 29 files equal" in done.stdout
    assert done.stdout.count("B/s") == 2
    assert done.stdout.endswith("Every file came back byte for byte.\n")
    assert done.stdout.isprintable() is False  # it has lines,
    assert done.stdout.replace("\n", "").isprintable()  # and nothing else that controls a terminal
    assert list(tmp_path.iterdir()) == []


def test_demo_takes_a_folder_of_ones_own(invoke, tree):
    done = invoke("demo", tree)
    assert done.exit_code == 0, done.output
    assert f"{FILES} of {FILES} files equal" in done.stdout
    assert "6 parts" in done.stdout


def test_demo_takes_a_single_file(invoke, tree):
    done = invoke("demo", tree / "large.bin")
    assert done.exit_code == 0, done.output
    assert "1 of 1 file equal" in done.stdout


def test_demo_takes_an_empty_folder(invoke, tmp_path):
    done = invoke("demo", tmp_path)
    assert done.exit_code == 0, done.output
    assert "0 of 0 files equal" in done.stdout


def test_demo_notices_a_byte_that_changed_on_disk(invoke, tree, monkeypatch):
    def write_at(descriptor, data, offset):
        # the service has checked the part by now: only a comparison of what comes back can tell
        spoilt = bytearray(data)
        if offset > 8 * 2**20:
            spoilt[-1] ^= 1
        blobs.write_at(descriptor, bytes(spoilt), offset)

    monkeypatch.setattr(objects, "write_at", write_at)
    done = invoke("demo", tree)
    assert done.exit_code == 1
    assert f"{FILES - 1} of {FILES} files equal" in done.stdout
    assert "NOT EQUAL   large.bin: SHA-256 " in done.stdout
    assert "byte for byte" not in done.stdout


def test_demo_survives_faults_on_the_way_there(invoke, tree):
    done = invoke("demo", tree, "--fault", "reset=middle:part.put:times=1")
    assert done.exit_code == 0, done.output
    assert "1 part sent again" in done.stdout


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("reset=middle:object.get:times=1", "its download failed ("),
        ("error=403:object.get:times=1", "its download failed (HTTP 403)"),
        ("error=400:files.create:times=1,code=13000308", "it was not backed up ("),
    ],
)
def test_demo_names_a_file_that_did_not_make_it(invoke, tmp_path, fault, problem):
    (tmp_path / "precious.bin").write_bytes(bytes(2**21))
    done = invoke("demo", tmp_path, "--fault", fault)
    assert done.exit_code == 1
    assert f"NOT EQUAL   precious.bin: {problem}" in done.stdout
    assert "0 of 1 file equal" in done.stdout
    assert "Signature=" not in done.output


def test_demo_refuses_a_fault_that_is_none(invoke):
    done = invoke("demo", "--fault", "flood")
    assert done.exit_code == 2
    assert "no kind is called 'flood'" in done.stderr


def test_demo_that_is_interrupted_leaves_nothing_behind(start, tree, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    slow = ("--fault", "bandwidth=1000")
    with start("demo", tree, *slow, env=os.environ | {"TMPDIR": str(scratch)}) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        assert "is bound as" in lines[2]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert list(scratch.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="others have names in Unicode alone")
def test_names_that_are_not_unicode_come_back(invoke, tmp_path):
    root = tmp_path / "names"
    root.mkdir()
    file = root / os.fsdecode(b"\xff.txt")
    file.write_bytes(b"x")
    assert invoke("demo", root).exit_code == 0
    assert invoke("demo", file).exit_code == 0


def test_names_that_look_alike_as_text_come_back_as_what_they_are(invoke, tmp_path):
    root = tmp_path / "names"
    root.mkdir()
    names = [b"\xe9", b"\\xe9", b"\\\\xe9", "é".encode(), b"\\", b"a\\..\\b", b"\n", b"\x1b[31m"]
    for name in names:
        (root / os.fsdecode(name)).write_bytes(name)
    done = invoke("demo", root)
    assert done.exit_code == 0, done.output
    assert f"{len(names)} of {len(names)} files equal" in done.stdout
    assert invoke("demo", root / os.fsdecode(b"a\\..\\b")).exit_code == 0
