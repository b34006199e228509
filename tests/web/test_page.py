"""The page of the example, in a real browser."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from koodrive_async.emulator import Fault
from tests.web.conftest import serving

pytestmark = pytest.mark.anyio

SLOW = Fault("total-bandwidth", "part.put", bytes_per_second=1_000_000)


@pytest.fixture
async def look(chromium):
    """Open the page of a service; whatever the browser complains about fails the test."""
    complaints = []
    contexts = []

    async def opened(service):
        context = await chromium.new_context()
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: complaints.append(told.text) if is_bad(told) else None)
        await page.goto(service.url)
        return page

    yield opened
    for context in contexts:
        await context.close()
    assert complaints == []


def is_bad(told):
    # that an answer was no 200, or none came, is what some of the tests are about
    return told.type in {"error", "warning"} and not told.text.startswith("Failed to load resource")


def row(page, name):
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name))


async def choose(page, *paths):
    await page.get_by_label("Choose files").set_input_files([str(path) for path in paths])


def new_file(folder, name, size):
    path = folder / name
    path.write_bytes(os.urandom(size))
    return path


async def see(page, name, state):
    await row(page, name).get_by_text(state, exact=True).wait_for()


async def off_loop(function, *arguments, **options):
    return await anyio.to_thread.run_sync(partial(function, *arguments, **options))


async def test_two_files_are_backed_up_byte_for_byte_and_every_page_sees_it(
    plain, look, emulator, tmp_path
):
    small, large = (new_file(tmp_path, *each) for each in (("a.txt", 5), ("b.bin", 20_000_000)))
    page, other = await look(plain), await look(plain)
    await choose(page, small, large)
    for path in (small, large):
        # the other page knows of it by events alone
        for each in (page, other):
            await see(each, path.name, "Backed up")
            shown = row(each, path.name)
            for step in ("Received", "Hashed", "Backed up"):
                bar = shown.get_by_role("progressbar", name=step)
                assert await bar.evaluate("bar => bar.value") == 1
            content = path.read_bytes()
            digest = await shown.locator(".sha256").text_content()
            assert digest == hashlib.sha256(content).hexdigest()
            file_id = await shown.locator(".file-id").text_content()
            assert emulator.content(file_id) == content
    assert (
        len({file.record_id for file in emulator.files() if file.name in {"a.txt", "b.bin"}}) == 1
    )


async def test_files_are_dropped_and_their_names_are_text(plain, look, emulator):
    name = "<img src=x onerror=alert(1)>&amp;.txt"
    page = await look(plain)
    transfer = await page.evaluate_handle(
        """name => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["dropped"], name));
            return transfer;
        }""",
        name,
    )
    await page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    await see(page, name, "Backed up")
    assert name in await page.locator(".name").all_text_contents()
    assert await page.locator("#uploads img").count() == 0
    (file,) = (file for file in emulator.files() if file.description == name)
    assert file.name == "_img src=x onerror=alert(1)_&amp;.txt"
    assert emulator.content(file.file_id) == b"dropped"


async def test_an_error_of_the_service_is_shown_and_the_file_can_be_sent_again(
    plain, look, emulator, tmp_path
):
    full = Fault("error", "files.create", status=400, code="13000311")
    emulator.faults.add(full)
    page = await look(plain)
    path = new_file(tmp_path, "full.bin", 1000)
    await choose(page, path)
    await see(page, "full.bin", "Failed")
    text = await row(page, "full.bin").locator(".error").text_content()
    assert text.startswith("The KooDrive space is full. Make some room in it, then try again.")
    emulator.faults.remove(full)
    await page.get_by_role("button", name="Try again: full.bin").click()
    await see(page, "full.bin", "Backed up")
    file_id = await row(page, "full.bin").locator(".file-id").text_content()
    assert emulator.content(file_id) == path.read_bytes()


async def test_parts_that_are_sent_again_are_counted(plain, look, emulator, tmp_path):
    once = Fault("error", "part.put", status=503, times=1)
    emulator.faults.add(once)
    page = await look(plain)
    await choose(page, new_file(tmp_path, "again.bin", 1000))
    await row(page, "again.bin").get_by_text("1 part sent again").wait_for()
    await see(page, "again.bin", "Backed up")
    emulator.faults.remove(once)


async def test_the_field_for_files_is_the_first_thing_for_the_keyboard(plain, look):
    page = await look(plain)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.id") == "files"


async def test_a_file_that_is_too_large_is_not_sent(plain, look, tmp_path):
    page = await look(plain)
    await page.get_by_text("up to 4 GiB each").wait_for()
    path = new_file(tmp_path, "huge.bin", 0)
    os.truncate(path, 4 * 2**30 + 1)
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    await choose(page, path)
    await row(page, "huge.bin").get_by_text("This file is larger than 4 GiB").wait_for()
    assert await row(page, "huge.bin").get_by_role("button").count() == 0
    assert sent == []


async def test_the_page_says_that_it_is_an_emulator_when_it_started_one(look, tmp_path, plain):
    told = "This is an emulator, not KooDrive"
    page = await look(plain)
    await page.get_by_text("up to 4 GiB each").wait_for()
    assert not await page.get_by_text(told).is_visible()
    with serving({"KOODRIVE_ENDPOINT": None}, tmp_path) as service:
        page = await look(service)
        await page.get_by_text(told).wait_for()
    assert "  koodrive records\n" in service.log


async def test_uploads_finish_when_the_service_is_told_to_end(
    serve, look, koodrive_emulator, tmp_path
):
    path = new_file(tmp_path, "a.bin", 1_000_000)
    koodrive_emulator.faults.add(SLOW)
    with serve() as service:
        page = await look(service)
        await choose(page, path)
        await see(page, "a.bin", "Backing up")
        service.tell_to_end()
        await page.get_by_text("The service is shutting down: it finishes").wait_for()
        koodrive_emulator.faults.clear()
        await see(page, "a.bin", "Backed up")
        await page.get_by_text("There is no connection to the service").wait_for()
        assert await off_loop(service.ended) == 0
    assert_record_is_complete(koodrive_emulator, files=[path.read_bytes()])


async def test_uploads_that_take_too_long_are_given_up_when_the_service_ends(
    serve, look, koodrive_emulator, tmp_path
):
    done = new_file(tmp_path, "done.bin", 1000)
    with serve(grace=0.2) as service:
        page = await look(service)
        await choose(page, done)
        await see(page, "done.bin", "Backed up")
        koodrive_emulator.faults.add(Fault("silence", "part.put"))
        await choose(page, new_file(tmp_path, "a.bin", 2_000_000))
        assert await off_loop(koodrive_emulator.seen.wait_active, "part.put")
        service.tell_to_end()
        await row(page, "a.bin").get_by_text("The service is shutting down").wait_for()
        assert await off_loop(service.ended) == 0
    assert_record_is_complete(koodrive_emulator, files=[done.read_bytes()])


def assert_record_is_complete(emulator, *, files):
    (record,) = emulator.records()
    assert (record.status, emulator.locks()) == (1, ())
    completed = [file for file in emulator.files() if file.completed]
    assert [emulator.content(file.file_id) for file in completed] == files


async def test_a_tab_that_is_closed_during_an_upload_leaves_nothing(
    serve, look, koodrive_emulator, tmp_path
):
    with serve(idle=0.1) as service:
        page, other = await look(service), await look(service)
        browser = await page.context.new_cdp_session(page)
        await browser.send(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000},
        )
        await choose(page, new_file(tmp_path, "a.bin", 50_000_000))
        await see(other, "a.bin", "Sending")
        assert len(service.open_spools()) == 1
        await page.context.close()
        await row(other, "a.bin").get_by_text("The browser went away").wait_for()
        assert await off_loop(koodrive_emulator.seen.wait, "locks.release")
        assert (service.open_spools(), [*service.spool.iterdir()]) == ([], [])
    assert_record_is_complete(koodrive_emulator, files=[])
    assert koodrive_emulator.files() == ()


async def test_cancelling_ends_an_upload_that_has_arrived_here_already(
    serve, look, koodrive_emulator, tmp_path
):
    koodrive_emulator.faults.add(Fault("silence", "files.create"))
    with serve(idle=0.1) as service:
        page, other = await look(service), await look(service)
        await choose(page, new_file(tmp_path, "a.bin", 1000))
        assert await off_loop(koodrive_emulator.seen.wait_active, "files.create")
        await page.get_by_role("button", name="Cancel: a.bin").click()
        await row(page, "a.bin").get_by_text("You cancelled this upload").wait_for()
        for each in (page, other):
            await see(each, "a.bin", "Cancelled")
        await row(other, "a.bin").get_by_text("The browser went away").wait_for()
        assert await off_loop(koodrive_emulator.seen.wait, "locks.release")
        assert service.open_spools() == []
    assert_record_is_complete(koodrive_emulator, files=[])


async def test_a_page_finds_the_service_again_after_a_crash(
    serve, look, koodrive_emulator, tmp_path
):
    koodrive_emulator.faults.add(Fault("silence", "files.create"))
    with serve() as service:
        page, other = await look(service), await look(service)
        await choose(page, new_file(tmp_path, "a.bin", 1000))
        await see(other, "a.bin", "Backing up")
        service.process.kill()
        await row(page, "a.bin").get_by_text("The connection to the service broke").wait_for()
        lost = other.get_by_text("There is no connection to the service")
        await lost.wait_for()
    with serve(port=urlsplit(service.url).port):
        await lost.wait_for(state="hidden")
        await row(other, "a.bin").get_by_text("The service was restarted").wait_for()
