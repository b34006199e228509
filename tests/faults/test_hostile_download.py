"""A service that wants to write where it must not, or gives other bytes than it announces."""

from __future__ import annotations

import hashlib
import os

import pytest

from koodrive_async.cli.download import download_record, leads_out
from koodrive_async.cli.progress import Meter
from tests.interface.scripted import Scripted, answer, client_of, raw

pytestmark = pytest.mark.anyio

CONTENT = b"what the service holds" * 1000
PROMISED = {
    "fileId": "f1",
    "fileName": "file",
    "size": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
}
LEADS_OUT = [
    "..",
    "../evil",
    "a/../../evil",
    "a/..",
    "..\\evil",
    "a\\..\\..\\evil",
    "/etc/evil",
    "//server/share/evil",
    "\\evil",
    "\\\\server\\share\\evil",
    "C:\\evil",
    "c:/evil",
    "evil\0.txt",
]
STAYS = [
    "file",
    "a/b",
    ".hidden",
    "...",
    "a/..b",
    "a..",
    "notes: monday.txt",
    "\\xff.txt",
    "文档/说明",
    "~",
    "a b",
]


@pytest.fixture
async def service():
    async with Scripted() as server:
        yield server


@pytest.fixture
async def folder(tmp_path):
    """The folder for downloads; nothing may be in it or beside it afterwards."""
    folder = tmp_path / "one" / "two" / "scratch"
    folder.mkdir(parents=True)
    yield folder
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def fetch(service, folder, *, body=None, url="/object", **listed):
    """Download the only file of a record, as listed; return what became of it."""

    def handler(request):
        if request.path.endswith("/files"):
            return answer({"code": 0, "data": [PROMISED | listed]})
        if request.path.endswith("/files/download"):
            (file_id,) = request.json["fileIds"]
            link = service.url + url if url == "/object" else url
            return answer({"code": 0, "downloads": [{"fileId": file_id, "url": link}]})
        return answer(CONTENT) if body is None else body

    service.otherwise = handler
    container = {listed.get("fileId", PROMISED["fileId"]): "space"}
    async with client_of(service) as drive:
        (found,) = await download_record(drive, "7", container, folder, Meter(label="download"))
    return found


def objects(service):
    return [request for request in service.requests if request.path == "/object"]


async def test_what_is_as_announced_comes(service, folder):
    found = await fetch(service, folder, description="a/file")
    assert (found.problem, found.path) == (None, "a/file")
    assert found.received == (PROMISED["sha256"], len(CONTENT))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full disk at hand")  # noqa: PTH110
async def test_a_full_disk_here_is_named(service, folder):
    (folder / "download-1").symlink_to("/dev/full")
    found = await fetch(service, folder)
    assert found.received is None
    assert f"{folder / 'download-1'}: No space left on device" in found.problem


@pytest.mark.parametrize("path", LEADS_OUT, ids=ascii)
@pytest.mark.parametrize("field", ["description", "fileName"])
async def test_a_path_that_leads_out_is_refused(service, folder, field, path):
    found = await fetch(service, folder, **{field: path})
    assert found.received is None
    assert "its path would lead out of the folder: it " in found.problem
    assert objects(service) == []


@pytest.mark.parametrize("file_id", ["../evil", "/evil", "evil\0", "con:"], ids=ascii)
async def test_an_id_is_no_path(service, folder, file_id):
    found = await fetch(service, folder, fileId=file_id)
    assert found.problem is None


@pytest.mark.parametrize("path", STAYS, ids=ascii)
async def test_a_strange_path_that_stays_inside_is_none_of_these(path):
    assert leads_out(path) is None


async def test_a_drive_leads_out_where_there_are_drives(monkeypatch):
    assert leads_out("Q: what now") is None
    monkeypatch.setattr(os, "name", "nt")
    assert leads_out("Q: what now") == "it is absolute"


async def test_a_body_that_is_longer_than_announced_ends_at_once(service, folder):
    async def endless(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(bytes(2**20))
            await writer.drain()

    found = await fetch(service, folder, body=endless)
    assert found.received is None
    assert f"it is longer than the {len(CONTENT)} bytes" in found.problem


@pytest.mark.parametrize("size", [-1, 0, len(CONTENT) - 1])
async def test_a_body_is_not_longer_than_the_listing_says(service, folder, size):
    found = await fetch(service, folder, size=size)
    assert "it is longer than" in found.problem


async def test_a_body_that_is_shorter_than_announced_is_noticed(service, folder):
    found = await fetch(service, folder, body=answer(CONTENT[:-1]))
    assert found.received is None
    assert f"{len(CONTENT) - 1} bytes came of the {len(CONTENT)}" in found.problem


async def test_a_body_that_is_cut_off_is_noticed(service, folder):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
    found = await fetch(service, folder, body=raw(head + CONTENT[:-1]))
    assert found.received is None
    assert "its download failed" in found.problem


async def test_what_says_that_it_is_compressed_is_not_unpacked(service, folder):
    # a kilobyte of it may unpack to a gigabyte
    found = await fetch(service, folder, body=answer(CONTENT, Content_Encoding="gzip"))
    assert found.received == (PROMISED["sha256"], len(CONTENT))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("file:///etc/passwd", "its link is not https but file"),
        ("ftp://127.0.0.1/x", "its link is not https but ftp"),
        ("//127.0.0.1/x", "its link is not https but without a scheme"),
        ("object", "its link is not https but without a scheme"),
        ("http://[::1/x", "its link is no URL"),
        ("http://", "its download failed"),
        (None, "the service gave no link"),
    ],
)
async def test_a_link_that_is_none_is_refused(service, folder, url, problem):
    found = await fetch(service, folder, url=url)
    assert found.received is None
    assert problem in found.problem
    assert objects(service) == []


async def test_a_link_does_not_lead_elsewhere(service, folder):
    elsewhere = answer(b"", status=302, Location=f"{service.url}/elsewhere")
    found = await fetch(service, folder, body=elsewhere)
    assert "HTTP 302" in found.problem
    assert [request.path for request in service.requests][-1] == "/object"
    assert found.received is None
