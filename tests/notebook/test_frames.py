"""``to_pandas``: tidy columns with the right types, whatever the service has sent."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pandas as pd
import pytest

from koodrive_async import (
    BackupFile,
    BackupRecord,
    BoundDevice,
    InvalidArgument,
    Module,
    Page,
    Pager,
    RecordStatus,
    UploadFailure,
    UploadReceipt,
    frames,
)
from koodrive_async.frames import frame_of, to_pandas
from koodrive_async.upload import FileTrace, Seconds

TIME = datetime(2026, 11, 21, 9, 52, 3, 125000, tzinfo=UTC)
RECORD = BackupRecord(
    record_id="1",
    module=Module.ALBUM,
    status=RecordStatus.COMPLETED,
    version=3,
    create_time=TIME,
    end_time=None,
    device_info=BoundDevice(device_id="9", machine_code="m", create_time=TIME),
)
RECORD_TYPES = {
    "record_id": "string",
    "module": "category",
    "status": "category",
    "properties": "string",
    "version": "int64",
    "create_time": "datetime64[us, UTC]",
    "end_time": "datetime64[us, UTC]",
    "device_id": "string",
    "device_machine_code": "string",
    "device_name": "string",
    "device_os": "string",
    "device_create_time": "datetime64[us, UTC]",
}
FILE_TYPES = {
    "file_id": "string",
    "file_name": "string",
    "sha256": "string",
    "size": "int64",
    "description": "string",
    "create_time": "datetime64[us, UTC]",
}


@attrs.frozen
class Link:
    name: str
    url: str = attrs.field(repr=False)


def types_of(frame):
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def pager_of(items, model=None, per_page=2):
    fetched = []

    async def fetch(cursor):
        start = int(cursor or 0)
        fetched.append(start)
        rest = start + per_page
        return Page(tuple(items[start:rest]), str(rest) if rest < len(items) else None)

    return Pager(fetch, model=model), fetched


@pytest.mark.parametrize("count", [0, 1, 3])
def test_records_have_the_same_columns_and_types_however_many_there_are(count):
    frame = frame_of([RECORD] * count, BackupRecord)
    assert types_of(frame) == RECORD_TYPES
    assert len(frame) == count


@pytest.mark.parametrize("count", [0, 1, 3])
def test_files_have_the_same_columns_and_types_however_many_there_are(count):
    frame = frame_of([BackupFile(file_id="1", size=5)] * count, BackupFile)
    assert types_of(frame) == FILE_TYPES
    assert len(frame) == count


def test_values_are_those_of_the_items():
    (row,) = frame_of([RECORD], BackupRecord).to_dict("records")
    assert (row["record_id"], row["module"], row["status"]) == ("1", "ALBUM", "COMPLETED")
    assert row["create_time"] == pd.Timestamp(TIME)
    assert pd.isna(row["end_time"])
    assert (row["device_id"], row["device_create_time"]) == ("9", pd.Timestamp(TIME))


def test_times_of_other_zones_become_utc():
    elsewhere = TIME.astimezone(timezone(timedelta(hours=8)))
    frame = frame_of([BackupFile(file_id="1", create_time=elsewhere)], BackupFile)
    assert frame["create_time"][0] == pd.Timestamp(TIME)
    assert str(frame["create_time"].dt.tz) == "UTC"


def test_a_status_this_version_does_not_know_is_a_category_too():
    frame = frame_of([RECORD, attrs.evolve(RECORD, status=9, module="103")], BackupRecord)
    assert list(frame["status"]) == ["COMPLETED", "9"]
    assert list(frame["module"].cat.categories) == ["FOLDER", "ALBUM", "ADDRESS_BOOK", "103"]


def test_a_size_that_is_missing_leaves_the_others_exact():
    large = 2**53 + 1
    files = [BackupFile(file_id="1"), BackupFile(file_id="2", size=large)]
    frame = frame_of(files, BackupFile)
    assert str(frame["size"].dtype) == "Int64"
    assert frame["size"][1] == large


def test_a_number_that_no_machine_word_holds_is_kept():
    frame = frame_of([BackupFile(file_id="1", size=10**30)], BackupFile)
    assert frame["size"][0] == 10**30


def test_secrets_get_no_column():
    assert list(frame_of([Link("a", "secret")], Link).columns) == ["name"]


@pytest.mark.parametrize("items", [[], ["a", "b"], [1, None]])
def test_items_that_are_no_models_are_one_column(items):
    frame = frame_of(items, None)
    assert list(frame.columns) == ["item"]
    assert list(frame["item"]) == items


RECEIPT = UploadReceipt(
    outcome="uploaded",
    file_id="1",
    name="cat.jpg",
    sha256="ab",
    size=5,
    parts=1,
    retries=0,
    seconds=1.5,
    phases=Seconds(hash=0.25, send=1.25),
    trace=FileTrace(name="cat.jpg", began=0, ended=1.5),
)
FAILURE = UploadFailure(source=b"x", name="dog.jpg", error=FileNotFoundError("gone"))
OUTCOME_TYPES = {
    "outcome": "category",
    "file_id": "string",
    "name": "string",
    "sha256": "string",
    "size": "int64",
    "parts": "int64",
    "retries": "int64",
    "seconds": "float64",
    "parts_resumed": "int64",
    "seconds_hash": "float64",
    "seconds_create": "float64",
    "seconds_send": "float64",
    "seconds_complete": "float64",
    "container_id": "string",
    "description": "string",
    "error_type": "string",
    "error": "string",
}


def test_receipts_are_a_table_with_a_column_for_each_phase_and_without_their_traces():
    frame = to_pandas([RECEIPT])
    assert types_of(frame) == OUTCOME_TYPES
    (row,) = frame.to_dict("records")
    assert (row["seconds_hash"], row["seconds_send"], row["seconds"]) == (0.25, 1.25, 1.5)
    assert list(frame["outcome"].cat.categories) == ["uploaded", "rapid", "exists", "failed"]


@pytest.mark.parametrize("outcomes", [[RECEIPT], [FAILURE], [RECEIPT, FAILURE], [FAILURE, RECEIPT]])
def test_the_columns_are_the_same_whether_or_not_a_file_has_failed(outcomes):
    assert list(to_pandas(outcomes).columns) == list(OUTCOME_TYPES)


def test_failures_stand_among_the_receipts_with_their_error():
    there, failed = to_pandas(iter([RECEIPT, FAILURE])).to_dict("records")
    assert (there["size"], there["outcome"]) == (5, "uploaded")
    assert pd.isna(there["error"])
    assert (failed["outcome"], failed["error_type"], failed["error"]) == (
        "failed",
        "FileNotFoundError",
        "gone",
    )
    assert pd.isna(failed["seconds_hash"])


def test_a_page_is_a_table_too():
    assert types_of(to_pandas(Page((RECORD,)))) == RECORD_TYPES


@pytest.mark.anyio
async def test_a_pager_fetches_all_pages():
    files = [BackupFile(file_id=str(number), size=number) for number in range(5)]
    pager, _ = pager_of(files, BackupFile)
    frame = await pager.to_pandas()
    assert list(frame["size"]) == [0, 1, 2, 3, 4]
    assert frame["size"].sum() == 10


@pytest.mark.anyio
async def test_no_page_is_fetched_beyond_the_limit():
    files = [BackupFile(file_id=str(number)) for number in range(9)]
    pager, fetched = pager_of(files, BackupFile)
    assert list((await pager.to_pandas(limit=2))["file_id"]) == ["0", "1"]
    assert fetched == [0]
    with pytest.raises(InvalidArgument):
        await pager.to_pandas(limit=-1)


@pytest.mark.anyio
async def test_it_is_put_together_in_a_worker_thread(monkeypatch):
    threads = []

    def noting(items, model):
        threads.append(threading.current_thread())
        return frame_of(items, model)

    monkeypatch.setattr(frames, "frame_of", noting)
    pager, _ = pager_of([RECORD], BackupRecord)
    await pager.to_pandas()
    assert threads
    assert threading.current_thread() not in threads


@pytest.mark.anyio
async def test_without_pandas_it_says_how_to_get_it_and_fetches_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "koodrive_async.frames")
    monkeypatch.setitem(sys.modules, "pandas", None)
    pager, fetched = pager_of([RECORD])
    with pytest.raises(
        ModuleNotFoundError,
        match=r"to_pandas\(\) needs pandas: pip install 'koodrive-async\[notebook\]'",
    ):
        await pager.to_pandas()
    assert fetched == []


@pytest.mark.anyio
async def test_listings_of_a_client_know_their_columns(drive, device_id):
    records = drive.records.list(Module.FOLDER)
    assert types_of(await records.to_pandas()) == RECORD_TYPES
    assert repr(records).startswith("<Pager of BackupRecord: iterate with 'async for'")
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(b"hello", name="hello.txt")
    frame = await records.to_pandas()
    assert types_of(frame) == RECORD_TYPES
    assert list(frame["status"]) == ["COMPLETED"]
    files = await drive.files.list(session.record.record_id).to_pandas()
    assert types_of(files) == FILE_TYPES
    assert files["size"].tolist() == [5]
