"""What the emulator answers in each dialect, on the wire."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from yarl import URL

from koodrive_async.emulator import Dialect, Fault

pytestmark = pytest.mark.anyio

LOCK_REFUSALS = Dialect.choices()["lost_lock"]
LOCK_QUESTIONS = ("held_lock", "lost_lock", "foreign_lock", "unknown_lock")


@pytest.fixture
async def speaking(new_emulator, new_wire, wire_session):
    """Start an emulator with the answers given, and return how to talk to it."""
    running = []

    async def start(**answers):
        emulator = new_emulator(dialect=Dialect(**answers))
        emulator.start()
        running.append(emulator)
        return new_wire(emulator, wire_session)

    yield start
    for emulator in running:
        emulator.stop()


@pytest.fixture
def with_record(speaking, backup_of):
    async def start(**answers):
        wire = await speaking(**answers)
        return wire, await backup_of(wire)

    return start


def refusal(answer):
    return f"{answer.status}-{answer.json['code']}"


async def listed(wire, backup, size=100, lock=None):
    """Return the files of all pages, and how many entries each page had."""
    files, sizes, cursor = [], [], ""
    while True:
        path = f"/backup/record/{backup.record}/files?pageSize={size}{cursor}"
        answer = (await wire.call("GET", path, lock=lock)).json
        files += answer["data"]
        sizes.append(len(answer["data"]))
        if not answer.get("nextCursor"):
            return files, sizes, answer
        cursor = "&cursor=" + answer["nextCursor"].replace("+", "%2B").replace("=", "%3D")


# --- listings --------------------------------------------------------------------------------


async def test_unfinished_files_are_listed_as_they_were_announced(with_record, data):
    wire, backup = await with_record(unfinished_files="listed")
    created = (await wire.create(backup, wire.new_file(data))).json
    complete = await wire.upload(backup, wire.new_file(data[:-1], name="b"), data[:-1])
    files, _, _ = await listed(wire, backup, size=1)
    assert {file["fileId"] for file in files} == {created["fileId"], complete}
    assert len(files) == 2


@pytest.mark.parametrize("unfinished", ["hidden", "listed"])
async def test_files_can_be_listed_newest_first_and_without_a_description(
    with_record, data, clock, unfinished
):
    wire, backup = await with_record(
        unfinished_files=unfinished, file_order="newest-first", listed_description="absent"
    )
    body = wire.new_file(data, description="told")
    ids = [await wire.upload(backup, body, data)]
    for name in "ab":  # flash uploads
        clock.now += 1
        ids.append((await wire.create(backup, body | {"fileName": name})).json["fileId"])
    files, sizes, _ = await listed(wire, backup, size=2)
    assert [file["fileId"] for file in files] == ids[::-1]
    assert sizes == [2, 1]
    assert not any("description" in file for file in files)


@pytest.mark.parametrize(
    ("answers", "sizes"),
    [
        ({}, [5]),
        ({"pages": "short"}, [2, 2, 1]),
        ({"pages": "empty"}, [0, 5]),
        ({"end_of_list": "empty-page"}, [5, 0]),
        ({"end_of_list": "null"}, [5]),
        ({"end_of_list": "empty"}, [5]),
        ({"pages": "empty", "end_of_list": "empty-page"}, [0, 5, 0, 0]),
    ],
)
async def test_pages_may_be_short_or_empty(with_record, data, answers, sizes):
    wire, backup = await with_record(**answers)
    await wire.upload(backup, wire.new_file(data), data)
    for name in "abcd":
        await wire.create(backup, wire.new_file(data, name=name))
    files, found, last = await listed(wire, backup)
    assert len({file["fileId"] for file in files}) == len(files) == 5
    assert found == sizes
    end = {"null": None, "empty": ""}.get(answers.get("end_of_list"), "absent")
    assert last.get("nextCursor", "absent") == end


async def test_records_can_be_listed_oldest_first_with_their_device(with_record):
    wire, backup = await with_record(record_order="oldest-first", device_info="given")
    second = await wire.record(backup.lock)
    answer = await wire.call("GET", "/backup/record?moduleCode=100&pageSize=100")
    assert [each["recordId"] for each in answer.json["data"]] == [backup.record, second]
    assert answer.json["data"][0]["deviceInfo"]["machineCode"] == "20250911"


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "renamed"), [("record", False), ("folder", True), ("space", True), ("nowhere", False)]
)
async def test_names_are_unique_within_what_the_dialect_says(with_record, data, scope, renamed):
    wire, backup = await with_record(unique_names=scope)
    await wire.upload(backup, wire.new_file(data), data)
    other = attrs.evolve(backup, record=await wire.record(backup.lock))
    created = (await wire.create(other, wire.new_file(data))).json
    assert (created["fileName"] != "123.jpg") == renamed
    again = (await wire.create(backup, wire.new_file(data))).json
    assert (again["fileName"] == "123.jpg") == (scope == "nowhere")


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("timestamp", r"123_\d{8}_\d{6}\.jpg"),
        ("counter", r"123\(1\)\.jpg"),
        ("after-extension", r"123\.jpg_\d{8}_\d{6}"),
    ],
)
async def test_a_file_is_renamed_in_the_style_of_the_dialect(with_record, data, style, name):
    wire, backup = await with_record(rename_style=style)
    await wire.create(backup, wire.new_file(data))
    created = (await wire.create(backup, wire.new_file(data))).json
    assert re.fullmatch(name, created["fileName"])
    third = (await wire.create(backup, wire.new_file(data))).json
    assert third["fileName"] not in {"123.jpg", created["fileName"]}


@pytest.mark.parametrize(
    ("default", "answer"), [("rename", "200-0"), ("refuse", "400-13000405"), ("skip", "200-0")]
)
async def test_a_missing_auto_rename_stands_for_one_of_them(with_record, data, default, answer):
    wire, backup = await with_record(default_rename=default)
    first = await wire.upload(backup, wire.new_file(data), data)
    second = await wire.create(backup, wire.new_file(data))
    assert refusal(second) == answer
    assert (second.json.get("fileId") == first) == (default == "skip")


@pytest.mark.parametrize("same", ["complete", "unfinished-too"])
async def test_an_unfinished_file_may_count_as_the_same_file(with_record, data, same):
    wire, backup = await with_record(same_file=same)
    first = (await wire.create(backup, wire.new_file(data))).json
    second = (await wire.create(backup, wire.new_file(data, autoRename=4))).json
    assert second["exist"] is (same == "unfinished-too")
    assert (second["fileId"] == first["fileId"]) is second["exist"]


@pytest.mark.parametrize(
    ("answers", "code", "has_id"),
    [("13000405-with-id", 13000405, True), ("13000405", 13000405, False), ("0-with-id", 0, True)],
)
async def test_a_duplicate_is_refused_with_a_code_or_an_id(
    with_record, data, answers, code, has_id
):
    wire, backup = await with_record(duplicate_name=answers)
    first = (await wire.create(backup, wire.new_file(data))).json
    second = (await wire.create(backup, wire.new_file(data, autoRename=3))).json
    assert second["code"] == code
    assert second.get("existFileId") == (first["fileId"] if has_id else None)
    assert "fileId" not in second


# --- locks -----------------------------------------------------------------------------------


async def test_the_questions_of_locks_have_the_same_answers():
    assert {Dialect.choices()[name] for name in LOCK_QUESTIONS} == {LOCK_REFUSALS}


@pytest.mark.parametrize("shift", range(len(LOCK_REFUSALS)))
async def test_locks_are_refused_with_the_status_and_code_of_the_dialect(with_record, clock, shift):
    answers = dict(zip(LOCK_QUESTIONS, LOCK_REFUSALS[shift:] + LOCK_REFUSALS, strict=False))
    wire, backup = await with_record(**answers)
    held = await wire.call("POST", "/backup/lock", {"moduleCode": "100"})
    unknown = await wire.call("PATCH", "/backup/lock", lock="none@100")
    foreign = await wire.call(
        "PATCH", "/backup/lock", lock=await wire.lock("100", wire.emulator.accounts[1])
    )
    clock.now += 601
    lost = await wire.call("PATCH", "/backup/lock", lock=backup.lock)
    assert [refusal(each) for each in (held, lost, foreign, unknown)] == list(answers.values())


@pytest.mark.parametrize(
    ("scope", "other_module", "other_token"),
    [("user-and-module", 200, 400), ("device", 200, 200), ("user", 400, 400)],
)
async def test_a_lock_excludes_those_in_its_scope(with_record, scope, other_module, other_token):
    wire, _ = await with_record(lock_scope=scope)
    taken = await wire.call("POST", "/backup/lock", {"moduleCode": "101"})
    assert taken.status == other_module
    account = attrs.evolve(wire.emulator.accounts[0], token=wire.emulator.new_token())
    taken = await wire.call("POST", "/backup/lock", {"moduleCode": "100"}, account=account)
    assert taken.status == other_token


async def test_a_lock_that_ran_out_may_be_renewed_unless_another_one_was_taken(with_record, clock):
    wire, backup = await with_record(expired_lock="renewable")
    clock.now += 700
    assert (await wire.call("PATCH", "/backup/lock", lock=backup.lock)).status == 200
    clock.now += 499  # its lease counts from when it ran out
    assert await wire.record(backup.lock)
    clock.now += 2
    assert (await wire.call("POST", "/backup/lock", {"moduleCode": "100"})).status == 200
    assert (await wire.call("PATCH", "/backup/lock", lock=backup.lock)).status == 400


@pytest.mark.parametrize(
    ("header", "parts", "reads"),
    [
        ("documented", False, False),
        ("parts-too", True, False),
        ("reads-too", False, True),
        ("everywhere", True, True),
    ],
)
async def test_calls_want_the_lock_that_the_dialect_says(with_record, data, header, parts, reads):
    wire, backup = await with_record(lock_header=header)
    file_id = (await wire.create(backup, wire.new_file(data))).json["fileId"]
    calls = [
        ("POST", "/files/complete", {"fileId": file_id}, parts),
        ("POST", "/files/multipart/uploadUrl", {"fileId": file_id, "multiParts": []}, parts),
        ("GET", f"/backup/record/{backup.record}", None, reads),
        ("GET", "/backup/record?moduleCode=100&pageSize=1", None, reads),
        ("GET", f"/backup/record/{backup.record}/files?pageSize=1", None, reads),
    ]
    for method, path, body, wanted in calls:
        without = await wire.call(method, path, body)
        refused = "x-backup-lock-id is mandatory" in without.json["msg"]
        assert refused == wanted, path
        given = await wire.call(method, path, body, lock=backup.lock)
        assert "x-backup-lock-id" not in given.json["msg"]


async def test_the_lock_may_be_refused_where_it_does_not_belong(with_record):
    wire, backup = await with_record(lock_header="refused-elsewhere")
    path = f"/backup/record/{backup.record}"
    assert (await wire.call("GET", path)).status == 200
    assert refusal(await wire.call("GET", path, lock=backup.lock)) == "400-13000102"


@pytest.mark.parametrize(("second", "status"), [("refused", 400), ("accepted", 200)])
async def test_a_lock_is_released_twice(with_record, second, status):
    wire, backup = await with_record(second_release=second)
    assert (await wire.call("DELETE", "/backup/lock", lock=backup.lock)).status == 200
    assert (await wire.call("DELETE", "/backup/lock", lock=backup.lock)).status == status
    assert (await wire.call("PATCH", "/backup/lock", lock=backup.lock)).status == 400


# --- refusals --------------------------------------------------------------------------------


async def test_refusals_may_come_as_200_but_for_those_of_the_gateway(speaking):
    wire = await speaking(refusal_status="200")
    assert refusal(await wire.call("GET", "/backup/record/1")) == "200-13000309"
    assert refusal(await wire.call("GET", "/nowhere")) == "404-APIGW.0101"
    assert refusal(await wire.call("GET", "/backup/device", headers={})) == "401-APIGW.0301"


@pytest.mark.parametrize("answer", Dialect.choices()["bad_credentials"])
async def test_credentials_are_refused_with_the_status_and_code_of_the_dialect(speaking, answer):
    wire = await speaking(bad_credentials=answer)
    headers = {**wire.headers(), "Authorization": "Bearer+none"}
    assert refusal(await wire.call("GET", "/backup/device", headers=headers)) == answer
    body = {"account": "a", "authType": "1", "password": "b"}
    headers = {"x-hw-agentName": "agent"}
    assert refusal(await wire.call("POST", "/auth/login", body, headers=headers)) == answer


@pytest.mark.parametrize(
    ("answer", "expected", "retry_after", "of_parts"),
    [
        ("429-retry-after", "429-APIGW.0308", "7", (429, "7")),
        ("429", "429-APIGW.0308", None, (429, None)),
        ("503", "503-13000201", None, (503, None)),
        ("400-APIGW.0308", "400-APIGW.0308", None, (503, None)),
    ],
)
async def test_a_throttle_answers_as_the_dialect_says(
    speaking, answer, expected, retry_after, of_parts
):
    wire = await speaking(rate_limit=answer)
    wire.emulator.faults.add(Fault("throttle", retry_after=7))
    throttled = await wire.call("GET", "/backup/device")
    assert refusal(throttled) == expected
    assert throttled.headers.get("Retry-After") == retry_after
    part = await wire.put(f"{wire.emulator.object_url}/key?partNumber=1", b"data")
    assert (part.status, part.headers.get("Retry-After")) == of_parts


@pytest.mark.parametrize("answer", Dialect.choices()["missing_record"])
async def test_a_record_that_does_not_exist_is_answered_as_the_dialect_says(with_record, answer):
    wire, backup = await with_record(missing_record=answer)
    got = await wire.call("GET", "/backup/record/1")
    files = await wire.call("GET", "/backup/record/1/files?pageSize=1")
    written = await wire.call("PATCH", "/backup/record/1", {}, lock=backup.lock)
    if answer == "200-null":
        assert (refusal(got), got.json["data"]) == ("200-0", None)
        assert (refusal(files), files.json["data"]) == ("200-0", [])
        assert refusal(written) == "404-13000309"
    else:
        assert {refusal(each) for each in (got, files, written)} == {answer}


# --- devices and scopes ----------------------------------------------------------------------


@pytest.mark.parametrize("answer", Dialect.choices()["bound_machine"])
async def test_binding_a_machine_again_gives_the_same_device_another_or_none(speaking, answer):
    wire = await speaking(bound_machine=answer)
    first = await wire.device("machine")
    again = await wire.call("POST", "/backup/device", {"machineCode": "machine"})
    if answer == "refused":
        assert refusal(again) == "400-13000102"
    else:
        assert (again.json["data"]["deviceId"] == first) == (answer == "same-device")


@pytest.mark.parametrize(
    ("answer", "unbound", "record"),
    [
        ("records-stay", "200-0", "200-0"),
        ("records-go", "200-0", "400-13000309"),
        ("refused-with-records", "400-13000102", "200-0"),
    ],
)
async def test_unbinding_a_device_does_what_the_dialect_says(with_record, answer, unbound, record):
    wire, backup = await with_record(unbound_device=answer)
    device = await wire.device()
    assert refusal(await wire.call("DELETE", f"/backup/device/{device}")) == unbound
    assert refusal(await wire.call("GET", f"/backup/record/{backup.record}")) == record


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        ("scopes", {"scopeList", "failedScopeList"}),
        ("ids", {"scopeIdList", "failedScopeList"}),
        ("absent", set()),
    ],
)
async def test_added_scopes_are_answered_in_one_of_three_forms(speaking, answer, keys):
    wire = await speaking(added_scopes=answer)
    path = f"/backup/device/{await wire.device()}/scope"
    body = {"moduleCode": "100", "scopeList": [{"localPath": "/a"}]}
    assert (await wire.call("POST", path, body)).json.keys() - {"code", "msg"} == keys


@pytest.mark.parametrize(
    ("answer", "none", "one"),
    [("array", list, list), ("object", list, dict), ("null", type(None), list)],
)
async def test_failed_scopes_are_an_array_an_object_or_null(speaking, answer, none, one):
    wire = await speaking(failed_scopes=answer)
    path = f"/backup/device/{await wire.device()}/scope"
    fine = await wire.call("DELETE", path, {"scopeIdList": []})
    bad = await wire.call("DELETE", path, {"scopeIdList": ["1"]})
    assert type(fine.json["failedScopeList"]) is none
    assert type(bad.json["failedScopeList"]) is one


# --- records ---------------------------------------------------------------------------------


async def test_a_record_with_unfinished_files_may_not_be_completed(with_record, data):
    wire, backup = await with_record(unfinished_record="refused")
    created = (await wire.create(backup, wire.new_file(data, part_size=512))).json
    path = f"/backup/record/{backup.record}"
    assert refusal(await wire.call("PATCH", path, {}, lock=backup.lock)) == "400-13000402"
    await wire.put(created["multiParts"][0]["uploadUrl"], data)
    await wire.complete(created["fileId"])
    assert refusal(await wire.call("PATCH", path, {}, lock=backup.lock)) == "200-0"


@pytest.mark.parametrize(("answer", "status"), [("refused", 400), ("accepted", 200)])
async def test_a_record_is_completed_twice(with_record, answer, status):
    wire, backup = await with_record(completed_record=answer)
    path = f"/backup/record/{backup.record}"
    assert (await wire.call("PATCH", path, {}, lock=backup.lock)).status == 200
    assert (await wire.call("PATCH", path, {}, lock=backup.lock)).status == status


async def test_a_deleted_record_may_stay_with_status_2(with_record, data):
    wire, backup = await with_record(deleted_record="status-2")
    await wire.upload(backup, wire.new_file(data), data)
    path = f"/backup/record/{backup.record}"
    await wire.call("DELETE", path, lock=backup.lock)
    assert (await wire.call("GET", path)).json["data"]["status"] == 2
    assert (await listed(wire, backup))[0] == []


@pytest.mark.parametrize(("answer", "kept"), [("kept", '{"a":1}'), ("cleared", None)])
async def test_properties_that_are_left_out_are_kept_or_cleared(with_record, answer, kept):
    wire, backup = await with_record(left_out_properties=answer)
    body = {"moduleCode": "100", "deviceId": await wire.device(), "properties": '{"a":1}'}
    created = await wire.call("POST", "/backup/record", body, lock=backup.lock)
    path = f"/backup/record/{created.json['data']['recordId']}"
    await wire.call("PATCH", path, {}, lock=backup.lock)
    assert (await wire.call("GET", path)).json["data"].get("properties") == kept


@pytest.mark.parametrize("limit", [124, 1024])
async def test_properties_and_descriptions_may_have_a_limit(with_record, data, limit):
    wire, backup = await with_record(properties_limit=str(limit), description_limit="512")
    path = f"/backup/record/{backup.record}"
    for length, status in ((limit + 1, 400), (limit, 200)):
        body = {"properties": json.dumps("x" * (length - 2))}
        assert (await wire.call("PATCH", path, body, lock=backup.lock)).status == status
    other = attrs.evolve(backup, record=await wire.record(backup.lock))
    for length, status in ((513, 400), (512, 200)):
        body = wire.new_file(data, description="x" * length)
        assert (await wire.create(other, body)).status == status


# --- new files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "mine", "theirs"),
    [("any-content", True, True), ("own-content", True, None), ("never", None, None)],
)
async def test_a_flash_upload_hits_what_the_dialect_says(with_record, data, answer, mine, theirs):
    wire, backup = await with_record(flash_upload=answer)
    await wire.upload(backup, wire.new_file(data), data)
    again = await wire.create(backup, wire.new_file(data, name="again"))
    assert again.json.get("rapidUpload") is mine
    account = wire.emulator.accounts[1]
    body = wire.new_file(data) | {"proofCode": wire.proof(data, account.token)}
    other = await wire.call("POST", "/files/create", body, account=account)
    assert other.json.get("rapidUpload") is theirs


async def test_a_flash_upload_may_want_to_be_completed(with_record, data):
    wire, backup = await with_record(flash_hit="to-be-completed")
    await wire.upload(backup, wire.new_file(data), data)
    hit = (await wire.create(backup, wire.new_file(data, name="again"))).json
    assert hit["rapidUpload"] is True
    assert "multiParts" not in hit
    assert len((await listed(wire, backup))[0]) == 1
    assert (await wire.complete(hit["fileId"])).status == 200
    assert len((await listed(wire, backup))[0]) == 2
    assert (await wire.get(await wire.download_url(hit["fileId"]))).body == data


@pytest.mark.parametrize(
    ("answer", "with_part", "without"),
    [
        ("either", "complete", "complete"),
        ("one-part", "wants the part", "refused"),
        ("no-parts", "refused", "complete"),
        ("at-creation", "refused", "complete at once"),
        ("refused", "refused", "refused"),
    ],
)
async def test_a_file_of_no_bytes_is_taken_as_the_dialect_says(
    with_record, answer, with_part, without
):
    wire, backup = await with_record(empty_file=answer)
    part = {"partNumber": 1, "partSize": 0, "partOffset": 0, "hashCtx": []}

    async def becomes(parts):
        created = await wire.create(backup, wire.new_file(b"", multiParts=parts))
        if created.status != 200:
            return "refused"
        if (await listed(wire, backup))[0]:
            return "complete at once"
        file_id = created.json["fileId"]
        completed = await wire.complete(file_id)
        if completed.status == 200:
            return "complete"
        await wire.put(created.json["multiParts"][0]["uploadUrl"], b"")
        assert (await wire.complete(file_id)).status == 200
        return "wants the part"

    assert await becomes([]) == without
    backup = attrs.evolve(backup, record=await wire.record(backup.lock))
    assert await becomes([part]) == with_part


async def test_the_space_may_be_left_out_of_the_answer_and_wanted_in_the_request(with_record, data):
    wire, backup = await with_record(container_in_answer="absent", container_in_request="required")
    assert refusal(await wire.create(backup, wire.new_file(data))) == "400-13000102"
    body = wire.new_file(data, containerId=wire.emulator.container_id)
    created = await wire.create(backup, body)
    assert "containerId" not in created.json
    assert created.json["fileId"]


@pytest.mark.parametrize(
    "answers",
    [{"proof_origin": "token"}, {"proof_seed": "bytes"}],
    ids=lambda each: next(iter(each)),
)
async def test_the_proof_may_be_computed_in_another_way(with_record, data, answers):
    wire, backup = await with_record(**answers)
    created = (await wire.create(backup, wire.new_file(data, part_size=512))).json
    await wire.put(created["multiParts"][0]["uploadUrl"], data)
    assert refusal(await wire.complete(created["fileId"])) == "400-13000402"
    if "proof_origin" in answers:
        bare = wire.emulator.token.removeprefix("Bearer+")
        body = wire.new_file(data, name="other") | {"proofCode": wire.proof(data, bare)}
        await wire.upload(backup, body, data)


# --- parts -----------------------------------------------------------------------------------


async def test_an_edition_without_multipart_refuses_several_parts(with_record, data):
    wire, backup = await with_record(multipart="refused")
    assert refusal(await wire.create(backup, wire.new_file(data))) == "400-13000102"
    await wire.upload(backup, wire.new_file(data, part_size=512), data)


async def test_an_edition_without_multipart_may_answer_with_one_url(with_record, data):
    wire, backup = await with_record(multipart="one-url")
    created = (await wire.create(backup, wire.new_file(data))).json
    (part,) = created["multiParts"]
    assert (part["partNumber"], part["partSize"]) == (1, len(data))
    assert (await wire.put(part["uploadUrl"], data)).status == 200
    assert (await wire.complete(created["fileId"])).status == 200


async def test_parts_may_want_hash_ctx(with_record, data):
    wire, backup = await with_record(hash_ctx="required")
    parts = [{"partNumber": 1, "partSize": 128}, {"partNumber": 2, "partSize": len(data) - 128}]
    sequential = wire.new_file(data) | {"multiParts": parts}
    assert refusal(await wire.create(backup, sequential)) == "400-13000102"
    await wire.upload(backup, wire.new_file(data), data)


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [("all", [1, 2, 3]), ("reversed", [3, 2, 1]), ("first-only", [1]), ("none", None)],
)
async def test_urls_are_given_for_some_parts_only(with_record, data, answer, numbers):
    wire, backup = await with_record(created_parts=answer)
    body = wire.new_file(data)
    created = (await wire.create(backup, body)).json
    parts = created.get("multiParts")
    assert (parts and [part["partNumber"] for part in parts]) == numbers
    urls = (await wire.part_urls(created["fileId"], body["multiParts"])).json["multiParts"]
    for part in urls:
        start = part["partOffset"]
        await wire.put(part["uploadUrl"], data[start : start + part["partSize"]])
    assert (await wire.complete(created["fileId"])).status == 200


async def test_urls_may_be_asked_for_five_at_a_time(with_record, det_bytes):
    wire, backup = await with_record(part_urls_at_once="5")
    body = wire.new_file(det_bytes(6 * 128))
    file_id = (await wire.create(backup, body)).json["fileId"]
    assert refusal(await wire.part_urls(file_id, body["multiParts"])) == "400-13000102"
    assert (await wire.part_urls(file_id, body["multiParts"][:5])).status == 200


@pytest.mark.parametrize(("answer", "expected"), [("refused", "400-13000401"), ("given", "200-0")])
async def test_urls_of_a_complete_file_are_refused_or_given(with_record, data, answer, expected):
    wire, backup = await with_record(complete_part_urls=answer)
    body = wire.new_file(data)
    file_id = await wire.upload(backup, body, data)
    urls = await wire.part_urls(file_id, body["multiParts"])
    assert refusal(urls) == expected
    for part in urls.json.get("multiParts", []):
        late = await wire.put(part["uploadUrl"], b"x" * part["partSize"])
        assert late.xml_code == "NoSuchUpload"
    assert wire.emulator.content(file_id) == data


@pytest.mark.parametrize("code", Dialect.choices()["completed_file"])
async def test_completing_a_complete_file_has_the_code_of_the_dialect(with_record, data, code):
    wire, backup = await with_record(completed_file=code)
    file_id = await wire.upload(backup, wire.new_file(data), data)
    assert str((await wire.complete(file_id)).json["code"]) == code


@pytest.mark.parametrize(("answer", "entries"), [("gone", 0), ("entry-stays", 1)])
async def test_a_forgotten_upload_may_leave_its_entry(with_record, data, answer, entries):
    wire, backup = await with_record(forgotten_upload=answer, unfinished_files="listed")
    body = wire.new_file(data)
    created = (await wire.create(backup, body)).json
    wire.emulator.faults.add(Fault("lost-upload", "files.complete", times=1))
    for answered in (
        await wire.complete(created["fileId"]),
        await wire.complete(created["fileId"]),
        await wire.part_urls(created["fileId"], body["multiParts"]),
    ):
        assert refusal(answered) == "400-13000401"
    late = await wire.put(created["multiParts"][0]["uploadUrl"], data[:128])
    assert late.xml_code == "NoSuchUpload"
    assert len((await listed(wire, backup))[0]) == entries


# --- presigned URLs --------------------------------------------------------------------------


@pytest.mark.parametrize("signed", Dialect.choices()["signed_headers"])
async def test_part_urls_sign_the_headers_that_the_dialect_says(with_record, data, signed):
    wire, backup = await with_record(signed_headers=signed)
    body = wire.new_file(data, part_size=512, mimeType="text/x-notes")
    created = (await wire.create(backup, body)).json
    url = created["multiParts"][0]["uploadUrl"]
    assert parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"] == [signed]
    wrong = await wire.put(url, data[:-1], {"Content-Type": "text/plain"})
    assert wrong.status == (400 if signed == "host" else 403)
    other = await wire.put(url, data, {"Content-Type": "text/plain"})
    assert other.status == (403 if "content-type" in signed else 200)
    assert (await wire.put(url, data, {"Content-Type": "text/x-notes"})).status == 200


async def test_a_url_may_hold_for_a_minute_only(with_record, data, clock):
    wire, backup = await with_record(url_life="60")
    created = (await wire.create(backup, wire.new_file(data, part_size=512))).json
    url = created["multiParts"][0]["uploadUrl"]
    assert "X-Amz-Expires=60&" in url
    clock.now += 61
    assert (await wire.put(url, data)).status == 403


@pytest.mark.parametrize(
    ("answer", "host"),
    [("address", "127.0.0.1"), ("name", "localhost"), ("final-dot", "localhost.")],
)
async def test_the_host_of_urls_is_written_as_the_dialect_says(with_record, data, answer, host):
    wire, backup = await with_record(url_host=answer)
    created = (await wire.create(backup, wire.new_file(data, part_size=512))).json
    written = created["multiParts"][0]["uploadUrl"]
    url = URL(written, encoded=True)
    assert url.raw_host == host
    # as the host was signed, to where it is served
    headers = {"Host": f"{host}:{url.port}"}
    reached = written.replace(host, "127.0.0.1", 1)
    assert (await wire.put(reached, data, headers)).status == 200


async def test_the_content_type_of_calls_may_matter(speaking):
    wire = await speaking(api_content_type="required")
    body = {"moduleCode": "100"}
    told = {**wire.headers(), "Content-Type": "application/json; charset=utf-8"}
    assert (await wire.call("POST", "/backup/lock", body, headers=told)).status == 200
    assert (await wire.call("POST", "/backup/lock", body)).status == 415
    assert (await wire.call("GET", "/backup/device")).status == 200


@pytest.mark.parametrize(
    ("answer", "octets", "text"),
    [("ignored", 200, 200), ("required", 200, 400)],
)
async def test_the_content_type_of_parts_may_matter(with_record, data, answer, octets, text):
    wire, backup = await with_record(part_content_type=answer)
    created = (await wire.create(backup, wire.new_file(data, part_size=512))).json
    url = created["multiParts"][0]["uploadUrl"]
    kind = {"Content-Type": "application/octet-stream"}
    assert (await wire.put(url, data, kind)).status == octets
    assert (await wire.put(url, data, {"Content-Type": "text/plain"})).status == text


# --- looking and downloading -----------------------------------------------------------------


async def test_ranges_may_be_ignored(with_record, data):
    wire, backup = await with_record(ranges="ignored")
    file_id = await wire.upload(backup, wire.new_file(data), data)
    whole = await wire.get(await wire.download_url(file_id), {"Range": "bytes=0-3"})
    assert (whole.status, whole.body) == (200, data)


async def test_unfinished_files_may_have_details_and_links_that_lead_nowhere(with_record, data):
    wire, backup = await with_record(unfinished_details="given", unfinished_links="given")
    created = (await wire.create(backup, wire.new_file(data))).json
    body = {"containerId": wire.emulator.container_id}
    found = await wire.call("POST", f"/files/{created['fileId']}/detail", body)
    assert (found.json["size"], found.json["downloadLinks"]) == (len(data), [])
    link = await wire.download_url(created["fileId"])
    assert (await wire.get(link)).status == 404


@pytest.mark.parametrize("offered", Dialect.choices()["space_calls"])
async def test_an_edition_may_lack_calls(speaking, offered):
    wire = await speaking(space_calls=offered, details_call="absent")
    body = {"containerId": wire.emulator.container_id}
    assert refusal(await wire.call("POST", "/files/F1/detail", body)) == "404-APIGW.0101"
    owner, space = wire.emulator.user_id, wire.emulator.container_id
    first = await wire.call("GET", f"/space/{owner}?type=1&containerId={space}")
    url = URL(f"{wire.emulator.url}/koodrive/ose/v2/space/{owner}", encoded=True)
    second = await wire.send("GET", url, None, wire.headers())
    statuses = {"both": (200, 200), "v1": (200, 404), "v2": (404, 200), "neither": (404, 404)}
    assert (first.status, second.status) == statuses[offered]


# --- forms -----------------------------------------------------------------------------------


async def test_numbers_may_be_text(with_record, data):
    wire, backup = await with_record(numbers="text")
    created = (await wire.create(backup, wire.new_file(data))).json
    assert created["code"] == "0"
    assert created["multiParts"][1]["partNumber"] == "2"
    assert all(isinstance(word, str) for word in created["multiParts"][1]["hashCtx"])
    assert created["exist"] is False
    refused = await wire.call("GET", "/backup/record/1")
    assert refused.json["code"] == "13000309"


async def test_ids_may_be_bare_integers(with_record):
    wire, backup = await with_record(ids="numbers")
    record = (await wire.call("GET", f"/backup/record/{backup.record}")).json["data"]
    assert record["recordId"] == int(backup.record)
    devices = (await wire.call("GET", "/backup/device")).json["data"]
    assert type(devices[0]["deviceId"]) is int
    assert devices[0]["machineCode"] == "20250911"


async def test_fields_without_a_value_may_be_null(with_record, data):
    wire, backup = await with_record(absent_fields="null")
    created = (await wire.create(backup, wire.new_file(data))).json
    assert created["rapidUpload"] is created["existFileId"] is None
    record = (await wire.call("GET", f"/backup/record/{backup.record}")).json["data"]
    assert record["endTime"] is record["deviceInfo"] is record["properties"] is None
    listing = (await wire.call("GET", "/backup/record?moduleCode=100&pageSize=1")).json
    assert listing["nextCursor"] is None


async def test_answers_may_hold_fields_that_no_page_names(with_record):
    wire, backup = await with_record(unknown_fields="some")
    answer = (await wire.call("GET", f"/backup/record/{backup.record}")).json
    assert answer["extension"] == answer["data"]["extension"]


# --- signing in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "prefix"),
    [("AT-space", "AT "), ("Bearer-plus", "Bearer+"), ("Bearer-space", "Bearer "), ("bare", "")],
)
async def test_a_token_is_spelt_as_the_dialect_says(speaking, answer, prefix):
    wire = await speaking(login_answer=answer, refreshed_session="flat")
    account = wire.emulator.accounts[0]
    body = {"account": account.account, "authType": "1", "password": account.password}
    answer = await wire.call("POST", "/auth/login", body, headers={"x-hw-agentName": "agent"})
    session = answer.json["data"]["sessionInfo"]
    assert session["accessToken"][: len(prefix)] == prefix
    assert len(session["accessToken"]) == len(prefix) + 48
    headers = {"Authorization": session["accessToken"]}
    body = {"refreshToken": session["refreshToken"]}
    refreshed = await wire.call("POST", "/auth/refreshToken", body, headers=headers)
    assert refreshed.json["data"]["accessToken"].startswith(prefix)


def test_every_question_is_tested_here():
    tested = Path(__file__).read_text(encoding="utf-8")
    elsewhere = {"app_signature", "signing_string", "url_scheme"}  # in tests/dialects
    assert [
        name for name in Dialect.choices() if name not in tested and name not in elsewhere
    ] == []
