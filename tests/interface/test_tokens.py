"""Signing in with a token: sent as it is, asked for once, renewed once for everybody."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from koodrive_async import (
    ApiError,
    AuthenticationError,
    BearerToken,
    ConfigurationError,
    DeadlineExceeded,
    InvalidArgument,
    InvalidRequest,
    LockRefused,
    Module,
    NewBackupFile,
    NotFound,
    PermissionDenied,
    RetryPolicy,
    SessionInfo,
    Timeouts,
    TokenRefreshFailed,
)
from koodrive_async.emulator import Fault
from koodrive_async.hashing import proof_code
from koodrive_async.testing import connect
from tests.interface.scripted import LOCK, TOKEN, answer, client_of

pytestmark = pytest.mark.anyio

DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
REFUSED = answer({"code": "APIGW.0301", "msg": "Authentication failed."}, 401)
SPELLINGS = [
    "bearer+60f4ccc7b1",
    "Bearer+60f4ccc7b1********3dd9a68068",
    "Bearer+{60f4ccc7b1}",
    "AT 3b911d723003f70a1265124148fdfe486c108b64bf8d0de3",
    "ABCDEFG....",
]


class Provider:
    """Gives out one token after another, and counts."""

    def __init__(self, *tokens):
        self.tokens = list(tokens)
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0)
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]


def only(*good):
    """Refuse every token but these."""
    return lambda request: answer() if request.headers["Authorization"] in good else REFUSED


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_token_is_sent_in_the_spelling_it_was_given_in(scripted, spelling):
    scripted.replies({"code": 0}, {"code": 0})

    async def provide():
        return spelling

    for token in (spelling, provide):
        async with client_of(scripted, auth=BearerToken(token)) as client:
            await client.devices.list()
    assert [request.headers["Authorization"] for request in scripted.requests] == [spelling] * 2


async def test_a_provider_is_asked_once(scripted):
    scripted.otherwise = only("Bearer+1")
    provider = Provider("Bearer+1")
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        await asyncio.gather(*(client.devices.list() for _ in range(5)))
        await client.devices.list()
    assert provider.asked == 1
    assert len(scripted.requests) == 6


async def test_a_provider_is_not_asked_before_it_is_needed(scripted):
    provider = Provider("Bearer+1")
    async with client_of(scripted, auth=BearerToken(provider)):
        pass
    assert provider.asked == 0


async def test_a_provider_is_asked_once_more_when_twenty_calls_are_refused_together(scripted):
    met = asyncio.Event()
    provider = Provider("Bearer+old", "Bearer+new")

    def reply(request):
        if request.headers["Authorization"] == "Bearer+new":
            return answer()
        if len(scripted.requests) == 20:
            met.set()

        async def refuse_together(request, writer):
            await met.wait()
            await REFUSED(request, writer)

        return refuse_together

    scripted.otherwise = reply
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        await asyncio.gather(*(client.devices.list() for _ in range(20)))
    assert provider.asked == 2
    tokens = [request.headers["Authorization"] for request in scripted.requests]
    assert tokens == ["Bearer+old"] * 20 + ["Bearer+new"] * 20


async def test_a_creating_call_is_sent_again_with_the_new_token(scripted):
    scripted.otherwise = only("Bearer+new")
    provider = Provider("Bearer+old", "Bearer+new")
    scripted.replies(REFUSED, {"code": 0, "data": {"lockId": LOCK}})
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        assert (await client.locks.create(Module.FOLDER)).lock_id == LOCK
    assert len(scripted.requests) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        answer({"code": "APIGW.0301", "msg": "no"}, 400),
        answer({"code": 13000101, "msg": "Bad Request"}, 400),
        answer({"code": 13000410, "msg": "no"}, 403),
        answer({"error_code": "APIGW.0301", "error_msg": "no", "request_id": "1"}, 403),
        answer({"error_code": "APIG.0307", "error_msg": "no", "request_id": "1"}, 400),
    ],
)
async def test_a_token_may_be_refused_in_other_ways_than_401(scripted, refusal):
    provider = Provider("Bearer+old", "Bearer+new")
    scripted.replies(refusal, {"code": 0, "data": {"lockId": LOCK}})
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        assert (await client.locks.create(Module.FOLDER)).lock_id == LOCK
    tokens = [request.headers["Authorization"] for request in scripted.requests]
    assert tokens == ["Bearer+old", "Bearer+new"]


@pytest.mark.parametrize(
    "refusal",
    [
        answer({"code": 13000101, "msg": "Bad Request"}, 400),
        answer({"code": 13000410, "msg": "no"}, 403),
    ],
    ids=["13000101", "403"],
)
async def test_a_refusal_that_may_mean_a_lock_asks_for_few_tokens(scripted, fake_clock, refusal):
    provider = Provider(*(f"token {number}" for number in range(1000)))
    scripted.otherwise = lambda _: refusal
    async with client_of(scripted, auth=BearerToken(provider), clock=fake_clock) as client:
        for _ in range(50):
            with pytest.raises(ApiError):
                await client.devices.list()
        assert provider.asked == 2  # the first, and once in doubt
        assert len(scripted.requests) == 51
        fake_clock.now += 61
        with pytest.raises(ApiError):
            await client.devices.list()
    assert provider.asked == 3


async def test_twenty_calls_that_are_refused_together_with_403_share_the_next_token(scripted):
    refusal = answer({"code": 13000410, "msg": "no"}, 403)
    scripted.otherwise = lambda request: (
        answer() if request.headers["Authorization"] == "good" else refusal
    )
    provider = Provider("used up", "good")
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        assert await asyncio.gather(*(client.devices.list() for _ in range(20))) == [()] * 20
    assert provider.asked == 2


async def test_a_token_that_was_in_doubt_and_worked_is_doubted_again(scripted, fake_clock):
    refusal = answer({"code": 13000410, "msg": "no"}, 403)
    good = ["one"]
    scripted.otherwise = lambda request: (
        answer() if request.headers["Authorization"] in good else refusal
    )
    provider = Provider("one", "two", "three")
    async with client_of(scripted, auth=BearerToken(provider), clock=fake_clock) as client:
        for token in ("one", "two", "three"):
            good[:] = [token]
            await client.devices.list()
    assert provider.asked == 3


async def test_a_token_that_runs_out_soon_after_a_doubt_is_replaced_before_a_lock_is_blamed(
    scripted, fake_clock
):
    refusal = answer({"code": 13000101, "msg": "no"}, 400)
    good = ["two"]

    def reply(request):
        if request.headers["Authorization"] not in good or "/record/" in request.path:
            return refusal
        return (
            answer({"code": 0, "data": {"lockId": LOCK}}) if request.method == "POST" else answer()
        )

    scripted.otherwise = reply
    provider = Provider("one", "two", "three")
    async with client_of(scripted, auth=BearerToken(provider), clock=fake_clock) as client:
        with pytest.raises(InvalidRequest):  # after a doubt, as for a lock that was lost
            await client.records.get("1")
        good[:] = ["three"]

        assert (await client.locks.create(Module.FOLDER)).lock_id == LOCK

    assert provider.asked == 3


async def test_a_held_lock_is_refused_though_each_check_needs_another_token(scripted):
    provider, used = Provider(*(f"token {number}" for number in range(40))), set()

    def reply(request):
        token = request.headers["Authorization"]
        if request.method == "POST" or token in used:
            used.add(token)
            return answer({"code": 13000101, "msg": "no"}, 400)
        return answer()

    scripted.otherwise = reply
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        with pytest.raises(LockRefused):
            await client.locks.create(Module.FOLDER)

    assert sum(request.method == "POST" for request in scripted.requests) == 4


async def test_a_token_function_that_fails_hides_no_refusal_that_may_mean_something_else(scripted):
    asked = []

    async def provide():
        asked.append(1)
        if len(asked) > 1:
            raise OSError("the vault is closed")
        return "first"

    scripted.otherwise = lambda _: answer({"code": 13000410, "msg": "not yours"}, 403)
    async with client_of(scripted, auth=BearerToken(provide)) as client:
        with pytest.raises(PermissionDenied, match="not yours"):
            await client.records.get("1")


async def test_a_refused_field_is_not_taken_for_a_refused_token(scripted):
    provider = Provider("Bearer+old", "Bearer+new")
    scripted.otherwise = lambda _: answer({"code": 13000102, "msg": "no"}, 400)
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        with pytest.raises(InvalidRequest):
            await client.devices.list()
    assert provider.asked == len(scripted.requests) == 1


async def test_a_refusal_in_the_form_of_the_gateway_says_its_code_and_message(scripted):
    body = {"error_code": "APIGW.0101", "error_msg": "The API does not exist", "request_id": "1"}
    scripted.otherwise = lambda _: answer(body, 404)
    async with client_of(scripted) as client:
        with pytest.raises(NotFound) as caught:
            await client.devices.list()
    assert (caught.value.code, caught.value.msg) == ("APIGW.0101", "The API does not exist")


async def test_the_same_token_again_is_an_authentication_error(scripted):
    scripted.otherwise = only()
    provider = Provider("Bearer+old")
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.devices.list()
    assert provider.asked == 2
    assert len(scripted.requests) == 1
    assert caught.value.status == 401


async def test_a_new_token_that_is_refused_too_is_an_authentication_error(scripted):
    scripted.otherwise = only()
    provider = Provider("Bearer+1", "Bearer+2", "Bearer+3")
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.devices.list()
    assert provider.asked == 2
    assert caught.value.attempts == 2


async def test_a_fixed_token_that_is_refused_is_an_authentication_error_at_once(client, scripted):
    scripted.otherwise = only()
    with pytest.raises(AuthenticationError) as caught:
        await client.devices.list()
    assert caught.value.attempts == len(scripted.requests) == 1


# --- a token function that fails ---------------------------------------------------------------


async def test_what_a_provider_raises_is_the_cause_and_not_shown(scripted):
    async def provide():
        raise LookupError("the vault is closed to hunter2")

    async with client_of(scripted, auth=BearerToken(provide)) as client:
        with pytest.raises(TokenRefreshFailed) as caught:
            await client.devices.list()
    assert str(caught.value) == "the token function failed (LookupError)"
    assert isinstance(caught.value.__cause__, LookupError)
    assert scripted.requests == []


async def test_a_provider_that_fails_is_asked_once_for_all_who_wait(scripted):
    asked: list[None] = []
    go_on = asyncio.Event()

    async def provide():
        asked.append(None)
        if len(asked) > 1:
            return TOKEN
        await go_on.wait()
        raise LookupError

    async with client_of(scripted, auth=BearerToken(provide)) as client:
        waiting = [asyncio.create_task(client.devices.list()) for _ in range(20)]
        await all_wait(client, asked, 1, 19)
        go_on.set()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(error) for error in errors} == {TokenRefreshFailed}
        assert len({id(error) for error in errors}) == 20
        assert len(asked) == 1
        # one that begins later may ask again
        scripted.replies({"code": 0})
        await client.devices.list()
    assert len(asked) == 2


async def test_a_renewal_that_fails_is_told_to_all_who_were_refused(scripted):
    scripted.otherwise = only()
    asked: list[None] = []
    go_on = asyncio.Event()

    async def provide():
        asked.append(None)
        if len(asked) == 1:
            return "Bearer+old"
        await go_on.wait()
        raise ConnectionError

    scripted.replies({"code": 0})
    async with client_of(scripted, auth=BearerToken(provide)) as client:
        await client.devices.list()
        waiting = [asyncio.create_task(client.devices.list()) for _ in range(20)]
        await all_wait(client, asked, 2, 19)
        go_on.set()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in errors} == {TokenRefreshFailed}
    assert len(asked) == 2


async def test_the_same_token_again_is_asked_for_once_by_all_who_were_refused(scripted):
    scripted.otherwise = only()
    asked: list[None] = []
    go_on = asyncio.Event()

    async def provide():
        asked.append(None)
        if len(asked) > 1:
            await go_on.wait()
        return "Bearer+old"

    scripted.replies({"code": 0})
    async with client_of(scripted, auth=BearerToken(provide)) as client:
        await client.devices.list()
        waiting = [asyncio.create_task(client.devices.list()) for _ in range(20)]
        await all_wait(client, asked, 2, 19)
        go_on.set()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in errors} == {AuthenticationError}
    assert len(asked) == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_is_no_exception_passes_through_a_token_function(kind):
    async def provide():
        if not asked:
            asked.append(None)
            raise kind
        return TOKEN

    asked: list[None] = []
    tokens = BearerToken(provide).open()
    with pytest.raises(kind):
        await tokens.current()
    credential: Any = await tokens.current()
    assert credential.value == TOKEN


async def all_wait(client, asked, times, count):
    """Wait until the function is asked for that time, and so many calls wait for what it gives."""
    turn = client._http._credentials._turn
    while len(asked) < times or turn.statistics().tasks_waiting < count:  # noqa: ASYNC110 - a lock tells nobody who waits
        await asyncio.sleep(0)


async def test_a_proof_code_is_computed_anew_for_the_token_that_follows_an_expired_one(
    koodrive_emulator,
):
    origins = []
    content = b"what is backed up"
    digest = hashlib.sha256(content).hexdigest()

    async def proof(origin):
        origins.append(origin)
        return proof_code(origin, len(content), lambda at, size: content[at : at + size])

    async def login():
        account, password = koodrive_emulator.account, koodrive_emulator.password
        session = await client.tokens.login(account, agent_name="agent", password=password)
        return session.access_token

    async with connect(koodrive_emulator, auth=BearerToken(login)) as client:
        device = await client.devices.bind("m")
        lock = await client.locks.create(Module.FOLDER)
        record = await client.records.create(device.device_id, Module.FOLDER, lock_id=lock.lock_id)
        koodrive_emulator.faults.add(Fault("expired-token", "files.create", times=1))
        file = NewBackupFile(file_name="a", sha256=digest, length=len(content), proof_code=proof)
        created = await client.files.create(record.record_id, file, lock_id=lock.lock_id)
    assert created.file_id
    assert len(set(origins)) == len(origins) == 2


# --- a token function and its client -----------------------------------------------------------


async def test_a_provider_may_sign_in_with_the_client_that_asks_it(scripted):
    signed_in = {"code": 0, "data": {"sessionInfo": {"accessToken": "AT 1"}}}
    scripted.replies(signed_in, {"code": 0})

    async def provide():
        return (await client.tokens.login("me", agent_name="c", password="p")).access_token

    async with client_of(scripted, auth=BearerToken(provide)) as client:
        await client.devices.list()
    assert scripted.requests[1].headers["Authorization"] == "AT 1"


async def test_signing_in_does_not_ask_for_a_token(scripted):
    scripted.replies({"code": 0, "data": {"sessionInfo": {"accessToken": "AT 1"}}})
    provider = Provider("Bearer+1")
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        await client.tokens.login("me", agent_name="c", password="p")
    assert provider.asked == 0


async def test_a_refused_sign_in_does_not_ask_for_a_token(scripted):
    scripted.replies(REFUSED)
    provider = Provider("Bearer+1")
    async with client_of(scripted, auth=BearerToken(provider)) as client:
        with pytest.raises(AuthenticationError):
            await client.tokens.login("me", agent_name="c", password="p")
    assert (provider.asked, len(scripted.requests)) == (0, 1)


async def test_the_proof_code_is_computed_for_the_token_that_is_sent(scripted):
    content = b"what is backed up"
    scripted.otherwise = only("Bearer+new")

    async def proof(origin):
        return proof_code(origin, len(content), lambda at, size: content[at : at + size])

    file = NewBackupFile(file_name="a", sha256=DIGEST, length=len(content), proof_code=proof)
    auth = BearerToken(Provider("Bearer+old", "Bearer+new"))
    async with client_of(scripted, auth=auth) as client:
        await client.files.create("19", file, lock_id=LOCK)
    sent = [(request.headers["Authorization"], request.json) for request in scripted.requests]
    assert [token for token, _ in sent] == ["Bearer+old", "Bearer+new"]
    for token, body in sent:
        assert body["proofCode"] == await proof(token)
    assert sent[0][1]["proofCode"] != sent[1][1]["proofCode"]


async def test_an_empty_file_has_no_proof_code(client, scripted):
    async def proof(_origin):
        return None

    scripted.replies({"code": 0})
    file = NewBackupFile(file_name="a", sha256=DIGEST, length=0, proof_code=proof)
    await client.files.create("19", file, lock_id=LOCK)
    assert "proofCode" not in scripted.request.json


@pytest.mark.parametrize(
    "token",
    ["", "  ", "Bearer+a\r\nX-Evil: 1", "Bearer+ä", "a\x00b", " Bearer+a", "Bearer+a\n", None],
)
def test_what_cannot_be_a_token_is_refused_at_once(token):
    with pytest.raises(ConfigurationError):
        BearerToken(token)


@pytest.mark.parametrize("token", ["", "Bearer+a\r\nX-Evil: 1", "Bearer+ä", None])
async def test_what_cannot_be_a_token_is_refused_when_a_provider_gives_it(scripted, token):
    async with client_of(scripted, auth=BearerToken(Provider(token))) as client:
        with pytest.raises(ConfigurationError):
            await client.devices.list()
    assert scripted.requests == []


async def test_a_cancelled_renewal_leaves_the_next_call_to_ask(scripted):
    scripted.replies({"code": 0})
    asked = asyncio.Event()
    tokens: list[None] = []

    async def provide():
        tokens.append(None)
        if len(tokens) == 1:
            asked.set()
            await asyncio.Event().wait()
        return TOKEN

    async with client_of(scripted, auth=BearerToken(provide)) as client:
        first = asyncio.create_task(client.devices.list())
        await asked.wait()
        second = asyncio.create_task(client.devices.list())
        first.cancel()
        assert await second == ()
        assert first.cancelled()
    assert len(tokens) == 2


async def test_a_token_function_may_refresh_through_its_own_client(koodrive_emulator):
    sessions: list[SessionInfo] = []

    async def provide():
        if not sessions:
            login = client.tokens.login
            account, password = koodrive_emulator.account, koodrive_emulator.password
            sessions.append(await login(account, agent_name="agent", password=password))
        else:
            latest = sessions[-1]
            assert latest.refresh_token is not None
            refresh = client.tokens.refresh
            sessions.append(await refresh(latest.refresh_token, access_token=latest.access_token))
        return sessions[-1].access_token

    async with connect(koodrive_emulator, auth=BearerToken(provide)) as client:
        await client.devices.list()
        koodrive_emulator.faults.add(Fault("error", "devices.list", status=401, times=1))
        await client.devices.list()
    assert len(sessions) == 2
    assert sessions[0].access_token != sessions[1].access_token


async def test_a_token_function_that_calls_its_own_client_is_told_so(koodrive_emulator):
    async def provide():
        await client.devices.list()
        return "never"

    async with connect(koodrive_emulator, auth=BearerToken(provide)) as client:
        with pytest.raises(ConfigurationError, match="access_token="):
            await client.devices.list()


async def test_a_token_function_that_hangs_is_given_up_with_a_name_for_the_wait(scripted):
    async def hang():
        await asyncio.Event().wait()
        return "never"

    settings = {"auth": BearerToken(hang), "timeouts": Timeouts(answer=0.05)}
    async with client_of(scripted, retry=RetryPolicy(attempts=1), **settings) as client:
        with pytest.raises(DeadlineExceeded, match="token function"):
            await client.devices.list()


async def test_a_refused_access_token_is_not_shown(client):
    with pytest.raises(InvalidArgument) as refusal:
        await client.tokens.refresh("r", access_token="AT secret\n")
    assert "secret" not in str(refusal.value)


class OwnCredentials:
    """A credential that somebody else wrote, with what is documented and no more."""

    async def current(self, refused=None):  # noqa: ARG002 - there is no other
        return self

    def proof_origin(self, user_id):
        return user_id

    def authorization(self, head):
        return f"Mine {head.method}"


class OwnAuth:
    def open(self):
        return OwnCredentials()


async def test_a_way_to_sign_in_of_ones_own_needs_only_what_is_documented(scripted):
    scripted.replies({"code": 0})
    async with client_of(scripted, auth=OwnAuth()) as client:
        await client.devices.list()
    assert scripted.request.headers["Authorization"] == "Mine GET"
