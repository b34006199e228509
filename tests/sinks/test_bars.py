"""What a terminal shows, line by line."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from koodrive_async.sinks.bars import Bar, Bars, FileBar

BARS = Bars(
    bars=[
        Bar(label="hash", done=2 * 10**9, total=2 * 10**9, speed=312.3e6, left="0:00"),
        Bar(label="upload", done=10**9, total=2 * 10**9, speed=98.3e6, left="1:02:14+"),
    ],
    line="1,203 files done, 32 under way, 2 failed, 3 parts sent again",
    files=[
        FileBar("a.bin", "upload", 5, 10),
        FileBar("2024/a folder of that year/文档/假期/IMG_0001.mov", "hash", 0, 0),
        FileBar(r"evil\x1b[2J", "upload", 10, 10),
    ],
)


def drawn(bars, width, **settings):
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, **settings).print(bars)
    return file.getvalue()


def lines(bars, width):
    return drawn(bars, width, color_system=None).splitlines()


@pytest.mark.parametrize("width", [1, 5, 10, 19, 20, 30, 40, 41, 60, 79, 80, 100, 200, 500])
def test_every_line_fits(width):
    assert len(lines(BARS, width)) == 6
    assert max(map(cell_len, lines(BARS, width))) <= width


def test_a_wide_terminal_shows_everything():
    hashing, sending, line, *files = lines(BARS, 110)
    assert sending.split() == [
        *["upload", "━" * 20, "50%", "1.0", "GB", "of", "2.0", "GB", "98.3", "MB/s", "1:02:14+"]
    ]
    assert "━" * 40 in hashing
    assert line == "1,203 files done, 32 under way, 2 failed, 3 parts sent again"
    assert files[0].split() == ["a.bin", "━" * 6, "50%", "upload"]
    assert "假期/IMG_0001.mov" in files[1]


def test_forty_columns_show_a_bar_the_share_and_the_time_left():
    _, sending, _, *files = lines(BARS, 40)
    assert sending.split() == ["upload", "━" * 8, "50%", "1:02:14+"]
    # of a long path the end says most
    assert files[1].split()[0].startswith("…")
    assert "IMG_0001.mov" in files[1]


def test_without_a_total_there_is_no_share():
    (line,) = lines(Bars(bars=[Bar(label="upload", done=5000, total=None, note="3 files")]), 80)
    assert "%" not in line
    assert "5.0 kB" in line
    assert "3 files" in line


def test_colours_are_left_out_when_they_are_not_wanted(monkeypatch):
    assert "\x1b[3" in drawn(BARS, 80, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    without = drawn(BARS, 80, color_system="standard")
    assert "\x1b[3" not in without
    assert "\x1b[9" not in without


def test_a_terminal_that_lacks_letters_gets_others():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=stream, width=80, force_terminal=True).print(Bars(bars=BARS.bars))
    stream.flush()
    assert b"=====" in stream.buffer.getvalue()


def test_markup_in_a_name_is_a_name():
    bars = Bars(bars=[], files=[FileBar("[red]a[/red].txt", "hash", 0, 1)])
    assert "[red]a[/red].txt" in lines(bars, 80)[0]
