"""Where hashing would hold the GIL, it runs in a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("koodrive_environment")

SCRIPT = """
import asyncio, os, sys
from koodrive_async import KooDrive, Module
from koodrive_async.hashing import backend

async def main(path):
    assert backend() == "portable", backend()
    async with KooDrive.from_env() as drive:
        device = await drive.devices.bind("slow")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            seen = []
            receipt = await session.upload(path, on_progress=lambda _: seen.append(workers()))
            spooled = await session.upload([b"abc"], name="spooled")
    print(receipt.sha256, spooled.sha256, max(seen))

def workers():
    listing = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    return len(open(listing).read().split())

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_the_portable_backend_hashes_files_in_another_process(make_file):
    path = make_file(1024 * 1024 + 1)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env={**os.environ, "KOODRIVE_SHA256_BACKEND": "portable"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    file, spooled, workers = ran.stdout.split()
    assert file == hashlib.sha256(path.read_bytes()).hexdigest()
    assert spooled == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert int(workers) == 1
