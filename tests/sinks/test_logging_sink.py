from __future__ import annotations

import json
import logging

import pytest

from koodrive_async import PartRejected
from koodrive_async.sinks import LoggingSink

REFUSED = PartRejected(part_number=1, status=403, code="AccessDenied", msg="no")


@pytest.fixture
def records(story, caplog):
    """Return what a logging sink logs of the story."""

    def log(error=None, **settings):
        logger = logging.getLogger("service.backup")
        with caplog.at_level(logging.DEBUG, "service.backup"):
            sink = LoggingSink(logger, **settings)
            sink.start()
            for event in story.taken():
                sink.update(event)
            sink.close(error)
        return caplog.records

    return log


def test_a_file_that_is_there_has_a_record_with_its_facts(story, records):
    story.finished("2024/a.jpg", 5000)
    record, _ = records()
    assert record.name == "service.backup"
    assert record.levelname == "INFO"
    assert record.getMessage() == "uploaded 2024/a.jpg, 5.0 kB in 0.50 s"
    assert record.koodrive_event == "finished"
    assert record.koodrive_number == 1
    assert record.koodrive_name == "a.jpg"
    assert record.koodrive_description == "2024/a.jpg"
    assert record.koodrive_outcome == "uploaded"
    assert record.koodrive_file_id == "id of 2024/a.jpg"
    assert record.koodrive_sha256 == "ab" * 32
    assert record.koodrive_size == 5000
    assert record.koodrive_seconds == 0.5
    assert record.koodrive_totals["done"] == 1


def test_a_failure_is_an_error(story, records):
    story.failed("a.jpg", REFUSED)
    record, end = records()
    assert record.levelname == "ERROR"
    assert record.getMessage() == f"failed a.jpg: PartRejected: {REFUSED}"
    assert record.koodrive_error == "PartRejected"
    assert record.koodrive_reason == str(REFUSED)
    assert record.exc_info is None
    assert end.koodrive_totals["failed"] == 1


def test_parts_that_are_sent_again_are_for_debugging(story, records):
    story.retried("a.jpg", REFUSED)
    record, _ = records()
    assert record.levelname == "DEBUG"
    assert record.getMessage() == f"part 1 of a.jpg is sent again: {REFUSED}"
    assert (record.koodrive_part, record.koodrive_attempt) == (1, 1)


def test_a_file_that_was_cancelled_is_a_warning(story, records):
    story.cancelled("a.jpg")
    record, _ = records()
    assert (record.levelname, record.getMessage()) == ("WARNING", "cancelled a.jpg")


def test_progress_has_a_record_every_so_often(story, records):
    story.begun("large.bin", 1_000_000)
    *progress, _ = records(every=0, total=2_000_000)
    assert {record.koodrive_event for record in progress} == {"progress"}
    assert "of 2.0 MB sent" in progress[-1].getMessage()


def test_the_end_is_told_and_what_it_was(story, records):
    story.finished("a")
    *_, end = records(REFUSED)
    assert end.getMessage().startswith("stopped: 1 file, 1.0 kB in ")
    assert end.koodrive_event == "stopped"
    assert end.koodrive_error == "PartRejected"


def test_the_level_of_what_goes_well_can_be_chosen(story, records):
    story.finished("a")
    assert {record.levelname for record in records(level=logging.DEBUG)} == {"DEBUG"}


def test_fields_are_what_json_can_say(story, records):
    story.finished("a")
    story.failed("b", REFUSED)
    story.retried("c", REFUSED)
    for record in records(REFUSED, every=0):
        own = {key: value for key, value in vars(record).items() if key.startswith("koodrive_")}
        assert json.loads(json.dumps(own)) == own


def test_a_name_takes_one_line(story, records):
    story.finished("evil\n\x1b[2J")
    record, _ = records()
    assert record.getMessage().isprintable()


def test_by_default_the_logger_is_that_of_the_package(story, caplog):
    story.finished("a")
    with caplog.at_level(logging.INFO, "koodrive_async"), LoggingSink() as sink:
        for event in story.taken():
            sink.update(event)
    assert {record.name for record in caplog.records} == {"koodrive_async.sinks"}
