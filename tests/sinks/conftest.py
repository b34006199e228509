from __future__ import annotations

import pytest

from koodrive_async import Module
from tests.sinks.story import Story


@pytest.fixture
def story():
    return Story()


@pytest.fixture
async def session(drive, device_id):
    async with drive.backup(device_id, Module.FOLDER) as opened:
        yield opened
