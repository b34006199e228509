from __future__ import annotations

import asyncio

import pytest
from yarl import URL

pytestmark = pytest.mark.anyio

SHA = "a" * 64
GOOD_FILE = {"fileName": "123.jpg", "sha256": SHA, "length": 0}
GOOD_SCOPES = {"moduleCode": "100", "scopeList": [{"localPath": "/a"}]}
GOOD_RECORD = {"moduleCode": "100", "deviceId": "{device}"}
GOOD_CONFIG = {
    "moduleCode": "100",
    "configName": "wifiOnly",
    "currentConfigValue": "on",
    "newConfigValue": "off",
}
GOOD_LOGIN = {"account": "a", "authType": "1", "password": "p"}

BIND = ("POST", "/backup/device", {"machineCode": "m"})
CONFIG = ("PATCH", "/backup/device/{device}/config", GOOD_CONFIG)
ADD = ("POST", "/backup/device/{device}/scope", GOOD_SCOPES)
DELETE = ("DELETE", "/backup/device/{device}/scope", {"scopeIdList": ["1"]})
LOCK = ("POST", "/backup/lock", {"moduleCode": "101"})
RECORD = ("POST", "/backup/record", GOOD_RECORD)
COMPLETE_RECORD: tuple[str, str, dict[str, object]] = ("PATCH", "/backup/record/{record}", {})
FILE = ("POST", "/backup/record/{record}/file", GOOD_FILE)
ORDINARY = ("POST", "/files/create", GOOD_FILE)
PART_URLS = ("POST", "/files/multipart/uploadUrl", {"fileId": "F", "multiParts": []})
COMPLETE = ("POST", "/files/complete", {"fileId": "F"})
DOWNLOAD = ("POST", "/files/download", {"containerId": "{container}", "fileIds": []})

REFUSED = [
    (BIND, "machineCode", [None, "", "a-b", "a b", "é", "a" * 65, 5, "a\n", ["a"]]),
    (BIND, "deviceName", ["", "a.b", "é", "a" * 33, 5, "手机"]),
    (BIND, "deviceOS", ["", "a-b", "12.1", "a" * 33, 5]),
    (BIND, "somethingElse", ["a"]),
    (CONFIG, "moduleCode", [None, "99", "103", 100, ""]),
    (CONFIG, "configName", [None, "", "a-b", "a" * 33]),
    (CONFIG, "currentConfigValue", [None, "", "a b", "a" * 33, 1]),
    (CONFIG, "newConfigValue", [None, "", "a.b", "a" * 33, True]),
    (ADD, "moduleCode", [None, "103"]),
    (ADD, "scopeList", [None, "x", [{"localPath": "/a"}] * 101, [{}], ["x"]]),
    (ADD, "scopeList", [[{"localPath": "", "targetFolderPath": ""}]]),
    (ADD, "scopeList", [[{"localPath": path}] for path in ("a", "\\a", "/a\\b", 5)]),
    (ADD, "scopeList", [[{"targetFolderPath": path}] for path in ("a", "/" + "a" * 10_000)]),
    (ADD, "scopeList", [[{"localPath": "/a", "other": "b"}]]),
    (DELETE, "scopeIdList", [None, "1", [1], ["1"] * 101]),
    (LOCK, "moduleCode", [None, "099", 101, "103"]),
    (RECORD, "moduleCode", [None, "1000"]),
    (RECORD, "deviceId", [None, 1.5, True, ["1"], -1]),
    (RECORD, "properties", [{"a": 1}, "{a}", "", "NaN", 5]),
    (COMPLETE_RECORD, "properties", [{"a": 1}, "{a}"]),
    (FILE, "fileName", [None, "", ".", "..", "a" * 251, 5, *(f"a{c}b" for c in '<>|:"*?/')]),
    (FILE, "sha256", [None, "A" * 64, "a" * 63, "a" * 65, "g" * 64, 5]),
    (FILE, "length", [None, -1, 200 * 10**9 + 1, "0", 1.0, True]),
    (FILE, "description", [5]),
    (FILE, "mimeType", [5]),
    (FILE, "fileType", [1.5, True, ["15"]]),
    (FILE, "parentFolder", ["root", [5]]),
    (FILE, "uploadMode", ["single", ""]),
    (FILE, "uploadType", [0, 2, 3, "1", True]),
    (FILE, "autoRename", [0, 1, 5, "2", 2.0]),
    (FILE, "multiParts", [{}, "x", [5], [{"partNumber": 1}], [{"partSize": 1}]]),
    (FILE, "containerId", [5]),
    (FILE, "proofCode", ["A" * 64, "a" * 63, 5]),
    (FILE, "hidden", ["true", 1]),
    (FILE, "scene", [5]),
    (FILE, "createdTime", ["2025-12-18 01:22:58"]),
    (ORDINARY, "description", ["a" * 513]),
    (ORDINARY, "createdTime", ["2025-12-18", "yesterday", 5]),
    (PART_URLS, "fileId", [None, 5, ""]),
    (PART_URLS, "multiParts", [None, {}, "x"]),
    (COMPLETE, "fileId", [None, 5, ""]),
    (COMPLETE, "sha256", ["A" * 64, "a"]),
    (DOWNLOAD, "containerId", [None, 5, ""]),
    (DOWNLOAD, "fileIds", [None, "F", [5], ["F"] * 101]),
]
ACCEPTED = [
    (BIND, "machineCode", ["a" * 64, "Az_09"]),
    (BIND, "deviceName", ["Magic v3", "Magic-v5", "a" * 32]),
    (BIND, "deviceOS", ["android 15", "a" * 32]),
    (ADD, "scopeList", [[], [{"localPath": "/C:/data"}] * 100]),
    (ADD, "scopeList", [[{"localPath": "/a", "targetFolderPath": ""}]]),
    (ADD, "scopeList", [[{"localPath": "/" + "a" * 9_999}]]),
    (DELETE, "scopeIdList", [[], ["1"] * 100]),
    (LOCK, "moduleCode", ["101", "102"]),
    (RECORD, "properties", ["{}", '{"test":"123"}', "5"]),
    (FILE, "fileName", ["a" * 250, "a b.jpg", "照片.jpg", "a\\b", "..."]),
    (FILE, "fileType", [15, "15"]),
    (FILE, "parentFolder", [["root"], ["root", "ignored"], []]),
    (FILE, "uploadMode", ["multipart"]),
    (FILE, "uploadType", [1]),
    (FILE, "mimeType", [""]),
    (FILE, "hidden", [True]),
    (FILE, "scene", ["x"]),
    (FILE, "description", ["a" * 513]),
    (FILE, "proofCode", [SHA]),
    (ORDINARY, "createdTime", ["2025-12-18 01:22:58", "2025-12-18T01:22:58Z"]),
    (DOWNLOAD, "fileIds", [["F"] * 100]),
]


def cases(table):
    return [
        pytest.param(call, field, value, id=f"{call[0]} {call[1]} {field} {position}")
        for call, field, values in table
        for position, value in enumerate(values)
    ]


async def send(wire, backup, call, fields):
    method, path, good = call
    names = {"record": backup.record, "container": wire.emulator.container_id}
    names["device"] = await wire.device()
    body = {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in good.items()
    }
    # null in a table of these tests is a field that is left out
    sent = {name: value for name, value in {**body, **fields}.items() if value is not None}
    return await wire.call(method, path.format(**names), sent, lock=backup.lock)


@pytest.mark.parametrize(("call", "field", "value"), cases(REFUSED))
async def test_a_value_that_breaks_a_rule_is_refused_by_the_name_of_its_field(
    wire, backup, call, field, value
):
    answer = await send(wire, backup, call, {field: value})
    assert (answer.status, answer.json["code"]) == (400, 13000102)
    assert field in answer.json["msg"]


@pytest.mark.parametrize(("call", "field", "value"), cases(ACCEPTED))
async def test_a_value_within_the_rules_is_accepted(wire, backup, call, field, value):
    answer = await send(wire, backup, call, {field: value})
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("name", ["fileName", "description", "scene"])
async def test_half_a_surrogate_pair_is_no_text(wire, backup, name):
    answer = await wire.create(backup, {**GOOD_FILE, name: "a\ud800"})
    assert (answer.status, answer.json["code"]) == (400, 13000102)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("PATCH", "/backup/lock", {"x-backup-lock-id": "é\udcff"}),
        ("GET", "/backup/device", {"Authorization": "é\udcff"}),
        ("GET", "/backup/device", {"X-User-Id": "é\udcff"}),
        ("GET", "/backup/device", {"X-Date": "\uff12\uff10251103T070140Z"}),
        ("GET", "/backup/record/%ff%00", {}),
        ("GET", "/backup/record?moduleCode=100&pageSize=1&deviceId=%ff%00", {}),
        ("GET", "/backup/record?moduleCode=100&pageSize=%D9%A1", {}),
        ("DELETE", "/backup/device/%ED%A0%80", {}),
    ],
)
async def test_strange_bytes_are_refused_or_find_nothing(wire, method, path, headers):
    url = URL(wire.emulator.url + "/koodrive/ose/v1" + path, encoded=True)
    host, port = url.host, url.port
    reader, writer = await asyncio.open_connection(host, port)
    lines = {"Host": f"{host}:{port}", **wire.headers(), **headers, "Connection": "close"}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    head = f"{method} {url.raw_path_qs} HTTP/1.1\r\n{text}\r\n"
    writer.write(head.encode("utf-8", "surrogateescape"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer[:12] in {b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 401"}


async def test_null_is_not_an_absent_field(wire):
    answer = await wire.call("POST", "/backup/device", b'{"machineCode":"m","deviceName":null}')
    assert answer.json["code"] == 13000102


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'"x"', b"null", b"\xff", b'{"moduleCode": NaN}', b"[" * 10**5]
)
async def test_a_body_that_is_no_json_object_is_refused(wire, body):
    answer = await wire.call("POST", "/backup/lock", body)
    assert (answer.status, answer.json["code"]) == (400, 13000102)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/backup/record", ""),
        ("/backup/record", "moduleCode=100"),
        ("/backup/record", "pageSize=1"),
        ("/backup/record", "moduleCode=103&pageSize=1"),
        *(("/backup/record", f"moduleCode=100&pageSize={n}") for n in ("0", "101", "-1", "a", "")),
        ("/backup/record", "moduleCode=100&pageSize=1&pageSize=2"),
        ("/backup/record", "moduleCode=100&pageSize=1&pagesize=2"),
        ("/backup/record", "moduleCode=100&pageSize=1&cursor=" + "a" * 1001),
        ("/backup/record/{record}/files", ""),
        ("/backup/record/{record}/files", "pageSize=0"),
        ("/backup/record/{record}/files", "pageSize=101"),
        ("/backup/device/{device}/configs", ""),
        ("/backup/device/{device}/config", "moduleCode=100"),
        ("/backup/device/{device}/config", "configName=wifiOnly"),
        ("/backup/device/{device}/config", "moduleCode=100&configName=a-b"),
        ("/backup/device/{device}/scope", ""),
        ("/backup/device/{device}/scope", "moduleCode=99"),
    ],
)
async def test_a_query_that_breaks_a_rule_is_refused(wire, backup, path, query):
    names = {"record": backup.record, "device": await wire.device()}
    answer = await wire.call("GET", f"{path.format(**names)}?{query}")
    assert (answer.status, answer.json["code"]) == (400, 13000102)


@pytest.mark.parametrize("trace_id", ["a" * 57, "a" * 59, "-" * 58, "é" * 58])
async def test_a_trace_id_must_be_58_letters_digits_and_underscores(wire, trace_id):
    answer = await wire.call(
        "GET", "/backup/device", headers={**wire.headers(), "X-Traceid": trace_id}
    )
    assert (answer.status, answer.json["code"]) == (400, 13000102)
    good = await wire.call(
        "GET", "/backup/device", headers={**wire.headers(), "x-traceid": "aZ_9" * 14 + "__"}
    )
    assert good.status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("PUT", "/backup/device"),
        ("GET", "/backup/device/"),
        ("GET", "/backup/lock"),
        ("POST", "/backup/record/1/files"),
    ],
)
async def test_what_is_not_documented_does_not_exist(wire, method, path):
    answer = await wire.call(method, path)
    assert (answer.status, answer.json["code"]) == (404, "APIGW.0101")


async def test_a_body_may_hold_ten_thousand_parts_but_not_more_than_16_mib(wire):
    answer = await wire.call("POST", "/backup/lock", b" " * (2**24) + b"{}")
    assert (answer.status, answer.json["code"]) == (413, "APIGW.0201")
    parts = [
        {"partNumber": n, "partSize": 128, "partOffset": 128 * (n - 1), "hashCtx": [2**32 - 1] * 8}
        for n in range(1, 10_001)
    ]
    parts[0]["hashCtx"] = []
    body = {
        "fileName": "big",
        "sha256": SHA,
        "length": 1_280_000,
        "multiParts": parts,
        "proofCode": SHA,
    }
    created = await wire.call("POST", "/files/create", body)
    assert len(created.json["multiParts"]) == 10_000


async def test_a_file_in_an_unknown_space_or_folder_is_refused(wire, backup):
    for fields, code in (
        ({"containerId": "nowhere"}, 13000301),
        ({"parentFolder": ["nowhere"]}, 13000309),
    ):
        answer = await wire.create(backup, {**GOOD_FILE, **fields})
        assert (answer.status, answer.json["code"]) == (400, code)
