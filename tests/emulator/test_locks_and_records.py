from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.anyio

LOCK = "/backup/lock"


def refused(answer, part_of_msg):
    assert (answer.status, answer.json["code"]) == (400, 13000102)
    assert part_of_msg in answer.json["msg"]


async def test_a_lock_has_the_documented_shape(wire):
    answer = (await wire.call("POST", LOCK, {"moduleCode": "102"})).json
    assert list(answer) == ["data", "code", "msg"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}@102", answer["data"]["lockId"])
    assert set(answer["data"]) == {"lockId"}


async def test_a_second_lock_of_a_module_is_refused_while_the_first_is_alive(wire, clock):
    await wire.lock("100")
    refused(await wire.call("POST", LOCK, {"moduleCode": "100"}), "held already")
    assert await wire.lock("101")
    assert await wire.lock("100", wire.emulator.accounts[1])
    clock.now += 600
    assert await wire.lock("100")


async def test_renewal_starts_the_lease_anew(wire, clock):
    lock = await wire.lock()
    for _ in range(3):
        clock.now += 599
        answer = await wire.call("PATCH", LOCK, lock=lock)
        assert answer.json == {"code": 0, "msg": "success"}


async def test_an_expired_lock_is_neither_renewed_nor_accepted(wire, clock):
    lock, device = await wire.lock(), await wire.device()
    clock.now += 600
    refused(await wire.call("PATCH", LOCK, lock=lock), "expired")
    body = {"moduleCode": "100", "deviceId": device}
    refused(await wire.call("POST", "/backup/record", body, lock=lock), "expired")


async def test_a_released_lock_is_gone(wire):
    lock = await wire.lock()
    assert (await wire.call("DELETE", LOCK, lock=lock)).json == {"code": 0, "msg": "success"}
    refused(await wire.call("PATCH", LOCK, lock=lock), "does not exist")
    assert await wire.lock()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/backup/lock", None),
        ("DELETE", "/backup/lock", None),
        ("POST", "/backup/record", {"moduleCode": "100", "deviceId": "1"}),
        ("PATCH", "/backup/record/1", {}),
        ("DELETE", "/backup/record/1", None),
        ("POST", "/backup/record/1/file", {"fileName": "a", "sha256": "0" * 64, "length": 0}),
    ],
)
class TestCallsThatNeedALock:
    async def test_it_must_be_given(self, wire, method, path, body):
        refused(await wire.call(method, path, body), "x-backup-lock-id is mandatory")

    async def test_it_must_be_known(self, wire, method, path, body):
        refused(await wire.call(method, path, body, lock="made-up@100"), "does not exist")

    async def test_it_must_be_the_users_own(self, wire, method, path, body):
        theirs = await wire.lock("100", wire.emulator.accounts[1])
        refused(await wire.call(method, path, body, lock=theirs), "another user")


@pytest.mark.parametrize(
    "path",
    [
        "/backup/record?moduleCode=100&pageSize=1",
        "/backup/record/{}",
        "/backup/record/{}/files?pageSize=1",
    ],
)
@pytest.mark.parametrize("lock", [None, "made-up@100"])
async def test_reading_calls_do_not_look_at_a_lock(wire, backup, path, lock):
    answer = await wire.call("GET", path.format(backup.record), lock=lock)
    assert answer.status == 200


async def test_a_lock_of_another_module_is_accepted_as_in_the_documented_examples(wire):
    assert await wire.record(await wire.lock("102"), module="101")


async def test_a_new_record_has_the_documented_shape(wire):
    lock, device = await wire.lock(), await wire.device()
    # The example sends deviceId as a bare integer.
    body = {"moduleCode": "101", "deviceId": int(device), "properties": '{"test":"123"}'}
    answer = (await wire.call("POST", "/backup/record", body, lock=lock)).json
    assert list(answer) == ["data", "code", "msg"]
    record = answer["data"]
    assert list(record) == [
        "recordId",
        "moduleCode",
        "status",
        "properties",
        "version",
        "createTime",
    ]
    assert record["status"] == 0
    assert record["version"] == 1
    assert record["properties"] == body["properties"]
    read = await wire.call("GET", f"/backup/record/{record['recordId']}")
    assert read.json["data"] == record


async def test_completing_a_record_sets_its_end_and_is_possible_once(wire, backup, clock):
    path = f"/backup/record/{backup.record}"
    clock.now += 5
    body = {"properties": "[1]"}
    answer = await wire.call("PATCH", path, body, lock=backup.lock)
    assert answer.json == {"code": 0, "msg": "success"}
    record = (await wire.call("GET", path)).json["data"]
    assert (record["status"], record["properties"]) == (1, "[1]")
    assert record["endTime"] > record["createTime"]
    refused(await wire.call("PATCH", path, {}, lock=backup.lock), "not new")


async def test_completing_without_a_body_keeps_the_properties(wire, backup):
    path = f"/backup/record/{backup.record}"
    assert (await wire.call("PATCH", path, lock=backup.lock)).status == 200
    assert "properties" not in (await wire.call("GET", path)).json["data"]


async def test_a_completed_record_takes_no_file(wire, backup, data):
    await wire.call("PATCH", f"/backup/record/{backup.record}", {}, lock=backup.lock)
    refused(await wire.create(backup, wire.new_file(data)), "not new")


async def test_deleting_a_record_deletes_its_files_and_bytes(wire, backup, data, directory):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    url = await wire.download_url(file_id)
    assert any((directory / "blobs").iterdir())
    answer = await wire.call("DELETE", f"/backup/record/{backup.record}", lock=backup.lock)
    assert answer.json == {"code": 0, "msg": "success"}
    assert not any((directory / "blobs").iterdir())
    gone = await wire.call("GET", f"/backup/record/{backup.record}")
    assert (gone.status, gone.json["code"]) == (400, 13000309)
    assert (await wire.get(url)).xml_code == "NoSuchKey"
    assert (await wire.complete(file_id)).json["code"] == 13000401


async def test_bytes_that_another_file_shares_outlive_a_record(wire, backup, data):
    await wire.upload(backup, wire.new_file(data), data)
    other = type(backup)(backup.lock, await wire.record(backup.lock))
    rapid = (await wire.create(other, wire.new_file(data))).json
    assert rapid["rapidUpload"] is True
    await wire.call("DELETE", f"/backup/record/{backup.record}", lock=backup.lock)
    assert (await wire.get(await wire.download_url(rapid["fileId"]))).body == data


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/backup/record/1", None),
        ("GET", "/backup/record/1/files?pageSize=1", None),
        ("PATCH", "/backup/record/1", {}),
        ("DELETE", "/backup/record/1", None),
        ("POST", "/backup/record/1/file", {"fileName": "a", "sha256": "0" * 64, "length": 0}),
        ("POST", "/backup/record", {"moduleCode": "100", "deviceId": "1"}),
    ],
)
async def test_an_unknown_id_is_not_found(wire, method, path, body):
    answer = await wire.call(method, path, body, lock=await wire.lock())
    assert (answer.status, answer.json["code"]) == (400, 13000309)


async def test_a_record_of_another_user_is_not_found(wire, backup):
    other = wire.emulator.accounts[1]
    answer = await wire.call("GET", f"/backup/record/{backup.record}", account=other)
    assert answer.json["code"] == 13000309
