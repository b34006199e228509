"""Patterns mean what they mean in a ``.gitignore``, which is to say what git makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter

import anyio
import click
import pytest

from koodrive_async.cli.local import total_size
from koodrive_async.cli.rules import Patterns, Rules, left_out_facts, left_out_text, read_rules
from koodrive_async.upload import UploadItem
from koodrive_async.upload.tree import LeftOut, tree_items

FILES = (
    "a.txt",
    "b.tmp",
    "#recycle",
    "sub/b.tmp",
    "sub/keep.tmp",
    "sub/deep/a.txt",
    "build/out.bin",
    "sub/build/out.bin",
    "sub/build.txt",
    "photos/2024/1.jpg",
    "photos/2024/1.raw",
    "photos/2025/2.jpg",
    "with space /x y.txt",
    "空/文字.txt",
    "[odd]/star*.txt",
)


@pytest.fixture
def root(tmp_path):
    for name in FILES:
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path / "root"


def rules_of(root, *, include=(), exclude=(), exclude_from=()):
    return read_rules(root, include=include, exclude=exclude, exclude_from=exclude_from)


def taken(root, rules, left_out=None):
    async def walk():
        items = tree_items(root, rules=rules, left_out=left_out)
        return [item.description async for item in items if isinstance(item, UploadItem)]

    return set(anyio.run(walk))


SETS = [
    ["*.tmp"],
    ["*.tmp", "!keep.tmp"],
    ["build"],
    ["build/"],
    ["/build/"],
    ["/build"],
    ["sub/build"],
    ["sub/*"],
    ["sub/", "!sub/keep.tmp"],
    ["sub/*", "!sub/keep.tmp"],
    ["**/build"],
    ["photos/**/*.jpg"],
    ["photos/**"],
    ["photos/*/1.*"],
    ["*", "!*/", "!*.jpg"],
    ["/*", "!/photos/", "/photos/*", "!/photos/2024"],
    ["[ab].*"],
    [r"\#recycle"],
    ["#recycle"],
    [r"with\ space\ "],
    ["with space "],
    ["空/"],
    ["?.txt"],
    [r"\[odd\]/"],
    ["[!a].txt"],
    ["", "  ", "*.tmp   "],
    ["a.txt", "!a.txt", "a.txt"],
    ["deep/a.txt"],
    ["/sub/deep/a.txt"],
]


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git to ask")
@pytest.mark.parametrize("patterns", SETS, ids=" ".join)
def test_what_is_left_out_is_what_git_would_leave_out(root, tmp_path, patterns):
    file = tmp_path / "patterns"
    file.write_text("\n".join(patterns) + "\n")
    # a repository beside it, so that nothing of git is in the folder
    git = ["git", "-c", "core.excludesFile=", "-c", "core.quotePath=off"]
    where = [f"--git-dir={tmp_path / 'git'}", f"--work-tree={root}"]
    subprocess.run([*git, *where, "init", "--quiet"], check=True, timeout=20)
    listed = subprocess.run(
        [*git, *where, "ls-files", "--others", "-z", f"--exclude-from={file}"],
        cwd=root,
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=20,
    )
    expected = set(listed.stdout.split("\0")) - {""}
    rules = rules_of(root, exclude_from=[file])
    assert taken(root, rules) == expected
    assert total_size(root, rules) == sum(len(name.encode()) for name in expected)


def test_without_patterns_everything_is_taken(root):
    assert rules_of(root) is None
    assert taken(root, None) == set(FILES)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.jpg"], [], {"photos/2024/1.jpg", "photos/2025/2.jpg"}),
        (["photos/"], ["*.raw"], {"photos/2024/1.jpg", "photos/2025/2.jpg"}),
        (["/photos/2024/", "/a.txt"], [], {"photos/2024/1.jpg", "photos/2024/1.raw", "a.txt"}),
        (["a.txt"], ["deep"], {"a.txt"}),
        (["*.txt"], ["*"], set()),
        (["#recycle"], [], {"#recycle"}),
    ],
)
def test_include_takes_some_and_exclude_takes_them_out_again(root, include, exclude, expected):
    assert taken(root, rules_of(root, include=include, exclude=exclude)) == expected


def test_paths_as_a_shell_has_them_are_understood(root):
    everything = set(FILES)
    for pattern in ("./b.tmp", f"{root}/b.tmp"):
        assert taken(root, rules_of(root, exclude=[pattern])) == everything - {"b.tmp"}
        assert taken(root, rules_of(root, include=[pattern])) == {"b.tmp"}
        assert taken(root, rules_of(root, exclude=["*.tmp", f"!{pattern}"])) == (
            everything - {"sub/b.tmp", "sub/keep.tmp"}
        )


def test_patterns_that_always_hold_come_before_those_of_the_folder(root, tmp_path):
    (root / ".koodriveignore").write_text("!a.txt\n")
    file = tmp_path / "more"
    file.write_text("b.tmp\n")
    standing = Patterns(include=["*.tmp"], exclude=["a.txt", "sub/"], exclude_from=[file])
    rules = read_rules(
        root, include=["a.txt"], exclude=["!/sub/"], exclude_from=[], standing=standing
    )
    assert taken(root, rules) == {"a.txt", "sub/keep.tmp", "sub/deep/a.txt"}


def test_what_stands_on_the_command_line_is_never_a_comment(root):
    assert "#recycle" not in taken(root, rules_of(root, exclude=["#recycle"]))


def test_the_last_pattern_decides_and_those_of_the_folder_come_first(root, tmp_path):
    (root / ".koodriveignore").write_text("*.txt\n*.jpg\n*.raw\n")
    file = tmp_path / "more"
    file.write_bytes(b"\xef\xbb\xbf!a.txt\r\n!*.jpg\r\n")
    rules = rules_of(root, exclude=["2.jpg", "/sub/"], exclude_from=[file])
    found = taken(root, rules)
    assert {name for name in found if name.endswith((".txt", ".jpg", ".raw"))} == {
        "a.txt",
        "photos/2024/1.jpg",
    }
    assert ".koodriveignore" in found


def test_a_folder_named_like_the_file_with_patterns_is_a_folder(root):
    (root / ".koodriveignore").mkdir()
    assert rules_of(root) is None


UNREADABLE = {
    "a link that leads nowhere": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": os.mkfifo,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_patterns_that_cannot_be_read_are_no_rule_in_silence(root, make):
    make(root / ".koodriveignore")
    with pytest.raises(OSError, match="koodriveignore"):
        rules_of(root)


def test_a_link_to_a_file_with_patterns_is_followed(root):
    (root / "patterns").write_text("*.pem\n")
    (root / ".koodriveignore").symlink_to("patterns")
    assert rules_of(root) is not None


@pytest.mark.parametrize(
    "pattern", ["", "   ", "!", "\\", "/", "[", "[z-a]", "../a", "a//b", "!a/./b", ".."]
)
def test_a_pattern_that_can_match_nothing_is_refused(root, pattern):
    with pytest.raises(click.UsageError, match="--exclude: "):
        rules_of(root, exclude=[pattern])


def test_a_line_that_is_no_pattern_is_named(root):
    file = root / ".koodriveignore"
    file.write_text("*.tmp\n# a comment\n\n!\n")
    with pytest.raises(click.UsageError) as caught:
        rules_of(root)
    assert caught.value.message == f"{file}, line 4: '!' is not a pattern of any name"


def test_folders_that_are_left_out_are_not_looked_into(root, monkeypatch):
    looked_into = []
    scandir = os.scandir

    def watched(place):
        # a folder is read by its descriptor where the system can
        looked_into.append(os.stat(place).st_ino)  # noqa: PTH116 - of a descriptor as well
        return scandir(place)

    monkeypatch.setattr(os, "scandir", watched)
    taken(root, rules_of(root, exclude=["photos/"]))
    assert (root / "sub" / "deep").stat().st_ino in looked_into
    below = {path.stat().st_ino for path in (root / "photos", *(root / "photos").iterdir())}
    assert below.isdisjoint(looked_into)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_may_be_anything(root):
    odd = os.fsencode(root) + b"/odd \xff\nname.txt"
    with open(odd, "wb"):  # noqa: PTH123 - a name in bytes
        pass
    before = taken(root, None)
    after = taken(root, rules_of(root, exclude=["odd*"]))
    assert len(before - after) == 1
    assert taken(root, rules_of(root, exclude=[os.fsdecode(b"odd \xff*")])) == after
    (root / ".koodriveignore").write_bytes(b"odd ?*\n")
    assert taken(root, rules_of(root)) == after | {".koodriveignore"}
    assert taken(root, rules_of(root, include=["*name.txt"])) == set()


LINES = "# 私密\n*.raw\n!2025/\nphotos/2025/2.jpg\n"
KEPT = set(FILES) - {name for name in FILES if name.endswith(".raw")} - {"photos/2025/2.jpg"}
MARK = "\ufeff"


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        LINES.replace("\n", "\r\n").encode(),
        LINES.replace("\n", "\r").encode(),
        (MARK + LINES).encode(),
        (MARK + "# one\n" + MARK + LINES).encode(),
        (MARK + LINES).encode("utf-16-le"),
        (MARK + LINES.replace("\n", "\r\n")).encode("utf-16-be"),
        (MARK + LINES).encode("utf-32-le"),
        (MARK + LINES).encode("utf-32-be"),
    ],
)
def test_a_file_with_patterns_may_come_from_another_system(root, content):
    (root / ".koodriveignore").write_bytes(content)
    assert taken(root, rules_of(root)) == KEPT | {".koodriveignore"}
    (root / ".koodriveignore").unlink()
    elsewhere = root.parent / "patterns"
    elsewhere.write_bytes(content)
    assert taken(root, rules_of(root, exclude_from=[elsewhere])) == KEPT


@pytest.mark.parametrize(
    "content",
    [
        "*.pem\n".encode("utf-16-le"),
        "*.pem\n".encode("utf-16-be"),
        (MARK + "*.pem\n").encode("utf-16-le")[:-1],
        "*.pem\n".encode("utf-32-le"),
        "私密/\n".encode("gb18030"),
        "été.*\n".encode("latin-1"),
        b"*.pem\0\n",
        b"\xef\xbb\xbf*.pem\n\xff\n",
    ],
)
def test_a_file_with_patterns_that_cannot_be_read_as_text_is_refused(invoke, root, content):
    (root / "key.pem").write_text("secret")
    (root / ".koodriveignore").write_bytes(content)
    done = invoke("backup", root, "--dry-run")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"error: {root}/.koodriveignore: patterns are read as UTF-8" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="there are none")
def test_what_is_left_out_is_counted_by_its_kind(root):
    (root / "link").symlink_to("a.txt")
    (root / "other.tmp").symlink_to("a.txt")
    os.mkfifo(root / "pipe")
    left_out: Counter[LeftOut] = Counter()
    taken(root, rules_of(root, exclude=["*.tmp", "photos"]), left_out)
    assert left_out == {
        "excluded file": 4,
        "excluded folder": 1,
        "symbolic link": 1,
        "FIFO": 1,
    }
    assert left_out_text(left_out) == (
        "4 excluded files, 1 excluded folder, 1 symbolic link, 1 FIFO"
    )
    assert left_out_facts(left_out) == {
        "excluded_files": 4,
        "excluded_folders": 1,
        "symbolic_links": 1,
        "fifos": 1,
        "sockets": 0,
        "devices": 0,
    }


def test_nothing_left_out_is_not_worth_a_word():
    assert left_out_text(Counter()) is None


def test_rules_without_include_take_what_is_not_excluded(root):
    rules = rules_of(root, exclude=["*.tmp"])
    assert isinstance(rules, Rules)
    assert rules.takes_file("a.txt")
    assert not rules.takes_file("sub/b.tmp")
    assert rules.takes_folder("sub")
