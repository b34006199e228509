"""Whatever a public function is given, it raises the errors of this package, or of the system.

What a user's own function or stream raises is the user's, and not part of this.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import inspect
import io
import os
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import koodrive_async
from koodrive_async import (
    AppSignature,
    AutoRename,
    BearerToken,
    ConfigurationError,
    InvalidArgument,
    KooDrive,
    KooDriveError,
    Limits,
    Module,
    NewBackupFile,
    NewScope,
    Pager,
    RetryPolicy,
    SourceChanged,
    Timeouts,
    Tls,
    UploadItem,
    hashing,
)
from koodrive_async.hashing import Fingerprint, Fingerprinter, Sha256, TruncatedReadError
from koodrive_async.testing import connect

pytestmark = pytest.mark.anyio

ALLOWED = (KooDriveError, OSError)
TRIALS = 60


class PathOf:
    """Something that says it is a path."""

    def __init__(self, path):
        self._path = path

    def __fspath__(self):
        return self._path


def endless_list():
    items: list[object] = []
    items.append(items)
    return items


TEXTS = ("\ud800", "a\0b", "\udcff", "..", "\r\nX: y", "x" * 5000, "", " ", "\x1b[0m", "1", "é")
ODD = (
    lambda: None,
    lambda: True,
    *((lambda text=text: text) for text in TEXTS * 2),
    *((lambda number=number: number) for number in (0, -1, 2**63, -(2**70), 10**400, 2**23 + 1)),
    *((lambda number=number: number) for number in (0.0, 1.5, float("nan"), float("inf"))),
    lambda: b"\xff\0",
    lambda: bytearray(b"x"),
    lambda: memoryview(b"abcdef")[::2],
    object,
    lambda: object,
    lambda: ...,
    lambda: complex(1),
    lambda: decimal.Decimal("NaN"),
    lambda: Module.FOLDER,
    lambda: AutoRename.RENAME,
    lambda: dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    lambda: dt.date.max,
    list,
    tuple,
    dict,
    endless_list,
    lambda: [None],
    lambda: ["\ud800"],
    lambda: {"\ud800": "\udcff"},
    lambda: {1: object()},
    lambda: {"a"},
    lambda: range(200),
    lambda: iter([b"bytes", "text"]),
    lambda: io.StringIO("text"),
    lambda: Path("a\0b"),
    lambda: Path("\ud800"),
    lambda: PathOf("\0"),
    lambda: PathOf(5),
    lambda: PathOf(b"/nowhere"),
)


def arguments_of(function, chance, **known):
    """Return odd arguments for a function, and some that are known to be right."""
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            continue
        if name in known and chance.random() < 0.5:
            arguments[name] = known[name]
        elif parameter.default is parameter.empty or chance.random() < 0.3:
            arguments[name] = chance.choice(ODD)()
    return arguments


async def seen_through(result):
    """Await what a call returns, and begin to use it."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, Pager):
        await result.first()
    elif hasattr(result, "__aenter__"):
        async with result:
            pass


def trials(name):
    """Return sources of chance, the same in every run."""
    return (random.Random(f"{name} {number}") for number in range(TRIALS))


async def check(function, arguments):
    """Call a function, and expect that it raises nothing else than what is documented."""
    try:
        with suppress(*ALLOWED):
            await seen_through(function(**arguments))
    except Exception as error:
        error.add_note(ascii(f"called: {function} {arguments}"))
        raise


RESOURCES = ["devices", "configs", "scopes", "locks", "records", "files", "spaces", "tokens"]


@pytest.fixture
async def once(koodrive_emulator):
    retry = RetryPolicy(attempts=1)
    async with connect(koodrive_emulator, retry=retry, timeouts=Timeouts(answer=5)) as drive:
        yield drive


@pytest.mark.parametrize("resource", RESOURCES)
async def test_calls_of_the_interface(once, resource):
    owner = getattr(once, resource)
    functions = [
        getattr(owner, name)
        for name in sorted(dir(owner))
        if not name.startswith("_") and callable(getattr(owner, name))
    ]
    known = {"module": Module.FOLDER, "device_id": "1", "record_id": "1", "lock_id": "1@2"}
    for chance in trials(resource):
        function = chance.choice(functions)
        await check(function, arguments_of(function, chance, **known))


async def test_backups_that_are_begun_or_looked_for(once):
    known = {"module": Module.FOLDER, "device_id": "1"}
    for chance in trials("backups"):
        for function in (once.backup, once.find_unfinished, once.list_unfinished):
            await check(function, arguments_of(function, chance, **known))


async def test_uploads(session):
    known = {"source": b"abc", "name": "x", "on_progress": None}
    for chance in (*trials("uploads"), *trials("more uploads")):
        await check(session.upload, arguments_of(session.upload, chance, **known))


async def test_uploads_of_many(session):
    async def upload(sources):
        return [outcome async for outcome in session.upload_many(sources)]

    for make in ODD:
        await check(upload, {"sources": make()})
        await check(upload, {"sources": [make()]})
    session.complete_anyway()


async def test_uploads_of_trees(session, make_file):
    root = make_file().parent

    async def upload(**arguments):
        return [outcome async for outcome in session.upload_tree(**arguments)]

    for chance in trials("trees"):
        arguments = arguments_of(session.upload_tree, chance, root=root)
        if arguments["root"] in ("", "..", " "):  # folders that are not the test's
            arguments["root"] = root
        await check(upload, arguments)
    session.complete_anyway()


async def test_clients(koodrive_emulator):
    known = {
        "endpoint": koodrive_emulator.url,
        "auth": BearerToken(koodrive_emulator.token),
        "user_id": koodrive_emulator.user_id,
        "proxy": None,
        "journal": None,
    }
    names = ["limits", "timeouts", "retry", "tls", "user_agent", "allow_plain_http", *known]

    async def enter(**arguments):
        async with KooDrive(**{**known, **arguments}) as drive:
            await drive.devices.list()

    for name in names:
        for make in ODD:
            value = make()
            if name != "journal" or not isinstance(value, str):  # which would make files
                await check(enter, {name: value})


@pytest.mark.parametrize(
    "made",
    [
        *(BearerToken, AppSignature, Tls, UploadItem, NewScope, NewBackupFile),
        *(koodrive_async.plan_parts, koodrive_async.permitted_name),
        *(koodrive_async.path_text, koodrive_async.path_from_text),
    ],
)
def test_values_and_functions(made):
    for chance in (*trials(made.__name__), *trials(f"again {made.__name__}")):
        with suppress(InvalidArgument, ConfigurationError):
            made(**arguments_of(made, chance))


@pytest.mark.parametrize("made", [Limits, Timeouts, RetryPolicy])
def test_settings_raise_the_documented_value_error(made):
    for name in inspect.signature(made).parameters:
        for make in ODD:
            with suppress(ValueError):
                made(**{name: make()})


# --- hashing, which stands alone: documented are ValueError, TypeError and OSError --------------


@pytest.mark.parametrize(
    ("function", "known"),
    [
        (hashing.proof_code, {"origin": "x", "size": 3, "read": lambda *_: b"abc"}),
        (hashing.fingerprint, {"file": io.BytesIO(b"abc"), "grid": 64, "checkpoint": None}),
        (Fingerprinter, {"grid": 64}),
        (Fingerprinter.resume, {"midstates": b"", "resume_offset": 0, "grid": 64}),
        (Sha256.resume, {"midstate": (), "length": 0, "backend": None}),
        (Sha256().update, {}),
        (Fingerprinter().update, {}),
        (Fingerprinter().read_from, {"file": io.BytesIO(b"abc")}),
        (Fingerprint, {"size": 0, "sha256": "0" * 64, "grid": 64, "midstates": b""}),
        (Fingerprint(0, "0" * 64, 64, b"").midstate, {}),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_hashing(function, known):
    for chance in trials(function.__qualname__):
        arguments = arguments_of(function, chance, **known)
        for theirs in ("backend", "checkpoint", "read"):  # what is called is the user's own
            if theirs in arguments:
                arguments[theirs] = known.get(theirs)
        with suppress(ValueError, TypeError, OSError):
            function(**arguments)


@given(size=st.integers(0, 100), given_back=st.none() | st.text() | st.binary(max_size=20))
def test_a_proof_of_what_was_read_wrongly_is_an_error(size, given_back):
    try:
        proof = hashing.proof_code("origin", size, lambda *_: given_back)
    except (TruncatedReadError, TypeError):
        assert size
    else:
        assert (proof is None) == (size == 0)


class Lying(io.RawIOBase):
    """A file that reads so many bytes, whatever room there is."""

    def __init__(self, count):
        self._count = count

    def readinto(self, _):
        return self._count


@pytest.mark.parametrize("count", [None, -1, 2**21, 2**70, "1", 1.5])
def test_a_file_that_lies_about_what_it_read_is_an_error(count):
    with pytest.raises((OSError, TypeError)):
        hashing.fingerprint(Lying(count))


async def test_a_file_that_shrinks_before_its_proof_is_taken_has_changed(session, make_file):
    path = make_file(2**20 + 100)

    # the end of the hashing is the last moment before the proof
    def cut(progress):
        if progress.phase.value == "hash" and progress.done == progress.total:
            with path.open("r+b") as file:
                file.truncate(0)

    with pytest.raises(SourceChanged):
        await session.upload(path, on_progress=cut)


async def test_a_backend_that_is_none_is_a_wrong_setting():
    code = (
        "import asyncio\n"
        "from koodrive_async import ConfigurationError, Limits, Module\n"
        "from koodrive_async.emulator import Emulator\n"
        "from koodrive_async.testing import connect\n"
        "import tempfile\n"
        "async def main():\n"
        "    with tempfile.TemporaryDirectory() as folder, Emulator(folder) as emulator:\n"
        "        async with connect(emulator) as drive:\n"
        "            device = await drive.devices.bind('m')\n"
        "            async with drive.backup(device.device_id, Module.FOLDER) as session:\n"
        "                try:\n"
        "                    await session.upload(bytes(2**21), name='x')\n"
        "                except ConfigurationError as error:\n"
        "                    print(error)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        env={**os.environ, "KOODRIVE_SHA256_BACKEND": "none of them"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert b"KOODRIVE_SHA256_BACKEND" in out
