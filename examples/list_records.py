"""List backups and their files page by page, and go on later from where one stopped.

It lists what the service in the environment has (``KOODRIVE_ENDPOINT`` and so on), or else what it
has put into an emulator before.
"""

from __future__ import annotations

import asyncio
import os
import tempfile

from koodrive_async import KooDrive, Module
from koodrive_async.emulator import Emulator


async def list_records() -> None:
    """Print the newest records with the first files of each."""
    async with KooDrive.from_env() as drive:
        # Pages are fetched while one iterates; leaving the loop early leaves nothing running.
        async for record in drive.records.list(Module.FOLDER):
            begun = record.create_time or "at a time that is not known"
            print(f"record {record.record_id}, begun {begun}")
            for file in await drive.files.list(record.record_id).collect(limit=3):
                print(f"    {file.size:>10}  {file.description or file.file_name}")

        # The cursor of a pager is a string: it can be stored, and a listing resumed from it.
        pager = drive.records.list(Module.FOLDER, page_size=2)
        async for page in pager.pages():
            print(f"a page of {len(page)} records")
            break
        if pager.cursor is not None:
            rest = await drive.records.list(Module.FOLDER, cursor=pager.cursor).collect()
            print(f"resumed from the cursor: {len(rest)} more records")


async def make_records(count: int) -> None:
    """Make records with two files each, for the emulator has none."""
    async with KooDrive.from_env() as drive:
        device = await drive.devices.bind("example_machine", name="example", os="any")
        for number in range(count):
            async with drive.backup(device.device_id, Module.FOLDER) as session:
                await session.upload(b"hello " * number, name="hello.txt")
                await session.upload(os.urandom(1000), name="random.bin", description="a/b.bin")


def main() -> None:
    """List what the service in the environment has, or an emulator."""
    if "KOODRIVE_ENDPOINT" in os.environ:
        asyncio.run(list_records())
        return
    with tempfile.TemporaryDirectory() as directory, Emulator(directory) as emulator:
        os.environ.update(emulator.environment())
        asyncio.run(make_records(5))
        asyncio.run(list_records())


if __name__ == "__main__":
    main()
