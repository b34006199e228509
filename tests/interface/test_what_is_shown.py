"""What texts, representations and logs show of URLs and of bodies that are no answer."""

from __future__ import annotations

import importlib
import logging
import pickle
import pkgutil
import traceback
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from koodrive_async import (
    ApiError,
    KooDriveError,
    MalformedResponse,
    Module,
    RetryPolicy,
    ServerFault,
    errors,
    models,
)
from koodrive_async.models import CreatedBackupFile, Download, Downloads, MultiPartInfo
from koodrive_async.testing import connect
from koodrive_async.transport.excerpt import excerpt
from koodrive_async.upload.target import Target
from koodrive_async.upload.urls import _Url
from koodrive_async.url_text import without_secret_urls, without_urls
from tests.interface.scripted import TOKEN, answer, client_of, reset

pytestmark = pytest.mark.anyio

SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
URL = f"https://store.example/bucket/k?X-Amz-Credential=AKIDexample&X-Amz-Signature={SIGNATURE}"
ONCE = RetryPolicy(attempts=1)


def shown(value):
    """Return all the texts that an object, or a group with it, may be shown as."""
    texts = [repr(value), str(value), f"{value!r:>5}", repr([value]), repr({"a": value})]
    if isinstance(value, Exception):
        group = ExceptionGroup("several", [value])
        texts += [repr(group), str(group), repr(value.args), repr(vars(value))]
        texts += traceback.format_exception(value) + traceback.format_exception(group)
        texts += [repr(pickle.loads(pickle.dumps(value)))]
    return "\n".join(texts)


def assert_hidden(text):
    assert SIGNATURE not in text
    assert SIGNATURE[-10:] not in text
    assert "AKIDexample" not in text


# --- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"see {URL}, now",
        f"<Message>try {URL}</Message>",
        URL.replace("/", "\\/"),
        URL.replace(":", "%3A").replace("/", "%2F").replace("?", "%3F"),
        URL.upper(),
        URL.partition("?")[2],
        f"/bucket/k?{URL.partition('?')[2]}",
        f"...ure=x&Signature={SIGNATURE}",
        f'"{URL}"',
    ],
)
def test_a_signed_url_is_not_shown_however_it_is_written(text):
    for hide in (without_urls, without_secret_urls):
        assert_hidden(hide(text).lower().replace(SIGNATURE.upper().lower(), SIGNATURE))


def test_a_plain_endpoint_is_shown_and_one_with_a_password_is_not():
    assert without_secret_urls("no http://host.example:80/x here") == (
        "no http://host.example:80/x here"
    )
    assert "pa55" not in without_secret_urls("not https://me:pa55@host.example/")
    assert without_urls("go to http://host.example.") == "go to <URL>"


ALL_ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, KooDriveError)
]


CALL = {"method": "PUT", "path": "part 1"}


def made_with(kind, text):
    """Make an error of a kind with the text wherever a text goes."""
    attempts: Any = (
        ((), {"status": 400, "code": text, "msg": text, **CALL}),
        ((), {"part_number": 1, "status": 403, "code": text, "msg": text}),
        ((text,), {"proxy": "p:1", "status": None, **CALL}),
        ((text,), {"status": 200, **CALL}),
        ((text,), CALL),
        ((text,), {}),
        (("name", text), {}),
        ((1, text), {}),
    )
    for arguments, named in attempts:
        try:
            return kind(*arguments, **named)
        except TypeError:
            continue
    error = kind.__new__(kind, text)  # it makes its text of numbers and ids
    KooDriveError.__init__(error, text)
    error.record_id = text
    return error


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_no_error_shows_a_signature_that_its_text_had(kind):
    assert_hidden(shown(made_with(kind, f"refused {URL} so")))


def models_with(value):
    """Make every model with the value in each of its text fields."""
    for module in pkgutil.walk_packages(models.__path__, "koodrive_async.models."):
        for model in vars(importlib.import_module(module.name)).values():
            if isinstance(model, type) and attrs.has(model):
                named = {f.name for f in attrs.fields(model) if "url" in f.name.lower()}
                if not named:
                    continue
                needed = {f.name: "1" for f in attrs.fields(model) if f.default is attrs.NOTHING}
                yield model(**{**needed, **dict.fromkeys(named, value)})


def test_no_model_shows_the_url_it_has():
    found = list(models_with(URL))
    assert {type(model) for model in found} >= {MultiPartInfo, Download}
    part, link = MultiPartInfo(part_number=1, upload_url=URL), Download(file_id="F", url=URL)
    found += [CreatedBackupFile(multi_parts=(part,)), Downloads(downloads=(link,)), link]
    found += [Target.of(URL), _Url(URL, None)]  # type: ignore[arg-type]  # of no batch
    for model in found:
        assert_hidden(shown(model))
        if html := getattr(model, "_repr_html_", None):
            assert_hidden(html())


@pytest.mark.parametrize(
    "reply",
    [
        answer({"code": 13000101, "msg": f"bad {URL}"}, 400),
        answer({"code": URL, "msg": [URL]}, 400),
        answer({"code": 0, "data": [{"deviceId": {"url": URL}}]}),
        answer({"code": 0, "data": URL}),
        answer({"code": 0, "data": [URL]}),
        answer('{"code": 0, "uploadUrl": "' + URL),
        answer(f"<html>{URL}</html>"),
        answer(f"<html>{URL}</html>", 502, content_type=f"text/html; x={URL}"),
        answer({"code": 1, "msg": "x"}, 503, retry_after=URL, date=URL),
        reset(f"HTTP/1.1 200 OK\r\nLink: {URL}\r\n".encode()),
        reset(f"HTTP/1.1 {URL} OK\r\n\r\n".encode()),
    ],
)
async def test_no_url_of_an_answer_gets_into_errors_and_logs(scripted, caplog, reply):
    caplog.set_level(logging.DEBUG)
    scripted.otherwise = lambda _: reply
    async with client_of(scripted, retry=RetryPolicy(attempts=2, base_delay=0, outage=0)) as client:
        with pytest.raises(KooDriveError) as caught:
            await client.devices.list()
    assert_hidden(shown(caught.value) + caplog.text + repr(caught.value.__cause__))


async def test_no_signature_is_logged_in_a_whole_backup(koodrive_emulator, caplog):
    caplog.set_level(logging.DEBUG)
    async with connect(koodrive_emulator) as drive:
        device = await drive.devices.bind("m")
        async with drive.backup(device.device_id, Module.FOLDER) as session:
            receipt = await session.upload(b"abc" * 1000, name="a")
        links = await drive.files.download_urls(koodrive_emulator.container_id, [receipt.file_id])
        texts = [caplog.text, repr(session), repr(receipt), repr(links), repr(session.traces)]
    assert links[0].url is not None
    assert "X-Amz-Signature" in links[0].url
    assert "X-Amz" not in "\n".join(texts)
    assert koodrive_emulator.token.partition("+")[2] not in "\n".join(texts)


# --- bodies that are no answer -----------------------------------------------------------------


async def test_what_came_instead_of_an_answer_is_told(scripted):
    scripted.otherwise = lambda _: answer(
        "<html><title>Down for\n maintenance</title></html>", content_type="text/html"
    )
    async with client_of(scripted) as client:
        with pytest.raises(MalformedResponse) as caught:
            await client.devices.list()
    assert caught.value.attempts == RetryPolicy().attempts
    assert "text/html: <html><title>Down for maintenance</title></html>" in str(caught.value)


@pytest.mark.parametrize("status", [200, 502])
async def test_nothing_that_was_sent_to_sign_in_is_shown_when_it_comes_back(scripted, status):
    secret = TOKEN.partition("+")[2]
    body = f"<html>you sent {TOKEN}, or {secret} with Authorization: {TOKEN}</html>"
    scripted.otherwise = lambda _: answer(body, status, content_type="text/html")
    async with client_of(scripted, retry=ONCE) as client:
        with pytest.raises((MalformedResponse, ServerFault)) as caught:
            await client.devices.list()
    assert "you sent" in str(caught.value)
    assert secret not in shown(caught.value)
    assert TOKEN not in shown(caught.value)


REPEATED = {
    "as it came": f"refused: {TOKEN}",
    "without its kind": f"refused: {TOKEN.partition('+')[2]}",
    "cut": f"refused: {TOKEN[:-5]}, and {TOKEN[9:]}",
    "quoted": f"refused: Authorization={quote(TOKEN)}",
    "in capitals": f"refused: {TOKEN.upper()}",
    "in a list": f"refused: {[TOKEN]!r}",
}


@pytest.mark.parametrize("msg", REPEATED.values(), ids=REPEATED)
@pytest.mark.parametrize("field", ["msg", "error_msg", "code"])
async def test_no_refusal_shows_what_was_sent_to_sign_in(scripted, caplog, msg, field):
    body = {"code": 13000102, field: msg} if field != "code" else {"code": msg, "msg": "no"}
    scripted.otherwise = lambda _: answer(body, 400)
    async with client_of(scripted, retry=ONCE) as client:
        with pytest.raises(ApiError) as caught:
            await client.devices.list()
    text = f"{shown(caught.value)}\n{caplog.text}".lower()
    assert "refused" in text
    key = TOKEN.partition("+")[2].lower()
    assert not [key[n : n + 12] for n in range(len(key) - 11) if key[n : n + 12] in text]


async def test_no_refusal_shows_a_password_or_a_refresh_token(scripted):
    scripted.otherwise = lambda _: answer(
        {"code": 13000101, "msg": "account me: hunter2 or token-of-yours is wrong"}, 401
    )
    async with client_of(scripted, retry=ONCE) as client:
        for call, secret in (
            (client.tokens.login("me", agent_name="x", password="hunter2"), "hunter2"),
            (client.tokens.refresh("token-of-yours"), "token-of-yours"),
        ):
            with pytest.raises(ApiError, match="account me: ") as caught:
                await call
            assert secret not in shown(caught.value)


async def test_words_of_a_refusal_are_kept(scripted):
    msg = "Bearer of a token: Signature and SignedHeaders of HMAC-SHA256 do not fit"
    scripted.otherwise = lambda _: answer({"code": 13000102, "msg": msg}, 400)
    async with client_of(scripted, retry=ONCE) as client:
        with pytest.raises(ApiError, match=msg):
            await client.devices.list()


async def test_nothing_of_an_answer_to_signing_in_is_shown(scripted):
    scripted.otherwise = lambda _: answer("<p>hunter2 and token-of-yours</p>")
    async with client_of(scripted, retry=ONCE) as client:
        for call in (
            client.tokens.login("me", agent_name="x", password="hunter2"),
            client.tokens.refresh("token-of-yours"),
        ):
            with pytest.raises(MalformedResponse) as caught:
                await call
            assert "hunter2" not in shown(caught.value)
            assert "token-of-yours" not in shown(caught.value)


async def test_a_call_that_may_not_be_repeated_says_that_it_may_have_acted(scripted):
    scripted.replies(answer("<html>", 200))
    async with client_of(scripted) as client:
        with pytest.raises(MalformedResponse) as caught:
            await client.scopes.delete("1", ["2"])
    assert len(scripted.requests) == 1
    assert caught.value.sent is True
    assert caught.value.unreadable is True


@pytest.mark.parametrize(
    ("raw", "kind", "text"),
    [
        (b"", None, "of no content type, 0 bytes"),
        (b" \n", "text/plain", "text/plain, 2 bytes"),
        (b'{"accessToken": "abc', "application/json", "application/json, 20 bytes of JSON"),
        (b"plain words", "text/plain", "text/plain: plain words"),
        (b"key " + b"a1" * 20, "text/plain", "text/plain: key ..."),
        (b"a\x1b[31mb\r\nc", "text/plain", "text/plain: a [31mb c"),
        (b"w " * 500, "text/plain", "text/plain: " + ("w " * 500)[:100] + "..."),
    ],
)
def test_an_excerpt_is_short_printable_and_without_secrets(raw, kind, text):
    assert excerpt(raw, kind) == text
