"""Plain lines and lines of JSON, and readers that do not read."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from contextlib import suppress

import pytest

from koodrive_async import PartRejected
from koodrive_async.sinks import JsonSink, PlainSink, show

pytestmark = pytest.mark.anyio


def told(story, sink, error=None):
    sink.start()
    for event in story.taken():
        sink.update(event)
    sink.close(error)


@pytest.fixture
def plain(story):
    """Return what a plain sink writes of the story, as two lists of lines."""

    def write(error=None, **settings):
        out, err = io.StringIO(), io.StringIO()
        told(story, PlainSink(out, err, **settings), error)
        return out.getvalue().splitlines(), err.getvalue().splitlines()

    return write


@pytest.fixture
def objects(story):
    def write(error=None, **settings):
        out = io.StringIO()
        told(story, JsonSink(out, **settings), error)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    return write


def refusal():
    return PartRejected(part_number=1, status=403, code="AccessDenied", msg="no")


# --- plain lines -------------------------------------------------------------------------------


def test_a_file_that_is_there_has_a_line_of_fields(story, plain):
    story.finished("2024/a.jpg", 5000)
    out, err = plain()
    assert out[0] == f"uploaded\t5000\t{'ab' * 32}\tid of 2024/a.jpg\t2024/a.jpg"
    assert out[1].startswith("done\t1 file, 5.0 kB in ")
    assert err == []


def test_a_file_that_failed_is_told_on_the_other_stream(story, plain):
    story.failed("a.jpg", refusal())
    out, err = plain()
    assert err == ["failed: a.jpg: part 1 was refused: HTTP 403 AccessDenied: no"]
    assert "; 1 file failed" in out[-1]


def test_progress_has_a_line_every_so_often(story, plain):
    story.begun("large.bin", 1_000_000)
    out, _ = plain(every=0, total=2_000_000)
    progress = [line for line in out if line.startswith("progress\t")]
    assert progress[-1].startswith("progress\t0 files done, 1 under way; ")
    assert "of 2.0 MB sent" in progress[-1]


def test_progress_is_not_told_all_the_time(story, plain):
    story.begun("large.bin")
    out, _ = plain()
    assert [line.split("\t")[0] for line in out] == ["done"]


def test_what_an_exception_has_ended_was_stopped(story, plain):
    story.cancelled("a.jpg")
    out, _ = plain(ValueError())
    assert out[-1].startswith("stopped\t0 files")
    assert "1 file cancelled" in out[-1]


def test_a_name_takes_one_line_and_no_control(story, plain):
    story.finished("evil\n\x1b[2J\t.txt")
    out, _ = plain()
    assert len(out) == 2
    assert out[0].endswith(r"evil\n\x1b[2J\t.txt")


def test_a_stream_that_lacks_letters_gets_their_numbers(story):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    story.finished("文档.txt")
    told(story, PlainSink(stream))
    assert rb"\u6587\u6863.txt" in written.getvalue()


def test_streams_are_those_of_the_moment(story, capsys):
    sink = PlainSink()
    story.finished("a")
    story.failed("b", refusal())
    told(story, sink)
    out, err = capsys.readouterr()
    assert out.startswith("uploaded\t")
    assert err.startswith("failed: b")


def test_a_program_without_streams_is_no_problem(story, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    story.finished("a")
    told(story, PlainSink())
    story.finished("a")
    told(story, JsonSink())


@pytest.mark.parametrize("kind", [PlainSink, JsonSink])
def test_lines_may_be_written_of_one_session_after_the_other(story, kind):
    out = io.StringIO()
    sink = kind(out)
    for _ in range(3):
        story.finished("a")
        told(story, sink)
    assert out.getvalue().count("done") >= 3


# --- JSON --------------------------------------------------------------------------------------


def test_each_event_is_an_object(story, objects):
    story.finished("2024/文档.txt", 5000)
    started, hashed, sent, finished, done = objects(total=9000)
    assert [each["event"] for each in (started, hashed, finished, done)] == [
        "started",
        "progress",
        "finished",
        "done",
    ]
    assert started["number"] == 1
    assert started["name"] == "文档.txt"
    assert started["description"] == "2024/文档.txt"
    assert (sent["phase"], sent["done"], sent["size"]) == ("upload", 5000, 5000)
    assert finished["receipt"]["sha256"] == "ab" * 32
    assert finished["receipt"]["outcome"] == "uploaded"
    assert done["totals"]["done"] == 1
    assert done["totals"]["expected"] == 9000
    assert done["seconds"] >= started["seconds"] >= 0


def test_progress_may_be_left_out(story, objects):
    story.finished("a")
    kinds = [each["event"] for each in objects(progress=False)]
    assert kinds == ["started", "finished", "done"]


def test_errors_are_objects(story, objects):
    story.retried("a", refusal())
    story.failed("b", FileNotFoundError(2, "No such file", "b"))
    story.cancelled("c")
    all_objects = {each["event"]: each for each in objects(refusal())}
    assert all_objects["retried"]["part"] == 1
    assert all_objects["retried"]["error"] == {
        "type": "PartRejected",
        "message": "part 1 was refused: HTTP 403 AccessDenied: no",
        "hint": None,
        "code": "AccessDenied",
        "status": 403,
        "trace_id": None,
    }
    assert all_objects["failed"]["error"]["type"] == "FileNotFoundError"
    assert all_objects["cancelled"]["number"] == 3
    assert all_objects["stopped"]["error"]["type"] == "PartRejected"


# --- readers that do not read ------------------------------------------------------------------


@pytest.fixture
def full_pipe():
    """A pipe that takes nothing more, and that nobody reads."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    try:
        while True:
            os.write(theirs, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(theirs, True)
    stream = os.fdopen(theirs, "w")
    yield ours, stream
    os.close(ours)
    for thread in threading.enumerate():
        if thread.name == "koodrive lines":
            thread.join(20)
    with suppress(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("kind", [PlainSink, JsonSink])
async def test_a_pipe_that_nobody_reads_stops_nothing(session, full_pipe, kind, monkeypatch):
    monkeypatch.setattr("koodrive_async.sinks.lines.PATIENCE", 0.05)
    _, stream = full_pipe
    async with show(session, kind(stream)):
        for number in range(20):
            await session.upload(b"some", name=f"file {number}")
    assert session.totals.done == 20


@pytest.mark.parametrize("kind", [PlainSink, JsonSink])
async def test_a_pipe_whose_reader_has_gone_stops_nothing(session, kind):
    ours, theirs = os.pipe()
    os.close(ours)
    stream = os.fdopen(theirs, "w")
    async with show(session, kind(stream)):
        for number in range(20):
            await session.upload(b"some", name=f"file {number}")
    assert session.totals.done == 20
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_slow_reader_gets_every_line(story):
    ours, theirs = os.pipe()
    stream = os.fdopen(theirs, "w")
    sink = PlainSink(stream)
    sink.start()
    for number in range(5000):  # more than a pipe holds
        story.finished(f"file {number}")
        for event in story.taken():
            sink.update(event)
    with os.fdopen(ours) as reader:
        read = [next(reader) for _ in range(5000)]
        sink.close()
        stream.close()
        assert [line.split("\t")[-1] for line in read] == [f"file {n}\n" for n in range(5000)]
        assert next(reader).startswith("done\t5,000 files")


def test_lines_that_nobody_reads_do_not_pile_up(story, full_pipe, monkeypatch, caplog):
    monkeypatch.setattr("koodrive_async.sinks.lines._MOST_WAITING", 10)
    ours, stream = full_pipe
    sink = PlainSink(stream)
    sink.start()
    for number in range(1000):
        story.finished(f"file {number}")
        for event in story.taken():
            sink.update(event)
    assert sink._lines is not None
    assert len(sink._lines._waiting) <= 10
    with os.fdopen(os.dup(ours), "rb", buffering=0) as reader:
        while b"file 0" not in reader.read(65536):
            pass
        sink.close()
    assert "lines not written: the reader took none of them" in caplog.text
