"""The core scenario on the second server: what a receipt claims is in the store, byte for byte.

``front.py`` of this folder says what the second server is for, and which rule its changes keep.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import sysconfig
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from koodrive_async import (
    AppSignature,
    BearerToken,
    LockLost,
    LockRefused,
    Module,
    Timeouts,
)
from koodrive_async.resources import locks
from tests.sample import sample
from tests.second_server.front import Choices

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent
MIB = 1 << 20
PART = 5 * MIB
TREE = {
    "empty.bin": b"",
    "small.txt": b"seven b",
    "letters/same.txt": b"one of two",
    "numbers/same.txt": b"two of two",
    "numbers/twin.txt": b"two of two",
    "雪/Grüße & 100% #1.txt": b"a name that URLs have to encode",
    "line\nbreak.txt": b"a name of two lines",
    "large.bin": sample(8 * MIB + 12_345, 3),
}
"""With parts of 8 MiB, the default, the large one has two."""


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name, content in TREE.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


class LostError(Exception):
    """What ends a session before its time."""


async def back_up(session, tree, *, stop_after=None):
    receipts = []
    async for outcome in session.upload_tree(tree):
        assert outcome.outcome != "failed", outcome
        receipts.append(outcome)
        if len(receipts) == stop_after:
            raise LostError
    return receipts


async def leave_unfinished(drive, device_id, tree):
    """Begin an upload of each file, of which none is completed."""
    async with drive.backup(device_id, Module.FOLDER) as session:
        assert {outcome.outcome async for outcome in session.upload_tree(tree)} == {"failed"}
        raise LostError


def check(front, record_id, receipts, expected=TREE):
    """What receipts claim is in the store, in this record, once, byte for byte."""
    by_description = {receipt.description: receipt for receipt in receipts}
    assert len({receipt.file_id for receipt in receipts}) == len(receipts) == len(expected)
    for name, content in expected.items():
        receipt = by_description[name]
        file = front.files[receipt.file_id]
        assert file.complete, name
        assert (file.record_id, file.description, file.name) == (record_id, name, receipt.name)
        assert (receipt.size, receipt.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert front.read(receipt.file_id) == content, name
    in_record = [
        file.description
        for file in front.files.values()
        if file.record_id == record_id and file.complete
    ]
    assert sorted(in_record) == sorted(expected)
    assert front.violations == []


async def test_a_tree_is_backed_up_twice_and_comes_back(store, serve, client, tree):
    front = serve(store)
    async with client(front) as drive, aiohttp.ClientSession() as http:
        device_id = (await drive.devices.bind("machine")).device_id
        for _ in range(2):
            async with drive.backup(device_id, Module.FOLDER, root=tree) as session:
                receipts = await back_up(session, tree)
            record_id = session.record.record_id
            assert front.records[record_id].status == 1
            assert front.locks == {}
            check(front, record_id, receipts)

        listed = await drive.files.list(record_id, page_size=3).collect()
        assert {file.file_id for file in listed} == {receipt.file_id for receipt in receipts}
        records = await drive.records.list(Module.FOLDER, page_size=1).collect()
        assert {record.record_id for record in records} == set(front.records)
        downloads = await drive.files.download_urls(
            front.container_id, [receipt.file_id for receipt in receipts]
        )
        names = {receipt.file_id: receipt.description for receipt in receipts}
        for download in downloads:
            async with http.get(URL(download.url, encoded=True)) as answer:
                assert await answer.read() == TREE[names.pop(download.file_id)]
        assert names == {}


async def test_lost_answers_leave_each_file_there_once(store, serve, client, tree):
    front = serve(store)
    front.lose_answers("create_record")
    front.lose_answers("create_file", 3)
    front.lose_answers("upload_url")
    front.lose_answers("complete_file", 3)
    front.lose_answers("complete_record")
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipts = await back_up(session, tree)
    record_id = session.record.record_id
    assert front.records[record_id].status == 1
    check(front, record_id, receipts)


async def test_lost_answers_take_no_file_of_another_record(any_store, serve, client, tree):
    front = serve(any_store)
    async with client(front, journal=None) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            first = await back_up(session, tree)
        front.ignore("complete_file", 1000)
        with pytest.raises(LostError):
            await leave_unfinished(drive, device_id, tree)
        front.ignore("complete_file", 0)
        front.lose_answers("create_file", len(TREE))
        async with drive.backup(device_id, Module.FOLDER) as third:
            receipts = await back_up(third, tree)
    check(front, third.record.record_id, receipts)
    check(front, next(iter(front.records)), first)


async def test_an_abandoned_session_is_resumed(store, serve, client, tree):
    front = serve(store)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        with pytest.raises(LostError):
            async with drive.backup(device_id, Module.FOLDER, root=tree) as session:
                await back_up(session, tree, stop_after=3)
        left = session.record.record_id
    assert front.records[left].status == 0
    async with client(front) as drive:
        unfinished = await drive.find_unfinished(device_id, Module.FOLDER, root=tree)
        assert unfinished is not None
        assert unfinished.record_id == left
        async with drive.backup(device_id, Module.FOLDER, resume=left, root=tree) as session:
            receipts = await back_up(session, tree)
    assert front.records[left].status == 1
    check(front, left, receipts)


KILLED = """
import asyncio, sys
from koodrive_async import BearerToken, KooDrive, Module

async def main(url, user_id, token, device_id, journal, tree):
    auth = BearerToken(token)
    async with KooDrive(url, user_id=user_id, auth=auth, journal=journal, proxy=None) as drive:
        async with drive.backup(device_id, Module.FOLDER, root=tree) as session:
            async for outcome in session.upload_tree(tree):
                pass

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_backup_is_resumed_and_its_lock_taken_over(
    any_store, serve, client, tree, tmp_path
):
    front = serve(any_store)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
    journal = tmp_path / "state" / "journal.db"
    arguments = (front.url, front.user_id, front.token, device_id, str(journal), str(tree))
    front.after("complete_file", 4, lambda: os.kill(child.pid, signal.SIGKILL))
    child: asyncio.subprocess.Process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, *arguments), env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    await child.wait()
    assert child.returncode == -signal.SIGKILL
    assert len(front.locks) == 1
    (left,) = front.records
    async with client(front) as drive:
        unfinished = await drive.find_unfinished(device_id, Module.FOLDER, root=tree)
        assert unfinished is not None
        async with drive.backup(
            device_id, Module.FOLDER, resume=unfinished.record_id, root=tree
        ) as session:
            receipts = await back_up(session, tree)
    assert front.locks == {}
    check(front, left, receipts)


async def test_the_command_backs_up_and_resumes(any_store, serve, tree, tmp_path):
    front = serve(any_store)
    command = Path(sysconfig.get_path("scripts")) / "koodrive"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KOODRIVE_ENDPOINT": front.url,
        "KOODRIVE_USER_ID": front.user_id,
        "KOODRIVE_TOKEN": front.token,
        "KOODRIVE_JOURNAL": str(tmp_path / "state" / "journal.db"),
        "KOODRIVE_PROXY": "none",
    }
    front.after("complete_file", 3, lambda: os.kill(child.pid, signal.SIGTERM))
    for again, ends in ((), 143), (("--resume",), 0):
        child: asyncio.subprocess.Process = await asyncio.create_subprocess_exec(
            *(command, "backup", tree, "--machine-code", "machine", "--json", *again),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        output, _ = await child.communicate()
        assert child.returncode == ends
    events = [json.loads(line) for line in output.splitlines()]
    finished = {each["path"]: each["receipt"] for each in events if each["event"] == "finished"}
    assert finished.keys() == TREE.keys()
    ((record_id, record),) = front.records.items()
    assert record.status == 1
    for name, receipt in finished.items():
        assert front.files[receipt["file_id"]].complete
        assert front.read(receipt["file_id"]) == TREE[name]
    complete = [file.description for file in front.files.values() if file.record_id == record_id]
    assert sorted(complete) == sorted(TREE)
    assert front.violations == []
    assert front.locks == {}


async def test_a_lock_lost_in_mid_run_is_replaced(store, serve, client, tree):
    front = serve(store)
    front.after("create_file", 3, front.lose_locks)
    front.after("complete_file", 2, front.lose_locks)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipts = await back_up(session, tree)
    record_id = session.record.record_id
    assert front.records[record_id].status == 1
    assert front.locks == {}
    check(front, record_id, receipts)


async def test_a_lock_that_another_client_has_taken_ends_the_session(
    any_store, serve, client, tree
):
    front = serve(any_store)
    front.after("complete_file", 3, front.give_locks_to_another)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        with pytest.raises(LockLost):
            async with drive.backup(device_id, Module.FOLDER) as session:
                await back_up(session, tree)
    assert front.records[session.record.record_id].status == 0
    assert len(front.locks) == 1
    assert front.violations == []


async def test_a_lock_whose_answer_was_lost_is_refused_and_waited_for(
    any_store, serve, client, monkeypatch
):
    monkeypatch.setattr(locks, "_ASK_EVERY", (0.01, 0.02))
    front = serve(any_store)
    front.lose_answers("create_lock")
    async with client(front) as drive:
        with pytest.raises(LockRefused):
            await drive.locks.create(Module.FOLDER)
    front.after("create_lock", 1, front.lose_locks)
    async with (
        client(front, timeouts=Timeouts(lock=30)) as drive,
        drive.locks.hold(Module.FOLDER),
    ):
        assert len(front.locks) == 1
    assert front.locks == {}


@pytest.mark.parametrize("spoil", ["forge_urls", "expire_urls"])
async def test_part_urls_that_the_store_refuses_are_replaced(
    strict_store, serve, client, tmp_path, spoil
):
    front = serve(strict_store)
    path = tmp_path / "large.bin"
    path.write_bytes(content := sample(2 * PART + 100, 5))
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            getattr(front, spoil)(3)
            receipt = await session.upload(path, description="large.bin", part_size=PART)
            getattr(front, spoil)(1)
            small = await session.upload(b"small", name="small", description="small")
    assert receipt.retries >= 2
    assert receipt.outcome == small.outcome == "uploaded"
    check(
        front,
        session.record.record_id,
        [receipt, small],
        {"large.bin": content, "small": b"small"},
    )


async def test_midstates_of_all_parts_are_right(any_store, serve, client):
    front = serve(any_store)
    content = sample(2 * PART + 1000, 6)
    files = {"two": content[: PART + 100], "three": content}
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipts = [
                await session.upload(data, name=name, description=name, part_size=PART)
                for name, data in files.items()
            ]
    assert front.checked_midstates == 3
    check(front, session.record.record_id, receipts, files)


@pytest.mark.parametrize("empty", ["put", "none", "nothing", "free"])
async def test_empty_files_whatever_the_service_wants(any_store, serve, client, empty):
    front = serve(any_store, Choices(empty=empty))
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipt = await session.upload(b"", name="empty", description="empty")
    check(front, session.record.record_id, [receipt], {"empty": b""})


async def test_content_that_is_in_the_space_is_not_sent(any_store, serve, client, tmp_path):
    front = serve(any_store, Choices(flash=True))
    path = tmp_path / "large.bin"
    path.write_bytes(content := sample(PART + 77, 8))
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        outcomes = []
        for _ in range(2):
            async with drive.backup(device_id, Module.FOLDER) as session:
                receipt = await session.upload(path, description="large.bin", part_size=PART)
            outcomes.append(receipt.outcome)
            check(front, session.record.record_id, [receipt], {"large.bin": content})
    assert outcomes == ["uploaded", "rapid"]


async def test_uploads_that_the_store_has_forgotten_begin_again(strict_store, serve, client):
    front = serve(strict_store)
    content = sample(2 * PART + 5, 9)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            front.after("upload_url", 1, front.forget_uploads)
            receipt = await session.upload(
                content, name="large", description="large", part_size=PART
            )
    assert front.calls["create_file"] >= 2
    check(front, session.record.record_id, [receipt], {"large": content})


async def test_all_parts_are_sent_again_when_the_merged_object_is_wrong(
    strict_store, serve, client
):
    front = serve(strict_store)
    front.damage_next_merge()
    content = sample(PART + 5, 10)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipt = await session.upload(
                content, name="large", description="large", part_size=PART
            )
    check(front, session.record.record_id, [receipt], {"large": content})


async def test_the_app_signature_is_as_the_pages_have_it(any_store, serve, client, tree):
    front = serve(any_store)
    auth = AppSignature(app_id=front.app_id, app_secret=front.app_secret)
    async with client(front, auth=auth) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipts = await back_up(session, tree)
        listed = await drive.files.list(session.record.record_id, page_size=2).collect()
    assert {file.file_id for file in listed} == {receipt.file_id for receipt in receipts}
    check(front, session.record.record_id, receipts)


async def test_a_token_that_the_gateway_refuses_is_asked_for_again(any_store, serve, client, tree):
    front = serve(any_store)

    async def token():
        return front.token

    front.after("create_file", 3, front.change_token)
    async with client(front, auth=BearerToken(token)) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipts = await back_up(session, tree)
    check(front, session.record.record_id, receipts)


async def test_the_space_of_a_file_is_known_though_no_answer_has_it(any_store, serve, client):
    front = serve(any_store)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipt = await session.upload(b"bytes", name="a", description="a")
        record = await drive.records.get(session.record.record_id)
    assert receipt.container_id == front.container_id
    assert record.properties is not None
    assert json.loads(record.properties)["containerIds"] == [front.container_id]


async def test_a_machine_that_is_bound_already_is_found(any_store, serve, client):
    front = serve(any_store)
    async with client(front) as drive:
        first = await drive.devices.bind("machine")
        assert (await drive.devices.bind("machine")).device_id == first.device_id
    assert list(front.devices) == [first.device_id]


async def test_part_urls_and_completing_may_want_the_lock(any_store, serve, client):
    front = serve(any_store, Choices(needs_lock=True))
    content = sample(3 * PART, 11)
    async with client(front) as drive:
        device_id = (await drive.devices.bind("machine")).device_id
        async with drive.backup(device_id, Module.FOLDER) as session:
            receipt = await session.upload(
                content, name="large", description="large", part_size=PART
            )
    check(front, session.record.record_id, [receipt], {"large": content})
