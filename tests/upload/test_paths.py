r"""The text form of a path leads back to the path, and to no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async import InvalidArgument, path_from_text, path_text

pytestmark = pytest.mark.skipif(os.name == "nt", reason="paths are bytes on other systems")

ODD = st.sampled_from(
    [b"\\", b"x", b"\xe9", b"e9", b"\\xe9", b"\xc3", b"\xa9", b"/", b"\n", b"\x1b"]
)
PATHS = st.one_of(st.binary(max_size=20), st.lists(ODD, max_size=8).map(b"".join))


@given(PATHS)
def test_the_text_of_a_path_leads_back_to_it(raw):
    assert os.fsencode(path_from_text(path_text(raw))) == raw
    assert path_text(os.fsdecode(raw)) == path_text(raw)


@given(PATHS, PATHS)
def test_different_paths_have_different_texts(one, other):
    assert (path_text(one) == path_text(other)) == (one == other)


@given(st.text(st.sampled_from("\\xeE9c3aA/.é"), max_size=10))
def test_a_text_leads_to_one_path_or_to_none(text):
    try:
        path = path_from_text(text)
    except InvalidArgument:
        return
    assert path_text(path) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"photos/2024/cat.jpg", "photos/2024/cat.jpg"),
        ("空/\U0001f600 é.txt".encode(), "空/\U0001f600 é.txt"),
        (b"caf\xe9.txt", "caf\\xe9.txt"),
        (b"caf\\xe9.txt", "caf\\\\xe9.txt"),
        (b"a\\b", "a\\\\b"),
        (b"\\\\server\\share", "\\\\\\\\server\\\\share"),
        (b"tab\tline\nescape\x1b[0m", "tab\tline\nescape\x1b[0m"),
        (b"\xc3/\xa9", "\\xc3/\\xa9"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
    ],
)
def test_the_text_is_readable_where_the_path_is(raw, text):
    assert path_text(raw) == path_text(Path(os.fsdecode(raw))) == text
    assert path_from_text(text) == os.fsdecode(raw)


@pytest.mark.parametrize(
    "text",
    ["a\\b", "\\", "\\x", "\\xE9", "\\xe", "\\x2e\\x2e", "\\x2f", "\\x00", "\\xc3\\xa9", "\ud800"],
)
def test_a_text_that_no_path_has_is_refused(text):
    with pytest.raises(InvalidArgument, match="not the text of a path"):
        path_from_text(text)


def test_a_text_that_is_no_path_is_refused():
    with pytest.raises(InvalidArgument, match="no path of this system"):
        path_text("\ud800")


def test_the_bytes_of_a_path_count_whatever_the_locale():
    code = "import sys; from koodrive_async import path_text; print(ascii(path_text(sys.argv[1])))"
    found = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, "caf\xe9".encode() + b"\xe9"],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ascii("caf\xe9\\xe9")
