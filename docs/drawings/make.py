"""Draws the two pictures that are made by the package itself: ``python docs/drawings/make.py``."""
# ruff: noqa: INP001 - a script, no package

from __future__ import annotations

import io
import random
from pathlib import Path

from rich.console import Console

from koodrive_async.sinks.bars import Bar, Bars, FileBar
from koodrive_async.upload import FileTrace, HashSpan, PartSpan
from koodrive_async.upload.timeline import draw_file

HERE = Path(__file__).parent
MB = 1_000_000
LOST = 11
"""The part that has to be sent again."""

TERMINAL = """\
<svg class="terminal" viewBox="-14 -10 1078 172" role="img" \
xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, monospace; }}
{styles}
</style>
<defs>{lines}</defs>
<rect x="-14" y="-10" width="1078" height="172" rx="10" fill="#16191f"/>
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g>
</svg>
"""


def main() -> None:
    """Draw both."""
    console = Console(record=True, width=86, force_terminal=True, file=io.StringIO())
    console.print(bars())
    drawn = console.export_svg(code_format=TERMINAL, unique_id="bars")
    (HERE / "bars.svg").write_text(drawn, encoding="utf-8")
    draw_file(film()).savefig(HERE / "timeline.png", dpi=140)


def bars() -> Bars:
    """Return what a terminal shows in the middle of a backup."""
    return Bars(
        bars=[
            Bar(label="hash", done=812 * MB, total=1240 * MB, speed=410.0 * MB, left="1 s left"),
            Bar(label="upload", done=377 * MB, total=1240 * MB, speed=38.4 * MB, left="22 s left"),
        ],
        line="214 of 391 files, 1 failed, 3 parts sent again",
        files=[
            FileBar("films/holidays.mp4", "upload", 161 * MB, 520 * MB),
            FileBar("films/birthday.mp4", "hash", 92 * MB, 240 * MB),
            FileBar("photos/2026/panorama.tif", "upload", 44 * MB, 61 * MB),
        ],
    )


def film() -> FileTrace:
    """Return what happened to a film on its way over four connections."""
    pick = random.Random(7)  # noqa: S311 - lengths of bars
    ends = [0.42] * 4
    parts = []
    for number in range(1, 25):
        lane = min(range(4), key=ends.__getitem__)
        began = ends[lane] + 0.002
        ended = began + pick.uniform(0.10, 0.17)
        lost = number == LOST
        parts.append(
            PartSpan(
                number=number,
                size=8 * 1024 * 1024,
                connection=lane + 1,
                queued=0.42,
                began=began,
                reading=0.0,
                ended=ended - 0.06 if lost else ended,
                error="connection reset" if lost else None,
            )
        )
        ends[lane] = ended
        if lost:
            again = ended + 0.12
            parts.append(
                PartSpan(
                    number=number,
                    size=8 * 1024 * 1024,
                    connection=lane + 1,
                    queued=again - 0.02,
                    began=again,
                    reading=0.0,
                    ended=again + 0.14,
                )
            )
            ends[lane] = again + 0.14
    return FileTrace(
        name="film.mp4",
        began=0.0,
        ended=max(ends) + 0.05,
        hashing=HashSpan(queued=0.0, began=0.01, ended=0.40),
        parts=tuple(sorted(parts, key=lambda part: part.ended)),
    )


if __name__ == "__main__":
    main()
