"""Tables in notebooks: readable, complete, and nothing in them can act."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import koodrive_async
from koodrive_async import (
    AddedScopes,
    BackupFile,
    BackupRecord,
    BoundDevice,
    ConfigInfo,
    CreatedBackupFile,
    DeletedScopes,
    Download,
    Downloads,
    FailedScope,
    Module,
    MultiPartInfo,
    Page,
    RecordStatus,
    Scope,
    UploadFailure,
    UploadReceipt,
    plan_parts,
)
from koodrive_async.upload import Seconds
from tests.notebook.reading import Table

EVIL = "<script>alert(\"1\")</script> & 'x' \u202egpj.exe\x1b[31m\udcff\n"
DIGEST = "a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e"
SECRET = "https://store.test/part?signature=60f4ccc7b1secret"
TAGS = {"table", "caption", "strong", "tbody", "thead", "tr", "th", "td", "code", "div"}
TIME = datetime(2026, 11, 21, 9, 52, 3, tzinfo=UTC)

RECEIPT = UploadReceipt(
    outcome="uploaded",
    file_id="42",
    name="cat.jpg",
    sha256=DIGEST,
    size=12_345_678,
    parts=2,
    retries=0,
    seconds=1.5,
)
FILE = BackupFile(
    file_id="7", file_name="cat.jpg", sha256=DIGEST, size=12_345_678, create_time=TIME
)
RECORD = BackupRecord(
    record_id="1",
    module=Module.FOLDER,
    status=RecordStatus.TO_BE_DELETED,
    create_time=TIME,
    device_info=BoundDevice(device_id="9", device_name="My laptop"),
    properties='{"containerIds": ["5"]}',
)


def with_evil_texts(value):
    """Replace every text of a model."""
    fields = {
        field.name: getattr(value, field.name) for field in attrs.fields(type(value)) if field.init
    }
    texts = {name: EVIL for name, text in fields.items() if isinstance(text, str)}
    return attrs.evolve(value, **texts)


SHOWN = [
    RECORD,
    FILE,
    BoundDevice(device_id="1", machine_code="m", device_name="n", device_os="o", create_time=TIME),
    ConfigInfo(config_name="n", config_value="v", device_id="1", module="100", description="d"),
    Scope(scope_id="1", local_path="/a", target_folder_path="/b", module="100", create_time=TIME),
    FailedScope(scope_id="1", error_code="13", msg="no"),
    AddedScopes(scopes=(Scope(scope_id="1"),), failed=(FailedScope(scope_id="2"),)),
    AddedScopes(scope_ids=("1", "2")),
    DeletedScopes(scope_ids=("1",), failed=(FailedScope(scope_id="2", msg=EVIL),)),
    CreatedBackupFile(file_id="1", file_name="n", container_id="2", upload_id="3"),
    Download(file_id="1", file_name="n", url=SECRET, code="0", msg="m"),
    Downloads(downloads=(Download(file_id="1", url=SECRET),)),
    plan_parts(200_000_000),
    Page((FILE, FILE)),
    RECEIPT,
    UploadFailure(source="x", name="n", error=ValueError(EVIL), description="d"),
]
ids = [f"{number}-{type(value).__name__}" for number, value in enumerate(SHOWN)]


@pytest.mark.parametrize("value", SHOWN, ids=ids)
def test_a_table_is_well_formed_and_has_no_colours_of_its_own(value):
    table = Table(value._repr_html_())
    assert "table" in table.tags
    assert table.rows
    for style in table.styles:
        assert set(re.findall(r"(?:background|color):([^;]*)", style)) <= {"none", "inherit"}


@pytest.mark.parametrize("value", SHOWN, ids=ids)
def test_texts_of_others_stay_texts(value):
    html = with_evil_texts(value)._repr_html_()
    table = Table(html)
    assert table.tags <= TAGS
    assert html.isprintable()  # no escape sequence, no turned direction, no half of a character
    html.encode()
    if isinstance(value, BackupFile | UploadReceipt | BoundDevice | ConfigInfo):
        assert "<script>alert(\"1\")</script> & 'x'" in "".join(table.texts)


@pytest.mark.parametrize("value", SHOWN, ids=ids)
def test_what_shows_itself_still_pickles(value):
    if not isinstance(value, UploadFailure):  # an exception equals itself alone
        assert pickle.loads(pickle.dumps(value)) == value


def test_no_presigned_url_is_shown():
    shown: list[Any] = [
        Download(file_id="1", url=SECRET),
        Downloads(downloads=(Download(file_id="1", url=SECRET),)),
        Page((Download(file_id="1", url=SECRET), MultiPartInfo(part_number=1, upload_url=SECRET))),
        CreatedBackupFile(multi_parts=(MultiPartInfo(part_number=1, upload_url=SECRET),)),
    ]
    assert not [each for each in shown if "secret" in each._repr_html_()]


@pytest.mark.parametrize("name", ["SessionInfo", "UserInfo", "BackupLock", "NewBackupFile"])
def test_what_is_about_signing_in_has_no_table(name):
    assert not hasattr(getattr(koodrive_async, name), "_repr_html_")


def test_a_size_is_readable_and_exact():
    table = Table(FILE._repr_html_())
    assert table.lines["size"] == "12.3 MB"
    assert "12,345,678 bytes" in table.titles


def test_a_digest_is_shortened_and_whole_in_its_title():
    table = Table(FILE._repr_html_())
    assert table.lines["SHA-256"] == "a591a6d40bf4…"
    assert DIGEST in table.titles


def test_a_time_says_its_zone():
    table = Table(FILE._repr_html_())
    assert table.lines["created"] == "2026-11-21 09:52:03 UTC"
    assert TIME.isoformat() in table.titles


def test_a_record_says_where_it_stands():
    lines = Table(RECORD._repr_html_()).lines
    assert (lines["module"], lines["status"]) == ("folder", "to be deleted")
    assert (lines["device"], lines["device id"]) == ("My laptop", "9")
    assert lines["properties"] == '{"containerIds": ["5"]}'
    assert "completed" not in lines


def test_what_this_version_does_not_know_is_shown_as_it_is():
    lines = Table(attrs.evolve(RECORD, status=7, module="103")._repr_html_()).lines
    assert (lines["status"], lines["module"]) == ("7", "103")


def test_a_page_of_a_thousand_shows_twenty_and_says_how_many_more():
    page = Page((FILE,) * 1000, "next")
    table = Table(page._repr_html_())
    assert len(table.rows) == 1 + 20
    assert table.texts[0] == "Page of 1,000 items"
    assert table.texts[-2:] == ["… and 980 more", "there are more pages"]


def test_a_page_has_a_column_for_what_at_least_one_item_has():
    page = Page((BackupFile(file_id="1"), BackupFile(file_id="2", size=5)))
    assert Table(page._repr_html_()).rows == [["size", "file"], ["", "1"], ["5 B", "2"]]


def test_details_are_for_cards_alone():
    assert "properties" not in Table(Page((RECORD,))._repr_html_()).rows[0]


def test_an_empty_page_says_so():
    table = Table(Page(())._repr_html_())
    assert (table.texts, table.rows) == (["Page of 0 items"], [])


def test_items_that_are_no_models_are_shown_as_their_repr():
    assert Table(Page(("<b>", 1))._repr_html_()).rows == [[""], ["'<b>'"], ["1"]]


def test_a_plan_shows_its_first_parts():
    table = Table(plan_parts(10**9)._repr_html_())
    assert ["parts", "120"] in table.rows
    assert table.rows[3:5] == [["number", "offset", "size"], ["1", "0", "8.4 MB"]]
    assert "… and 100 more" in table.texts


def test_a_receipt_says_what_went_wrong_only_if_something_did():
    assert "sent again" not in Table(RECEIPT._repr_html_()).lines
    assert Table(attrs.evolve(RECEIPT, retries=3)._repr_html_()).lines["sent again"] == "3"


def test_a_receipt_says_where_its_time_went():
    phases = Seconds(hash=0.25, create=0.05, send=1.125, complete=0.075)
    lines = Table(attrs.evolve(RECEIPT, phases=phases)._repr_html_()).lines
    assert lines["time"] == "1.50 s"
    assert lines["of which"] == "hash 0.25 s, create 0.05 s, send 1.12 s, complete 0.07 s"


def test_parts_of_an_earlier_run_are_not_those_that_were_sent_now():
    lines = Table(attrs.evolve(RECEIPT, parts=8, parts_resumed=2)._repr_html_()).lines
    assert (lines["parts sent"], lines["sent by an earlier run"]) == ("8", "2")
    assert "sent by an earlier run" not in Table(RECEIPT._repr_html_()).lines


def test_a_failure_says_that_it_is_one_also_when_it_was_sent_elsewhere():
    failure = UploadFailure(source="x", name="n", error=ValueError("no"))
    assert failure.outcome == pickle.loads(pickle.dumps(failure)).outcome == "failed"


@given(st.text(st.characters(codec=None)))
def test_any_name_makes_a_table_that_can_be_stored(name):
    html = attrs.evolve(FILE, file_name=name)._repr_html_()
    Table(html)
    html.encode()


@pytest.mark.anyio
async def test_a_session_says_where_it_stands(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER)
    assert repr(session) == "<BackupSession not entered>"
    assert Table(session._repr_html_()).lines["state"] == "not entered"
    async with session:
        await session.upload(b"hello", name="hello.txt")
        batch = session.upload_many(["missing.txt"])
        assert repr(batch) == "<UploadBatch, not begun: iterate with 'async for'>"
        async for _ in batch:
            pass
        lines = Table(session._repr_html_()).lines
        assert lines["state"] == "open"
        assert session.lock.lock_id not in session._repr_html_()
        assert repr(session) == f"<BackupSession record {session.record.record_id}, open>"
    assert Table(session._repr_html_()).lines == {
        "record": session.record.record_id,
        "state": "completed",
        "module": "folder",
        "device": device_id,
        "files in the record": "1",
        "files that failed": "1",
        "arrived": "5 B",
    }


@pytest.mark.anyio
async def test_a_session_that_was_left_with_an_exception_says_so(drive, device_id):
    session = drive.backup(device_id, Module.FOLDER)
    with pytest.raises(KeyboardInterrupt):
        async with session:
            raise KeyboardInterrupt
    assert Table(session._repr_html_()).lines["state"] == "ended, not completed"
