"""Back up a folder as fast as the line allows, and say what did not get there.

Run it with a folder: ``python examples/backup_folder.py ~/Pictures``. It backs up to the service
in the environment (``KOODRIVE_ENDPOINT`` and so on), or else to an emulator that it starts.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time

from koodrive_async import KooDrive, Limits, Module, UploadFailure
from koodrive_async.emulator import Emulator

# What all files together may take. How many connections carry the most is found out on the way.
LIMITS = Limits(memory=64 * 1024 * 1024, files_in_flight=64)


async def back_up(folder: str) -> int:
    """Back up a folder and return the number of files that failed."""
    began, size, files, failures = time.perf_counter(), 0, 0, 0
    async with KooDrive.from_env(limits=LIMITS) as drive:
        device = await drive.devices.bind("example_machine", name="example", os="any")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            # Outcomes come as files finish; one that fails does not stop the others.
            async for outcome in session.upload_tree(folder, exclude=["*.tmp", "__pycache__"]):
                if isinstance(outcome, UploadFailure):
                    failures += 1
                    print(f"failed: {outcome.source}: {outcome.error}", file=sys.stderr)
                else:
                    files += 1
                    size += outcome.size
        # The record is complete here. Had the block raised, it would have stayed unfinished.
    speed = size / 1e6 / (time.perf_counter() - began)
    print(f"record {session.record.record_id}: {files} files, {size} bytes, {speed:.1f} MB/s")
    return failures


def main() -> None:
    """Back up to the service in the environment, or to an emulator."""
    folder = sys.argv[1] if len(sys.argv) > 1 else "."
    if os.environ.get("KOODRIVE_ENDPOINT", "").strip():
        sys.exit(asyncio.run(back_up(folder)) > 0)
    with tempfile.TemporaryDirectory() as directory, Emulator(directory) as emulator:
        os.environ.update(emulator.environment())
        sys.exit(asyncio.run(back_up(folder)) > 0)


if __name__ == "__main__":
    main()
