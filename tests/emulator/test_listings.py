from __future__ import annotations

from urllib.parse import quote

import pytest

pytestmark = pytest.mark.anyio


async def pages(wire, path, size):
    """Turn all pages, and return the rows of each."""
    found, cursor = [], ""
    while True:
        answer = (await wire.call("GET", f"{path}pageSize={size}{cursor}")).json
        found.append(answer["data"])
        if "nextCursor" not in answer:
            assert list(answer) == ["data", "code", "msg"]
            return found
        assert list(answer) == ["data", "nextCursor", "code", "msg"]
        cursor = "&cursor=" + quote(answer["nextCursor"], safe="")


async def make_records(wire, count, module="101"):
    lock, device = await wire.lock("102"), await wire.device()
    return [await wire.record(lock, module, device) for _ in range(count)]


@pytest.mark.parametrize(("size", "rows"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (100, [5])])
async def test_records_come_newest_first_in_pages(wire, size, rows):
    made = await make_records(wire, 5)
    found = await pages(wire, "/backup/record?moduleCode=101&", size)
    assert [len(page) for page in found] == rows
    assert [record["recordId"] for page in found for record in page] == made[::-1]


async def test_an_empty_listing_is_one_page(wire):
    assert await pages(wire, "/backup/record?moduleCode=101&", 1) == [[]]


async def test_records_are_those_of_the_module_device_and_user(wire):
    lock = await wire.lock()
    mine = await wire.record(lock, "101", await wire.device("one"))
    await wire.record(lock, "100", await wire.device("one"))
    second = await wire.device("two")
    other = await wire.record(lock, "101", second)

    async def listed(query, account=None):
        answer = await wire.call("GET", f"/backup/record?pageSize=9&{query}", account=account)
        return [record["recordId"] for record in answer.json["data"]]

    assert await listed("moduleCode=101") == [other, mine]
    assert await listed(f"moduleCode=101&deviceId={second}") == [other]
    assert await listed("moduleCode=101&deviceId=1") == []
    assert await listed("moduleCode=101", wire.emulator.accounts[1]) == []


async def test_a_listed_record_has_the_documented_shape(wire, backup, clock):
    clock.now += 1
    body = {"properties": '{"test":"123"}'}
    await wire.call("PATCH", f"/backup/record/{backup.record}", body, lock=backup.lock)
    answer = await wire.call("GET", "/backup/record?moduleCode=100&pageSize=100")
    assert list(answer.json["data"][0]) == [
        "recordId",
        "moduleCode",
        "status",
        "properties",
        "version",
        "createTime",
        "endTime",
    ]


async def test_pages_of_records_are_stable_while_records_are_added_and_deleted(wire):
    made = await make_records(wire, 4)
    path = "/backup/record?moduleCode=101&pageSize=2"
    first = (await wire.call("GET", path)).json
    lock = await wire.lock("100")
    await wire.record(lock, "101")
    await wire.call("DELETE", f"/backup/record/{made[3]}", lock=lock)
    cursor = quote(first["nextCursor"], safe="")
    second = (await wire.call("GET", f"{path}&cursor={cursor}")).json
    assert [record["recordId"] for record in first["data"]] == made[:1:-1]
    assert [record["recordId"] for record in second["data"]] == made[1::-1]


async def test_files_come_as_they_were_completed(wire, backup, data):
    names = ["c.jpg", "a.jpg", "b.jpg"]
    made = [
        await wire.upload(
            backup, wire.new_file(data + name.encode(), name=name), data + name.encode()
        )
        for name in names
    ]
    found = await pages(wire, f"/backup/record/{backup.record}/files?", 2)
    assert [len(page) for page in found] == [2, 1]
    assert [file["fileId"] for page in found for file in page] == made


async def test_a_listed_file_has_the_documented_shape(wire, backup, data):
    body = wire.new_file(data, description="holiday")
    await wire.upload(backup, body, data)
    answer = (await wire.call("GET", f"/backup/record/{backup.record}/files?pageSize=1")).json
    file = answer["data"][0]
    assert list(file) == ["fileId", "fileName", "sha256", "size", "description", "createTime"]
    assert file["size"] == "356"
    assert file["sha256"] == body["sha256"]
    assert answer["msg"] == "Success."


async def test_a_file_is_listed_once_it_is_complete_behind_those_listed_before(wire, backup, data):
    path = f"/backup/record/{backup.record}/files?pageSize=1"
    early = (await wire.create(backup, wire.new_file(data + b"1", name="early"))).json
    first = await wire.upload(backup, wire.new_file(data, name="first"), data)
    assert [file["fileId"] for file in (await wire.call("GET", path)).json["data"]] == [first]
    await wire.upload(backup, wire.new_file(data + b"2", name="second"), data + b"2")
    page = (await wire.call("GET", path)).json
    for part in early["multiParts"]:
        body = (data + b"1")[part["partOffset"] :][: part["partSize"]]
        await wire.put(part["uploadUrl"], body)
    assert (await wire.complete(early["fileId"])).status == 200
    names = [page["data"][0]["fileName"]]
    while "nextCursor" in page:
        cursor = quote(page["nextCursor"], safe="")
        page = (await wire.call("GET", f"{path}&cursor={cursor}")).json
        names += [file["fileName"] for file in page["data"]]
    assert names == ["first", "second", "early"]


@pytest.mark.parametrize("cursor", ["", "garbage", "MTIz", "%20", "é", "a" * 1000])
async def test_a_cursor_nobody_gave_out_is_refused(wire, cursor):
    path = f"/backup/record?moduleCode=101&pageSize=1&cursor={quote(cursor, safe='%')}"
    answer = await wire.call("GET", path)
    assert (answer.status, answer.json["code"]) == (400, 13000102)
    assert "cursor" in answer.json["msg"]


async def test_a_cursor_belongs_to_the_listing_it_came_from(wire):
    await make_records(wire, 3)
    path = "/backup/record?moduleCode=101&pageSize=1"
    cursor = quote((await wire.call("GET", path)).json["nextCursor"], safe="")
    assert (await wire.call("GET", f"{path}&cursor={cursor}")).status == 200
    assert (await wire.call("GET", f"{path[:-1]}2&cursor={cursor}")).status == 200
    record = (await wire.call("GET", path)).json["data"][0]["recordId"]
    for other in (
        f"/backup/record?moduleCode=100&pageSize=1&cursor={cursor}",
        f"{path}&deviceId=1&cursor={cursor}",
        f"/backup/record/{record}/files?pageSize=1&cursor={cursor}",
        f"{path}&cursor={cursor[:-4]}AAAA",
    ):
        assert (await wire.call("GET", other)).json["code"] == 13000102
    stranger = await wire.call("GET", f"{path}&cursor={cursor}", account=wire.emulator.accounts[1])
    assert stranger.json["code"] == 13000102
