"""One odd date breaks no listing: its field is missing or as it came, and all the rest is there."""

from __future__ import annotations

import pytest

from koodrive_async import html
from koodrive_async.frames import to_pandas
from koodrive_async.models import BackupRecord, BoundDevice
from koodrive_async.transport.wire import structure
from tests.interface.scripted import LOCK, answer

pytestmark = pytest.mark.anyio

FINE = "2026-11-21T07:30:05.000Z"

ODD = {
    "the first day, east of Greenwich": "0001-01-01T00:00:00+08:00",
    "the last day, west of Greenwich": "9999-12-31T23:59:59-08:00",
    "the first day": "0001-01-01T00:00:00Z",
    "the last moment": "9999-12-31T23:59:59.999999Z",
    "midnight as the end of a day": "2026-11-21T24:00:00Z",
    "a leap second": "2016-12-31T23:59:60Z",
    "no zone": "2026-11-21T07:30:05",
    "the last day without a zone": "9999-12-31T23:59:59",
    "a zone with seconds": "2026-11-21T07:30:05+08:00:30",
    "a zone that is none": "2026-11-21T07:30:05+25:00",
    "a day only": "2026-11-21",
    "garbage": "yesterday",
    "empty": "",
    "null": None,
    "a truth": True,
    "a list": [2026, 11, 21],
    "an object": {"year": 2026},
    "zero": 0,
    "milliseconds of the year 1": -62135596800000,
    "milliseconds after the year 9999": 253402300800000,
    "many digits": "9" * 30,
    "very many digits": "9" * 5000,
    "digits that are none": "²",
}

odd_dates = pytest.mark.parametrize("date", ODD.values(), ids=ODD)


def record(record_id, date, **more):
    return {"recordId": record_id, "createTime": date, "endTime": date, "status": 1} | more


@odd_dates
async def test_a_listing_with_an_odd_date_comes_whole(client, scripted, date):
    page = {"data": [record("1", FINE), record("2", date), record("3", FINE)], "code": 0}
    scripted.replies(page, page)
    records = await client.records.list("100").collect()
    assert [each.record_id for each in records] == ["1", "2", "3"]
    frame = await client.records.list("100").to_pandas()
    assert list(frame["record_id"]) == ["1", "2", "3"]
    assert str(frame["create_time"].dtype) == "datetime64[us, UTC]"
    assert frame["create_time"].notna()[[0, 2]].all()
    shown = html.listing("records", records)
    assert shown.count("2026-11-21 07:30:05 UTC") >= 4
    for each in records:
        assert each.record_id in repr(each)
        assert each.record_id in each._repr_html_()
    assert sorted(frame["create_time"].dropna()) == sorted(frame["create_time"].dropna().tolist())


@odd_dates
async def test_a_nested_date_that_is_odd_breaks_no_table(date):
    device = structure({"deviceId": "1", "createTime": date}, BoundDevice)
    nested = structure(
        {"recordId": "1", "deviceInfo": {"deviceId": "1", "createTime": date}}, BackupRecord
    )
    assert len(to_pandas([device])) == 1
    assert len(to_pandas([nested])) == 1
    assert device._repr_html_()


@odd_dates
async def test_a_record_with_an_odd_date_is_not_taken_for_the_one_just_created(
    client, scripted, date
):
    ours = record("9", FINE, status=0)
    scripted.replies(
        answer({"code": 500, "msg": "lost"}, status=500),
        {"data": [record("8", date, status=0)], "code": 0},
        {"data": ours, "code": 0},
    )
    created = await client.records.create_once("1", "100", lock_id=LOCK, known={"7"})
    assert created.record_id == "9"


@odd_dates
async def test_an_odd_date_does_not_hide_what_was_left(client, scripted, date):
    scripted.replies({"data": [record("8", date, status=0), record("7", FINE)], "code": 0})
    found = await client.find_unfinished("1", "100")
    assert found is not None
    assert found.record_id == "8"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+08:00", "0001-01-01T00:00:00Z"])
async def test_the_first_year_is_shown_with_four_digits(moment):
    device = structure({"deviceId": "1", "createTime": moment}, BoundDevice)
    assert "0001-01-01 00:00:00" in device._repr_html_()
