"""What a process leaves behind for the children that it forks."""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import pkgutil
import queue
import random
import subprocess
import sys
import threading

import anyio.to_thread
import pytest

import koodrive_async
from tests.interface.scripted import Scripted, answer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

HELD_WHILE_FORKING = """
import asyncio, os, signal, sys, warnings
from pathlib import Path

import trustme
import ssl

from koodrive_async import Module, Tls
from koodrive_async.emulator import Emulator
from koodrive_async.hashing import sha256
from koodrive_async.testing import connect
from koodrive_async.upload import sockets

warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads is unwise
place = Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(str(place / "ca.pem"))
server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("127.0.0.1").configure_cert(server_tls)


async def upload(drive, name):
    device = await drive.devices.bind(name)
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        receipts = [await session.upload(os.urandom(300_000), name=f"{n}.bin") for n in range(3)]
    return [receipt.outcome for receipt in receipts]


async def child(emulator):
    async with connect(emulator, tls=Tls(ca_file=place / "ca.pem")) as drive:
        return await upload(drive, "child")


with Emulator(place / "emulator", ssl_context=server_tls) as emulator:
    # just what threads hold that are sending and hashing at this moment
    turns = 0
    while sockets._ENCRYPTING.turns.acquire(blocking=False):
        turns += 1
    assert turns
    sha256._selection._lock.acquire()
    sha256._selection._backend = None
    if (pid := os.fork()) == 0:
        signal.alarm(30)  # ends a child that hangs
        done = asyncio.run(child(emulator))
        os._exit(7 if done == ["uploaded"] * 3 else 1)
    sha256._selection._lock.release()  # the emulator hashes as well
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(code)
"""

TRACE_IDS = """
import asyncio, os, sys
from koodrive_async import BearerToken, KooDrive

drive = KooDrive(sys.argv[1], auth=BearerToken("t"), user_id="u", proxy=None, journal=None)


async def ask():
    async with drive:
        for _ in range(5):
            await drive.devices.list()


children = []
for _ in range(4):
    if (pid := os.fork()) == 0:
        asyncio.run(ask())
        os._exit(0)
    children.append(pid)
sys.exit(sum(os.waitpid(pid, 0)[1] for pid in children))
"""


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_child_sends_and_hashes_whatever_its_parent_was_at(tmp_path):
    ended = run(HELD_WHILE_FORKING, tmp_path)
    assert (ended.returncode, ended.stderr) == (7, "")


@pytest.mark.anyio
async def test_no_two_children_use_the_same_trace_ids():
    async with Scripted() as server:
        server.otherwise = lambda _: answer({"code": 0})
        ended = await anyio.to_thread.run_sync(run, TRACE_IDS, server.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    ids = [request.headers["X-Traceid"] for request in server.requests]
    assert len(ids) == 20
    assert len(set(ids)) == 20


HOLDING = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Semaphore,
    threading.Condition,
    threading.Event,
    threading.Thread,
    threading.local,
    queue.Queue,
    queue.SimpleQueue,
    concurrent.futures.Executor,
    random.Random,
)
BEGUN_AGAIN = {
    ("koodrive_async.upload.sockets", "_ENCRYPTING"),
    ("koodrive_async.hashing.sha256", "_selection"),
}
"""What a child begins again with, by ``os.register_at_fork``."""


def modules():
    for found in pkgutil.walk_packages(koodrive_async.__path__, "koodrive_async."):
        if found.name.rpartition(".")[2] != "__main__":
            try:
                yield importlib.import_module(found.name)
            except ModuleNotFoundError:  # of an extra
                continue


def test_no_module_keeps_what_a_fork_would_break():
    found = set()
    for module in modules():
        for name, value in vars(module).items():
            is_ours = type(value).__module__.startswith("koodrive_async")
            inside = vars(value).values() if is_ours and hasattr(value, "__dict__") else ()
            if isinstance(value, HOLDING) or any(isinstance(each, HOLDING) for each in inside):
                found.add((module.__name__, name))
    assert found == BEGUN_AGAIN
