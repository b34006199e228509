"""Each documented call: the request that leaves is the documented one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import attrs
import pytest

from koodrive_async import (
    BearerToken,
    KooDrive,
    MalformedResponse,
    Module,
    MultiPartInfo,
    NewBackupFile,
    NewScope,
)
from tests.interface.scripted import LOCK, ROOT, TLS, TOKEN, USER, answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

SHA256 = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
PROOF = "03dfd964183d72456b7c3093ecaddfb92e851f3bc6611489831ef91aebdda215"
CTX = (
    1748048713,
    2644528514,
    4267727253,
    2252747490,
    4036182088,
    2253856463,
    526139147,
    4194267752,
)
# enough to be read by every call
ANYTHING = {
    "data": {
        "deviceId": "1",
        "recordId": "1",
        "lockId": "1",
        "configName": "n",
        "accessToken": "t",
    },
    "code": 0,
    "msg": "success",
}
NOTHING = {"code": 0, "msg": "success"}
PARTS = [
    MultiPartInfo(part_number=1, part_size=10485760, part_offset=0, hash_ctx=()),
    MultiPartInfo(
        part_number=46,
        part_size=10485760,
        part_offset=471859200,
        hash_ctx=CTX,
        upload_url="https://an.old/url",
    ),
]


@attrs.frozen
class Documented:
    """One call and the request its page describes."""

    make: Callable[[KooDrive], Awaitable[object]]
    method: str
    path: str
    query: str = ""
    body: object = None
    lock: bool = False
    answer: object = attrs.field(factory=lambda: ANYTHING)
    root: str = ROOT


CALLS = {
    "bindDevice": Documented(
        lambda drive: drive.devices.bind("20250911", name="Magic v3", os="android"),
        "POST",
        "/backup/device",
        body={"machineCode": "20250911", "deviceName": "Magic v3", "deviceOS": "android"},
    ),
    "listBoundDevice": Documented(
        lambda drive: drive.devices.list(), "GET", "/backup/device", answer=NOTHING
    ),
    "unbindDevice": Documented(
        lambda drive: drive.devices.unbind("17"), "DELETE", "/backup/device/17"
    ),
    "listConfigInfos": Documented(
        lambda drive: drive.configs.list("17", Module.ADDRESS_BOOK),
        "GET",
        "/backup/device/17/configs",
        query="moduleCode=102",
        answer=NOTHING,
    ),
    "getConfigInfo": Documented(
        lambda drive: drive.configs.get("17", "102", "autoBackup"),
        "GET",
        "/backup/device/17/config",
        query="configName=autoBackup&moduleCode=102",
    ),
    "updateConfigInfo": Documented(
        lambda drive: drive.configs.update("17", "100", "autoBackup", current="off", new="on"),
        "PATCH",
        "/backup/device/17/config",
        body={
            "moduleCode": "100",
            "configName": "autoBackup",
            "currentConfigValue": "off",
            "newConfigValue": "on",
        },
    ),
    "batchAddBackupScope": Documented(
        lambda drive: drive.scopes.add(
            "17",
            Module.FOLDER,
            [NewScope(local_path="/C:/a b", target_folder_path="/ä"), NewScope(local_path="/x")],
        ),
        "POST",
        "/backup/device/17/scope",
        body={
            "moduleCode": "100",
            "scopeList": [
                {"localPath": "/C:/a b", "targetFolderPath": "/ä"},
                {"localPath": "/x"},
            ],
        },
        answer=NOTHING,
    ),
    "listBackupScope": Documented(
        lambda drive: drive.scopes.list("17", Module.FOLDER),
        "GET",
        "/backup/device/17/scope",
        query="moduleCode=100",
        answer=NOTHING,
    ),
    "batchDeleteBackupScope": Documented(
        lambda drive: drive.scopes.delete("17", ["123", "124"]),
        "DELETE",
        "/backup/device/17/scope",
        body={"scopeIdList": ["123", "124"]},
        answer=NOTHING,
    ),
    "createBackupLock": Documented(
        lambda drive: drive.locks.create(Module.ADDRESS_BOOK),
        "POST",
        "/backup/lock",
        body={"moduleCode": "102"},
    ),
    "renewalBackupLock": Documented(
        lambda drive: drive.locks.renew(LOCK), "PATCH", "/backup/lock", lock=True, answer=NOTHING
    ),
    "releaseBackupLock": Documented(
        lambda drive: drive.locks.release(LOCK), "DELETE", "/backup/lock", lock=True, answer=NOTHING
    ),
    "createBackupRecord": Documented(
        lambda drive: drive.records.create("17", Module.ALBUM, lock_id=LOCK),
        "POST",
        "/backup/record",
        body={"moduleCode": "101", "deviceId": "17"},
        lock=True,
    ),
    "listBackupRecord": Documented(
        lambda drive: drive.records.list(Module.ALBUM, "17", page_size=7, cursor="a b/+=~").first(),
        "GET",
        "/backup/record",
        query="cursor=a%20b%2F%2B%3D~&deviceId=17&moduleCode=101&pageSize=7",
        answer=NOTHING,
    ),
    "getBackupRecord": Documented(
        lambda drive: drive.records.get("19"), "GET", "/backup/record/19"
    ),
    "completeBackup": Documented(
        lambda drive: drive.records.complete("19", lock_id=LOCK),
        "PATCH",
        "/backup/record/19",
        body={},
        lock=True,
        answer=NOTHING,
    ),
    "completeBackup with properties": Documented(
        lambda drive: drive.records.complete("19", lock_id=LOCK, properties={"n": 1}),
        "PATCH",
        "/backup/record/19",
        body={"properties": '{"n":1}'},
        lock=True,
        answer=NOTHING,
    ),
    "deleteBackupRecord": Documented(
        lambda drive: drive.records.delete("19", lock_id=LOCK),
        "DELETE",
        "/backup/record/19",
        lock=True,
        answer=NOTHING,
    ),
    "createBackupFile": Documented(
        lambda drive: drive.files.create(
            "19",
            NewBackupFile(
                file_name="名字 a.txt",
                sha256=SHA256,
                length=482344960,
                multi_parts=[attrs.evolve(part, upload_url=None) for part in PARTS],
                proof_code=PROOF,
                description="d",
                mime_type="text/plain",
                file_type="15",
                parent_folder=("root",),
                container_id="C",
                hidden=False,
                scene="s",
            ),
            lock_id=LOCK,
        ),
        "POST",
        "/backup/record/19/file",
        body={
            "fileName": "名字 a.txt",
            "sha256": SHA256,
            "length": 482344960,
            "multiParts": [
                {"partNumber": 1, "partSize": 10485760, "partOffset": 0, "hashCtx": []},
                {
                    "partNumber": 46,
                    "partSize": 10485760,
                    "partOffset": 471859200,
                    "hashCtx": list(CTX),
                },
            ],
            "proofCode": PROOF,
            "description": "d",
            "mimeType": "text/plain",
            "fileType": "15",
            "parentFolder": ["root"],
            "uploadMode": "multipart",
            "uploadType": 1,
            "autoRename": 2,
            "containerId": "C",
            "hidden": False,
            "scene": "s",
        },
        lock=True,
        answer=NOTHING,
    ),
    "listBackupFile": Documented(
        lambda drive: drive.files.list("19", page_size=1).first(),
        "GET",
        "/backup/record/19/files",
        query="pageSize=1",
        answer=NOTHING,
    ),
    "uploadUrl": Documented(
        lambda drive: drive.files.part_urls("F1", PARTS),
        "POST",
        "/files/multipart/uploadUrl",
        # an old URL is not sent back
        body={
            "fileId": "F1",
            "multiParts": [
                {"partNumber": 1, "partSize": 10485760, "partOffset": 0, "hashCtx": []},
                {
                    "partNumber": 46,
                    "partSize": 10485760,
                    "partOffset": 471859200,
                    "hashCtx": list(CTX),
                },
            ],
        },
        answer=NOTHING,
    ),
    "completeFile": Documented(
        lambda drive: drive.files.complete("F1"),
        "POST",
        "/files/complete",
        body={"fileId": "F1"},
        answer=NOTHING,
    ),
    "completeFile with a digest": Documented(
        lambda drive: drive.files.complete("F1", SHA256),
        "POST",
        "/files/complete",
        body={"fileId": "F1", "sha256": SHA256},
        answer=NOTHING,
    ),
    "getDownLoadUrl": Documented(
        lambda drive: drive.files.download_urls("C", ["F1", "F2"]),
        "POST",
        "/files/download",
        body={"containerId": "C", "fileIds": ["F1", "F2"]},
        answer=NOTHING,
    ),
    "getFile": Documented(
        lambda drive: drive.files.details("C", "F1"),
        "POST",
        "/files/F1/detail",
        body={"containerId": "C"},
        answer={"id": "F1", "code": 0},
    ),
    "GetSpace": Documented(
        lambda drive: drive.spaces.get(),
        "GET",
        f"/space/{USER}",
        "type=1",
        answer={"data": {"containerId": "C"}, "code": 0},
    ),
    "GetSpace of one of several": Documented(
        lambda drive: drive.spaces.get("150", "C"),
        "GET",
        "/space/150",
        "containerId=C&type=1",
        answer={"containerId": "C", "code": 0},
    ),
    "GetSpaceV2": Documented(
        lambda drive: drive.spaces.list(),
        "GET",
        f"/space/{USER}",
        "type=1",
        answer=NOTHING,
        root=ROOT.replace("v1", "v2"),
    ),
    "RefreshToken": Documented(
        lambda drive: drive.tokens.refresh("0e0e72d3"),
        "POST",
        "/auth/refreshToken",
        body={"refreshToken": "0e0e72d3"},
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_the_documented_request_leaves(client, scripted, name):
    documented = CALLS[name]
    scripted.replies(answer(documented.answer))
    await documented.make(client)
    request = scripted.request
    assert request.method == documented.method
    assert request.path == documented.root + documented.path
    assert request.query == documented.query
    assert request.headers.get("x-backup-lock-id") == (LOCK if documented.lock else None)
    assert request.headers["Authorization"] == TOKEN
    assert request.headers["X-User-Id"] == USER
    assert request.headers["Host"] == scripted.host
    assert re.fullmatch(r"\d{8}T\d{6}Z", request.headers["X-Date"])
    assert re.fullmatch(r"[A-Za-z0-9_]{58}", request.headers["X-Traceid"])
    if documented.body is None:
        assert request.body == b""
        assert "Content-Type" not in request.headers
    else:
        assert request.json == documented.body
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["Content-Length"] == str(len(request.body))


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ({"password": "p"}, {"authType": "1", "password": "p"}),
        ({"captcha_token": "c"}, {"authType": "2", "captchaToken": "c"}),
        (
            {"password": "p", "captcha_token": "c", "auth_type": "2"},
            {"authType": "2", "password": "p", "captchaToken": "c"},
        ),
    ],
)
async def test_signing_in_sends_the_documented_request_and_no_token(client, scripted, how, body):
    scripted.replies(ANYTHING)
    await client.tokens.login("me@example.com", agent_name="carrier", **how)
    request = scripted.request
    assert (request.method, request.target) == ("POST", f"{ROOT}/auth/login")
    assert request.json == {"account": "me@example.com", **body}
    assert request.headers["x-hw-agentName"] == "carrier"
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("wrap", [lambda it: {"data": it}, lambda it: {"data": [it]}, dict])
async def test_a_space_is_found_wherever_the_answer_has_it(client, scripted, wrap):
    given = {"containerId": "C", "capacity": "1073741824", "spaceUsed": 17, "status": 1}
    scripted.replies({**wrap(given), "code": 0})
    space = await client.spaces.get()
    assert (space.container_id, space.capacity, space.space_used, space.status) == (
        "C",
        1073741824,
        17,
        "1",
    )


@pytest.mark.parametrize("wrap", [lambda it: {"data": it}, dict])
@pytest.mark.parametrize("name", ["id", "fileId"])
async def test_details_are_found_wherever_the_answer_has_them(client, scripted, wrap, name):
    given = {name: "F1", "fileName": "a", "size": "17", "sha256": SHA256, "recycled": False}
    scripted.replies({**wrap({**given, "parentFolder": ["root"], "containers": {}}), "code": 0})
    details = await client.files.details("C", "F1")
    assert (details.file_id, details.file_name, details.size) == ("F1", "a", 17)
    assert (details.sha256, details.recycled, details.parent_folder) == (SHA256, False, ("root",))


async def test_an_answer_without_a_space_is_not_one(client, scripted):
    scripted.otherwise = lambda _: answer(NOTHING)
    with pytest.raises(MalformedResponse):
        await client.spaces.get()
    assert await client.spaces.list() == ()


async def test_a_body_is_compact_json_with_text_as_it_is(client, scripted):
    scripted.replies(ANYTHING)
    await client.scopes.add("1", "100", [NewScope(local_path="/ü")])
    expected = '{"moduleCode":"100","scopeList":[{"localPath":"/ü"}]}'
    assert scripted.request.body == expected.encode()


async def test_ids_in_a_path_are_encoded(client, scripted):
    scripted.replies(ANYTHING)
    await client.records.get("a/b?c d%é")
    assert scripted.request.target == f"{ROOT}/backup/record/a%2Fb%3Fc%20d%25%C3%A9"


@pytest.mark.parametrize("base", ["/gate/way", "/gate/way/"])
async def test_a_deployment_may_live_below_a_path(scripted, base):
    scripted.replies(ANYTHING)
    url = scripted.url + base
    async with KooDrive(url, auth=BearerToken(TOKEN), user_id=USER, tls=TLS) as drive:
        await drive.records.get("19")
    assert scripted.request.target == f"/gate/way{ROOT}/backup/record/19"


async def test_no_cookie_is_kept(scripted):
    scripted.replies(answer(ANYTHING, set_cookie="session=1; Path=/"), ANYTHING)
    # no cookie is kept for an address anyway
    url = scripted.url.replace("127.0.0.1", "localhost")
    async with KooDrive(url, auth=BearerToken(TOKEN), user_id=USER, tls=TLS) as drive:
        await drive.records.get("19")
        await drive.records.get("19")
    assert "Cookie" not in scripted.requests[1].headers


async def test_every_call_says_who_is_asking(client, scripted):
    scripted.replies(ANYTHING)
    await client.records.get("19")
    assert scripted.request.headers["User-Agent"].startswith("koodrive-async/")


async def test_json_text_of_properties_is_sent_as_it_is(client, scripted):
    text = '{ "a" : [1, 2.50] }'
    scripted.replies(ANYTHING)
    await client.records.create("17", "100", lock_id=LOCK, properties=text)
    assert json.loads(scripted.request.body)["properties"] == text


async def test_parts_that_are_not_announced_are_left_out(client, scripted):
    scripted.replies({"fileId": "F1", "code": 0})
    file = NewBackupFile(file_name="a", sha256=SHA256, length=1, proof_code=PROOF)
    await client.files.create("19", file, lock_id=LOCK)
    assert "multiParts" not in json.loads(scripted.request.body)


async def test_an_answer_may_have_many_and_long_headers(client, scripted):
    many = {f"x_{number}": "y" for number in range(300)}
    scripted.replies(answer({"code": 0}, 200, long="z" * 20_000, **many))
    assert await client.devices.list() == ()
    assert len(scripted.requests) == 1
