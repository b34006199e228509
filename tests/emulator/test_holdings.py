from __future__ import annotations

import asyncio
import hashlib

import pytest

from koodrive_async.emulator import Fault, HeldFile, HeldLock, HeldRecord

pytestmark = pytest.mark.anyio


async def test_files_are_told_from_their_creation_on(wire, backup, data):
    body = wire.new_file(data, description="the first")
    created = (await wire.create(backup, body)).json
    opened = HeldFile(
        file_id=created["fileId"],
        user_id=wire.emulator.user_id,
        record_id=backup.record,
        name="123.jpg",
        description="the first",
        sha256=hashlib.sha256(data).hexdigest(),
        size=356,
        completed=False,
        arrived=0,
    )
    assert wire.emulator.files() == (opened,)
    for part in created["multiParts"][:2]:
        start = part["partOffset"]
        await wire.put(part["uploadUrl"], data[start : start + 128])
    assert [file.arrived for file in wire.emulator.files()] == [2]
    assert wire.emulator.content(opened.file_id) == data[:256] + bytes(100)
    await wire.put(created["multiParts"][2]["uploadUrl"], data[256:])
    await wire.complete(opened.file_id)
    (whole,) = wire.emulator.files()
    assert (whole.completed, whole.arrived) == (True, 3)
    assert wire.emulator.content(opened.file_id) == data


async def test_a_rapid_upload_has_the_content_of_the_first(wire, backup, data, clock):
    first = await wire.upload(backup, wire.new_file(data), data)
    clock.now += 1
    second = await wire.create(backup, wire.new_file(data, name="other.jpg"))
    held = wire.emulator.files()
    assert [file.file_id for file in held] == [first, second.json["fileId"]]
    assert [(file.completed, file.arrived) for file in held] == [(True, 3), (True, 0)]
    assert wire.emulator.content(held[1].file_id) == data


async def test_a_file_outside_of_records_and_one_of_no_bytes_are_told(wire):
    body = {"fileName": "empty", "sha256": hashlib.sha256().hexdigest(), "length": 0}
    created = (await wire.call("POST", "/files/create", body)).json
    await wire.complete(created["fileId"])
    (held,) = wire.emulator.files()
    assert (held.record_id, held.size, held.completed) == (None, 0, True)
    assert wire.emulator.content(held.file_id) == b""


async def test_the_content_of_no_file_is_an_error(wire):
    with pytest.raises(KeyError, match="Fnothing"):
        wire.emulator.content("Fnothing")


async def test_locks_are_told_while_they_live(wire, clock):
    assert wire.emulator.locks() == ()
    lock = await wire.lock("102")
    held = HeldLock(
        lock_id=lock, user_id=wire.emulator.user_id, module="102", expires=clock.now + 600
    )
    assert wire.emulator.locks() == (held,)
    clock.now += 600
    assert wire.emulator.locks() == ()
    other = await wire.lock("102")
    await wire.call("DELETE", "/backup/lock", lock=other)
    assert wire.emulator.locks() == ()


async def test_records_are_told_with_their_status(wire, backup):
    device = (await wire.call("GET", "/backup/device")).json["data"][0]["deviceId"]
    new = HeldRecord(
        record_id=backup.record,
        user_id=wire.emulator.user_id,
        device_id=device,
        module="100",
        status=0,
        properties=None,
    )
    assert wire.emulator.records() == (new,)
    body = {"properties": "{}"}
    await wire.call("PATCH", f"/backup/record/{backup.record}", body, lock=backup.lock)
    (done,) = wire.emulator.records()
    assert (done.status, done.properties) == (1, "{}")


async def test_holdings_are_told_to_any_thread_while_requests_are_handled(wire, data):
    emulator = wire.emulator
    emulator.faults.add(Fault("latency", "devices.list", seconds=3600))
    call = asyncio.ensure_future(wire.call("GET", "/backup/device"))
    assert await asyncio.to_thread(emulator.seen.wait_active, "devices.list")
    await wire.call("POST", "/files/create", wire.new_file(data))
    told = await asyncio.gather(*(asyncio.to_thread(emulator.files) for _ in range(8)))
    assert all(files == told[0] != () for files in told)
    call.cancel()


def test_an_emulator_that_has_stopped_tells_nothing(new_emulator):
    with new_emulator() as emulator:
        run = emulator._run
        assert emulator.files() == ()
    with pytest.raises(RuntimeError, match="not running"):
        emulator.files()
    with pytest.raises(RuntimeError, match="has stopped"):
        run.ask(lambda service: service)


def test_a_question_that_fails_is_answered_with_its_error(new_emulator):
    def fail(_):
        raise ZeroDivisionError

    with new_emulator() as emulator:
        with pytest.raises(ZeroDivisionError):
            emulator._run.ask(fail)
        assert emulator.files() == ()


async def test_the_etag_of_a_part_is_the_md5_of_its_bytes(wire, backup, data):
    for part in (await wire.create(backup, wire.new_file(data))).json["multiParts"]:
        piece = data[part["partOffset"] :][: part["partSize"]]
        answer = await wire.put(part["uploadUrl"], piece)
        assert answer.headers["ETag"] == f'"{hashlib.md5(piece).hexdigest()}"'


async def test_the_etag_of_a_sequential_part_is_that_of_the_part_alone(wire, backup, data):
    parts = [{"partNumber": number, "partSize": 178} for number in (1, 2)]
    body = {**wire.new_file(data), "multiParts": parts}
    created = (await wire.create(backup, body)).json
    for part, piece in zip(created["multiParts"], (data[:178], data[178:]), strict=True):
        answer = await wire.put(part["uploadUrl"], piece)
        assert answer.headers["ETag"] == f'"{hashlib.md5(piece).hexdigest()}"'
    assert (await wire.complete(created["fileId"])).status == 200


@pytest.fixture
async def without_md5(new_emulator):
    async with new_emulator(etags=False) as emulator:
        yield emulator


async def test_an_etag_need_not_be_an_md5(without_md5, new_wire, wire_session, data):
    wire = new_wire(without_md5, wire_session)
    part = (await wire.call("POST", "/files/create", wire.new_file(data, part_size=512))).json
    answer = await wire.put(part["multiParts"][0]["uploadUrl"], data)
    assert len(answer.headers["ETag"]) == 34
    assert answer.headers["ETag"] != f'"{hashlib.md5(data).hexdigest()}"'
    assert (await wire.complete(part["fileId"])).status == 200


async def test_a_request_is_seen_with_its_moment_and_its_lock(wire, backup, data, clock):
    clock.now += 60
    await wire.create(backup, wire.new_file(data))
    clock.now += 60
    await wire.call("GET", "/backup/device")
    created, listed = wire.emulator.seen.requests()[-2:]
    assert (created.at, created.lock_id) == (clock.now - 60, backup.lock)
    assert (listed.at, listed.lock_id) == (clock.now, None)


async def test_something_can_be_done_once_a_route_was_answered_so_often(wire):
    done = []
    wire.emulator.seen.then("devices.list", lambda: done.append(len(wire.emulator.seen)), count=2)
    for expected in ([], [2], [2]):
        await wire.call("GET", "/backup/device")
        assert done == expected
