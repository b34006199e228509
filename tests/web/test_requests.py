"""The service of the example over HTTP, without a browser."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import aiohttp
import anyio.to_thread
import pytest

from examples.web_service.settings import Settings
from koodrive_async import Module
from koodrive_async.emulator import Fault
from tests.web.conftest import ROOT

pytestmark = pytest.mark.anyio

MIB = 2**20


def where(name="a.bin", upload_id=None):
    return f"/uploads/{upload_id or secrets.token_hex(16)}?name={name}"


@asynccontextmanager
async def talk_to(service):
    async with aiohttp.ClientSession(service.url) as session:
        yield session


async def pieces(content, count=1):
    for _ in range(count):
        yield content


async def error_of(answer):
    return answer.status, (await answer.json())["error"]


async def events(answer):
    """Read server-sent events: what each is called, its id, and what it says."""
    fields: dict[str, str] = {}
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


async def id_of_the_end(answer):
    """Read events until an upload is done."""
    async for kind, event_id, told in events(answer):
        if kind == "upload" and told["state"] == "done":
            return event_id
    raise AssertionError("no upload was done")


@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
async def test_a_body_becomes_a_file(plain, emulator, size):
    content = os.urandom(size)
    async with talk_to(plain) as http, http.put(where(), data=pieces(content)) as answer:
        told = await answer.json()
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert emulator.content(told["file_id"]) == content


async def test_more_bytes_than_are_allowed_are_refused_announced_or_not(serve, koodrive_emulator):
    too_large = (413, "This file is larger than 1 MiB, which is the most we take.")
    with serve(max_bytes=MIB, idle=0.05) as service:
        async with talk_to(service) as http:
            async with http.put(where(), data=pieces(bytes(MIB), 2)) as answer:
                assert await error_of(answer) == too_large
            announced = {"Content-Length": str(MIB + 1), "Expect": "100-continue"}
            async with http.put(where(), headers=announced, data=pieces(b"x", MIB + 1)) as answer:
                assert await error_of(answer) == too_large
        assert await anyio.to_thread.run_sync(koodrive_emulator.seen.wait, "locks.release")
        assert service.open_spools() == []
    assert koodrive_emulator.files() == ()


async def test_a_browser_that_stalls_is_given_up_and_holds_up_nobody(serve, koodrive_emulator):
    async def stall():
        yield bytes(1000)
        await asyncio.sleep(60)

    with serve(patience=0.5, idle=0.05) as service:
        async with talk_to(service) as http:
            stalled = asyncio.ensure_future(http.put(where("slow.bin"), data=stall()))
            async with http.put(where("quick.bin"), data=b"quick") as answer:
                assert answer.status == 200
            assert (await error_of(await stalled))[0] == 408
        assert await anyio.to_thread.run_sync(koodrive_emulator.seen.wait, "locks.release")
    assert [file.name for file in koodrive_emulator.files()] == ["quick.bin"]


async def test_more_uploads_than_are_allowed_at_once_are_refused(serve, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "files.create"))
    with serve(at_once=1) as service:
        async with talk_to(service) as http:
            first = asyncio.ensure_future(http.put(where(), data=b"first"))
            assert await anyio.to_thread.run_sync(
                koodrive_emulator.seen.wait_active, "files.create"
            )
            async with http.put(where(), data=b"second") as answer:
                assert await error_of(answer) == (
                    503,
                    "Too many files are on their way at the moment. Try again.",
                )
            first.cancel()


async def test_an_id_is_taken_once_and_must_be_one(plain):
    async with talk_to(plain) as http:
        same = secrets.token_hex(16)
        for status in (200, 409):
            async with http.put(where(upload_id=same), data=b"x") as answer:
                assert answer.status == status
        async with http.put(where(upload_id="no-id"), data=b"x") as answer:
            assert answer.status == 422


async def test_other_sites_may_send_nothing(plain, emulator):
    async with talk_to(plain) as http:
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": plain.url},
            {"Origin": "http://elsewhere.example"},
            {"Origin": "null"},
        ):
            async with http.put(where("evil.bin"), data=b"x", headers=headers) as answer:
                assert answer.status == 403
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": plain.url}):
            async with http.put(where("good.bin"), data=b"x", headers=headers) as answer:
                assert answer.status == 200
    assert "evil.bin" not in {file.name for file in emulator.files()}


async def test_a_link_of_another_site_leads_here(plain):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with talk_to(plain) as http:
        for purpose, status in (("document", 200), ("iframe", 403)):
            async with http.get("/", headers=link | {"Sec-Fetch-Dest": purpose}) as answer:
                assert answer.status == status


async def test_a_name_that_others_point_here_is_refused(plain):
    elsewhere = {"Host": "elsewhere.example"}
    async with talk_to(plain) as http, http.get("/events", headers=elsewhere) as answer:
        assert answer.status == 400


async def test_nothing_that_is_served_has_a_secret_and_all_of_it_is_fenced(
    serve, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("error", "part.put", status=403, code="AccessDenied"))
    with serve() as service:
        async with talk_to(service) as http:
            async with http.put(where(), data=b"refused") as answer:
                seen = [await answer.text()]
            for path in ("/", "/page.js", "/page.css", "/icon.svg", "/health", "/nowhere"):
                async with http.get(path) as answer:
                    seen.append(await answer.text())
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
            async with http.get("/events") as answer:
                service.tell_to_end()
                seen.append(await answer.text())
        assert await anyio.to_thread.run_sync(service.ended) == 0
        seen += service.log
    for secret in (koodrive_emulator.token.split("+")[-1], koodrive_emulator.object_url):
        assert secret not in "".join(seen)


async def test_more_pages_than_are_allowed_are_refused_until_one_goes(serve):
    with serve(tabs=1) as service:
        async with talk_to(service) as http:
            for _ in range(3):
                while (first := await http.get("/events")).status != 200:
                    first.close()  # it takes a moment until the last one has gone
                async with first, http.get("/events") as second:
                    assert second.status == 503


async def test_a_page_that_comes_back_is_told_what_is_new(serve):
    with serve() as service:
        async with talk_to(service) as http:
            async with http.put(where("one.bin"), data=b"1"):
                pass
            async with http.get("/events") as answer:
                known = await id_of_the_end(answer)
            async with http.put(where("two.bin"), data=b"2"):
                pass
            service.tell_to_end()
            async with http.get("/events", headers={"Last-Event-ID": known}) as answer:
                names = [told["name"] async for kind, _, told in events(answer) if kind == "upload"]
    assert set(names) == {"two.bin"}


async def test_a_stopping_service_says_so(serve, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "files.create"))
    with serve(grace=30) as service:
        async with talk_to(service) as http:
            first = asyncio.ensure_future(http.put(where(), data=b"first"))
            assert await anyio.to_thread.run_sync(
                koodrive_emulator.seen.wait_active, "files.create"
            )
            async with http.get("/events") as answer:
                service.tell_to_end()
                async for kind, _, told in events(answer):
                    if kind == "status" and told["is_stopping"]:
                        break
            async with http.get("/health") as answer:
                assert (answer.status, await answer.json()) == (503, {"status": "stopping"})
            async with http.put(where(), data=b"late") as answer:
                assert (await error_of(answer))[0] == 503
            first.cancel()  # the last one: nothing keeps the service any more
        assert await anyio.to_thread.run_sync(service.ended) == 0
    assert koodrive_emulator.locks() == ()


async def test_ctrl_c_ends_an_idle_service_without_a_word(serve):
    with serve() as service:
        service.process.send_signal(signal.SIGINT)
        assert await anyio.to_thread.run_sync(service.ended) == 130
    assert_quiet(service)


def assert_quiet(service):
    service.reading.join()
    assert [line for line in service.log if not line.startswith("INFO:")] == []


async def test_a_second_ctrl_c_hurries_and_completes_the_record(serve, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("silence", "part.put"))
    with serve(grace=1000) as service:
        async with talk_to(service) as http:
            first = asyncio.ensure_future(http.put(where(), data=b"first"))
            assert await anyio.to_thread.run_sync(koodrive_emulator.seen.wait_active, "part.put")
            async with http.get("/events") as answer:
                service.process.send_signal(signal.SIGINT)
                async for kind, _, told in events(answer):
                    if kind == "status" and told["is_stopping"]:
                        break
            service.process.send_signal(signal.SIGINT)
            assert (await error_of(await first))[0] == 503
            assert await anyio.to_thread.run_sync(service.ended) == 130
    assert_quiet(service)
    (record,) = koodrive_emulator.records()
    assert (record.status, koodrive_emulator.locks()) == (1, ())


async def test_pages_are_told_that_another_backup_holds_the_lock(serve, drive):
    with serve(idle=0.05) as service:
        async with talk_to(service) as http, drive.locks.hold(Module.FOLDER) as other:
            upload = asyncio.ensure_future(http.put(where(), data=b"waits"))
            async with http.get("/events") as answer:
                await status_of(answer, "waiting")
                await drive.locks.release(other.lock_id)
                await status_of(answer, "completed")
            assert (await upload).status == 200


async def status_of(answer, wanted):
    """Read events until the record is in a state."""
    async for kind, _, told in events(answer):
        if kind == "status" and told["record_state"] == wanted:
            return
    raise AssertionError(f"no record was {wanted}")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WEB_SERVICE_MAX_BYTES": "4GB"}, "WEB_SERVICE_MAX_BYTES cannot be '4GB': a size is"),
        ({"WEB_SERVICE_AT_ONCE": "0"}, "WEB_SERVICE_AT_ONCE cannot be '0': at_once must be above"),
        ({"KOODRIVE_ENDPOINT": ""}, "To try it without an account: koodrive emulator -- uvicorn"),
    ],
)
def test_what_is_not_set_rightly_is_said_in_one_line(variables, said, koodrive_environment):
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--factory", "examples.web_service.app:application"],
        cwd=ROOT,
        env=os.environ | koodrive_environment | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=40,
    )
    assert done.stderr.splitlines()[-1].startswith(said)
    assert "Traceback" not in done.stderr


def test_sizes_may_have_a_unit():
    def most(text):
        return Settings.from_env({"WEB_SERVICE_MAX_BYTES": text}).max_bytes

    assert [most(text) for text in ("1000", "1 KiB", "4GiB")] == [1000, 1024, 4 * 2**30]


async def test_what_a_killed_service_left_is_gone_on_with(
    serve, koodrive_emulator, koodrive_environment, tmp_path
):
    koodrive_environment["KOODRIVE_JOURNAL"] = str(tmp_path / "journal.db")
    with serve() as service:
        async with talk_to(service) as http, http.put(where("before.bin"), data=b"1") as answer:
            assert answer.status == 200
        service.process.kill()
        service.ended()
    assert len(koodrive_emulator.locks()) == 1
    with serve() as service:
        async with talk_to(service) as http, http.put(where("after.bin"), data=b"2") as answer:
            assert answer.status == 200
        service.tell_to_end()
        assert await anyio.to_thread.run_sync(service.ended) == 0
    (record,) = koodrive_emulator.records()
    assert (record.status, koodrive_emulator.locks()) == (1, ())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
async def test_a_large_body_does_not_lie_in_memory(serve, koodrive_emulator):
    with serve() as service:
        async with talk_to(service) as http:
            async with http.put(where(), data=os.urandom(MIB)) as answer:
                assert answer.status == 200
            before = service.peak_memory()
            block = os.urandom(MIB)
            async with http.put(where(), data=pieces(block, 200)) as answer:
                assert answer.status == 200
        assert service.peak_memory() - before < 60 * MIB
    assert koodrive_emulator.files()[-1].size == 200 * MIB


def test_the_example_checks_itself(monkeypatch):
    for name in [name for name in os.environ if name.startswith("KOODRIVE_")]:
        monkeypatch.delenv(name)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "examples.web_service", "--check"],
        cwd=ROOT,
        env=os.environ | {"HTTP_PROXY": "http://127.0.0.1:9"},  # leads nowhere
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=40,
    )
    assert done.returncode == 0, done.stderr
    assert "9000000 bytes are in the backup as file " in done.stdout
    assert "Warning" not in done.stderr
