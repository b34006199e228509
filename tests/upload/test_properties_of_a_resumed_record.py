"""A record that another client has begun may have any properties; a session completes it."""

from __future__ import annotations

import pytest

from koodrive_async import Module, RecordStatus

pytestmark = pytest.mark.anyio

THERE = {
    "no JSON": "text",
    "a constant": '{"a":NaN}',
    "a constant in a list": "[Infinity]",
    "deep": "[" * 100_000,
    "half a character": '{"a":"\\ud800"}',
    "a number": "7",
    "a list": "[1]",
    "nothing": "null",
}


@pytest.mark.parametrize("there", THERE.values(), ids=THERE)
@pytest.mark.parametrize("given", [None, '{"b":2}'])
async def test_the_record_is_completed_whatever_properties_it_has(
    rewriting, koodrive_emulator, caplog, there, given
):
    async def left_record():
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            left.append(session.record.record_id)
            raise LookupError

    def has_properties(path, answer):
        if path.endswith("/record/" + "".join(left)) and "recordId" in answer.get("data", {}):
            answer["data"]["properties"] = there

    left: list[str] = []
    async with rewriting(has_properties) as drive:
        device = await drive.devices.bind("m")
        with pytest.raises(LookupError):
            await left_record()
        async with drive.backup(
            device.device_id, Module.FOLDER, resume=left[0], properties=given
        ) as session:
            await session.upload(b"x", name="x")
    (record,) = koodrive_emulator.records()
    assert record.status == RecordStatus.COMPLETED
    is_dropped = given is not None and there != "null"
    assert ("keeps its properties" in caplog.text) is is_dropped
