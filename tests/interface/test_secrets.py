"""Credentials stay where they belong; settings pickle with them."""

from __future__ import annotations

import logging
import pickle
import traceback

import pytest

from koodrive_async import (
    AppSignature,
    BearerToken,
    KooDriveError,
    Limits,
    Module,
    NewBackupFile,
    NewScope,
    RetryPolicy,
    SessionInfo,
    Timeouts,
)
from koodrive_async.config import read_environment
from tests.interface.scripted import LOCK, USER, answer, client_of, reset

pytestmark = pytest.mark.anyio

SECRET = "60f4ccc7b1secret3dd9a68068"
TOKEN = f"Bearer+{SECRET}"
DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"


async def provide():
    return TOKEN


AUTHS = [
    BearerToken(TOKEN),
    BearerToken(provide),
    AppSignature(app_id="an-app", app_secret=SECRET),
]


@pytest.mark.parametrize("auth", AUTHS, ids=["token", "provider", "signature"])
async def test_no_secret_gets_into_a_log_an_error_or_a_repr(scripted, caplog, auth):
    caplog.set_level(logging.DEBUG)
    refused = answer({"code": "APIGW.0301", "msg": "Authentication failed."}, 401)
    scripted.otherwise = lambda _: refused
    scripted.replies(
        answer("<html>", 503, retry_after="0"),
        answer(),
        reset(),
        answer({"code": 0, "data": [{}]}),
        answer({"code": 13000102, "msg": "no"}, 400),
    )
    shown = [repr(auth)]
    async with client_of(scripted, auth=auth) as client:
        shown += [repr(client), str(client)]
        for _ in range(5):
            try:
                await client.devices.list()
            except KooDriveError as error:
                shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert not scripted.script
    assert len(shown) > 3
    everything = "\n".join([*shown, caplog.text])
    assert SECRET not in everything
    assert "Signature=" not in everything
    assert "/backup/device" in everything


@pytest.mark.parametrize(
    "value",
    [
        BearerToken(TOKEN),
        AppSignature(app_id="an-app", app_secret=SECRET),
        SessionInfo(access_token=TOKEN, refresh_token=SECRET),
        NewBackupFile(file_name="a", sha256=DIGEST, length=1, proof_code=SECRET),
        read_environment(
            {"KOODRIVE_ENDPOINT": "https://h", "KOODRIVE_USER_ID": USER, "KOODRIVE_TOKEN": TOKEN}
        ),
        read_environment(
            {
                "KOODRIVE_ENDPOINT": "https://h",
                "KOODRIVE_USER_ID": USER,
                "KOODRIVE_APP_ID": "an-app",
                "KOODRIVE_APP_SECRET": SECRET,
            }
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_with_a_secret_does_not_show_it(value):
    assert SECRET not in repr(value)
    assert type(value).__name__ in repr(value)


async def test_no_token_is_sent_to_where_a_redirect_points(client, scripted):
    scripted.replies(answer("", 307, location="/elsewhere"))
    with pytest.raises(KooDriveError, match="redirects"):
        await client.devices.list()
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    "value",
    [
        BearerToken(TOKEN),
        BearerToken(provide),
        AppSignature(app_id="an-app", app_secret=SECRET),
        Limits(connections=3, memory=2**23, hash_workers=1, files_in_flight=2),
        Timeouts(connect=1, answer=2, complete=3, stall=4, lease=5),
        RetryPolicy(attempts=1, base_delay=0, max_delay=1, max_retry_after=2),
        Module.ALBUM,
        NewScope(local_path="/a"),
        NewBackupFile(file_name="a", sha256=DIGEST, length=1, proof_code=SECRET),
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_pickle(value):
    copy = pickle.loads(pickle.dumps(value))
    assert copy == value
    assert repr(copy) == repr(value)


async def test_a_pickled_token_still_signs_in(scripted):
    scripted.replies({"code": 0})
    auth = pickle.loads(pickle.dumps(BearerToken(TOKEN)))
    async with client_of(scripted, auth=auth) as client:
        await client.locks.release(LOCK)
    assert scripted.request.headers["Authorization"] == TOKEN
