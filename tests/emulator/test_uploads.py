from __future__ import annotations

import asyncio
import itertools
from urllib.parse import urlsplit

import pytest

from koodrive_async.emulator import Fault

pytestmark = pytest.mark.anyio


def refused(answer, code, part_of_msg=""):
    assert (answer.status, answer.json["code"]) == (400, code)
    assert part_of_msg in answer.json["msg"]


def piece(data, part):
    return data[part["partOffset"] :][: part["partSize"]]


async def created(wire, backup, data, **more):
    answer = await wire.create(backup, wire.new_file(data, **more))
    assert answer.status == 200, answer.body
    return answer.json["fileId"], answer.json["multiParts"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_concurrent_parts_may_arrive_in_any_order(wire, backup, data, order):
    file_id, parts = await created(wire, backup, data)
    for position in order:
        answer = await wire.put(parts[position]["uploadUrl"], piece(data, parts[position]))
        assert answer.status == 200
        assert answer.headers["ETag"]
    answer = await wire.complete(file_id)
    assert answer.json == {"code": 0, "msg": "success."}
    assert (await wire.get(await wire.download_url(file_id))).body == data


async def test_completing_twice_is_a_success_twice(wire, backup, data):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    assert (await wire.complete(file_id)).json == {"code": 0, "msg": "success."}


async def test_a_missing_part_keeps_the_file_open(wire, backup, data):
    file_id, parts = await created(wire, backup, data)
    for part in parts[:2]:
        await wire.put(part["uploadUrl"], piece(data, part))
    refused(await wire.complete(file_id), 13000402, "part 3 has not arrived")
    await wire.put(parts[2]["uploadUrl"], piece(data, parts[2]))
    assert (await wire.complete(file_id)).status == 200


@pytest.mark.parametrize("wrong", [0, 1, 2])
async def test_a_part_with_wrong_bytes_is_found_and_can_be_sent_again(wire, backup, data, wrong):
    file_id, parts = await created(wire, backup, data)
    for position, part in enumerate(parts):
        body = piece(data, part)
        await wire.put(part["uploadUrl"], body[::-1] if position == wrong else body)
    why = "the bytes hash to" if wrong == 2 else f"the bytes up to part {wrong + 1} do not lead"
    refused(await wire.complete(file_id), 13000402, why)
    await wire.put(parts[wrong]["uploadUrl"], piece(data, parts[wrong]))
    assert (await wire.complete(file_id)).status == 200


async def test_swapped_parts_are_found(wire, backup, data):
    file_id, parts = await created(wire, backup, data)
    await wire.put(parts[0]["uploadUrl"], piece(data, parts[1]))
    await wire.put(parts[1]["uploadUrl"], piece(data, parts[0]))
    await wire.put(parts[2]["uploadUrl"], piece(data, parts[2]))
    refused(await wire.complete(file_id), 13000402)


@pytest.mark.parametrize("position", [1, 2])
async def test_a_wrong_state_is_found_though_all_bytes_are_right(wire, backup, data, position):
    body = wire.new_file(data)
    body["multiParts"][position]["hashCtx"][7] ^= 1
    answer = (await wire.create(backup, body)).json
    for part in answer["multiParts"]:
        await wire.put(part["uploadUrl"], piece(data, part))
    why = f"hashCtx of part {position + 1}"
    refused(await wire.complete(answer["fileId"]), 13000402, why)


async def test_a_wrong_digest_is_found_at_the_end(wire, backup, data):
    file_id, parts = await created(wire, backup, data, sha256="a" * 64)
    for part in parts:
        await wire.put(part["uploadUrl"], piece(data, part))
    refused(await wire.complete(file_id), 13000402, "the bytes hash to")


async def test_a_digest_given_at_the_end_must_be_the_one_from_the_beginning(wire, backup, data):
    file_id, parts = await created(wire, backup, data)
    for part in parts:
        await wire.put(part["uploadUrl"], piece(data, part))
    refused(await wire.complete(file_id, sha256="a" * 64), 13000402)
    sha256 = wire.new_file(data)["sha256"]
    assert (await wire.complete(file_id, sha256=sha256)).status == 200


async def test_a_wrong_proof_of_fresh_content_is_found_when_the_bytes_are_there(wire, backup, data):
    proof = wire.proof(data, "Bearer+another-token")
    file_id, parts = await created(wire, backup, data, proofCode=proof)
    for part in parts:
        await wire.put(part["uploadUrl"], piece(data, part))
    refused(await wire.complete(file_id), 13000402, "proofCode")


async def test_completing_an_unknown_or_foreign_file_finds_no_upload(wire, backup, data):
    refused(await wire.complete("Fnothing"), 13000401)
    file_id, _ = await created(wire, backup, data)
    body = {"fileId": file_id}
    other = wire.emulator.accounts[1]
    refused(await wire.call("POST", "/files/complete", body, account=other), 13000401)


SEQUENTIAL = [{"partNumber": 1, "partSize": 130}, {"partNumber": 2, "partSize": 129}]


async def sequential(wire, backup, data):
    parts = [*SEQUENTIAL, {"partNumber": 3, "partSize": len(data) - 259}]
    file_id, shapes = await created(wire, backup, data, multiParts=parts)
    assert all(set(shape) == {"partNumber", "partSize", "uploadUrl"} for shape in shapes)
    pieces = [data[:130], data[130:259], data[259:]]
    return file_id, [(shape["uploadUrl"], body) for shape, body in zip(shapes, pieces, strict=True)]


async def test_parts_without_state_go_in_order_and_need_no_alignment(wire, backup, data):
    file_id, parts = await sequential(wire, backup, data)
    for url, body in parts:
        assert (await wire.put(url, body)).status == 200
    assert (await wire.complete(file_id)).status == 200
    assert (await wire.get(await wire.download_url(file_id))).body == data


async def test_parts_without_state_are_refused_out_of_order(wire, backup, data):
    file_id, parts = await sequential(wire, backup, data)
    early = await wire.put(*parts[1])
    assert (early.status, early.xml_code) == (400, "InvalidPartOrder")
    for part in parts:
        await wire.put(*part)
    # What comes after a part that is sent again hangs on it.
    await wire.put(*parts[0])
    refused(await wire.complete(file_id), 13000402, "part 2 has not arrived")
    for part in parts[1:]:
        await wire.put(*part)
    assert (await wire.complete(file_id)).status == 200


async def test_wrong_bytes_in_a_sequence_are_found_by_the_digest(wire, backup, data):
    file_id, parts = await sequential(wire, backup, data)
    for url, body in parts:
        await wire.put(url, body[::-1])
    refused(await wire.complete(file_id), 13000402, "the bytes hash to")


async def test_fresh_urls_for_known_parts(wire, backup, data, clock):
    file_id, parts = await created(wire, backup, data)
    clock.now += 1
    given = [{"partNumber": 2, "partSize": 128}, {**parts[2], "uploadUrl": "ignored"}]
    answer = (await wire.part_urls(file_id, given)).json
    assert list(answer) == ["multiParts", "code", "msg"]
    assert [part["partNumber"] for part in answer["multiParts"]] == [2, 3]
    fresh = answer["multiParts"][0]
    assert {**fresh, "uploadUrl": ""} == {**parts[1], "uploadUrl": ""}
    assert fresh["uploadUrl"] != parts[1]["uploadUrl"]
    await wire.put(parts[0]["uploadUrl"], piece(data, parts[0]))
    for part in answer["multiParts"]:
        assert (await wire.put(part["uploadUrl"], piece(data, part))).status == 200
    assert (await wire.complete(file_id)).status == 200


@pytest.mark.parametrize("change", [{"partSize": 64}, {"partOffset": 64}, {"hashCtx": [0] * 8}])
async def test_a_known_part_cannot_be_declared_differently(wire, backup, data, change):
    file_id, parts = await created(wire, backup, data)
    refused(await wire.part_urls(file_id, [{**parts[1], **change}]), 13000102, "declared with")


async def test_urls_of_an_unknown_or_complete_file_are_refused(wire, backup, data):
    part = {"partNumber": 1, "partSize": 128}
    refused(await wire.part_urls("Fnothing", [part]), 13000401)
    file_id = await wire.upload(backup, wire.new_file(data), data)
    refused(await wire.part_urls(file_id, [part]), 13000401)


async def test_parts_may_be_declared_after_the_file_and_bit_by_bit(wire, backup, data):
    parts = wire.new_file(data)["multiParts"]
    answer = (await wire.create(backup, wire.new_file(data, multiParts=[]))).json
    assert "multiParts" not in answer
    file_id = answer["fileId"]
    refused(await wire.complete(file_id), 13000402, "no part was declared")
    for part in (parts[1], parts[0]):
        shape = (await wire.part_urls(file_id, [part])).json["multiParts"][0]
        assert (await wire.put(shape["uploadUrl"], piece(data, part))).status == 200
    refused(await wire.complete(file_id), 13000402, "add up")
    shape = (await wire.part_urls(file_id, [parts[2]])).json["multiParts"][0]
    await wire.put(shape["uploadUrl"], piece(data, parts[2]))
    assert (await wire.complete(file_id)).status == 200


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"partOffset": 192}, "starts at 192"),
        ({"partOffset": 64}, "starts at 64"),
        ({"partSize": 64}, "smaller than 128"),
        ({"partSize": 300}, "goes beyond"),
        ({"partSize": 130}, "multiples of 64"),
        ({"hashCtx": []}, "needs hashCtx"),
        ({"partNumber": 9, "partOffset": 129}, "multiples of 64"),
    ],
)
async def test_a_part_declared_later_fits_those_declared_before(wire, backup, data, change, why):
    parts = wire.new_file(data)["multiParts"]
    file_id = (await wire.create(backup, wire.new_file(data, multiParts=[]))).json["fileId"]
    assert (await wire.part_urls(file_id, [parts[0]])).status == 200
    refused(await wire.part_urls(file_id, [{**parts[1], **change}]), 13000102, why)


async def test_a_part_out_of_reach_of_its_neighbours_needs_an_offset(wire, backup, data):
    file_id = (await wire.create(backup, wire.new_file(data, multiParts=[]))).json["fileId"]
    part = {"partNumber": 3, "partSize": 100, "hashCtx": [0] * 8}
    refused(await wire.part_urls(file_id, [part]), 13000102, "needs partOffset")


async def test_an_older_put_of_a_part_stops_when_a_newer_one_begins(wire, backup, data):
    file_id, parts = await created(wire, backup, data)
    first = urlsplit(parts[0]["uploadUrl"])
    reader, writer = await asyncio.open_connection(first.hostname, first.port)
    head = f"PUT {first.path}?{first.query} HTTP/1.1\r\nHost: {first.netloc}\r\n"
    writer.write(head.encode() + b"Content-Length: 128\r\n\r\n" + b"x" * 64)
    await asyncio.to_thread(wire.emulator.seen.wait_active, "part.put")
    for part in parts:
        assert (await wire.put(part["uploadUrl"], piece(data, part))).status == 200
    writer.write(b"x" * 64)
    assert await reader.readline() == b"HTTP/1.1 409 Conflict\r\n"
    writer.close()
    await writer.wait_closed()
    assert (await wire.complete(file_id)).status == 200


async def test_half_a_part_is_no_part(wire, backup, data):
    file_id, parts = await created(wire, backup, data)
    for part in parts:
        await wire.put(part["uploadUrl"], piece(data, part))
    first = urlsplit(parts[0]["uploadUrl"])
    _, writer = await asyncio.open_connection(first.hostname, first.port)
    head = f"PUT {first.path}?{first.query} HTTP/1.1\r\nHost: {first.netloc}\r\n"
    writer.write(head.encode() + b"Content-Length: 128\r\n\r\n" + data[:64])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await asyncio.to_thread(wire.emulator.seen.wait, "part.put", count=4)
    assert wire.emulator.seen.requests("part.put")[-1].status == 400
    refused(await wire.complete(file_id), 13000402, "part 1 has not arrived")


async def test_a_part_sent_after_its_record_was_deleted_finds_no_upload(wire, backup, data):
    _, parts = await created(wire, backup, data)
    await wire.call("DELETE", f"/backup/record/{backup.record}", lock=backup.lock)
    answer = await wire.put(parts[0]["uploadUrl"], piece(data, parts[0]))
    assert (answer.status, answer.xml_code) == (404, "NoSuchUpload")


async def test_a_url_expires_and_a_fresh_one_goes_on(wire, backup, data, clock):
    file_id, parts = await created(wire, backup, data)
    await wire.put(parts[0]["uploadUrl"], piece(data, parts[0]))
    for _ in range(3):  # the token lives on by being used
        clock.now += 1199
        await wire.call("GET", "/backup/device")
    clock.now += 3
    late = await wire.put(parts[1]["uploadUrl"], piece(data, parts[1]))
    assert (late.status, late.xml_code) == (403, "AccessDenied")
    assert b"Request has expired" in late.body
    for part in (await wire.part_urls(file_id, parts[1:])).json["multiParts"]:
        assert (await wire.put(part["uploadUrl"], piece(data, part))).status == 200
    assert (await wire.complete(file_id)).status == 200


async def test_a_part_that_needed_a_second_put_counts_once(wire, backup, data):
    wire.emulator.faults.add(Fault("error", "part.put", status=503, times=1))
    file_id, parts = await created(wire, backup, data)
    statuses = [
        (await wire.put(part["uploadUrl"], piece(data, part))).status for part in (parts[0], *parts)
    ]
    assert statuses == [503, 200, 200, 200]
    assert (await wire.complete(file_id)).status == 200
