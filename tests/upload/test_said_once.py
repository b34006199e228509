"""What an edition of the service does not offer is said once, however many files find it out."""

from __future__ import annotations

import logging

import pytest

from koodrive_async import Module, RetryPolicy, UploadFailure, UploadItem
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from koodrive_async.upload import edition, plan
from tests.sample import sample

pytestmark = pytest.mark.anyio

PART = 1024 * 1024
QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)
SEVERAL = 4
LARGE = [sample(PART + 1 + n) for n in range(SEVERAL)]
LONG = "/".join(["a folder with a long name"] * 40)

# the settings, the sources, what they are described with, a fault for all, what is said
SAID = {
    "parts that are one": (["multipart=one-url"], LARGE, "", None, "has one URL for it"),
    "no parts": (["multipart=refused"], LARGE, "", None, "unless a file comes in one part"),
    "empty files": (
        ["empty_file=no-parts"],
        [b""] * SEVERAL,
        "",
        None,
        "unless an empty file has no parts",
    ),
    "descriptions": (
        ["description_limit=512"],
        LARGE,
        LONG,
        None,
        "unless a description has at most 512",
    ),
    "the space is wanted": (
        ["container_in_request=required"],
        LARGE,
        "",
        None,
        "unless the space of a file is named",
    ),
    "the space is unknown": (
        ["container_in_answer=absent", "space_calls=neither"],
        LARGE,
        "",
        None,
        "does not say which space",
    ),
    "ranges": (
        ["completed_file=13000901", "ranges=ignored"],
        LARGE,
        "",
        "lost-answer:files.complete:times=4",
        "ignores ranges",
    ),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(plan, "DEFAULT_PART_SIZE", PART)


def start(tmp_path, settings):
    return Emulator(tmp_path / "koodrive", dialect=Dialect.parse(settings), min_part_size=PART)


def items_of(sources, description=""):
    return [
        UploadItem(source=source, name=f"{n}", description=f"{description}/{n}")
        for n, source in enumerate(sources)
    ]


async def uploaded(session, items):
    outcomes = [each async for each in session.upload_many(items)]
    assert not [each for each in outcomes if isinstance(each, UploadFailure)]
    return outcomes


def warnings(caplog):
    """Return what was said, but for the attempts that were repeated."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name != "koodrive_async.transport.retry"
    ]


@pytest.mark.parametrize(
    ("settings", "sources", "description", "fault", "said"), SAID.values(), ids=SAID
)
async def test_files_that_find_it_out_at_the_same_time_say_it_once(
    tmp_path, caplog, settings, sources, description, fault, said
):
    with start(tmp_path, settings) as emulator:
        # all of them have asked before the first is answered
        emulator.faults.add(Fault("latency", "files.create", seconds=0.02))
        if fault is not None:
            emulator.faults.add(Fault.parse(fault))
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await uploaded(session, items_of(sources, description))
                await uploaded(session, items_of(sources[::-1], f"{description}/later"))
        assert emulator.seen.peak("files.create") > 1
        stored = sorted(emulator.content(file.file_id) for file in emulator.files())
        assert stored == sorted([*sources, *sources])
    (warning,) = warnings(caplog)
    assert said in warning


@pytest.mark.parametrize("settings", [["multipart=one-url"], ["flash_upload=never"]], ids=str)
async def test_what_holds_for_all_records_is_said_once_by_a_client(tmp_path, caplog, settings):
    with start(tmp_path, settings) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            for _ in range(3):
                async with drive.backup(device.device_id, Module.FOLDER) as session:
                    await uploaded(session, items_of(LARGE))
    assert len(warnings(caplog)) == 1


async def test_a_missing_flash_upload_is_said_by_files_of_bytes_that_were_stored_before(
    tmp_path, caplog
):
    with start(tmp_path, ["flash_upload=never"]) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await uploaded(session, items_of([b"first", b"second", b"", b""]))
                assert warnings(caplog) == []
                outcomes = await uploaded(session, items_of([b"first", b"second", b"first"]))
    assert {each.outcome for each in outcomes} == {"uploaded"}
    (said,) = warnings(caplog)
    assert "sent in full though this client has stored the same bytes before" in said


@pytest.mark.parametrize("hit", ["complete", "to-be-completed"])
async def test_a_flash_upload_that_was_seen_is_not_missed(tmp_path, caplog, hit):
    with start(tmp_path, [f"flash_hit={hit}", "flash_upload=own-content"]) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                for name in "abc":
                    await session.upload(b"the same", name=name)
                await uploaded(session, items_of([b"the same", b"other", b"the same"]))
    assert warnings(caplog) == []


async def test_as_many_files_are_remembered_as_are_useful(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(edition, "MOST_REMEMBERED", 1)
    with start(tmp_path, ["flash_upload=never"]) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                for source in (b"1", b"2", b"2"):
                    await session.upload(source, name="a")
                assert warnings(caplog) == []
                await session.upload(b"1", name="a")
    assert len(warnings(caplog)) == 1
