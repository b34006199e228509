from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from json import loads
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from koodrive_async.emulator.answers import RefusedError
from koodrive_async.emulator.parts import Part, check_list, declared, is_concurrent
from koodrive_async.emulator.proof import proof_code, proof_range, proof_seed
from koodrive_async.emulator.service import Settings

pytestmark = pytest.mark.anyio

EMPTY_SHA = hashlib.sha256().hexdigest()


def refused(answer, code, part_of_msg=""):
    assert (answer.status, answer.json["code"]) == (400, code)
    assert part_of_msg in answer.json["msg"]


async def test_a_new_file_has_the_documented_shape(wire, backup, data):
    answer = (await wire.create(backup, wire.new_file(data))).json
    assert list(answer) == [
        "fileId",
        "containerId",
        "fileName",
        "uploadId",
        "parentFolder",
        "exist",
        "multiParts",
        "code",
        "msg",
    ]
    assert re.fullmatch(r"F[A-Za-z0-9_-]{32}", answer["fileId"])
    assert re.fullmatch(r"[0-9A-F]{32}", answer["uploadId"])
    assert answer["containerId"] == wire.emulator.container_id
    assert answer["parentFolder"] == ["DE13Tu8WAAAArootIAAFfyRNd07vFgAAA1395638440594444417"]
    assert answer["exist"] is False
    assert (answer["code"], answer["msg"]) == (0, "Success.")
    part = answer["multiParts"][1]
    assert list(part) == ["partNumber", "partSize", "partOffset", "hashCtx", "uploadUrl"]
    assert [each["partSize"] for each in answer["multiParts"]] == [128, 128, 100]


async def test_an_upload_url_looks_like_the_documented_one(wire, backup, data):
    created = (await wire.create(backup, wire.new_file(data))).json
    first, second, _ = (urlsplit(part["uploadUrl"]) for part in created["multiParts"])
    assert f"{first.scheme}://{first.netloc}" == wire.emulator.object_url != wire.emulator.url
    assert re.fullmatch(r"/[0-9a-f]{35}", first.path)
    assert [item.partition("=")[0] for item in first.query.split("&")] == [
        "partNumber",
        "uploadId",
        "X-Amz-Algorithm",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
        "X-Amz-Expires",
        "X-Amz-Credential",
        "X-Amz-Signature",
    ]
    assert "X-Amz-SignedHeaders=content-length%3Bhost&" in first.query
    assert re.search(r"X-Amz-Credential=\w+%2F\d{8}%2Fnorth-4%2Fs3%2Faws4_request&", first.query)
    fields = parse_qs(second.query)
    context = loads(b64decode(fields["X-Amz-Iteration-Hash-Ctx"][0]))
    assert context == {
        "md_len": 32,
        "num": 0,
        "h": created["multiParts"][1]["hashCtx"],
        "nh": 0,
        "nl": 128 * 8,
        "hash_type": "sha256",
    }


async def test_the_documented_request_is_accepted_as_printed(wire, backup):
    body: dict[str, Any] = {
        "containerId": "IAAFfyRNd07vFgAAA1395638440594444417",
        "parentFolder": ["root"],
        "mimeType": "",
        "fileType": 15,
        "fileName": "123.jpg",
        "sha256": "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286",
        "length": 108274,
        "uploadType": 1,
        "autoRename": 2,
        "uploadMode": "multipart",
        "multiParts": [{"hashCtx": [], "partNumber": 1, "partOffset": 0, "partSize": 108274}],
        "proofCode": "03dfd964183d72456b7c3093ecaddfb92e851f3bc6611489831ef91aebdda215",
    }
    answer = await wire.create(backup, body)
    assert answer.json["multiParts"][0].items() >= body["multiParts"][0].items()


async def test_a_taken_name_gets_the_time_before_its_extension(wire, backup, data, clock):
    assert clock.x_date() == "20251218T013235Z"  # the moment of the documented example
    names = [
        (await wire.create(backup, wire.new_file(data, **policy))).json["fileName"]
        for policy in ({}, {"autoRename": 2}, {"autoRename": 4})
    ]
    assert names == ["123.jpg", "123_20251218_093235.jpg", "123_20251218_093236.jpg"]


async def test_a_renamed_file_keeps_within_the_length_of_a_name(wire, backup, data):
    name = "a" * 246 + ".jpg"
    await wire.create(backup, wire.new_file(data, name=name))
    renamed = (await wire.create(backup, wire.new_file(data, name=name))).json["fileName"]
    assert len(renamed) == 250
    assert re.fullmatch(r"a+_\d{8}_\d{6}\.jpg", renamed)


async def test_names_are_free_again_in_another_record(wire, backup, data):
    await wire.create(backup, wire.new_file(data))
    other = type(backup)(backup.lock, await wire.record(backup.lock))
    assert (await wire.create(other, wire.new_file(data))).json["fileName"] == "123.jpg"


async def test_policy_3_refuses_a_taken_name(wire, backup, data):
    first = (await wire.create(backup, wire.new_file(data, autoRename=3))).json
    again = await wire.create(backup, wire.new_file(data, autoRename=3))
    refused(again, 13000405)
    assert again.json["existFileId"] == first["fileId"]


async def test_policy_4_skips_a_file_with_the_same_name_and_content(wire, backup, data):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    answer = (await wire.create(backup, wire.new_file(data, autoRename=4))).json
    assert answer["exist"] is True
    assert answer["fileId"] == file_id
    assert "multiParts" not in answer
    other = (await wire.create(backup, wire.new_file(data + b"1", autoRename=4))).json
    assert other["exist"] is False
    assert other["fileName"] != "123.jpg"


async def test_known_content_with_the_right_proof_is_complete_at_once(wire, backup, data):
    await wire.upload(backup, wire.new_file(data), data)
    answer = (await wire.create(backup, wire.new_file(data, name="b.jpg"))).json
    assert answer["rapidUpload"] is True
    assert "multiParts" not in answer
    assert "uploadId" not in answer
    assert (await wire.get(await wire.download_url(answer["fileId"]))).body == data
    assert (await wire.complete(answer["fileId"])).status == 200


async def test_known_content_with_a_wrong_proof_is_refused(wire, backup, data):
    await wire.upload(backup, wire.new_file(data), data)
    for proof in ("0" * 64, wire.proof(data, "Bearer+somebody")):
        for policy in (2, 4):
            body = wire.new_file(data, proofCode=proof, autoRename=policy)
            refused(await wire.create(backup, body), 13000102, "proofCode")


async def test_content_is_not_known_before_its_upload_is_complete(wire, backup, data):
    created = (await wire.create(backup, wire.new_file(data))).json
    again = (await wire.create(backup, wire.new_file(data))).json
    assert "rapidUpload" not in created
    assert "rapidUpload" not in again


async def test_known_content_of_another_user_is_open_to_who_proves_to_have_it(wire, backup, data):
    await wire.upload(backup, wire.new_file(data), data)
    other = wire.emulator.accounts[1]
    body = wire.new_file(data, proofCode=wire.proof(data, other.token))
    answer = await wire.call("POST", "/files/create", body, account=other)
    assert answer.json["rapidUpload"] is True


async def test_a_proof_code_is_mandatory_unless_the_file_is_empty(wire, backup, data):
    body = wire.new_file(data)
    del body["proofCode"]
    refused(await wire.create(backup, body), 13000102, "proofCode")
    empty = {"fileName": "empty", "sha256": EMPTY_SHA, "length": 0}
    assert (await wire.create(backup, empty)).status == 200


@pytest.mark.parametrize("put", [True, False])
async def test_an_empty_file_goes_all_the_way(wire, backup, put):
    parts = [{"partNumber": 1, "partSize": 0, "partOffset": 0, "hashCtx": []}]
    body = {"fileName": "empty", "sha256": EMPTY_SHA, "length": 0, "multiParts": parts}
    created = (await wire.create(backup, body)).json
    if put:
        assert (await wire.put(created["multiParts"][0]["uploadUrl"], b"")).status == 200
    assert (await wire.complete(created["fileId"])).status == 200
    assert (await wire.get(await wire.download_url(created["fileId"]))).body == b""


async def test_an_empty_file_has_the_digest_of_nothing(wire, backup):
    created = await wire.create(backup, {"fileName": "e", "sha256": "a" * 64, "length": 0})
    refused(await wire.complete(created.json["fileId"]), 13000402)


async def test_an_ordinary_file_needs_no_record_and_no_lock(wire, data):
    body = wire.new_file(data, createdTime="2025-12-18 01:22:58", description="x" * 512)
    created = (await wire.call("POST", "/files/create", body)).json
    for part in created["multiParts"]:
        start = part["partOffset"]
        await wire.put(part["uploadUrl"], data[start : start + part["partSize"]])
    assert (await wire.complete(created["fileId"])).json == {"code": 0, "msg": "success."}
    assert (await wire.get(await wire.download_url(created["fileId"]))).body == data


WORDS = list(range(1, 9))


def part(number, size, offset=None, ctx=None):
    fields = {"partNumber": number, "partSize": size}
    if offset is not None:
        fields["partOffset"] = offset
    if ctx is not None:
        fields["hashCtx"] = ctx
    return fields


PART_LISTS = [
    ([part(1, 128, 0, []), part(2, 72, 128, WORDS)], None),
    ([part(2, 72, 128, WORDS), part(1, 128, 0)], None),
    ([part(1, 128), part(2, 72, ctx=WORDS)], None),
    ([part(1, 200)], None),
    ([part(1, 130), part(2, 70)], None),
    ([part(1, 192, 0), part(2, 8, 192, WORDS)], None),
    ([], None),
    ([part(1, 128, 0, []), part(3, 72, 128, WORDS)], "without a gap"),
    ([part(2, 200, 0, WORDS)], "without a gap"),
    ([part(1, 128, 0), part(1, 72, 128, WORDS)], "given twice"),
    ([part(1, 128, 0), part(2, 71, 128, WORDS)], "add up"),
    ([part(1, 128, 0), part(2, 73, 128, WORDS)], "add up"),
    ([part(1, 64, 0), part(2, 136, 64, WORDS)], "smaller than 128"),
    ([part(1, 129, 0), part(2, 71, 129, WORDS)], "multiples of 64"),
    ([part(1, 128, 0), part(2, 72, 120, WORDS)], "starts at 120"),
    ([part(1, 128, 64), part(2, 72, 192, WORDS)], "starts at 64"),
    ([part(1, 128, 0), part(2, 72, 128)], "needs hashCtx"),
    ([part(1, 128, 0), part(2, 72, 128, [])], "needs hashCtx"),
    ([part(1, 128, 0, WORDS), part(2, 72, 128, WORDS)], "must be empty"),
    ([part(1, 128, 0), part(2, 72, 128, WORDS[:7])], "8 integers"),
    ([part(1, 128, 0), part(2, 72, 128, [*WORDS, 9])], "at most 8"),
    ([part(1, 128, 0), part(2, 72, 128, [-1, *WORDS[1:]])], "from 0"),
    ([part(1, 128, 0), part(2, 72, 128, [2**32, *WORDS[1:]])], "to 4294967295"),
    ([part(0, 200)], "from 1 to 10000"),
    ([part(10_001, 200)], "from 1 to 10000"),
    ([part(1, 5 * 2**30 + 1)], "to 5368709120"),
]


@pytest.mark.parametrize(("parts", "why"), PART_LISTS)
async def test_a_part_list_keeps_the_rules(wire, backup, parts, why):
    body = {
        "fileName": "a",
        "sha256": "a" * 64,
        "length": 200,
        "proofCode": "a" * 64,
        "multiParts": parts,
    }
    answer = await wire.create(backup, body)
    if why is None:
        assert answer.status == 200, answer.body
    else:
        refused(answer, 13000102, why)


def test_the_smallest_part_of_the_service_is_5_mib():
    size = Settings().min_part_size
    parts = [
        Part(number=1, offset=0, size=size - 64, hash_ctx=None),
        Part(number=2, offset=size - 64, size=64, hash_ctx=tuple(WORDS)),
    ]
    with pytest.raises(RefusedError, match="smaller than 5242880"):
        check_list(parts, length=size, min_size=size, concurrent=True, whole=True)


def test_a_list_without_offsets_and_states_is_sequential():
    given = [part(2, 70), part(1, 130)]
    assert not is_concurrent(given)
    assert [(each.number, each.offset) for each in declared(given, {}, concurrent=False)] == [
        (1, 0),
        (2, 130),
    ]


@pytest.mark.parametrize(
    ("origin", "size", "start", "end", "expected"),
    [
        (
            "1505084218764547200",
            420,
            355,
            363,
            "09cea14d6fd0591f95fc324fdcd0f0eb4018c3925ec9f29fb7e69833dd2ef4a6",
        ),
        (
            "1505084218764547200",
            5,
            0,
            5,
            "edd4310566616d47bbb65f53860d7a4a4cf7642854e11f914906f55ebc34c46a",
        ),
        (
            "1505084218764547200",
            100,
            95,
            100,
            "bdc58408e49cc6fa79a342a4a98eeb5cca393565def2d20e219dba625ec9ed7c",
        ),
        (
            "1505084218764547200",
            1000003,
            559779,
            559787,
            "c19f67a19124d07d335ef9573436fc0320411d148331f3cd0ef711fac6382622",
        ),
        (
            "user-1",
            420,
            407,
            415,
            "9a41b06f364f1a88951d130400db5c7b3c35e0b919f6a46de745057d1392deea",
        ),
        (
            "Bearer+10f88kd00exampletoken4791e9ff",
            420,
            340,
            348,
            "a6e897de28596fa887dc5dff9a0e49c9e7a9e353c5152cf1f34813accd398a6a",
        ),
        (
            "Bearer 10f88kd00exampletoken4791e9ff",
            420,
            143,
            151,
            "1641db1ddce977f6bc7ff8c24f8287eef852c3d4d9a72b036646d84d573c8b67",
        ),
    ],
)
def test_the_proof_vectors_hold(det_bytes, origin, size, start, end, expected):
    assert proof_range(proof_seed(origin), size) == (start, end)
    assert proof_code(det_bytes(size)[start:end]) == expected
