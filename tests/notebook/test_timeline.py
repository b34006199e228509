"""Timelines: what stands where, and that it can be drawn whatever happened."""

from __future__ import annotations

import asyncio
import io
import os
import random
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise

import attrs
import pytest
from anyio import to_thread
from matplotlib.figure import Figure
from PIL import Image

from koodrive_async import Limits, Module, Phase, UploadItem, UploadReceipt
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from koodrive_async.upload.timeline import Bar, State, chart_of, draw_file, draw_session, merged
from koodrive_async.upload.trace import FileTrace, HashSpan, PartSpan
from koodrive_async.upload.watching import SessionWatch
from tests.sample import sample

MIB = 1024 * 1024
START = 5000.0


def part(number, connection, began, ended, *, queued=None, reading=0.0, error=None, size=MIB):
    return PartSpan(
        number=number,
        size=size,
        connection=connection,
        queued=START + (began if queued is None else queued),
        began=START + began,
        reading=reading,
        ended=START + ended,
        error=error,
    )


def trace(*parts, name="cat.jpg", began=0.0, ended=10.0, hashing=None, **more):
    if hashing is not None:
        queued, first, last = hashing
        hashing = HashSpan(queued=START + queued, began=START + first, ended=START + last)
    return FileTrace(
        name=name,
        began=START + began,
        ended=START + ended,
        hashing=hashing,
        parts=parts,
        **more,
    )


def many(files, parts, connections, seed=0):
    """A session in which some parts failed; nothing of it is from a clock."""
    chance = random.Random(seed)
    free = [0.0] * connections
    traces = []
    for number in range(files):
        spans = []
        for each in range(1, parts + 1):
            error = "reset" if chance.random() < 0.02 else None
            for outcome in [error, None] if error else [None]:
                connection = free.index(min(free))
                began = free[connection]
                free[connection] += chance.uniform(0.1, 0.3)
                spans.append(
                    part(each, connection + 1, began, free[connection], queued=0, error=outcome)
                )
        hashing = (0, number / 10, (number + 1) / 10)
        traces.append(trace(*spans, ended=max(free), hashing=hashing, name=f"{number}.bin"))
    return traces


def spans_of(chart, state):
    bars = chart.bars.get(state, [])
    return [(chart.rows[bar.row], bar.began, bar.ended) for bar in bars]


def test_hashing_stands_above_the_connections():
    chart = chart_of([trace(part(1, 7, 3, 5), part(2, 9, 3, 6), hashing=(0, 1, 2))], "")
    assert chart.rows == ("hashing", "connection 7", "connection 9")
    assert spans_of(chart, State.HASHING) == [("hashing", 1, 2)]
    assert spans_of(chart, State.WAITING) == [("hashing", 0, 1)]
    assert spans_of(chart, State.SENDING) == [("connection 7", 3, 5), ("connection 9", 3, 6)]


def test_reading_is_the_first_share_of_a_part():
    chart = chart_of([trace(part(1, 1, 2, 6, queued=1, reading=0.5))], "")
    assert spans_of(chart, State.WAITING) == [("connection 1", 1, 2)]
    assert spans_of(chart, State.READING) == [("connection 1", 2, 2.5)]


def test_a_part_that_failed_is_followed_by_a_pause_and_the_next_attempt():
    failed = part(1, 1, 1, 2, error="reset")
    again = part(1, 2, 5, 6, queued=4)
    chart = chart_of([trace(failed, again)], "")
    assert spans_of(chart, State.FAILED) == [("connection 1", 1, 2)]
    assert spans_of(chart, State.PAUSING) == [("connection 2", 2, 4)]
    assert spans_of(chart, State.WAITING) == [("connection 2", 4, 5)]
    assert spans_of(chart, State.SENDING) == [("connection 2", 5, 6)]
    assert "; 1 attempt in vain" in chart.subtitle


def test_a_part_that_arrived_and_is_sent_again_has_made_no_pause():
    chart = chart_of([trace(part(1, 1, 1, 2), part(1, 1, 5, 6))], "")
    assert not spans_of(chart, State.PAUSING)
    assert spans_of(chart, State.SENDING) == [("connection 1", 1, 2), ("connection 1", 5, 6)]


def test_files_whose_hashing_began_at_the_same_moment_have_rows_of_their_own():
    hashed = [(0, 1, 9), (0, 1, 2), (0, 3, 4)]
    chart = chart_of([trace(hashing=each) for each in hashed], "")
    bars = sorted((bar.row, bar.began, bar.ended) for bar in chart.bars[State.HASHING])
    assert all(before[0] != after[0] or before[2] <= after[1] for before, after in pairwise(bars))


def test_parts_of_the_same_number_in_two_files_are_not_attempts_of_one():
    chart = chart_of([trace(part(1, 1, 1, 2)), trace(part(1, 1, 5, 6))], "")
    assert not spans_of(chart, State.PAUSING)


def test_a_connection_that_never_came_about_has_a_row_too():
    chart = chart_of([trace(part(1, None, 1, 1, error="refused"), part(1, 1, 2, 3))], "")
    assert chart.rows == ("connection 1", "no connection")
    assert spans_of(chart, State.FAILED) == [("no connection", 1, 1)]


def test_files_hashed_at_the_same_time_stand_below_each_other():
    hashed = [(0, 0, 3), (0, 1, 2), (0, 2, 4)]
    chart = chart_of([trace(hashing=each) for each in hashed], "")
    bars = sorted(chart.bars[State.HASHING], key=lambda bar: bar.began)
    rows = [bar.row for bar in bars]
    assert rows[0] != rows[1] == rows[2]


def test_many_files_hashed_at_the_same_time_share_a_row():
    chart = chart_of([trace(hashing=(0, 0, 3))] * 32, "")
    assert chart.rows == ("hashing, 32 at a time",)


def test_few_files_have_a_row_each():
    chart = chart_of([trace(name="b", began=1), trace(name="a", description="x/a")], "")
    assert chart.rows == ("x/a", "b")


def test_files_that_were_cancelled_have_a_row_also_among_many():
    left = trace(name="left", cancelled=True, hashing=(0, 1, 9))
    chart = chart_of([*many(20, 2, 4), left], "")
    assert chart.rows[0] == "left"
    assert spans_of(chart, State.CANCELLED) == [("left", 0, 10)]
    assert chart.subtitle.endswith("; 1 file cancelled")
    assert not spans_of(chart, State.FILE)


def test_connections_that_followed_each_other_share_rows_when_there_are_many():
    parts = [part(each, each, each, each + 0.9) for each in range(1, 500)]
    chart = chart_of([trace(*parts, ended=501)], "")
    assert chart.rows == ("lane 1",)
    assert len(chart.bars[State.SENDING]) == 499


def test_the_speed_counts_only_the_time_in_which_something_was_sent():
    chart = chart_of([trace(part(1, 1, 1, 2, size=10**6), part(2, 1, 8, 9, size=10**6))], "")
    assert chart.subtitle == "2.0 MB in 2 parts over 1 connection, sent in 2.0 s, 1.0 MB/s"


@pytest.mark.parametrize(
    ("traces", "said"),
    [
        ([], "nothing was sent"),
        ([trace()], "nothing was sent"),
        ([trace(hashing=(0, 0, 0.5))], "hashed in 500 ms; nothing was sent"),
        ([trace(part(1, None, 1, 2, error="refused"))], "nothing arrived"),
    ],
)
def test_what_never_got_there_has_a_picture_too(traces, said):
    assert chart_of(traces, "").subtitle == said
    draw_session(traces).savefig(io.BytesIO())


def test_bars_that_touch_become_one():
    bars = [Bar(0, 0, 1), Bar(0, 0.5, 2), Bar(0, 2.05, 3), Bar(0, 4, 5), Bar(1, 0, 1)]
    assert merged(bars, gap=0.1) == [Bar(0, 0, 3), Bar(0, 4, 5), Bar(1, 0, 1)]


def texts_of(figure):
    axes = figure.axes[0]
    return [axes.get_title(loc="left"), *(each.get_text() for each in axes.texts)]


def pixels(figure):
    return Image.open(io.BytesIO(figure._repr_png_()[0])).convert("RGBA")


@pytest.mark.parametrize(
    "name", ["$x_2$ \\frac{1}", "<b>", "a\nb\x1b[31m", "照片.jpg", "\udcff" * 3]
)
def test_any_name_can_be_drawn(name):
    figure = draw_file(trace(part(1, 1, 1, 2), name=name))
    assert texts_of(figure)[0].isprintable()
    assert pixels(figure).size[0] > 500


def test_a_long_name_is_cut():
    assert len(texts_of(draw_file(trace(name="x" * 500)))[0]) <= 70


def test_the_title_of_a_file_of_a_tree_is_its_path():
    assert texts_of(draw_file(trace(description="2026/cat.jpg")))[0] == "2026/cat.jpg"


def test_the_picture_has_no_background_and_can_be_read_on_white_and_on_black():
    picture = pixels(draw_file(trace(part(1, 1, 1, 9, reading=3), hashing=(0, 0, 1))))
    assert picture.getpixel((0, 0))[3] == 0
    opaque = {color[:3] for _, color in picture.getcolors(1 << 24) if color[3] == 255}
    brightness = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in opaque]
    assert min(brightness) > 60
    assert max(brightness) < 200


def test_every_state_has_a_colour_of_its_own_in_the_legend():
    figure = draw_session(
        [
            trace(
                part(1, 1, 2, 3, queued=1, reading=0.5, error="reset"),
                part(1, 1, 6, 9, queued=5, reading=0.5),
                hashing=(0, 0, 1),
            ),
            trace(name="other"),
            trace(name="left", cancelled=True),
        ]
    )
    (legend,) = figure.legends
    assert [each.get_text() for each in legend.get_texts()] == list(State)
    assert len({patch.get_facecolor() for patch in legend.get_patches()}) == len(State)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2000, 32), (250, 8, 32), (2000, 1, 4)], ids=str)
def test_it_can_be_drawn_with_one_part_and_with_thousands(shape):
    figure = draw_session(many(*shape))
    assert isinstance(figure, Figure)
    width, height = pixels(figure).size
    assert width == 2000
    assert 300 < height < 2400


def test_twenty_thousand_parts_are_drawn_with_a_few_objects():
    figure = draw_session(many(2000, 10, 32))
    # an object for each part would take minutes: there is one for each state
    assert len(figure.axes[0].collections) <= len(State)


def test_pyplot_and_the_settings_of_other_figures_are_left_alone():
    look = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy();"
        "from koodrive_async.upload.timeline import draw_session; draw_session([])._repr_png_();"
        "assert 'matplotlib.pyplot' not in sys.modules; assert before == matplotlib.rcParams"
    )
    command = [sys.executable, "-c", look]
    # to look up a backend that nobody has chosen is to choose one
    subprocess.run(command, check=True, timeout=50, env={**os.environ, "MPLBACKEND": "agg"})


def test_matplotlib_is_loaded_only_when_something_is_drawn():
    look = "import sys, koodrive_async.backup; print({'matplotlib', 'pandas'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, timeout=50)
    assert ran.stdout.strip() == b"set()"


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "koodrive_async.upload.timeline_figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ModuleNotFoundError,
        match=r"a timeline needs matplotlib: pip install 'koodrive-async\[notebook\]'",
    ):
        draw_file(trace())


def test_a_receipt_without_a_trace_has_no_timeline():
    receipt = UploadReceipt(
        outcome="exists", file_id="1", name="a", sha256="", size=0, parts=0, retries=0, seconds=0.0
    )
    with pytest.raises(ValueError, match="there is no trace of a"):
        receipt.timeline()
    assert attrs.evolve(receipt, trace=trace()).timeline() is not None


@pytest.mark.anyio
async def test_a_file_that_was_cancelled_while_it_was_sent_is_drawn(koodrive_emulator, tmp_path):
    stuck = Fault("silence", "part.put", moment="after")
    koodrive_emulator.faults.add(stuck)
    path = tmp_path / "large.bin"
    path.write_bytes(sample(12 * MIB))
    sending = asyncio.Event()

    def note(progress):
        if progress.phase is Phase.HASH and progress.done == progress.total:
            sending.set()

    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            task = asyncio.create_task(session.upload(path, on_progress=note))
            await sending.wait()
            task.cancel()
            await asyncio.wait([task])
    (left,) = session.traces
    assert left.cancelled
    chart = chart_of(session.traces, "")
    assert chart.rows[:2] == ("large.bin", "hashing")
    assert len(chart.bars[State.CANCELLED]) == len(chart.bars[State.HASHING]) == 1


def test_a_file_that_was_cancelled_while_it_was_hashed_says_so():
    watch = SessionWatch()
    file = watch.file(UploadItem(source="a", name="a"), None)
    file.hash_began()
    with suppress(asyncio.CancelledError), file.told():
        raise asyncio.CancelledError
    (left,) = watch.traces
    assert left.cancelled
    assert left.hashing is not None


@pytest.mark.anyio
async def test_an_upload_with_retries_is_drawn_as_it_was(koodrive_emulator, tmp_path):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=2))
    path = tmp_path / "big.bin"
    path.write_bytes(sample(20 * MIB))
    async with connect(koodrive_emulator, limits=Limits(connections=2)) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(path)
            await session.upload(b"small", name="small.txt")
    assert receipt.trace is not None
    chart = chart_of([receipt.trace], "")
    assert len(chart.bars[State.SENDING]) == receipt.parts == 3
    assert len(chart.bars[State.FAILED]) == receipt.retries == 2
    assert len(chart.bars[State.HASHING]) == 1

    def draw():
        assert texts_of(receipt.timeline())[0] == "big.bin"
        assert texts_of(session.timeline())[0] == "Backup of 2 files"
        assert pixels(session.timeline()).size[0] == 2000

    await to_thread.run_sync(draw)  # fonts are read from disk
