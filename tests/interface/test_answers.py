"""From what comes back to a value or the one exception that fits it."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from koodrive_async import (
    ApiError,
    AuthenticationError,
    DuplicateFileName,
    InsufficientSpace,
    IntegrityCheckFailed,
    InvalidRequest,
    MalformedResponse,
    MultiPartInfo,
    NotFound,
    PermissionDenied,
    RateLimited,
    RetryPolicy,
    ServerFault,
    UploadTaskGone,
)
from koodrive_async.emulator import Fault
from tests.interface.scripted import LOCK, FakeClock, Scripted, answer, client_of

pytestmark = pytest.mark.anyio

BY_CODE = {
    13000101: InvalidRequest,
    13000102: InvalidRequest,
    13000201: ServerFault,
    13000301: NotFound,
    13000302: NotFound,
    13000303: ApiError,
    13000304: ApiError,
    13000305: ApiError,
    13000306: ApiError,
    13000307: ApiError,
    13000308: ApiError,
    13000309: NotFound,
    13000310: ApiError,
    13000311: InsufficientSpace,
    13000312: ApiError,
    13000401: UploadTaskGone,
    13000402: IntegrityCheckFailed,
    13000403: ApiError,
    13000404: ApiError,
    13000405: DuplicateFileName,
    13000406: ApiError,
    13000407: NotFound,
    13000410: PermissionDenied,
    13000411: NotFound,
    13000412: ApiError,
    99999999: ApiError,
}
BY_STATUS = {
    400: ApiError,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: ApiError,
    413: ApiError,
    429: RateLimited,
    500: ServerFault,
    502: ServerFault,
    503: ServerFault,
    504: ServerFault,
}


@pytest.fixture
async def once(scripted: Scripted):
    """A client that never repeats."""
    async with client_of(scripted, retry=RetryPolicy(attempts=1)) as client:
        yield client


async def failure(client, kind):
    with pytest.raises(kind) as caught:
        await client.locks.renew(LOCK)
    assert type(caught.value) is kind
    return caught.value


@pytest.mark.parametrize("written", [int, str])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", BY_CODE)
async def test_a_code_decides_which_error_it_is(once, scripted, code, status, written):
    scripted.replies(answer({"code": written(code), "msg": "what the page prints"}, status))
    error = await failure(once, BY_CODE[code])
    assert (error.status, error.code, error.msg) == (status, str(code), "what the page prints")
    assert (error.method, error.path) == ("PATCH", "/koodrive/ose/v1/backup/lock")


@pytest.mark.parametrize("body", [{"code": "APIGW.0301", "msg": "no"}, "<html>no</html>", "", "[]"])
@pytest.mark.parametrize("status", BY_STATUS)
async def test_a_status_decides_when_the_code_does_not(once, scripted, status, body):
    scripted.replies(answer(body, status))
    error = await failure(once, BY_STATUS[status])
    assert error.status == status
    assert error.code == ("APIGW.0301" if isinstance(body, dict) else "")


async def test_code_0_with_an_error_status_is_an_error(once, scripted):
    scripted.replies(answer({"code": 0, "msg": "success"}, 500))
    assert (await failure(once, ServerFault)).code == "0"


@pytest.mark.parametrize("code", ["0", 0, " 0 "])
@pytest.mark.parametrize("msg", ["success", "Success.", "SUCCESS", "成功", None])
async def test_success_is_told_by_the_code_alone(once, scripted, code, msg):
    scripted.replies(answer({"code": code, "msg": msg}))
    await once.locks.renew(LOCK)


@pytest.mark.parametrize("msg", [None, "", 17])
async def test_a_refusal_without_words_is_one_all_the_same(once, scripted, msg):
    scripted.replies(answer({"code": 1, "msg": msg}))
    assert str(await failure(once, ApiError))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "not JSON"),
        ("<html>welcome</html>", "not JSON"),
        ('{"code": 0, "msg": "succ', "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"code":' * 100_000, "nested too deeply"),
        ("9" * 10_000, "not JSON"),
        ("[]", "JSON list"),
        ("null", "JSON NoneType"),
        ('"0"', "JSON str"),
        ("{}", "no code"),
        ('{"code": null}', "no code"),
        ('{"code": false}', "no code"),
        ('{"msg": "success"}', "no code"),
    ],
)
async def test_what_is_no_answer_is_malformed(once, scripted, body, problem):
    scripted.replies(answer(body))
    error = await failure(once, MalformedResponse)
    assert problem in str(error)
    assert error.status == 200


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (lambda client: client.locks.create("100"), {}),
        (lambda client: client.locks.create("100"), {"data": None}),
        (lambda client: client.locks.create("100"), {"data": []}),
        (lambda client: client.locks.create("100"), {"data": {}}),
        (lambda client: client.locks.create("100"), {"data": {"lockId": {}}}),
        (lambda client: client.devices.list(), {"data": "x"}),
        (lambda client: client.devices.list(), {"data": [None]}),
        (lambda client: client.devices.list(), {"data": [{"deviceId": True}]}),
        (lambda client: client.records.get("1"), {"data": {"recordId": "1", "version": "one"}}),
        (lambda client: client.records.list("100").collect(), {"data": [[]]}),
        (lambda client: client.files.list("1").collect(), {"data": [{"fileId": "1", "size": 1.5}]}),
        (
            lambda client: client.files.part_urls("1", [MultiPartInfo(part_number=1)]),
            {"multiParts": [{}]},
        ),
        (lambda client: client.files.download_urls("c", ["1"]), {"downloads": [{"url": "u"}]}),
        (lambda client: client.tokens.refresh("r"), {}),
        (lambda client: client.tokens.refresh("r"), {"data": []}),
        (lambda client: client.tokens.refresh("r"), {"data": "AT 1"}),
        (lambda client: client.tokens.refresh("r"), {"data": {"sessionInfo": "AT 1"}}),
        (lambda client: client.tokens.refresh("r"), {"data": {"sessionInfo": {}}}),
    ],
)
async def test_an_answer_without_what_the_call_is_for_is_malformed(once, scripted, call, body):
    scripted.replies({**body, "code": 0, "msg": "success"})
    with pytest.raises(MalformedResponse) as caught:
        await call(once)
    assert "not the documented one" in str(caught.value)


async def test_unknown_fields_and_values_never_break_an_answer(once, scripted):
    record = {
        "recordId": "1",
        "moduleCode": "777",
        "status": 9,
        "createTime": "some day",
        "deviceInfo": {"deviceId": 17, "colour": "red"},
        "new": {"a": [1]},
    }
    scripted.replies({"data": record, "code": 0, "requestId": "x"})
    read = await once.records.get("1")
    assert (read.module, read.status, read.create_time) == ("777", 9, None)
    assert read.device_info.device_id == "17"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        (" 120 ", 120.0),
        (formatdate(1_766_000_090, usegmt=True), 90.0),
        (formatdate(1_765_999_000, usegmt=True), 0.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Mon, 99 Jan 2024 99:99:99 GMT", None),
        ("Fri, 31 Dec 8999 23:59:59 GMT", 366 * 24 * 3600.0),
        ("9" * 30, 366 * 24 * 3600.0),
        ("9" * 5000, 366 * 24 * 3600.0),
        ("-9" * 30, None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("0x10", None),
        ("\x01", None),
    ],
)
async def test_retry_after_is_read_as_seconds_or_as_a_date(scripted, header, seconds):
    # a date counts by the service's clock: the local one is an hour off
    clock = FakeClock(1_766_000_000 - 3600)
    date = formatdate(1_766_000_000, usegmt=True)
    scripted.replies(answer({"code": 1, "msg": "wait"}, 429, retry_after=header, date=date))
    once = RetryPolicy(attempts=1)
    async with client_of(scripted, clock=clock, retry=once) as client:
        error = await failure(client, RateLimited)
    assert error.retry_after == seconds


async def test_the_emulators_refusals_arrive_with_everything(drive, koodrive_emulator):
    koodrive_emulator.faults.add(
        Fault("error", "devices.unbind", status=500, code="13000201", msg="INNER", retry_after=7)
    )
    with pytest.raises(ServerFault) as caught:
        await drive.devices.unbind("1")
    error = caught.value
    assert (error.status, error.code, error.msg, error.retry_after) == (500, "13000201", "INNER", 7)
    assert error.attempts == 1
