"""The examples that the vendor prints, verbatim: what they mean, and what we send instead."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from koodrive_async import (
    AutoRename,
    BackupFile,
    BackupLock,
    BackupRecord,
    BoundDevice,
    Module,
    MultiPartInfo,
    NewBackupFile,
    RecordStatus,
    Scope,
)
from tests.interface.scripted import LOCK, ROOT, TOKEN, USER, answer

pytestmark = pytest.mark.anyio

RECORD_ID = "1842862763295184641"
DEVICE_ID = "1842812272691451648"

LIST_FILES = """{
  "data" : [ {
    "fileId" : "FuxCm9nVttfaIdohnfs1BB6hNdU2w7bX2",
    "fileName" : "123.jpg",
    "sha256" : "5b7be4c0c1b6f6a4107f2b8d40661c9c06c50fa9d2b7ba0c439a386cd18c3c33",
    "size" : "2139005",
    "createTime" : "2025-12-18T01:22:58.738Z"
  } ],
  "code" : 0,
  "msg" : "Success."
}"""

LIST_RECORDS = """{
  "data" : [ {
    "recordId" : "1842862763295184641",
    "moduleCode" : "101",
    "status" : 1,
    "properties" : "{\\"test\\":\\"123\\"}",
    "version" : 1,
    "createTime" : "2025-12-17T07:59:20.752Z",
    "endTime" : "2025-12-17T08:29:00.437Z"
  } ],
  "code" : 0,
  "msg" : "success"
}"""

LIST_SCOPES = """{
  "scopeList" : [ {
    "localPath" : "/asdkhsdahjksd",
    "targetFolderPath" : "/ashdjkha",
    "scopeId" : "1842846715527366528",
    "moduleCode" : "102",
    "createTime" : "2025-12-17T07:27:27.709Z"
  } ],
  "code" : 0,
  "msg" : "success"
}"""

CREATE_FILE_REQUEST = """{
    "containerId": "IAAFfyRNd07vFgAAA1395638440594444417",
    "parentFolder": [
        "root"
    ],
    "mimeType": "",
    "fileType": 15,
    "fileName": "123.jpg",
    "sha256": "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286",
    "length": 108274,
    "uploadType": 1,
    "autoRename": 2,
    "uploadMode": "multipart",
    "multiParts": [
        {
            "hashCtx": [],
            "partNumber": 1,
            "partOffset": 0,
            "partSize": 108274
        }
    ],
    "proofCode": "03dfd964183d72456b7c3093ecaddfb92e851f3bc6611489831ef91aebdda215"
}"""

UPLOAD_URL = (
    "https://obs-koodrive-test-2.obs.cn-north-4.myhuaweicloud.com/e24ce0b4cc1e49c49fcdba320ca815fc086"
    "?partNumber=1&uploadId=0000019B2F1665EEF008B1D596D3B1A9&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Date=20251218T013236Z&X-Amz-SignedHeaders=content-length%3Bhost&X-Amz-Expires=3600"
    "&X-Amz-Credential=HPUA8WFGVY35JSJDL1GV%2F20251218%2Fnorth-4%2Fs3%2Faws4_request"
    "&X-Amz-Signature=ccb5bf60daf3ebe34ba974bc0b6e4a37ce618af008795368f01b4d00d8151e7d"
)

CREATE_FILE = """{
  "fileId" : "FmHi5mWOmHsgHs8hrOKpC-IslaiKmJh7I",
  "containerId" : "IAAFfyRNd07vFgAAA1395638440594444417",
  "fileName" : "123_20251218_093235.jpg",
  "uploadId" : "0000019B2F1665EEF008B1D596D3B1A9",
  "parentFolder" : [ "DE13Tu8WAAAArootIAAFfyRNd07vFgAAA1395638440594444417" ],
  "exist" : false,
  "multiParts" : [ {
    "partNumber" : 1,
    "partSize" : 108274,
    "partOffset" : 0,
    "hashCtx" : [ ],
    "uploadUrl" : "UPLOAD_URL"
  } ],
  "code" : 0,
  "msg" : "Success."
}""".replace("UPLOAD_URL", UPLOAD_URL)

CREATE_RECORD_REQUEST = """{
    "moduleCode": "101",
    "deviceId": 1842812272691451648,
    "properties": "{\\"test\\":\\"123\\"}"
}"""

CREATE_RECORD = """{
  "data" : {
    "recordId" : "1842862763295184641",
    "moduleCode" : "101",
    "status" : 0,
    "properties" : "{\\"test\\":\\"123\\"}",
    "version" : 1,
    "createTime" : "2025-12-17T07:59:20.752Z"
  },
  "code" : 0,
  "msg" : "success"
}"""

LIST_DEVICES = """{"data": [{"deviceId": "1775406005920779393", "machineCode": "20250911",
  "deviceOS": "android", "deviceName": "Magic v3", "createTime": "2025-09-15T06:14:48.630Z"},
 {"deviceId": "1842812272691451648", "machineCode": "20251217", "deviceOS": "android",
  "deviceName": "Magic-v5", "createTime": "2025-12-17T..."}], "code": 0, "msg": "success"}"""

CREATE_LOCK = """{"data": {"lockId": "78e41c7e-db02-4d55-85b3-8153e4fefd2e@102"}, "code": 0,
 "msg": "success"}"""

LOGIN = """{"data": {"userInfo": {"userId": "1882575898755117312", "firstname": "firstname",
   "surname": "surname", "phone": "0027188460911", "email": ""},
  "sessionInfo": {"accessToken": "AT 3b911d723003f70a1265124148fdfe486c108b64bf8d0de3",
   "expiresIn": 1800, "issuedAt": "1772006999088",
   "refreshToken": "0e0e72d3c7e9e4444df6bc3fb111eaee18eb7b2393a939cb"}},
 "code": 0, "msg": "Success"}"""


def at(year, month, day, hour, minute, second, microsecond):
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)


def mandatory_headers(request):
    """The two headers that every table calls mandatory and every example leaves out."""
    assert request.headers["X-User-Id"] == USER
    assert len(request.headers["X-Date"]) == len("20251103T070140Z")
    return True


# --- Listing Backup Files ----------------------------------------------------------------------


async def test_the_example_of_listing_backup_files_is_read(client, scripted):
    scripted.replies(answer(LIST_FILES))
    assert await client.files.list(RECORD_ID, page_size=1).collect() == [
        BackupFile(
            file_id="FuxCm9nVttfaIdohnfs1BB6hNdU2w7bX2",
            file_name="123.jpg",
            sha256="5b7be4c0c1b6f6a4107f2b8d40661c9c06c50fa9d2b7ba0c439a386cd18c3c33",
            size=2139005,
            description=None,
            create_time=at(2025, 12, 18, 1, 22, 58, 738000),
        )
    ]


async def test_the_example_request_of_listing_backup_files_is_sent(client, scripted):
    scripted.replies(answer(LIST_FILES))
    await client.files.list(RECORD_ID, page_size=1).collect()
    request = scripted.request
    assert request.method == "GET"
    assert request.target == f"{ROOT}/backup/record/1842862763295184641/files?pageSize=1"
    assert request.headers["Authorization"] == TOKEN
    assert mandatory_headers(request)
    # the example quotes a lock, the table knows no such header
    assert "x-backup-lock-id" not in request.headers
    assert request.body == b""


# --- Listing Backup Records --------------------------------------------------------------------


async def test_the_example_of_listing_backup_records_is_read(client, scripted):
    scripted.replies(answer(LIST_RECORDS))
    assert await client.records.list(Module.ALBUM, DEVICE_ID).collect() == [
        BackupRecord(
            record_id="1842862763295184641",
            module=Module.ALBUM,
            status=RecordStatus.COMPLETED,
            properties='{"test":"123"}',
            version=1,
            create_time=at(2025, 12, 17, 7, 59, 20, 752000),
            end_time=at(2025, 12, 17, 8, 29, 0, 437000),
            device_info=None,
        )
    ]


async def test_the_example_request_of_listing_backup_records_is_sent(client, scripted):
    scripted.replies(answer(LIST_RECORDS))
    await client.records.list(Module.ALBUM, DEVICE_ID).collect()
    request = scripted.request
    assert request.method == "GET"
    assert request.path == f"{ROOT}/backup/record"
    # the same parameters in the order in which they are signed
    assert request.query == "deviceId=1842812272691451648&moduleCode=101&pageSize=100"
    assert request.headers["Authorization"] == TOKEN
    assert mandatory_headers(request)
    # the example quotes a lock, the table knows no such header
    assert "x-backup-lock-id" not in request.headers


# --- List Backup Scopes ------------------------------------------------------------------------


async def test_the_example_of_listing_backup_scopes_is_read(client, scripted):
    scripted.replies(answer(LIST_SCOPES))
    assert await client.scopes.list(DEVICE_ID, Module.ADDRESS_BOOK) == (
        Scope(
            scope_id="1842846715527366528",
            local_path="/asdkhsdahjksd",
            target_folder_path="/ashdjkha",
            module=Module.ADDRESS_BOOK,
            create_time=at(2025, 12, 17, 7, 27, 27, 709000),
        ),
    )


async def test_the_example_request_of_listing_backup_scopes_is_sent_with_its_module(
    client, scripted
):
    scripted.replies(answer(LIST_SCOPES))
    await client.scopes.list(DEVICE_ID, Module.ADDRESS_BOOK)
    request = scripted.request
    assert request.method == "GET"
    assert request.path == f"{ROOT}/backup/device/1842812272691451648/scope"
    # mandatory in the table, absent from the example
    assert request.query == "moduleCode=102"
    assert request.headers["Authorization"] == TOKEN
    assert mandatory_headers(request)
    assert "x-backup-lock-id" not in request.headers


# --- Creating a Backup File --------------------------------------------------------------------


def example_file():
    return NewBackupFile(
        container_id="IAAFfyRNd07vFgAAA1395638440594444417",
        parent_folder=["root"],
        mime_type="",
        file_type=15,
        file_name="123.jpg",
        sha256="c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286",
        length=108274,
        auto_rename=AutoRename.RENAME,
        multi_parts=[MultiPartInfo(part_number=1, part_size=108274, part_offset=0, hash_ctx=())],
        proof_code="03dfd964183d72456b7c3093ecaddfb92e851f3bc6611489831ef91aebdda215",
    )


async def test_the_example_of_creating_a_backup_file_is_read(client, scripted):
    scripted.replies(answer(CREATE_FILE))
    created = await client.files.create(RECORD_ID, example_file(), lock_id=LOCK)
    assert created.file_id == "FmHi5mWOmHsgHs8hrOKpC-IslaiKmJh7I"
    assert created.container_id == "IAAFfyRNd07vFgAAA1395638440594444417"
    assert created.file_name == "123_20251218_093235.jpg"
    assert created.upload_id == "0000019B2F1665EEF008B1D596D3B1A9"
    assert created.parent_folder == ("DE13Tu8WAAAArootIAAFfyRNd07vFgAAA1395638440594444417",)
    assert created.exist is False
    # absent from the example
    assert created.rapid_upload is False
    assert created.exist_file_id is None
    assert created.matched_pre_hash is None
    (part,) = created.multi_parts
    assert (part.part_number, part.part_size, part.part_offset) == (1, 108274, 0)
    assert part.hash_ctx == ()
    assert part.upload_url == UPLOAD_URL


async def test_the_example_request_of_creating_a_backup_file_is_sent(client, scripted):
    scripted.replies(answer(CREATE_FILE))
    await client.files.create(RECORD_ID, example_file(), lock_id=LOCK)
    request = scripted.request
    assert request.method == "POST"
    assert request.target == f"{ROOT}/backup/record/1842862763295184641/file"
    assert request.headers["Authorization"] == TOKEN
    assert request.headers["x-backup-lock-id"] == "78e41c7e-db02-4d55-85b3-8153e4fefd2e@102"
    assert request.headers["Content-Type"] == "application/json"
    assert mandatory_headers(request)
    # fileType is text in the table, a bare integer in the example
    assert request.json == {**json.loads(CREATE_FILE_REQUEST), "fileType": "15"}


# --- Creating a Backup Record ------------------------------------------------------------------


async def test_the_example_of_creating_a_backup_record_is_read(client, scripted):
    scripted.replies(answer(CREATE_RECORD))
    created = await client.records.create(
        DEVICE_ID, Module.ALBUM, lock_id=LOCK, properties='{"test":"123"}'
    )
    assert created == BackupRecord(
        record_id="1842862763295184641",
        module=Module.ALBUM,
        status=RecordStatus.NEW,
        properties='{"test":"123"}',
        version=1,
        create_time=at(2025, 12, 17, 7, 59, 20, 752000),
        end_time=None,
        device_info=None,
    )


@pytest.mark.parametrize("properties", ['{"test":"123"}', {"test": "123"}])
async def test_the_example_request_of_creating_a_backup_record_is_sent(
    client, scripted, properties
):
    scripted.replies(answer(CREATE_RECORD))
    await client.records.create(DEVICE_ID, Module.ALBUM, lock_id=LOCK, properties=properties)
    request = scripted.request
    assert request.method == "POST"
    assert request.target == f"{ROOT}/backup/record"
    assert request.headers["Authorization"] == TOKEN
    assert request.headers["x-backup-lock-id"] == "78e41c7e-db02-4d55-85b3-8153e4fefd2e@102"
    assert mandatory_headers(request)
    # deviceId is text in the table, an integer over 2**53 in the example
    assert request.json == {**json.loads(CREATE_RECORD_REQUEST), "deviceId": DEVICE_ID}


# --- the pages around them ---------------------------------------------------------------------


async def test_the_example_of_listing_devices_is_read(client, scripted):
    scripted.replies(answer(LIST_DEVICES))
    assert await client.devices.list() == (
        BoundDevice(
            device_id="1775406005920779393",
            machine_code="20250911",
            device_name="Magic v3",
            device_os="android",
            create_time=at(2025, 9, 15, 6, 14, 48, 630000),
        ),
        BoundDevice(
            device_id="1842812272691451648",
            machine_code="20251217",
            device_name="Magic-v5",
            device_os="android",
            create_time=None,  # printed as "2025-12-17T...": a time is never worth failing for
        ),
    )


async def test_the_example_of_creating_a_lock_is_read_and_its_request_sent(client, scripted):
    scripted.replies(answer(CREATE_LOCK))
    lock = await client.locks.create(Module.ADDRESS_BOOK)
    assert lock == BackupLock(lock_id="78e41c7e-db02-4d55-85b3-8153e4fefd2e@102")
    assert (scripted.request.method, scripted.request.target) == ("POST", f"{ROOT}/backup/lock")
    assert scripted.request.body == b'{"moduleCode":"102"}'


async def test_the_example_of_signing_in_is_read(client, scripted):
    scripted.replies(answer(LOGIN))
    session = await client.tokens.login("someone", agent_name="carrier", password="secret")
    assert session.access_token == "AT 3b911d723003f70a1265124148fdfe486c108b64bf8d0de3"
    assert session.refresh_token == "0e0e72d3c7e9e4444df6bc3fb111eaee18eb7b2393a939cb"
    assert session.expires_in == 1800
    assert session.issued_at == at(2026, 2, 25, 8, 9, 59, 88000)
    assert session.user_info is not None
    assert session.user_info.user_id == "1882575898755117312"
    assert session.user_info.phone == "0027188460911"
    assert session.user_info.email == ""
