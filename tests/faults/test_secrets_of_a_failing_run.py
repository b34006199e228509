"""Whatever fails: no token, app secret or presigned URL gets out of the client, or onto a disk.

What a traceback shows of **local variables** (``capture_locals=True``, some error trackers) is not
promised: a request cannot be sent without having its headers in a variable.
"""

from __future__ import annotations

import logging
import pickle
import re
import tempfile
import traceback

import pytest

from koodrive_async import AppSignature, BearerToken, Limits, Module, RetryPolicy, UploadItem
from koodrive_async.emulator import Fault
from koodrive_async.testing import connect
from tests.faults.trial import HASTY, raise_first
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
URL_RUNS_OUT = Fault("expired-url", "part.put", times=1)
TROUBLES = {
    "token runs out": [Fault("expired-token", "files.create")],
    "everything once": [
        Fault("error", "*", status=503, times=3),
        Fault("garbage", "*", times=2, after=8),
        Fault("half-answer", "*", times=2, after=12),
        Fault("reset", "*", moment="middle", times=2, after=16),
        Fault("expired-token", "files.*", times=1, after=2),
        Fault("corrupt", "part.put", times=1),
        URL_RUNS_OUT,
    ],
    "garbage for an answer": [Fault("garbage", "files.create")],
    "garbage for the URLs": [Fault("garbage", "files.part_urls"), URL_RUNS_OUT],
    "half the URLs": [Fault("half-answer", "files.part_urls"), URL_RUNS_OUT],
    "half of what was created": [Fault("half-answer", "files.create")],
    "refused": [Fault("error", "files.complete", status=400, code="13000102")],
    "no answer": [Fault("silence", "files.complete", moment="after")],
    "garbage from the store": [Fault("garbage", "part.put")],
    "cut off by the store": [Fault("reset", "part.put", moment="middle")],
    "no answer from the store": [Fault("silence", "part.put", moment="after")],
    "refused by the store": [Fault("error", "part.put", status=403, code="AccessDenied")],
    "URL too old for ever": [Fault("expired-url", "part.put")],
    "stored wrongly for ever": [Fault("corrupt", "part.put")],
}
SIGNATURES = re.compile(r"X-Amz-Signature=([0-9a-f]+)|Signature=([0-9a-f]{64})")


class Secrets:
    """What must not get out, as it came to be known; :meth:`within` looks for it."""

    def __init__(self, emulator):
        self._emulator = emulator
        self._tokens = []

    async def provide(self):
        self._tokens.append(self._emulator.new_token())
        return self._tokens[-1]

    def __iter__(self):
        yield "X-Amz-Signature="
        yield self._emulator.app_secret
        for token in (self._emulator.token, *self._tokens):
            yield token.partition("+")[2] or token
        for request in self._emulator.seen:
            for text in (request.raw_path, request.headers.get("Authorization", "")):
                yield from (one or other for one, other in SIGNATURES.findall(text))

    def within(self, texts):
        """Return the texts that hold a secret, as short as they can be shown."""
        secrets = set(self)
        return [
            f"...{text[max(0, at - 200) : at + 40]}..."
            for text in texts
            for secret in secrets
            if (at := text.find(secret)) >= 0
        ]


@pytest.fixture
def secrets(koodrive_emulator, blocking_calls_fail):
    blocking_calls_fail.deactivate()  # the token function of these tests waits for the emulator
    return Secrets(koodrive_emulator)


@pytest.fixture
def spools(tmp_path, monkeypatch):
    """Return the folder where temporary files of this test go."""
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def shown(koodrive_emulator, device_id, tmp_path, caplog, capfd, spools):
    """Return a function that backs up and returns every text that comes out of it."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "file.bin"
    path.write_bytes(sample(3 * MIB, 5))
    journal = tmp_path / "journal" / "journal.db"

    async def run(auth, troubles):
        koodrive_emulator.faults.add(*troubles)
        things, errors, files = [auth], [], []
        try:
            async with connect(
                koodrive_emulator,
                auth=auth,
                journal=journal,
                timeouts=HASTY,
                retry=RetryPolicy(attempts=2, base_delay=0.0, per_second=None, outage=0),
                limits=Limits(connections=2),
            ) as drive:
                session = drive.backup(device_id, Module.FOLDER)
                things += [drive, session, drive.files, drive.locks]
                async with session:
                    things += [session, session.lock, session.record]
                    items = [
                        UploadItem(source=path),
                        UploadItem(source=iter([b"a stream"]), name="stream"),
                    ]
                    outcomes = [outcome async for outcome in session.upload_many(items)]
                    things += outcomes
                    errors += [each.error for each in outcomes if hasattr(each, "error")]
                    things += [koodrive_emulator.seen, koodrive_emulator]
                    files += contents(journal.parent)
                    raise_first(errors)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            errors.append(error)
        files += contents(journal.parent) + contents(spools)
        texts = [text for thing in things for text in (repr(thing), str(thing))]
        texts += [text for error in errors for text in texts_of(error)]
        texts += [text for record in caplog.records for text in texts_of_log(record)]
        texts += [content.decode("latin-1") for content in files]
        texts += capfd.readouterr()
        return errors, texts

    return run


def contents(folder):
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def texts_of(error):
    """Yield all that an exception says, with those behind it."""
    yield "".join(traceback.format_exception(error))
    yield pickle.dumps(error).decode("latin-1")
    for each in chain_of(error):
        yield from (repr(each), str(each), repr(each.args), repr(getattr(each, "__notes__", ())))
        yield repr(getattr(each, "__dict__", {}))


def chain_of(error):
    """Return an exception and those that it came from, shown or not."""
    found, left = [], [error]
    while left:
        each = left.pop()
        if each is not None and each not in found:
            found.append(each)
            left += [each.__cause__, each.__context__]
    return found


def texts_of_log(record):
    yield record.getMessage()
    yield repr(record.args)
    if record.exc_info and record.exc_info[1]:
        yield from texts_of(record.exc_info[1])


@pytest.mark.parametrize("signed", [False, True], ids=["token", "signature"])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_nothing_secret_comes_out_of_a_run_that_fails(
    trouble, signed, koodrive_emulator, secrets, shown
):
    app_id, app_secret = koodrive_emulator.app_id, koodrive_emulator.app_secret
    signature = AppSignature(app_id=app_id, app_secret=app_secret)
    auth = signature if signed else BearerToken(secrets.provide)
    errors, texts = await shown(auth, TROUBLES[trouble])
    assert secrets.within(texts) == []
    assert len(set(secrets)) > 3
    assert errors or trouble in {"everything once", "token runs out"}


async def test_a_secret_that_gets_out_is_found(koodrive_emulator, secrets, shown, tmp_path, caplog):
    """The control of the test above: one planted at each place that it looks at."""
    token = await secrets.provide()
    logging.getLogger("koodrive_async").debug("signing in with %s", token)
    _, texts = await shown(BearerToken(token), TROUBLES["refused"])
    assert secrets.within(texts)
    caplog.clear()
    url = next(each.raw_path for each in koodrive_emulator.seen.requests("part.put"))
    error = ValueError("refused")
    error.__context__ = KeyError(url)
    assert secrets.within(texts_of(error))
    error = ValueError("refused")
    error.add_note(f"at {url}")
    assert secrets.within(texts_of(error))
    (tmp_path / "journal" / "left").write_text(token)
    _, texts = await shown(BearerToken(token), TROUBLES["refused"])
    assert secrets.within(texts)
