from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from yarl import URL

from koodrive_async.emulator.auth import Received, app_signature, canonical_request, same

PREFIX = "/koodrive/ose/v1"
NAMES = ["host", "x-date", "x-user-id"]
VECTOR_SECRET = "kd-example-app-secret"
VECTOR_HEADERS = {
    "host": "intl.myhuaweicloud-koodrive.com",
    "x-date": "20251103T070140Z",
    "x-user-id": "1505084218764547200",
}
VECTORS = [
    pytest.param(
        "GET",
        "/backup/record?moduleCode=101&pageSize=100&deviceId=1842812272691451648",
        b"",
        "b76017df75ec0b7bdccb514b43601a008dfc56ba17fd0c5f212fff66fb0d6763",
        "d5390a479e686532deee9b8ce4a927ef69c31a5925f8f688d21cfbe4b84eb3ee",
        id="S1",
    ),
    pytest.param(
        "POST",
        "/backup/lock",
        b'{"moduleCode":"102"}',
        "66bb33121a0e1fcf6d270b9208d433337ca9db35e1740191f1699f5d590a90a1",
        "7e4fbee768846b46f5f1c7333f7158a4d0e6f0ce6fc9e5cafbe40f93fff462f4",
        id="S2",
    ),
    pytest.param(
        "GET",
        "/backup/record/1842862763295184641/files?pageSize=1&cursor=a%20b%2F%2B%3D~",
        b"",
        "731bdb8b2b66cd770c2a52ee14955abd7d8c4250e31ed6941efd7794108c631f",
        "df66a17225b43717c29a1673aa42c2542b6ab90256f392230b8855f7c41097ca",
        id="S3",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "hashed", "signature"), VECTORS)
def test_the_verifier_reproduces_the_signature_vectors(method, path, body, hashed, signature):
    received = Received(method=method, raw_path=PREFIX + path, headers=VECTOR_HEADERS, body=body)
    canonical = canonical_request(received, NAMES)
    assert hashlib.sha256(canonical.encode()).hexdigest() == hashed
    assert app_signature(VECTOR_SECRET, received, NAMES) == signature


def test_the_canonical_path_is_without_relative_and_empty_segments():
    received = Received(
        method="get", raw_path="/a/./b//../c%2fd/%7Ee?b=2&F=&a", headers={}, body=b""
    )
    lines = canonical_request(received, []).split("\n")
    assert lines[:3] == ["GET", "/a/c%2Fd/~e/", "F=&a=&b=2"]


pytestmark = pytest.mark.anyio


def signed(wire, method, path, body=b"", *, names=NAMES, **changes):
    """The headers of a request under the app signature; changes come after signing."""
    emulator = wire.emulator
    headers = {
        "host": emulator.url.removeprefix("http://"),
        "x-date": wire.clock.x_date(),
        "x-user-id": emulator.user_id,
        "x-extra": "1",
    }
    received = Received(method=method, raw_path=PREFIX + path, headers=headers, body=body)
    signature = app_signature(emulator.app_secret, received, names)
    headers["Authorization"] = (
        f"HMAC-SHA256 AppId={emulator.app_id},SignedHeaders={';'.join(names)},Signature={signature}"
    )
    headers |= changes
    return {name: value for name, value in headers.items() if value is not None}


def refused(answer, part_of_msg):
    assert (answer.status, answer.json["code"]) == (401, "APIGW.0301")
    assert part_of_msg in answer.json["msg"]


async def test_a_signed_request_is_accepted(wire):
    body = b'{"moduleCode":"102"}'
    headers = signed(wire, "POST", "/backup/lock", body)
    assert (await wire.call("POST", "/backup/lock", body, headers=headers)).status == 200


async def test_the_query_is_signed_as_it_is_sent(wire):
    path = "/backup/record?pageSize=1&moduleCode=100&deviceId=a%20b%2F%2B"
    assert (await wire.call("GET", path, headers=signed(wire, "GET", path))).status == 200
    plus = path.replace("%20", "+")
    refused(await wire.call("GET", plus, headers=signed(wire, "GET", path)), "does not match")


async def test_a_signature_for_something_else_is_refused(wire):
    path, body = "/backup/lock", b'{"moduleCode":"102"}'
    headers = signed(wire, "POST", path, body)
    other = wire.emulator.accounts[1].user_id
    for sent in (
        wire.call("POST", path, b'{"moduleCode":"101"}', headers=headers),
        wire.call("PATCH", path, body, headers=headers),
        wire.call("POST", "/backup/device", body, headers=headers),
        wire.call("POST", path + "?a=1", body, headers=headers),
        wire.call("POST", path, body, headers={**headers, "host": "localhost"}),
        wire.call("POST", path, body, headers={**headers, "x-user-id": other}),
        wire.call("POST", path, body, headers={**headers, "x-date": wire.clock.x_date(-1)}),
    ):
        refused(await sent, "does not match")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["host", "x-date"], "x-user-id must be signed"),
        (["host", "x-user-id"], "x-date must be signed"),
        (["x-user-id", "x-date"], "ascending order"),
        (["Host", "x-date", "x-user-id"], "ascending order"),
        (["x-date", "x-date", "x-user-id"], "ascending order"),
    ],
)
async def test_the_signed_headers_follow_the_rules(wire, names, why):
    lower = {"Host": wire.emulator.url.removeprefix("http://")}
    headers = signed(wire, "GET", "/backup/device")
    value = headers["Authorization"].replace(";".join(NAMES), ";".join(names))
    refused(
        await wire.call(
            "GET", "/backup/device", headers={**headers, "Authorization": value, **lower}
        )
        if "Host" not in names
        else await wire.call("GET", "/backup/device", headers={**headers, "Authorization": value}),
        why,
    )


async def test_a_signed_header_must_be_sent(wire):
    headers = signed(wire, "GET", "/backup/device", names=[*NAMES[:2], "x-extra", "x-user-id"])
    assert (await wire.call("GET", "/backup/device", headers=headers)).status == 200
    del headers["x-extra"]
    refused(await wire.call("GET", "/backup/device", headers=headers), "x-extra is missing")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda value: value.replace("AppId=", "AppId=0"), "AppId is unknown"),
        (lambda value: value.replace(",SignedHeaders", ", SignedHeaders"), "not of the form"),
        (lambda value: value.replace("HMAC-SHA256 ", "HMAC-SHA256"), "not of the form"),
        (lambda value: value[:-1], "not of the form"),
        (lambda value: value.replace("Signature=", "Signature=é")[:-1], "not of the form"),
        (lambda value: value[:-64] + value[-64:].upper(), "not of the form"),
        (lambda value: value[:-64] + "0" * 64, "does not match"),
    ],
)
async def test_an_authorization_value_must_have_the_documented_form(wire, change, why):
    headers = signed(wire, "GET", "/backup/device")
    changed = {**headers, "Authorization": change(headers["Authorization"])}
    refused(await wire.call("GET", "/backup/device", headers=changed), why)


async def test_a_signature_of_an_unknown_user_is_refused(wire):
    headers = {
        "host": wire.emulator.url.removeprefix("http://"),
        "x-date": wire.clock.x_date(),
        "x-user-id": "1" * 19,
    }
    received = Received(method="GET", raw_path=PREFIX + "/backup/device", headers=headers, body=b"")
    signature = app_signature(wire.emulator.app_secret, received, NAMES)
    headers["Authorization"] = (
        f"HMAC-SHA256 AppId={wire.emulator.app_id},SignedHeaders={';'.join(NAMES)}"
        f",Signature={signature}"
    )
    refused(await wire.call("GET", "/backup/device", headers=headers), "not a known user")


@pytest.mark.parametrize("scheme", ["token", "signature"])
@pytest.mark.parametrize(
    ("shift", "status"), [(-900, 200), (-901, 401), (0, 200), (1, 401), (-5, 200)]
)
async def test_x_date_is_at_most_15_minutes_old_and_not_in_the_future(
    wire, clock, scheme, shift, status
):
    clock.now = float(int(clock.now))
    clock.now += shift
    headers = wire.headers() if scheme == "token" else signed(wire, "GET", "/backup/device")
    clock.now -= shift
    answer = await wire.call("GET", "/backup/device", headers=headers)
    assert answer.status == status


@pytest.mark.parametrize(
    "value", ["", "2025-11-03T07:01:40Z", "20251103T070140", "20251303T070140Z", "1762153300"]
)
async def test_x_date_has_one_form(wire, value):
    headers = {**wire.headers(), "X-Date": value}
    refused(await wire.call("GET", "/backup/device", headers=headers), "X-Date")


@pytest.mark.parametrize("name", ["Authorization", "X-User-Id", "X-Date"])
async def test_every_call_needs_the_three_headers(wire, name):
    headers = wire.headers()
    del headers[name]
    refused(await wire.call("GET", "/backup/device", headers=headers), f"{name} is missing")


async def test_a_token_is_taken_as_it_is(wire):
    token = wire.emulator.token
    for wrong in (token.replace("+", " "), token.lower(), token[7:], token + "0", "AT " + token):
        headers = {**wire.headers(), "Authorization": wrong}
        refused(await wire.call("GET", "/backup/device", headers=headers), "unknown")


async def test_a_token_belongs_to_its_user(wire):
    headers = {**wire.headers(), "X-User-Id": wire.emulator.accounts[1].user_id}
    refused(await wire.call("GET", "/backup/device", headers=headers), "not the user")


async def test_each_call_starts_the_life_of_a_token_anew(wire, clock):
    for _ in range(3):
        clock.now += 1199
        assert (await wire.call("GET", "/backup/device")).status == 200
    clock.now += 1200
    refused(await wire.call("GET", "/backup/device"), "expired")


AGENT = {"x-hw-agentName": "carrier"}


def login_body(emulator, **changes):
    return {
        "account": emulator.account,
        "authType": "1",
        "password": emulator.password,
        **changes,
    }


async def login(wire):
    answer = await wire.call("POST", "/auth/login", login_body(wire.emulator), headers=AGENT)
    assert answer.status == 200, answer.body
    return answer.json


async def test_login_has_the_documented_shape(wire, clock):
    answer = await login(wire)
    assert list(answer) == ["data", "code", "msg"]
    assert answer["data"]["userInfo"] == {
        "userId": wire.emulator.user_id,
        "firstname": "firstname",
        "surname": "surname",
        "phone": "",
        "email": "",
    }
    session = answer["data"]["sessionInfo"]
    assert session["accessToken"].startswith("AT ")
    assert session["expiresIn"] == 1200
    assert session["issuedAt"] == str(int(clock.now * 1000))
    assert set(session) == {"accessToken", "expiresIn", "issuedAt", "refreshToken"}


async def test_a_token_from_login_signs_in_as_it_is(wire):
    token = (await login(wire))["data"]["sessionInfo"]["accessToken"]
    headers = {**wire.headers(), "Authorization": token}
    assert (await wire.call("GET", "/backup/device", headers=headers)).status == 200


@pytest.mark.parametrize(
    "changes",
    [{"password": "wrong"}, {"account": "nobody"}, {"authType": "2", "captchaToken": "1"}],
)
async def test_login_with_something_wrong_is_refused(wire, changes):
    body = login_body(wire.emulator, **changes)
    answer = await wire.call("POST", "/auth/login", body, headers=AGENT)
    assert (answer.status, answer.json["code"]) == (401, "APIGW.0301")


@pytest.mark.parametrize(
    ("changes", "headers"), [({}, {}), ({"authType": 1}, AGENT), ({"authType": "3"}, AGENT)]
)
async def test_login_keeps_the_field_rules(wire, changes, headers):
    body = login_body(wire.emulator, **changes)
    answer = await wire.call("POST", "/auth/login", body, headers=headers)
    assert (answer.status, answer.json["code"]) == (400, 13000102)


async def test_a_refresh_token_gives_a_new_pair_once_even_after_the_token_expired(wire, clock):
    session = (await login(wire))["data"]["sessionInfo"]
    clock.now += 1300
    headers = {"Authorization": session["accessToken"]}
    body = {"refreshToken": session["refreshToken"]}
    answer = await wire.call("POST", "/auth/refreshToken", body, headers=headers)
    assert list(answer.json["data"]) == ["sessionInfo"]
    fresh = answer.json["data"]["sessionInfo"]
    assert fresh["accessToken"] != session["accessToken"]
    assert fresh["refreshToken"] != session["refreshToken"]
    used = {**wire.headers(), "Authorization": fresh["accessToken"]}
    assert (await wire.call("GET", "/backup/device", headers=used)).status == 200
    refused(await wire.call("POST", "/auth/refreshToken", body, headers=headers), "used up")


async def test_a_refresh_token_goes_with_a_token_of_its_user_only(wire):
    session = (await login(wire))["data"]["sessionInfo"]
    body = {"refreshToken": session["refreshToken"]}
    for headers, why in (
        ({}, "Authorization is missing"),
        ({"Authorization": "AT 00"}, "unknown"),
        ({"Authorization": wire.emulator.accounts[1].token}, "another session"),
        (signed(wire, "POST", "/auth/refreshToken", json.dumps(body).encode()), "not allowed"),
    ):
        answer = await wire.call("POST", "/auth/refreshToken", body, headers=headers)
        refused(answer, why if "session" not in why else "session")


def test_signatures_are_compared_in_constant_time(monkeypatch):
    compared = []
    original = hmac.compare_digest

    def compare(one, other):
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert same("a", "a")
    assert not same("a", "b")
    assert len(compared) == 2


async def test_the_date_of_an_answer_comes_from_the_clock(wire, clock):
    clock.now = 1_762_153_300.0
    answer = await wire.call("GET", "/backup/device")
    assert answer.headers["Date"] == "Mon, 03 Nov 2025 07:01:40 GMT"
    stored = await wire.send("GET", URL(wire.emulator.object_url), None, None)
    assert stored.headers["Date"] == "Mon, 03 Nov 2025 07:01:40 GMT"
