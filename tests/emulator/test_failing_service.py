"""Faults of the service itself: what it stores wrongly, forgets, or lets run out."""

from __future__ import annotations

import pytest

from koodrive_async.emulator import Fault

pytestmark = pytest.mark.anyio


async def test_a_corrupted_part_is_answered_as_if_it_were_right(wire, part, data):
    wire.emulator.faults.add(Fault("corrupt", times=1))
    answer = await wire.put(part["uploadUrl"], data)
    stored = wire.emulator.content(part["fileId"])
    assert answer.status == 200
    assert sum(one != other for one, other in zip(stored, data, strict=True)) == 1
    refused = await wire.complete(part["fileId"])
    assert (refused.status, refused.json["code"]) == (400, 13000402)
    again = await wire.put(part["uploadUrl"], data)
    assert again.headers["ETag"] != answer.headers["ETag"]
    assert (await wire.complete(part["fileId"])).status == 200


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_one_corrupted_part_of_several_is_noticed(wire, backup, data, number):
    wire.emulator.faults.add(Fault("corrupt", "part.put", after=number - 1, times=1))
    created = (await wire.create(backup, wire.new_file(data))).json
    for part in created["multiParts"]:
        start = part["partOffset"]
        assert (await wire.put(part["uploadUrl"], data[start:][: part["partSize"]])).status == 200
    assert (await wire.complete(created["fileId"])).json["code"] == 13000402


@pytest.mark.parametrize("route", ["part.put", "files.complete", "files.part_urls"])
async def test_a_lost_upload_is_gone_with_its_name(wire, backup, data, route):
    created = (await wire.create(backup, wire.new_file(data))).json
    parts, file_id = created["multiParts"], created["fileId"]
    wire.emulator.faults.add(Fault("lost-upload", route, times=1))
    if route == "part.put":
        lost = await wire.put(parts[0]["uploadUrl"], data[:128])
        assert (lost.status, lost.xml_code) == (404, "NoSuchUpload")
    elif route == "files.complete":
        assert (await wire.complete(file_id)).json["code"] == 13000401
    else:
        assert (await wire.part_urls(file_id, parts)).json["code"] == 13000401
    assert wire.emulator.files() == ()
    assert (await wire.put(parts[1]["uploadUrl"], data[128:256])).status == 404
    assert (await wire.complete(file_id)).json["code"] == 13000401
    assert (await wire.part_urls(file_id, parts)).json["code"] == 13000401
    again = await wire.upload(backup, wire.new_file(data, autoRename=3), data)
    assert wire.emulator.content(again) == data


async def test_a_file_that_is_complete_cannot_be_lost(wire, backup, data):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    wire.emulator.faults.add(Fault("lost-upload"))
    assert (await wire.complete(file_id)).status == 200
    assert wire.emulator.content(file_id) == data


async def test_a_token_dies_and_another_one_is_given_out(wire, directory):
    dead = Fault("expired-token", "devices.list", times=1)
    wire.emulator.faults.add(dead)
    for _ in range(2):
        answer = await wire.call("GET", "/backup/device")
        assert (answer.status, answer.json["code"]) == (401, "APIGW.0301")
    assert wire.emulator.faults.hits(dead) == 1
    token = wire.emulator.new_token()
    headers = {**wire.headers(), "Authorization": token}
    assert (await wire.call("GET", "/backup/device", headers=headers)).status == 200
    stored = b"".join(path.read_bytes() for path in directory.glob("state.sqlite*"))
    assert token.encode() not in stored


async def test_a_session_whose_token_died_can_be_refreshed(wire):
    account = wire.emulator.accounts[0]
    body = {"authType": "1", "account": account.account, "password": account.password}
    login = {**wire.headers(), "x-hw-agentName": "test"}
    del login["Authorization"]
    answer = await wire.call("POST", "/auth/login", body, headers=login)
    session = answer.json["data"]["sessionInfo"]
    mine = {**wire.headers(), "Authorization": session["accessToken"]}
    wire.emulator.faults.add(Fault("expired-token", times=1))
    assert (await wire.call("GET", "/backup/device", headers=mine)).status == 401
    body = {"refreshToken": session["refreshToken"]}
    fresh = await wire.call("POST", "/auth/refreshToken", body, headers=mine)
    mine["Authorization"] = fresh.json["data"]["sessionInfo"]["accessToken"]
    assert (await wire.call("GET", "/backup/device", headers=mine)).status == 200
