"""X-Traceid: on every request, another one each time, and on the exception for the support."""

from __future__ import annotations

import re

import pytest

from koodrive_async import (
    ApiError,
    ConnectionFailed,
    DeadlineExceeded,
    DuplicateFileName,
    MalformedResponse,
    NewBackupFile,
    RetryPolicy,
    ServerFault,
    Timeouts,
)
from tests.interface.scripted import LOCK, answer, client_of, reset, silence

pytestmark = pytest.mark.anyio

TRACE_ID = re.compile("[A-Za-z0-9_]{58}")
DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"code": 13000102, "msg": "no"}, 400), ApiError),
        (answer("<html>", 200), MalformedResponse),
        (answer({"code": 0, "data": [{}]}), MalformedResponse),
        (reset(), ConnectionFailed),
        (silence, DeadlineExceeded),
    ],
)
async def test_an_exception_carries_the_trace_id_that_was_sent(scripted, reply, error):
    scripted.replies(reply)
    once = RetryPolicy(attempts=1)
    async with client_of(scripted, timeouts=Timeouts(answer=0.5), retry=once) as client:
        with pytest.raises(error) as caught:
            await client.devices.list()
    assert caught.value.trace_id == scripted.request.headers["X-Traceid"]
    assert TRACE_ID.fullmatch(caught.value.trace_id)
    assert f"trace id {caught.value.trace_id}" in str(caught.value)


async def test_a_duplicate_that_came_with_code_0_carries_the_trace_id(client, scripted):
    scripted.replies({"code": 0, "existFileId": "F1"})
    with pytest.raises(DuplicateFileName) as caught:
        await client.files.create(
            "19", NewBackupFile(file_name="a", sha256=DIGEST, length=1), lock_id=LOCK
        )
    assert caught.value.trace_id == scripted.request.headers["X-Traceid"]
    assert (caught.value.existing_file_id, caught.value.code) == ("F1", "13000405")


async def test_every_attempt_has_a_trace_id_of_its_own(client, scripted):
    scripted.otherwise = lambda _: answer("", 503)
    with pytest.raises(ServerFault) as caught:
        await client.devices.list()
    ids = [request.headers["X-Traceid"] for request in scripted.requests]
    assert len(set(ids)) == len(ids) == caught.value.attempts == 7
    assert caught.value.trace_id == ids[-1]
