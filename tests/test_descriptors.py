"""Few descriptors, or none for a moment, slow a backup down and fail no file of it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import aiohttp
import pytest

from koodrive_async.config import Limits
from koodrive_async.descriptors import (
    NEEDED,
    DescriptorShares,
    raise_limit,
    ran_out,
    when_one_is_free,
)
from koodrive_async.upload.budget import OPEN_FILES, Shares

resource = pytest.importorskip("resource")

BACKUP = """
import asyncio, json, resource, sys
from collections import Counter
from pathlib import Path

from koodrive_async import KooDrive, Module

limit, folder = int(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

async def upload(session, source, name):
    return (await session.upload(source, name=name)).outcome

async def main():
    async with KooDrive.from_env(proxy=None) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            tree = [o.outcome async for o in session.upload_tree(folder)]
            large = [upload(session, folder / "large", f"l{n}") for n in range(60)]
            streams = [upload(session, iter([bytes([n])]), f"s{n}") for n in range(60)]
            return Counter(tree), Counter(await asyncio.gather(*large, *streams))

print(json.dumps(asyncio.run(main())))
"""


@pytest.fixture
def run_with(koodrive_emulator):
    """Return a function that runs a program that may open so many files."""

    def run(program, limit, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", program, str(limit), *map(str, arguments)],
            env={**os.environ, **koodrive_emulator.environment()},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_process_that_may_open_few_files_uploads_all_of_them(run_with, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}").write_bytes(bytes([number]) * 100)
    (folder / "large").write_bytes(bytes(2**20 + 1))
    tree, others = run_with(BACKUP, 40, folder)
    assert set(tree) | set(others) <= {"uploaded", "rapid"}
    assert sum(tree.values()) == 101
    assert sum(others.values()) == 120


TAKEN = """
import asyncio, json, os, resource, sys
from pathlib import Path

from koodrive_async import KooDrive, Module

limit, folder = int(sys.argv[1]), Path(sys.argv[2])

async def another_client():
    async with KooDrive.from_env(proxy=None) as drive:
        return (await drive.devices.list())[0]

async def first_of(batch):
    return [outcome async for outcome in batch][0]

async def main():
    async with KooDrive.from_env(proxy=None) as drive:
        device = await drive.devices.bind("machine")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            # another part of the program takes all that there are
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            taken = []
            try:
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            tasks = [
                asyncio.create_task(session.upload(folder / "small")),
                asyncio.create_task(session.upload(folder / "large")),
                asyncio.create_task(session.upload(iter([b"stream"]), name="stream")),
                asyncio.create_task(first_of(session.upload_tree(folder))),
                asyncio.create_task(another_client()),
            ]
            await asyncio.wait(tasks, timeout=0.2)
            waiting = sum(not task.done() for task in tasks)
            for descriptor in taken:
                os.close(descriptor)
            assert (await tasks[-1]).device_id == device.device_id
            return waiting, [(await task).outcome for task in tasks[:-1]]

print(json.dumps(asyncio.run(main())))
"""


def test_files_wait_while_others_have_all_descriptors(run_with, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "small").write_bytes(b"small")
    (folder / "large").write_bytes(bytes(2**20 + 1))
    waiting, outcomes = run_with(TAKEN, 64, folder)
    assert waiting == 5
    assert set(outcomes) <= {"uploaded", "rapid"}


@pytest.mark.anyio
async def test_an_error_is_raised_when_patience_ends_and_another_at_once():
    failures = [OSError(errno.EMFILE, "too many"), OSError(errno.ENFILE, "too many")]

    async def fail():
        raise failures.pop(0) if failures else PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        await when_one_is_free(fail)
    assert not failures

    async def fail_always():
        raise OSError(errno.EMFILE, "too many")

    with pytest.raises(OSError, match="too many"):
        await when_one_is_free(fail_always, patience=0)


def test_aiohttp_runs_out_in_its_own_words():
    class Key:
        ssl, host, port = False, "host", 80

    own = aiohttp.ClientConnectorError(Key(), OSError(errno.EMFILE, "x"))  # type: ignore[arg-type]
    assert ran_out(own)
    assert not ran_out(aiohttp.ClientConnectorError(Key(), OSError(errno.EPERM, "x")))  # type: ignore[arg-type]
    assert not ran_out(ValueError())


@pytest.mark.parametrize("free", [*range(0, 200, 7), 1000, 10**6, None])
def test_shares_leave_descriptors_to_others(free):
    shares = DescriptorShares.of(free)
    parts = (shares.connections, shares.calls, shares.files, shares.streams)
    assert all(part >= 1 for part in parts)
    if free is not None and free > 40:
        assert sum(parts) + free // 16 <= free


def test_who_has_many_descriptors_is_not_held_back():
    shares = Shares.of(Limits(connections=64), DescriptorShares.of(1100))
    assert (shares.connections, shares.open_files, shares.streams) == (64, OPEN_FILES, 32)


ENTER = """
import asyncio, json, resource, sys
from koodrive_async import KooDrive

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
    try:
        async with KooDrive.from_env(proxy=None):
            return "entered"
    except OSError as error:
        return str(error)

print(json.dumps(asyncio.run(main())))
"""


def test_a_limit_with_which_no_client_works_is_refused_at_once(run_with):
    said = run_with(ENTER, 12)
    assert "the limit of this process is 12 (ulimit -n), free are " in said
    assert f"a client needs {NEEDED}" in said


def test_with_the_fewest_descriptors_a_backup_works(run_with, tmp_path):
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    for number in range(10):
        (folder / "sub" / f"{number}").write_bytes(bytes([number]) * 100)
    (folder / "large").write_bytes(bytes(2**20 + 1))
    tree, others = run_with(BACKUP.replace("60", "5"), 6 + 1 + NEEDED, folder)
    assert sum(tree.values()) == 11
    assert sum(others.values()) == 10


@pytest.mark.anyio
async def test_who_waits_for_a_descriptor_says_so_and_names_the_limit(monkeypatch, caplog):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.setattr("koodrive_async.descriptors._WARNED_AFTER", 0.0)

    async def fail():
        raise OSError(errno.EMFILE, "too many")

    with pytest.raises(OSError, match=rf"too many: this process may open {limit} \(ulimit -n\)"):
        await when_one_is_free(fail, patience=0.02)
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert f"this process may open {limit} files (ulimit -n)" in warning.getMessage()


COUNT = """
import json, resource, sys
from contextlib import ExitStack
from koodrive_async.descriptors import free_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
free = [free_descriptors()]
with ExitStack() as stack:
    for _ in range(50):
        stack.enter_context(open(sys.argv[2]))
    free.append(free_descriptors())
free.append(free_descriptors())
print(json.dumps(free))
"""


def test_free_descriptors_become_fewer_as_files_are_opened(run_with, tmp_path):
    (tmp_path / "file").touch()
    before, meanwhile, after = run_with(COUNT, 300, tmp_path / "file")
    if before is None:
        pytest.skip("nothing says how many are open here")
    assert 200 < before < 300
    assert before - meanwhile == 50
    assert after == before


LOOK = """
import json, resource, sys
from koodrive_async.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), 500))
raise_limit()
print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""


def test_a_program_of_its_own_raises_its_limit_as_far_as_it_may(run_with):
    assert run_with(LOOK, 100) == [500, 500]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[0] >= 8192:
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
