"""A backup of a few sources, to see which way it takes."""

from __future__ import annotations

from koodrive_async import Module

MIB = 1024 * 1024


async def upload(drive, *sources):
    device = await drive.devices.bind("testmachine")
    async with drive.backup(device.device_id, Module.FOLDER) as session:
        for number, source in enumerate(sources):
            await session.upload(source, name=f"{number}.bin", part_size=5 * MIB)


def completed(emulator):
    return [file.completed for file in emulator.files()]
