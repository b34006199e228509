"""The app signature: the vectors of the reference, and that what is signed is what is sent."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote, unquote

import pytest

from koodrive_async import (
    AppSignature,
    AuthenticationError,
    ConfigurationError,
    Module,
    NewBackupFile,
)
from koodrive_async.testing import connect
from koodrive_async.transport.auth import RequestHead, canonical_query, canonical_request, sign
from tests.interface.scripted import LOCK, USER, client_of

pytestmark = pytest.mark.anyio

SECRET = "kd-example-app-secret"
APP_ID = "a378331eca141163119eb602adb67b7802cc79cd33ba44c7d2fe61d1586c96a1"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def head(method, path, query=(), body=b""):
    return RequestHead(
        method=method,
        path=f"/koodrive/ose/v1/backup/{path}",
        query=canonical_query(query),
        headers={
            "host": "intl.myhuaweicloud-koodrive.com",
            "x-date": "20251103T070140Z",
            "x-user-id": "1505084218764547200",
        },
        body=body,
    )


S1 = head(
    "GET",
    "record",
    [("moduleCode", "101"), ("pageSize", "100"), ("deviceId", "1842812272691451648")],
)
S2 = head("POST", "lock", body=b'{"moduleCode":"102"}')
S3 = head("GET", "record/1842862763295184641/files", [("pageSize", "1"), ("cursor", "a b/+=~")])

SIGNED = """\
host:intl.myhuaweicloud-koodrive.com
x-date:20251103T070140Z
x-user-id:1505084218764547200

host;x-date;x-user-id
"""
VECTORS = {
    "S1": (
        S1,
        "GET\n/koodrive/ose/v1/backup/record/\n"
        "deviceId=1842812272691451648&moduleCode=101&pageSize=100\n" + SIGNED + EMPTY,
        "b76017df75ec0b7bdccb514b43601a008dfc56ba17fd0c5f212fff66fb0d6763",
        "d5390a479e686532deee9b8ce4a927ef69c31a5925f8f688d21cfbe4b84eb3ee",
    ),
    "S2": (
        S2,
        "POST\n/koodrive/ose/v1/backup/lock/\n\n"
        + SIGNED
        + "134be0b02487a71a3500523797fd6c313cf893d7a8714c0eb362f6e3dc0defc0",
        "66bb33121a0e1fcf6d270b9208d433337ca9db35e1740191f1699f5d590a90a1",
        "7e4fbee768846b46f5f1c7333f7158a4d0e6f0ce6fc9e5cafbe40f93fff462f4",
    ),
    "S3": (
        S3,
        "GET\n/koodrive/ose/v1/backup/record/1842862763295184641/files/\n"
        "cursor=a%20b%2F%2B%3D~&pageSize=1\n" + SIGNED + EMPTY,
        "731bdb8b2b66cd770c2a52ee14955abd7d8c4250e31ed6941efd7794108c631f",
        "df66a17225b43717c29a1673aa42c2542b6ab90256f392230b8855f7c41097ca",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_request_is_made_canonical_hashed_and_signed_as_in_the_vectors(name):
    request, canonical, digest, signature = VECTORS[name]
    assert canonical_request(request) == canonical
    assert hashlib.sha256(canonical.encode()).hexdigest() == digest
    assert sign(SECRET, request) == signature


def test_a_query_is_sorted_by_the_character_codes_of_its_names():
    pairs = [("b", ""), ("parm1", "value1"), ("Foo", "x y"), ("a_", "é~")]
    assert canonical_query(pairs) == "Foo=x%20y&a_=%C3%A9~&b=&parm1=value1"


def signature_of(secret, request):
    """Sign a request that came in, from its bytes alone and by the words of the pages."""
    path, _, query = request.target.partition("?")
    uri = "/".join(quote(unquote(segment), safe="-_.~") for segment in path.split("/")) + "/"
    pairs = sorted(
        tuple(quote(unquote(text), safe="-_.~") for text in pair.split("="))
        for pair in query.split("&")
        if pair
    )
    names = ["host", "x-date", "x-user-id"]
    canonical = (
        request.method.upper()
        + "\n"
        + uri
        + "\n"
        + "&".join(f"{name}={value}" for name, value in pairs)
        + "\n"
        + "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
        + "\n"
        + ";".join(names)
        + "\n"
        + hashlib.sha256(request.body).hexdigest()
    )
    to_sign = "HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


CALLS = {
    "no query, no body": lambda drive: drive.locks.release(LOCK),
    "a query that needs encoding": lambda drive: drive.records.list(
        Module.ALBUM, "17 %+", page_size=7, cursor="a b/+=~é"
    ).first(),
    "a path that needs encoding": lambda drive: drive.files.list("a/b c+d~é").first(),
    "a body": lambda drive: drive.files.create(
        "19",
        NewBackupFile(file_name="名字.txt", sha256=EMPTY, length=0, description='a"b\\\n'),
        lock_id=LOCK,
    ),
    "a body on DELETE": lambda drive: drive.scopes.delete("17", ["1"]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_what_is_signed_is_what_is_sent(scripted, name):
    auth = AppSignature(app_id=APP_ID, app_secret=SECRET)
    scripted.replies({"code": 0})
    async with client_of(scripted, auth=auth) as client:
        await CALLS[name](client)
    request = scripted.request
    assert request.headers["Authorization"] == (
        f"HMAC-SHA256 AppId={APP_ID},SignedHeaders=host;x-date;x-user-id,"
        f"Signature={signature_of(SECRET, request)}"
    )
    assert request.headers["Host"] == scripted.host
    assert re.fullmatch(r"\d{8}T\d{6}Z", request.headers["X-Date"])


async def test_the_emulator_takes_a_signed_request(koodrive_emulator):
    auth = AppSignature(app_id=koodrive_emulator.app_id, app_secret=koodrive_emulator.app_secret)
    async with connect(koodrive_emulator, auth=auth) as drive:
        device = await drive.devices.bind("machine", name="a b")
        assert await drive.records.list(Module.ALBUM, device.device_id).collect() == []


async def test_a_wrong_secret_is_refused_at_the_first_attempt(koodrive_emulator):
    auth = AppSignature(app_id=koodrive_emulator.app_id, app_secret="another")
    async with connect(koodrive_emulator, auth=auth) as drive:
        with pytest.raises(AuthenticationError) as caught:
            await drive.devices.list()
    assert caught.value.attempts == 1


async def test_every_attempt_is_signed_anew(scripted, fake_clock):
    auth = AppSignature(app_id=APP_ID, app_secret=SECRET)
    scripted.replies({"code": 13000201, "msg": "INNER_INVOKE_FAILURE"}, {"code": 0})
    async with client_of(scripted, auth=auth, clock=fake_clock) as client:
        original = fake_clock.sleep

        async def long_sleep(seconds):
            await original(seconds + 1000)

        fake_clock.sleep = long_sleep
        await client.devices.list()
    first, second = scripted.requests
    assert first.headers["X-Date"] != second.headers["X-Date"]
    assert signature_of(SECRET, second) in second.headers["Authorization"]


async def test_the_proof_code_starts_from_the_user_id(scripted):
    origins = []

    async def proof(origin):
        origins.append(origin)
        return "0" * 64

    scripted.replies({"code": 0})
    auth = AppSignature(app_id=APP_ID, app_secret=SECRET)
    async with client_of(scripted, auth=auth) as client:
        await client.files.create(
            "19",
            NewBackupFile(file_name="a", sha256=EMPTY, length=1, proof_code=proof),
            lock_id=LOCK,
        )
    assert origins == [USER]


@pytest.mark.parametrize(
    ("app_id", "secret"), [("", SECRET), (APP_ID, ""), ("a\nb", SECRET), ("ä", SECRET), (None, "s")]
)
def test_what_cannot_sign_is_refused_at_once(app_id, secret):
    with pytest.raises(ConfigurationError):
        AppSignature(app_id=app_id, app_secret=secret)
