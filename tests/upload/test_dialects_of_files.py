"""Answers that no page promises: what the service wants otherwise is given, and said once."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest

from koodrive_async import (
    ApiError,
    AutoRename,
    KooDriveError,
    Module,
    RetryPolicy,
    UploadFailure,
    UploadItem,
    UploadTaskGone,
)
from koodrive_async.emulator import Dialect, Emulator, Fault
from koodrive_async.testing import connect
from koodrive_async.upload import record_files
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
PART = 5 * MIB
QUICK = RetryPolicy(base_delay=0, per_second=None, outage=0)
LONG = "/".join(["a folder with a long name"] * 40)
ITEMS = [
    UploadItem(source=b"", name="empty", description="empty"),
    UploadItem(source=b"small", name="a", description=f"{LONG}/a"),
    UploadItem(source=b"small too", name="a", description=f"{LONG}/b/a"),
    UploadItem(source=sample(2 * PART + 1), name="large", description="large", part_size=PART),
]
SAID = {
    "description_limit=512": "a description has at most",
    "multipart=refused": "a file comes in one part",
    "multipart=one-url": "has one URL for it",
    "container_in_request=required": "the space of a file is named",
    "empty_file=no-parts": "an empty file has no parts",
    "empty_file=at-creation": "an empty file has no parts",
    "empty_file=one-part": None,
    "part_urls_at_once=5": None,
    "created_parts=none": None,
    "lock_header=parts-too": None,
    "lock_header=reads-too": None,
    "lock_header=everywhere": None,
    "lock_header=refused-elsewhere": None,
    "expired_lock=renewable": None,
    "flash_hit=to-be-completed": None,
    "flash_upload=never": None,
    "same_file=unfinished-too": None,
    "listed_description=absent": None,
    "rate_limit=400-APIGW.0308": None,
}


def start(tmp_path, *settings):
    return Emulator(tmp_path / "koodrive", dialect=Dialect.parse(settings))


@pytest.mark.parametrize("setting", SAID)
async def test_every_file_is_stored_and_what_differs_is_said_once(tmp_path, setting, caplog):
    with start(tmp_path, setting) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            session = drive.backup(device.device_id, Module.FOLDER)
            first: list[object] = []

            async def end_early():
                async with session:
                    emulator.faults.add(Fault("expired-lock", "files.create", times=1, after=1))
                    emulator.faults.add(Fault("throttle", "files.create", times=1))
                    first.extend([each async for each in session.upload_many(ITEMS[:3])])
                    raise RuntimeError

            with pytest.raises(RuntimeError):
                await end_early()
            record_id = session.record.record_id
            async with drive.backup(device.device_id, Module.FOLDER, resume=record_id) as session:
                outcomes = [each async for each in session.upload_many(ITEMS)]
            assert [each for each in (*first, *outcomes) if isinstance(each, UploadFailure)] == []
            receipts = [each for each in outcomes if not isinstance(each, UploadFailure)]
            files = [file for file in emulator.files() if file.completed]
            held = {file.file_id: emulator.content(file.file_id) for file in files}
            assert Counter(held.values()) == Counter(item.source for item in ITEMS)
            assert Counter(held[each.file_id] for each in receipts) == Counter(held.values())
            names = {file.file_id: file.description for file in files}
            assert all(
                names[each.file_id] == (each.stored_description or each.description)
                for each in receipts
            )
            assert {each.description for each in receipts if each.stored_description} == (
                {item.description for item in ITEMS[1:3]}
                if setting.startswith("description_limit")
                else set()
            )
    said = SAID[setting]
    if said is None:
        assert "refuses files unless" not in caplog.text
    else:
        assert 1 <= caplog.text.count(said) <= 2  # once in each run that meets it


@pytest.mark.parametrize(
    "settings",
    [
        ("flash_hit=to-be-completed",),
        ("flash_hit=to-be-completed", "space_calls=neither", "container_in_answer=absent"),
        ("completed_file=13000901",),
        ("completed_file=13000401",),
    ],
    ids=str,
)
async def test_a_flash_upload_ends_in_a_complete_file(tmp_path, settings):
    with start(tmp_path, *settings) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            for _ in range(2):
                async with drive.backup(device.device_id, Module.FOLDER) as session:
                    receipts = [
                        await session.upload(b"same", name=name) for name in ("a", "b", "c")
                    ]
        assert {each.outcome for each in receipts} == {"rapid"}
        assert all(file.completed for file in emulator.files())


@pytest.mark.parametrize("code", ["13000401", "13000402", "13000901"])
async def test_a_flash_upload_that_can_neither_be_completed_nor_looked_at_is_an_error(
    tmp_path, code
):
    settings = (f"completed_file={code}", "space_calls=neither", "container_in_answer=absent")
    with start(tmp_path, *settings) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"same", name="a")
                with pytest.raises(ApiError) as caught:
                    await session.upload(b"same", name="b")
        assert caught.value.code == code


async def test_the_first_flash_upload_is_looked_at_and_no_other(tmp_path):
    with start(tmp_path) as emulator:
        async with connect(emulator) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                for name in "abcdef":
                    await session.upload(b"same", name=name)
        assert emulator.seen.count("files.complete") == 1
        assert emulator.seen.count("object.get") == 1


async def test_a_flash_upload_that_is_gone_when_it_is_completed_begins_again(tmp_path):
    with start(tmp_path, "flash_hit=to-be-completed") as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"same", name="a")
                emulator.faults.add(Fault("lost-upload", "files.complete", times=1))
                receipt = await session.upload(b"same", name="b")
                emulator.faults.clear()
                emulator.faults.add(Fault("lost-upload", "files.complete"))
                with pytest.raises(UploadTaskGone):
                    await session.upload(b"same", name="c")
        (file,) = [file for file in emulator.files() if file.file_id == receipt.file_id]
        assert (file.completed, emulator.content(file.file_id)) == (True, b"same")


@pytest.mark.parametrize("same", ["complete", "unfinished-too"])
async def test_a_file_that_is_skipped_is_complete(tmp_path, same):
    with start(tmp_path, f"same_file={same}") as emulator:
        async with connect(emulator, retry=RetryPolicy(attempts=1)) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                emulator.faults.add(Fault("error", "part.put", status=403, times=2))
                with pytest.raises(Exception, match="403"):
                    await session.upload(b"bytes", name="a", auto_rename=AutoRename.SKIP)
                receipt = await session.upload(b"bytes", name="a", auto_rename=AutoRename.SKIP)
        (file,) = [file for file in emulator.files() if file.completed]
        assert file.file_id == receipt.file_id
        assert emulator.content(receipt.file_id) == b"bytes"


@pytest.mark.parametrize("route", ["spaces.list", "spaces.get"])
@pytest.mark.parametrize("pause", [0.0, 3600.0], ids=["later", "at once"])
async def test_a_space_that_is_not_known_for_the_moment_is_asked_for_again(
    tmp_path, route, monkeypatch, pause
):
    monkeypatch.setattr(record_files, "SPACE_PAUSE", pause)
    other = {"spaces.list": "v2", "spaces.get": "v1"}[route]
    with start(tmp_path, "container_in_answer=absent", f"space_calls={other}") as emulator:
        async with connect(emulator, retry=RetryPolicy(attempts=1)) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                emulator.faults.add(Fault("error", route, status=503, times=1))
                first = await session.upload(b"1", name="1")
                second = await session.upload(b"2", name="2")
        asked = emulator.seen.count(route)
    known = None if pause else emulator.container_id
    assert (first.container_id, second.container_id) == (None, known)
    assert asked == (1 if pause else 2)


async def test_a_term_that_did_not_help_is_neither_said_nor_kept(tmp_path, caplog):
    """A file was created without its space being named: a later refusal is not for that."""
    with start(tmp_path, "description_limit=512") as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"1", name="1")
                receipt = await session.upload(b"2", name="2", description="d" * 900)
                await session.upload(b"3", name="3")
    assert len(receipt.stored_description or "") <= 512
    assert caplog.text.count("refuses files unless") == 1
    assert f"refuses files unless {SAID['description_limit=512']}" in caplog.text


@pytest.mark.parametrize("listed", ["complete", "lost"])
async def test_a_file_that_was_only_found_does_not_prove_that_spaces_need_no_name(tmp_path, listed):
    """A file that an earlier run, or a lost call, created proves nothing of what a call needs."""
    settings = ("description_limit=512", "container_in_request=required", "unfinished_files=listed")
    first = UploadItem(source=b"first", name="first", description="first")
    with start(tmp_path, *settings) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            session = drive.backup(device.device_id, Module.FOLDER)

            async def end_early():
                async with session:
                    if listed == "lost":
                        emulator.faults.add(Fault("error", "part.put", status=403))
                    outcomes = [each async for each in session.upload_many([first])]
                    assert isinstance(outcomes[0], UploadFailure) == (listed == "lost")
                    raise RuntimeError

            with pytest.raises(RuntimeError):
                await end_early()
            emulator.faults.clear()
            record_id = session.record.record_id
            async with drive.backup(device.device_id, Module.FOLDER, resume=record_id) as session:
                found = await session.upload(b"first", name="first", description="first")
                receipt = await session.upload(b"1", name="1", description=LONG)
                other = await session.upload(b"2", name="2")
        held = {file.file_id for file in emulator.files() if file.completed}
    assert held == {found.file_id, receipt.file_id, other.file_id}


async def test_a_refused_listing_is_not_taken_for_a_refusal_of_the_file(tmp_path):
    with start(tmp_path) as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                emulator.faults.add(
                    Fault("lost-answer", "files.create", times=1),
                    Fault("error", "files.list", status=400, code="13000102"),
                )
                with pytest.raises(ApiError, match="13000102"):
                    await session.upload(b"1", name="1", description="d" * 900)
                emulator.faults.clear()
        assert emulator.seen.count("files.create") == 1
        assert emulator.seen.count("spaces.list") == 0


@pytest.mark.parametrize("kind", ["lost-answer", "reset"])
async def test_a_file_of_another_folder_is_not_there_already(tmp_path, kind):
    with start(tmp_path, "unique_names=folder") as emulator:
        async with connect(emulator, retry=QUICK) as drive:
            device = await drive.devices.bind("m")
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                skip = AutoRename.SKIP
                first = await session.upload(b"same", name="x", auto_rename=skip)
                emulator.faults.add(Fault(kind, "files.create", times=1))
                folder = "A" * 33
                with contextlib.suppress(KooDriveError):  # there may be no such folder
                    second = await session.upload(
                        b"same", name="x", parent_folder=folder, auto_rename=skip
                    )
                    assert second.file_id != first.file_id
