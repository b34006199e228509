"""A session that is cancelled at any of its steps leaves nothing behind, and can be resumed.

Every time that any task of the loop goes on counts as a step; the session's task is cancelled at
step 1, 2, 3 and so on, until it gets to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import tempfile
import threading
from pathlib import Path, PurePath

import pytest
import yarl

from koodrive_async import Limits, Module, RecordStatus, Timeouts, UploadItem
from koodrive_async.emulator import Emulator
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio

KIB = 1024
SHARES = 8
"""Tests that the steps are divided among."""

MOST_STEPS = 5000
PART = 5 * 1024 * KIB
CONTENTS = {"parts.bin": sample(2 * PART + 77, 3), "small.txt": b"small", "empty": b""}


class CancelAtStep:
    """Runs a coroutine in a task, and cancels that when so many steps have been made.

    :param step: From 1.
    :ivar cancelled: Whether it came to that.
    """

    def __init__(self, step):
        self._left = step
        self._task = None
        self.cancelled = False

    async def run(self, coroutine):
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(self._make)
        try:
            self._task = loop.create_task(coroutine)
            await asyncio.wait([self._task])
        finally:
            loop.set_task_factory(before)
        if not self._task.cancelled():
            self._task.result()

    def _make(self, loop, coroutine, **options):
        return asyncio.Task(self._counted(coroutine), loop=loop, **options)

    async def _counted(self, coroutine):
        return await _Steps(coroutine, self._count)

    def _count(self):
        self._left -= 1
        if self._left == 0 and self._task is not None and not self._task.done():
            self.cancelled = True
            self._task.cancel()


class _Steps:
    def __init__(self, coroutine, count):
        self._coroutine = coroutine
        self._count = count

    def __await__(self):
        steps = self._coroutine.__await__()
        came, thrown = None, None
        while True:
            self._count()
            try:
                waits_for = steps.send(came) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                return end.value
            came = thrown = None
            try:
                came = yield waits_for
            except BaseException as error:  # noqa: BLE001 - goes where it was meant for
                thrown = error


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def spools(tmp_path, monkeypatch):
    """Return the folder where temporary files of this test go."""
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def small_parts(tmp_path):
    """Return an emulator; the sizes of parts stay the service's own."""
    with Emulator(tmp_path / "koodrive") as emulator:
        yield emulator


def client(emulator, journal):
    return connect(
        emulator,
        journal=journal,
        limits=Limits(connections=2, hash_workers=1),
        timeouts=Timeouts(cleanup=10),
    )


async def back_up(emulator, journal, device_id, tree, resume=None):
    async with client(emulator, journal) as drive:
        session = drive.backup(device_id, Module.FOLDER, resume=resume, root=tree)
        async with session:
            items = [
                UploadItem(source=path, description=path.name, part_size=PART)
                for path in sorted(tree.iterdir())
            ]
            async for outcome in session.upload_many(items):
                assert not hasattr(outcome, "error"), outcome
            await session.upload(iter([b"a stream"]), name="stream", description="stream")
    return session.record.record_id


def open_files(folder):
    """Return the files below a folder that this process has open."""
    return [link for link in _links() if link.startswith(str(folder))]


def connections_to(emulator):
    """Return the sockets of this process whose other end is the emulator."""
    ports = {yarl.URL(url).port for url in (emulator.url, emulator.object_url)}
    mine = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) in ports:
            mine.add(f"socket:[{fields[9]}]")
    return [link for link in _links() if link in mine]


def _links():
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            yield str(entry.readlink())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at what is open in /proc")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("share", range(SHARES))
async def test_cancelled_at_any_step_nothing_is_left_and_it_can_be_resumed(
    share, small_parts, tree, spools, tmp_path
):
    emulator, journal = small_parts, tmp_path / "journal" / "journal.db"
    async with connect(emulator, journal=None) as drive:
        device_id = (await drive.devices.bind("sweep")).device_id
    others = asyncio.all_tasks()
    for step in range(share + 1, MOST_STEPS, SHARES):
        stepper = CancelAtStep(step)
        with contextlib.suppress(asyncio.CancelledError):
            await stepper.run(back_up(emulator, journal, device_id, tree))
        gc.collect()
        assert asyncio.all_tasks() == others, step
        left_over(emulator, tree, spools, journal, step)
        if not stepper.cancelled:
            break
        await resumed(emulator, journal, device_id, tree, step)
    else:
        pytest.fail(f"it did not end within {MOST_STEPS} steps")
    assert step > SHARES * 5, "so few steps cannot have been a whole session"


def left_over(emulator, tree, spools, journal, step):
    ours = [each.name for each in threading.enumerate() if each.name.startswith("koodrive")]
    assert ours == ["koodrive-emulator"], step
    assert open_files(tree) == [], step
    assert open_files(spools) == [], step
    assert open_files(journal.parent) == [], step
    assert list(spools.iterdir()) == [], step
    assert connections_to(emulator) == [], step
    assert emulator.locks() == (), step


async def resumed(emulator, journal, device_id, tree, step):
    async with client(emulator, None) as drive:
        records = drive.records.list(Module.FOLDER, device_id=device_id)
        newest = await records.first()
    unfinished = None
    if newest is not None and newest.status is RecordStatus.NEW:
        unfinished = newest.record_id
    record_id = await back_up(emulator, journal, device_id, tree, resume=unfinished)
    held = [file for file in emulator.files() if file.record_id == record_id]
    wanted = {**CONTENTS, "stream": b"a stream"}
    complete = [file for file in held if file.completed]
    left = [file for file in held if not file.completed]
    assert sorted(file.description for file in complete) == sorted(wanted), step
    assert {file.description: emulator.content(file.file_id) for file in complete} == wanted, step
    # a file that was created when the run was cut off, and is in no listing, may be another
    # backup's: it is left as it is, and this backup's has a name that identifies it
    assert len({file.name for file in left}) == len(left) <= 2, step  # as many as connections
    for file in left:
        assert file.name == file.description, step
        # ids of small files are not noted before they are complete, that of this one is
        assert file.name != "parts.bin" or not file.arrived, step
    for file in complete:
        stem, extension = PurePath(file.description).stem, PurePath(file.description).suffix
        own = rf"{re.escape(stem)}_[0-9a-f]{{16}}{re.escape(extension)}"
        if file.description in {each.name for each in left}:
            assert re.fullmatch(own, file.name), step
        else:
            assert file.name == file.description, step
