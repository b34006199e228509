"""The 24 places where the vendor's pages contradict each other or their own examples.

Each test is named after what is tolerated, and numbered as the comments in the code are. On the
way in every reading is accepted; on the way out only the documented form leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime

import pytest

from koodrive_async import (
    ApiError,
    AppSignature,
    AutoRename,
    BearerToken,
    InvalidFileName,
    LockLost,
    Module,
    MultiPartInfo,
    NewBackupFile,
    RecordStatus,
)
from koodrive_async.emulator import Emulator, Fault, Faults
from koodrive_async.hashing import Sha256
from koodrive_async.testing import connect
from koodrive_async.transport.auth import RequestHead, sign
from tests.interface.scripted import LOCK, TLS, TOKEN, USER, Scripted, answer, client_of
from tests.interface.wall_clock import WallClock

pytestmark = pytest.mark.anyio

DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
DEVICE_ID = "1842812272691451648"
FILE = NewBackupFile(file_name="a", sha256=DIGEST, length=1)


@pytest.fixture
async def scripted():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def client(scripted):
    async with client_of(scripted) as client:
        yield client


@pytest.mark.parametrize("code", [0, "0"])
async def test_01_code_is_a_number_or_text(client, scripted, code):
    scripted.replies({"code": code, "msg": "success"})
    await client.files.complete("F1")


@pytest.mark.parametrize("code", [13000102, "13000102"])
async def test_01_a_code_is_always_text_on_the_exception(client, scripted, code):
    scripted.replies({"code": code, "msg": "no"})
    with pytest.raises(ApiError) as caught:
        await client.files.complete("F1")
    assert caught.value.code == "13000102"


@pytest.mark.parametrize("size", [2139005, "2139005"])
async def test_02_a_size_is_a_number_or_quoted(client, scripted, size):
    scripted.replies({"data": [{"fileId": "F1", "size": size}], "code": 0})
    (file,) = await client.files.list("1").collect()
    assert file.size == 2139005


@pytest.mark.parametrize("device_id", [int(DEVICE_ID), DEVICE_ID])
async def test_03_an_id_is_read_as_text_or_number_and_sent_as_text(client, scripted, device_id):
    scripted.replies(
        {"data": [{"deviceId": device_id}], "code": 0},
        {"data": {"recordId": device_id, "deviceInfo": {"deviceId": device_id}}, "code": 0},
    )
    (device,) = await client.devices.list()
    # the number is over 2**53: no digit may be lost
    assert device.device_id == DEVICE_ID
    record = await client.records.create(device.device_id, Module.ALBUM, lock_id=LOCK)
    assert (record.record_id, record.device_info.device_id) == (DEVICE_ID, DEVICE_ID)
    assert f'"deviceId":"{DEVICE_ID}"'.encode() in scripted.requests[1].body


@pytest.mark.parametrize("file_type", [15, "15"])
async def test_04_a_file_type_may_be_given_as_a_number_and_is_sent_as_text(
    client, scripted, file_type
):
    scripted.replies({"code": 0})
    file = NewBackupFile(file_name="a", sha256=DIGEST, length=1, file_type=file_type)
    await client.files.create("1", file, lock_id=LOCK)
    assert b'"fileType":"15"' in scripted.request.body


PART = {"partNumber": 1, "partSize": 5, "uploadUrl": "https://u"}


@pytest.mark.parametrize("parts", [[PART], PART])
async def test_05_multi_parts_are_an_array_or_one_object_and_sent_as_an_array(
    client, scripted, parts
):
    scripted.replies({"fileId": "F1", "multiParts": parts, "code": 0})
    part = MultiPartInfo(part_number=1, part_size=5)
    file = NewBackupFile(file_name="a", sha256=DIGEST, length=5, multi_parts=[part])
    created = await client.files.create("1", file, lock_id=LOCK)
    assert [each.upload_url for each in created.multi_parts] == ["https://u"]
    assert scripted.request.json["multiParts"] == [{"partNumber": 1, "partSize": 5}]


FAILED = {"scopeId": "2", "errorCode": "13000309", "msg": "Resource not found."}


@pytest.mark.parametrize(
    ("failed", "ids"), [(FAILED, ["2"]), ([FAILED], ["2"]), ([], []), (None, []), ("absent", [])]
)
async def test_06_failed_scopes_are_one_object_an_array_or_nothing(client, scripted, failed, ids):
    more = {} if failed == "absent" else {"failedScopeList": failed}
    scripted.replies({"scopeIdList": ["1"], **more, "code": 0})
    deleted = await client.scopes.delete("17", ["1", "2"])
    assert deleted.scope_ids == ("1",)
    assert [scope.scope_id for scope in deleted.failed] == ids


SESSION = {"accessToken": "AT 1", "expiresIn": 1800, "refreshToken": "r"}


@pytest.mark.parametrize("data", [SESSION, {"sessionInfo": SESSION}])
async def test_07_a_renewed_session_is_the_data_or_wrapped_once_more(client, scripted, data):
    scripted.replies({"data": data, "code": 0})
    session = await client.tokens.refresh("r")
    assert (session.access_token, session.expires_in) == ("AT 1", 1800)


async def test_08_a_date_has_four_digits_of_the_year_whatever_the_pattern_says(client, scripted):
    scripted.replies({"code": 0})
    await client.devices.list()
    stamp = scripted.request.headers["X-Date"]
    sent = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert len(stamp) == len("20251103T070140Z")
    assert abs((datetime.now(UTC) - sent).total_seconds()) < 60


@pytest.mark.parametrize(
    "spelling",
    [
        "bearer+60f4ccc7b1",
        "Bearer+/60f4ccc7b1}",
        "Bearer+60f4ccc7b1********3dd9a68068",
        "AT 3b911d723003f70a1265124148fdfe486c108b64bf8d0de3",
        "ABCDEFG....",
    ],
)
async def test_09_a_token_is_sent_however_it_is_spelt(scripted, spelling):
    scripted.replies({"code": 0})
    async with client_of(scripted, auth=BearerToken(spelling)) as client:
        await client.devices.list()
    assert scripted.request.headers["Authorization"] == spelling


async def test_10_reading_needs_no_lock_though_examples_quote_one(drive, device_id):
    lock = await drive.locks.create("100")
    record = await drive.records.create(device_id, "100", lock_id=lock.lock_id)
    await drive.locks.release(lock.lock_id)
    assert await drive.records.list("100").first() == record
    assert await drive.records.get(record.record_id) == record
    assert await drive.files.list(record.record_id).collect() == []


async def test_11_user_and_date_are_sent_with_a_token_though_examples_leave_them_out(
    client, scripted
):
    scripted.replies({"code": 0})
    await client.devices.list()
    assert scripted.request.headers["Authorization"] == TOKEN
    assert scripted.request.headers["X-User-Id"] == USER
    assert "X-Date" in scripted.request.headers


async def test_12_a_lock_of_another_module_is_quoted_unchanged(drive, device_id):
    lock = await drive.locks.create(Module.ADDRESS_BOOK)
    assert lock.lock_id.endswith("@102")
    record = await drive.records.create(device_id, Module.ALBUM, lock_id=lock.lock_id)
    assert record.module is Module.ALBUM


async def test_13_listing_scopes_names_the_module_though_the_example_does_not(client, scripted):
    scripted.replies({"scopeList": [], "code": 0})
    await client.scopes.list(DEVICE_ID, Module.ADDRESS_BOOK)
    assert scripted.request.query == "moduleCode=102"


async def test_14_a_lock_is_asked_for_with_a_body_though_there_is_no_table(client, scripted):
    scripted.replies({"data": {"lockId": LOCK}, "code": 0})
    await client.locks.create("102")
    assert scripted.request.body == b'{"moduleCode":"102"}'


async def test_15_an_expired_lock_is_not_hoped_to_come_alive_again(tmp_path):
    clock = WallClock()
    faults = Faults([Fault("expired-lock", "locks.renew")])
    with Emulator(tmp_path / "koodrive", clock=clock.time, faults=faults) as emulator:
        async with connect(emulator, clock=clock, tls=TLS) as drive:

            async def hold():
                async with drive.locks.hold("100"):
                    await clock.advance(201)
                    await asyncio.Event().wait()

            with pytest.raises(LockLost):
                await hold()
        assert emulator.seen.count("locks.renew") == 1


def test_16_the_text_that_is_signed_has_no_line_for_the_date():
    head = RequestHead(
        method="POST",
        path="/koodrive/ose/v1/backup/lock",
        query="",
        headers={
            "host": "intl.myhuaweicloud-koodrive.com",
            "x-date": "20251103T070140Z",
            "x-user-id": "1505084218764547200",
        },
        body=b'{"moduleCode":"102"}',
    )
    assert (
        sign("kd-example-app-secret", head)
        == "7e4fbee768846b46f5f1c7333f7158a4d0e6f0ce6fc9e5cafbe40f93fff462f4"
    )


async def test_16_the_emulator_agrees_on_what_is_signed(koodrive_emulator):
    auth = AppSignature(app_id=koodrive_emulator.app_id, app_secret=koodrive_emulator.app_secret)
    async with connect(koodrive_emulator, auth=auth, tls=TLS) as drive:
        assert await drive.devices.list() == ()


@pytest.mark.parametrize("life", [1200, 1800, "1800", None])
async def test_17_the_life_of_a_token_is_what_the_answer_says(client, scripted, life):
    scripted.replies({"data": {**SESSION, "expiresIn": life}, "code": 0})
    session = await client.tokens.refresh("r")
    assert session.expires_in == (None if life is None else int(life))


def test_18_a_hash_context_is_the_midstate_and_not_a_digest():
    # parts of 128, 192 and 100 bytes of the file of the reference
    content = bytes((31 * i + 7 * (i >> 8) + 11) & 0xFF for i in range(420))
    running = Sha256()
    running.update(content[:128])
    assert running.midstate() == (
        2047434565,
        1037524200,
        3573503676,
        2697979504,
        2590803167,
        2910381572,
        1114110351,
        3002990187,
    )
    digest = hashlib.sha256(content[:128]).digest()
    words = tuple(int.from_bytes(digest[at : at + 4]) for at in range(0, 32, 4))
    assert words[0] == 947675759
    assert running.midstate() != words


async def test_19_an_empty_object_is_as_good_as_an_absent_one(client, scripted):
    scripted.replies({"data": [{"recordId": "1", "deviceInfo": {}}], "code": 0})
    (record,) = await client.records.list("100").collect()
    assert record.device_info is None


@pytest.mark.parametrize("absent", ["absent", "null"])
async def test_19_fields_that_are_often_absent_may_be_absent(client, scripted, absent):
    def without(*names):
        return {} if absent == "absent" else dict.fromkeys(names)

    scripted.replies(
        {
            "fileId": "F1",
            **without("rapidUpload", "exist", "existFileId", "matchedPreHash", "multiParts"),
            "code": 0,
        },
        {
            "data": [{"recordId": "1", **without("endTime", "deviceInfo", "properties")}],
            **without("nextCursor"),
            "code": 0,
        },
    )
    created = await client.files.create("1", FILE, lock_id=LOCK)
    assert (created.rapid_upload, created.exist, created.multi_parts) == (False, False, ())
    assert (created.exist_file_id, created.matched_pre_hash) == (None, None)
    (record,) = await client.records.list("100").collect()
    assert (record.end_time, record.device_info, record.properties) == (None, None, None)


async def test_19_fields_that_are_often_absent_are_read_when_they_are_there(client, scripted):
    scripted.replies(
        {"fileId": "F1", "rapidUpload": True, "matchedPreHash": False, "code": 0},
        {"fileId": "F1", "exist": True, "existFileId": "F0", "code": 0},
        {"data": {"recordId": "1", "status": 1, "endTime": "2025-12-17T08:29:00.437Z"}, "code": 0},
    )
    hit = await client.files.create("1", FILE, lock_id=LOCK)
    assert (hit.rapid_upload, hit.matched_pre_hash) == (True, False)
    there = await client.files.create("1", FILE, lock_id=LOCK)
    assert (there.exist, there.exist_file_id) == (True, "F0")
    record = await client.records.get("1")
    assert record.status is RecordStatus.COMPLETED
    assert record.end_time == datetime(2025, 12, 17, 8, 29, 0, 437000, tzinfo=UTC)


async def test_20_a_trace_id_has_58_characters_and_not_58_bits(client, scripted):
    scripted.replies({"code": 0})
    await client.devices.list()
    trace_id = scripted.request.headers["X-Traceid"]
    assert len(trace_id) == 58
    assert trace_id.replace("_", "").isalnum()
    assert trace_id.isascii()


async def test_21_creating_is_singular_and_listing_plural(client, scripted):
    scripted.otherwise = lambda _: answer({"code": 0, "data": {"configName": "n"}})
    await client.files.create("1", FILE, lock_id=LOCK)
    await client.configs.get("1", "100", "n")
    scripted.otherwise = lambda _: answer({"code": 0, "data": []})
    await client.files.list("1").collect()
    await client.configs.list("1", "100")
    ends = [request.path.rpartition("/")[2] for request in scripted.requests]
    assert ends == ["file", "config", "files", "configs"]


@pytest.mark.parametrize("name", ["with a space.txt", "with\\backslash", " "])
async def test_22_a_space_is_allowed_in_a_file_name(client, scripted, name):
    scripted.replies({"code": 0})
    file = NewBackupFile(file_name=name, sha256=DIGEST, length=1, auto_rename=AutoRename.SKIP)
    await client.files.create("1", file, lock_id=LOCK)
    assert scripted.request.json["fileName"] == name


async def test_22_a_slash_is_not_allowed_in_a_file_name(client, scripted):
    file = NewBackupFile(file_name="a/b", sha256=DIGEST, length=1)
    with pytest.raises(InvalidFileName, match="'/'"):
        await client.files.create("1", file, lock_id=LOCK)
    assert scripted.requests == []


async def test_23_a_batch_code_of_0_is_partial_success_and_no_refusal(client, scripted):
    scripted.replies(
        {
            "batchCode": 0,
            "downloads": [
                {"fileId": "F1", "url": "https://u", "code": "0", "msg": "success"},
                {"fileId": "F2", "code": 13000309, "msg": "Resource not found."},
            ],
            "code": 0,
        }
    )
    links = await client.files.download_urls("c", ["F1", "F2"])
    assert links.batch_code == 0
    assert [(link.url, link.code) for link in links] == [("https://u", "0"), (None, "13000309")]


@pytest.mark.parametrize("batch_code", [1, 2, "2"])
async def test_23_a_batch_code_over_0_is_no_refusal_either(client, scripted, batch_code):
    scripted.replies({"batchCode": batch_code, "downloads": [], "code": 0})
    links = await client.files.download_urls("c", ["F1"])
    assert links.batch_code == int(batch_code)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2025-12-17T07:59:20.752Z", datetime(2025, 12, 17, 7, 59, 20, 752000, tzinfo=UTC)),
        ("2025-12-17T07:59:20Z", datetime(2025, 12, 17, 7, 59, 20, tzinfo=UTC)),
        ("2025-12-17T15:59:20.752+08:00", datetime(2025, 12, 17, 7, 59, 20, 752000, tzinfo=UTC)),
        ("2025-12-17T07:59:20", datetime(2025, 12, 17, 7, 59, 20, tzinfo=UTC)),
        ("1772006999088", datetime(2026, 2, 25, 8, 9, 59, 88000, tzinfo=UTC)),
        (1772006999088, datetime(2026, 2, 25, 8, 9, 59, 88000, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("²", None),
        (10**30, None),
    ],
)
async def test_24_a_time_is_iso_8601_or_epoch_milliseconds(client, scripted, written, moment):
    scripted.replies(
        {"data": {**SESSION, "issuedAt": written}, "code": 0},
        {"data": {"recordId": "1", "createTime": written}, "code": 0},
    )
    assert (await client.tokens.refresh("r")).issued_at == moment
    assert (await client.records.get("1")).create_time == moment
