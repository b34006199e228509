from __future__ import annotations

import pytest

from koodrive_async.sinks.standing import Speed, Standing
from koodrive_async.wording import printable, shortened, size_text, time_text

FOREVER = float("inf")


def standing_after(story):
    standing = Standing()
    for event in story.taken():
        standing.take(event)
    return standing


def test_a_speed_is_that_of_the_last_ten_seconds():
    speed = Speed()
    assert speed.per_second == 0
    for second in range(100):
        speed.add(float(second), 1000 * second)
    assert speed.per_second == 1000
    for second in range(100, 112):
        speed.add(float(second), 99_000)
    assert speed.per_second == 0


def test_lumps_are_smoothed():
    speed = Speed()
    for tenth in range(200):
        speed.add(tenth / 10, tenth // 20 * 1000)
    assert 400 <= speed.per_second <= 600


def test_the_time_left_follows_from_speed_and_total(story):
    story.finished("a", 1000)
    standing = standing_after(story)
    sending = standing.passes[1]
    standing.total = 3000
    standing.look(standing.began + 2)
    assert sending.per_second == 500
    assert standing.time_left(sending) == "0:04"


def test_without_a_total_the_time_left_is_that_of_what_has_begun(story):
    story.finished("a", 1000)
    story.begun("b", 2000)
    standing = standing_after(story)
    standing.look(standing.began + 2)
    assert standing.expected == 3000
    assert standing.time_left(standing.passes[1]) == "0:04+"


def test_nobody_knows_the_time_left_while_nothing_moves(story):
    story.begun("a")
    standing = standing_after(story)
    standing.look(standing.began + 2)
    assert standing.time_left(standing.passes[1]) == ""


def test_bytes_of_a_file_that_failed_are_not_waited_for(story):
    story.failed("a", ValueError())
    story.finished("b", 1000)
    standing = standing_after(story)
    standing.look(standing.began + 1)
    assert [each.seconds_left(2000) for each in standing.passes] == [0, 0]


def test_files_are_on_their_way_until_they_end(story):
    story.begun("a", 1)
    story.finished("b", 2)
    story.failed("c", ValueError())
    story.cancelled("d")
    story.begun("e", 5)
    files = standing_after(story).largest(10, FOREVER)
    assert [file.name for file in files] == ["a", "e"]


def test_the_largest_come_in_the_order_in_which_they_began(story):
    for size in (5, 1, 9, 3, 7):
        story.begun(f"{size} bytes", size)
    files = standing_after(story).largest(3, FOREVER)
    assert [file.total for file in files] == [5, 9, 7]


def test_what_has_only_just_begun_is_not_shown_yet(story):
    story.begun("a", 1)
    standing = standing_after(story)
    assert standing.largest(3, standing.began - 1) == []


def test_a_sink_that_came_late_learns_of_files_by_their_progress(story):
    file = story.begun("a", 1000)
    story.taken()
    file.hashed()
    (file,) = standing_after(story).largest(3, FOREVER)
    assert (file.name, file.done, file.total) == ("a", 1000, 1000)


def test_the_summary_tells_what_there_is_to_tell(story):
    story.finished("a", 4000)
    story.finished("b", 2000, "exists")
    story.finished("c", 1000, "rapid")
    story.retried("d", ValueError())
    story.failed("e", ValueError())
    assert standing_after(story).summary(2) == (
        "3 files, 7.0 kB in 2.00 s: 2.0 kB/s; 1 file there already; 1 file not sent, the service "
        "had the bytes; 1 part sent again; 1 file failed; 1 file still under way"
    )


def test_a_run_that_sent_nothing_has_no_speed(story):
    story.finished("a", 4000, "exists")
    story.finished("b", 2000, "rapid")
    standing = standing_after(story)
    standing.look(standing.began + 2)
    assert standing.passes[1].per_second is None
    assert "/s" not in standing.progress()
    assert standing.summary(2).startswith("2 files, 6.0 kB in 2.00 s; 1 file there already")


def test_the_speed_is_that_of_the_bytes_that_were_sent(story):
    story.finished("a", 9000, "exists")
    story.finished("b", 1000)
    standing = standing_after(story)
    standing.look(standing.began + 2)
    assert standing.passes[1].per_second == 500
    assert standing.speed(4) == "250 B/s"


def test_what_a_session_sent_before_it_was_shown_does_not_count(story):
    story.finished("a", 9000)
    story.taken()
    story.finished("b", 1000)
    assert standing_after(story).sent == 1000


def test_a_file_that_is_hashed_waits_until_a_part_of_it_has_arrived(story, monkeypatch):
    monkeypatch.setattr("koodrive_async.upload.watching.REPORT_EVERY", 0)
    story.begun("a", 0)
    half, hashed, sending = (story.begun(name) for name in "bcd")
    hashed.hashed()
    sending.hashed()
    sending.arrived(500)
    half.hashing(600)
    files = standing_after(story).largest(9, FOREVER)
    assert [file.doing for file in files] == ["hash", "hash", "waiting", "upload"]


@pytest.mark.parametrize("total", [None, 1000])
def test_a_pass_that_is_over_has_no_time_left(story, total):
    story.finished("a", 1000)
    standing = standing_after(story)
    standing.total = total
    standing.look(standing.began + 2)
    assert standing.time_left(standing.passes[1]) == ""


def test_what_is_not_over_has_some_time_left(story):
    story.finished("a", 10_000)
    story.begun("b", 1)
    standing = standing_after(story)
    standing.look(standing.began + 2)
    assert standing.time_left(standing.passes[1]) == "0:01+"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (86399, "23:59:59"),
        (100_000, "1 d 3 h"),
    ],
)
def test_times_are_read_as_on_a_clock(seconds, text):
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (2.5e12, "2.5 TB")],
)
def test_sizes_have_the_unit_that_fits(size, text):
    assert size_text(size) == text


def test_names_are_printable():
    assert printable("a\x1b[31m\n\udcff") == r"a\x1b[31m\n\udcff"
    assert printable("文档 a") == "文档 a"


def test_long_texts_are_cut():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
