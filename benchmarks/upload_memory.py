"""Resident memory and speed while one large file is uploaded to an emulator in another process.

    python benchmarks/upload_memory.py [GiB]

The file is sparse, so that it takes no disk; the emulator stores it in full. What is printed is the
uploading process alone: its highest resident memory (by the kernel's account) and the time of each
phase.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio

from koodrive_async import BearerToken, KooDrive, Module
from koodrive_async.upload import Progress

GIB = 1 << 30
MIB = 1 << 20

SERVE = """
import sys
from koodrive_async.emulator import Emulator
with Emulator(sys.argv[1]) as emulator:
    print(emulator.url, emulator.token, emulator.user_id, flush=True)
    sys.stdin.read()
"""


def peak() -> float:
    """Return the highest resident memory of this process so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


async def upload(endpoint: str, token: str, user_id: str, path: Path) -> None:
    """Upload one file and print what it took."""
    async with KooDrive(endpoint, auth=BearerToken(token), user_id=user_id) as drive:
        device = await drive.devices.bind("benchmark")
        idle = peak()
        phases: dict[str, float] = {}

        def note(progress: Progress) -> None:
            phases[progress.phase] = peak()

        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(path, on_progress=note)
    size = receipt.size / MIB
    print(f"file              {size:10.0f} MiB in {receipt.parts} parts")
    print(f"hash              {size / receipt.phases.hash:10.0f} MiB/s")
    print(
        f"send              {size / receipt.phases.send:10.0f} MiB/s (client and server share it)"
    )
    print(f"peak, idle client {idle:10.1f} MiB")
    for phase, highest in phases.items():
        print(f"peak, {phase:<11} {highest:10.1f} MiB")
    print(f"peak, all         {peak():10.1f} MiB")


def main() -> None:
    """Make the file, start the emulator, upload."""
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 4) * GIB)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.bin"
        with source.open("wb") as file:
            file.truncate(size)
        with subprocess.Popen(
            [sys.executable, "-c", SERVE, f"{folder}/koodrive"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            try:
                endpoint, token, user_id = server.stdout.readline().split()
                anyio.run(upload, endpoint, token, user_id, source)
            finally:
                server.stdin.close()


if __name__ == "__main__":
    main()
