from __future__ import annotations

import asyncio
import string
from urllib.parse import urlsplit

import pytest
from yarl import URL

pytestmark = pytest.mark.anyio


@pytest.fixture
async def parts(wire, backup, data):
    created = (await wire.create(backup, wire.new_file(data))).json
    return created["multiParts"]


@pytest.fixture
async def file_url(wire, backup, data):
    return await wire.download_url(await wire.upload(backup, wire.new_file(data), data))


async def raw(url, head, body=b"", method="PUT", target=None):
    """Send bytes as they are and return the whole answer."""
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    target = target or f"{url.path}?{url.query}"
    writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return answer


async def test_no_byte_of_a_url_may_change(wire, parts, data):
    url = parts[1]["uploadUrl"]
    start = url.index("/", len("http://")) + 1
    origin, target = url[:start], url[start:]
    let_through = []
    for position, letter in enumerate(target):
        other = "0" if letter != "0" else "1"
        changed = URL(origin + target[:position] + other + target[position + 1 :], encoded=True)
        answer = await wire.send("PUT", changed, data[128:256], None)
        if answer.status != 403:
            let_through.append((position, letter))
    assert let_through == []
    assert (await wire.put(url, data[128:256])).status == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("%3B", ";"),
        lambda url: url.replace("%2F", "/"),
        lambda url: url.replace("%3B", "%3b"),
        lambda url: url + "&a=b",
        lambda url: url.replace("?", "?a=b&"),
        lambda url: url.partition("&X-Amz-Signature")[0],
        lambda url: url.partition("?")[0],
        lambda url: url[:-64] + url[-64:].translate(str.maketrans("abcdef", "ABCDEF")),
    ],
)
async def test_a_re_encoded_or_changed_query_is_refused(wire, parts, data, change):
    answer = await wire.put(change(parts[1]["uploadUrl"]), data[128:256])
    assert answer.status == 403
    assert answer.xml_code in {"SignatureDoesNotMatch", "AccessDenied"}


async def test_a_url_is_for_one_method(wire, parts, file_url, data):
    for method, url in (("GET", parts[0]["uploadUrl"]), ("PUT", file_url)):
        answer = await wire.send(method, URL(url, encoded=True), data[:128], None)
        assert (answer.status, answer.xml_code) == (403, "SignatureDoesNotMatch")
    for method in ("HEAD", "POST", "DELETE"):
        answer = await wire.send(method, URL(file_url, encoded=True), None, None)
        assert answer.status == 405


@pytest.mark.parametrize("size", [0, 127, 129])
async def test_a_url_is_for_one_length(wire, parts, data, size):
    answer = await wire.put(parts[0]["uploadUrl"], data[:size])
    assert (answer.status, answer.xml_code) == (403, "SignatureDoesNotMatch")


async def test_a_url_is_for_one_host(wire, parts, file_url, data):
    for method, url in (("PUT", parts[0]["uploadUrl"]), ("GET", file_url)):
        body = data[:128] if method == "PUT" else None
        answer = await wire.send(method, URL(url, encoded=True), body, {"Host": "localhost"})
        assert (answer.status, answer.xml_code) == (403, "SignatureDoesNotMatch")


async def test_a_chunked_body_is_refused(parts, data):
    url = urlsplit(parts[0]["uploadUrl"])
    head = f"Host: {url.netloc}\r\nTransfer-Encoding: chunked\r\n"
    answer = await raw(url, head, b"80\r\n" + data[:128] + b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")


async def test_a_caller_who_waits_for_100_continue_gets_it(parts):
    url = urlsplit(parts[0]["uploadUrl"])
    head = f"Host: {url.netloc}\r\nContent-Length: 128\r\nExpect: 100-continue\r\n"
    assert await raw(url, head) == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("name", ["Authorization", "X-User-Id", "x-backup-lock-id"])
async def test_a_second_way_of_signing_in_is_refused(wire, parts, file_url, data, name):
    put = await wire.put(parts[0]["uploadUrl"], data[:128], {name: "x"})
    assert (put.status, put.xml_code) == (400, "InvalidArgument")
    got = await wire.get(file_url, {name: "x"})
    assert (got.status, got.xml_code) == (400, "InvalidArgument")


async def test_errors_are_xml(wire):
    answer = await wire.get(wire.emulator.object_url + "/<nothing>")
    assert answer.headers["Content-Type"] == "application/xml"
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>')


async def test_a_download_url_expires(wire, file_url, clock):
    clock.now += 3599
    assert (await wire.get(file_url)).status == 200
    clock.now += 1
    late = await wire.get(file_url)
    assert (late.status, late.xml_code) == (403, "AccessDenied")
    assert b"Request has expired" in late.body


@pytest.mark.parametrize("decoded", [("%2F", "/"), ("%2F", "%2f")])
async def test_a_link_to_download_survives_another_encoding_of_its_query(
    wire, file_url, data, decoded
):
    answer = await wire.get(URL(file_url.replace(*decoded), encoded=True))
    assert (answer.status, answer.body) == (200, data)
    assert (await wire.get(URL(file_url))).status == 200  # as a careless client opens it


async def test_a_download_url_signs_the_host_only(file_url):
    assert "X-Amz-SignedHeaders=host&X-Amz-Expires=3600&" in file_url
    assert set(file_url) <= set(string.ascii_letters + string.digits + ":/?&=%-_.")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-355", 0, 356),
        ("bytes=100-199", 100, 200),
        ("bytes=100-", 100, 356),
        ("bytes=-56", 300, 356),
        ("bytes=-1000", 0, 356),
        ("bytes=350-1000", 350, 356),
    ],
)
async def test_a_range_is_served(wire, file_url, data, header, start, end):
    answer = await wire.get(file_url, {"Range": header})
    assert answer.status == 206
    assert answer.body == data[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/356"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("header", ["bytes=356-", "bytes=400-500", "bytes=-0"])
async def test_a_range_outside_of_the_file_is_refused(wire, file_url, header):
    answer = await wire.get(file_url, {"Range": header})
    assert (answer.status, answer.xml_code) == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == "bytes */356"


@pytest.mark.parametrize("header", ["bytes=", "bytes=-", "bytes=5-4", "lines=1-2", "bytes=0-1,3-4"])
async def test_a_range_that_cannot_be_read_is_ignored(wire, file_url, data, header):
    answer = await wire.get(file_url, {"Range": header})
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_the_type_of_a_file_is_the_one_it_was_created_with(wire, backup, data):
    body = wire.new_file(data, mimeType="image/jpeg")
    url = await wire.download_url(await wire.upload(backup, body, data))
    assert (await wire.get(url)).headers["Content-Type"] == "image/jpeg"


async def test_downloads_are_answered_one_by_one(wire, backup, data):
    whole = await wire.upload(backup, wire.new_file(data), data)
    opened = (await wire.create(backup, wire.new_file(data + b"1"))).json["fileId"]
    path, container = "/files/download", wire.emulator.container_id

    async def download(container, *ids):
        answer = await wire.call("POST", path, {"containerId": container, "fileIds": list(ids)})
        return answer.json

    good = await download(container, whole)
    assert list(good) == ["batchCode", "downloads", "code", "msg"]
    assert good["batchCode"] == 1
    assert list(good["downloads"][0]) == ["fileId", "fileName", "url", "code", "msg"]
    assert (good["downloads"][0]["code"], good["downloads"][0]["fileName"]) == ("0", "123.jpg")

    partly = await download(container, "Fnothing", whole)
    assert (partly["code"], partly["batchCode"]) == (0, 0)
    assert [each["code"] for each in partly["downloads"]] == ["13000309", "0"]

    none = await download(container, opened)
    assert none["batchCode"] == 2
    assert none["downloads"][0]["code"] == "13000309"

    elsewhere = await download(container[:-1] + "8", whole)
    assert elsewhere["downloads"][0]["code"] == "13000302"
    assert (await download("nowhere", whole))["code"] == 13000301


async def test_a_file_of_another_user_is_not_found(wire, backup, data):
    file_id = await wire.upload(backup, wire.new_file(data), data)
    body = {"containerId": wire.emulator.container_id, "fileIds": [file_id]}
    other = wire.emulator.accounts[1]
    answer = await wire.call("POST", "/files/download", body, account=other)
    assert answer.json["downloads"][0]["code"] == "13000309"
