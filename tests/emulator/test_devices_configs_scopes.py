from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.anyio

DEVICE = "/backup/device"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_bound_device_has_the_documented_shape(wire):
    body = {"machineCode": "20250911", "deviceName": "Magic v3", "deviceOS": "android"}
    answer = (await wire.call("POST", DEVICE, body)).json
    assert list(answer) == ["data", "code", "msg"]
    assert answer["code"] == 0
    assert answer["msg"] == "success"
    device = answer["data"]
    assert re.fullmatch(r"\d{19}", device.pop("deviceId"))
    assert INSTANT.fullmatch(device.pop("createTime"))
    assert device == body


async def test_what_was_never_given_is_absent(wire):
    answer = (await wire.call("POST", DEVICE, {"machineCode": "20250911"})).json
    assert set(answer["data"]) == {"deviceId", "machineCode", "createTime"}


async def test_binding_again_returns_the_same_device_with_names_updated(wire):
    first = await wire.call("POST", DEVICE, {"machineCode": "m", "deviceOS": "android"})
    second = await wire.call("POST", DEVICE, {"machineCode": "m", "deviceName": "Magic-v5"})
    assert second.json["data"] == {**first.json["data"], "deviceName": "Magic-v5"}
    assert len((await wire.call("GET", DEVICE)).json["data"]) == 1


async def test_a_machine_bound_by_two_users_is_two_devices(wire):
    other = wire.emulator.accounts[1]
    mine = await wire.device("m")
    theirs = await wire.call("POST", DEVICE, {"machineCode": "m"}, account=other)
    assert theirs.json["data"]["deviceId"] != mine
    listed = await wire.call("GET", DEVICE, account=other)
    assert [each["deviceId"] for each in listed.json["data"]] != [mine]


async def test_devices_are_listed_in_the_order_of_binding(wire):
    ids = [await wire.device(f"m{number}") for number in range(3)]
    answer = (await wire.call("GET", DEVICE)).json
    assert list(answer) == ["data", "code", "msg"]
    assert [each["deviceId"] for each in answer["data"]] == ids


async def test_unbinding_returns_the_device_and_removes_it(wire):
    device = await wire.device()
    listed = (await wire.call("GET", DEVICE)).json["data"]
    removed = await wire.call("DELETE", f"{DEVICE}/{device}")
    assert removed.json["data"] == listed[0]
    assert (await wire.call("GET", DEVICE)).json["data"] == []
    again = await wire.call("DELETE", f"{DEVICE}/{device}")
    assert (again.status, again.json["code"]) == (400, 13000309)


async def test_records_of_an_unbound_device_stay(wire, backup):
    device = (await wire.call("GET", DEVICE)).json["data"][0]["deviceId"]
    await wire.call("DELETE", f"{DEVICE}/{device}")
    answer = await wire.call("GET", f"/backup/record/{backup.record}")
    assert answer.json["data"]["recordId"] == backup.record


async def test_config_entries_are_listed_read_and_set(wire):
    path = f"{DEVICE}/{await wire.device()}"
    listed = (await wire.call("GET", f"{path}/configs?moduleCode=102")).json
    assert list(listed) == ["data", "code", "msg"]
    assert [each["configName"] for each in listed["data"]] == ["autoBackup", "wifiOnly"]
    one = await wire.call("GET", f"{path}/config?moduleCode=102&configName=wifiOnly")
    assert one.json["data"] == listed["data"][1]
    fields = {"deviceId", "moduleCode", "configName", "configValue", "description"}
    assert set(one.json["data"]) == fields

    body = {
        "moduleCode": "102",
        "configName": "wifiOnly",
        "currentConfigValue": "on",
        "newConfigValue": "off",
    }
    updated = await wire.call("PATCH", f"{path}/config", body)
    assert set(updated.json["data"]) == fields - {"description"}
    assert updated.json["data"]["configValue"] == "off"
    other_module = await wire.call("GET", f"{path}/config?moduleCode=101&configName=wifiOnly")
    assert other_module.json["data"]["configValue"] == "on"


async def test_a_config_entry_is_set_only_from_its_current_value(wire):
    path = f"{DEVICE}/{await wire.device()}/config"
    body = {
        "moduleCode": "102",
        "configName": "wifiOnly",
        "currentConfigValue": "off",
        "newConfigValue": "off",
    }
    answer = await wire.call("PATCH", path, body)
    assert (answer.status, answer.json["code"]) == (400, 13000102)


async def test_an_unknown_config_entry_is_not_found(wire):
    path = f"{DEVICE}/{await wire.device()}/config?moduleCode=102&configName=nothing"
    answer = await wire.call("GET", path)
    assert (answer.status, answer.json["code"]) == (400, 13000309)


async def test_scopes_are_added_listed_and_deleted(wire):
    path = f"{DEVICE}/{await wire.device()}/scope"
    pairs = [
        {"localPath": "/asdkhsdahjksd", "targetFolderPath": "/ashdjkha"},
        {"localPath": "/C:/data"},
    ]
    added = (await wire.call("POST", path, {"moduleCode": "102", "scopeList": pairs})).json
    assert list(added) == ["scopeList", "failedScopeList", "code", "msg"]
    assert added["failedScopeList"] == []
    listed = (await wire.call("GET", f"{path}?moduleCode=102")).json
    assert list(listed) == ["scopeList", "code", "msg"]
    assert listed["scopeList"] == added["scopeList"]
    first = listed["scopeList"][0]
    assert list(first) == ["localPath", "targetFolderPath", "scopeId", "moduleCode", "createTime"]
    assert (await wire.call("GET", f"{path}?moduleCode=101")).json["scopeList"] == []

    deleted = await wire.call("DELETE", path, {"scopeIdList": [first["scopeId"], "123"]})
    assert deleted.status == 200
    assert deleted.json["scopeIdList"] == [first["scopeId"]]
    assert deleted.json["failedScopeList"] == [
        {"scopeId": "123", "errorCode": "13000309", "msg": "Resource not found."}
    ]
    assert len((await wire.call("GET", f"{path}?moduleCode=102")).json["scopeList"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "", None),
        ("GET", "/configs?moduleCode=102", None),
        ("GET", "/scope?moduleCode=102", None),
        ("POST", "/scope", {"moduleCode": "102", "scopeList": []}),
        ("DELETE", "/scope", {"scopeIdList": ["1"]}),
    ],
)
async def test_a_device_of_another_user_is_not_found(wire, method, path, body):
    device = await wire.device()
    other = wire.emulator.accounts[1]
    answer = await wire.call(method, f"{DEVICE}/{device}{path}", body, account=other)
    assert (answer.status, answer.json["code"]) == (400, 13000309)
