"""Bad arguments are refused here: as ValueError and KooDriveError, before anything is sent."""

from __future__ import annotations

import attrs
import pytest

from koodrive_async import (
    AutoRename,
    ConfigurationError,
    FileTooLarge,
    InvalidArgument,
    InvalidFileName,
    KooDriveError,
    Limits,
    Module,
    MultiPartInfo,
    NewBackupFile,
    NewScope,
    RetryPolicy,
    Timeouts,
)
from tests.interface.scripted import LOCK, client_of

pytestmark = pytest.mark.anyio

DIGEST = "c0ad38a9864a3261a92a3e9daf0d325c5ca45a7a9039ee681d608a5392350286"
FILE = NewBackupFile(file_name="a", sha256=DIGEST, length=1)
PART = MultiPartInfo(part_number=1, part_size=1)
LOST = "a\udcff"


def create(**fields):
    return lambda drive: drive.files.create("19", attrs.evolve(FILE, **fields), lock_id=LOCK)


def bind(*args, **kwargs):
    return lambda drive: drive.devices.bind(*args, **kwargs)


def records(**arguments):
    return lambda drive: drive.records.list("100", **arguments).collect()


def files(**arguments):
    return lambda drive: drive.files.list("1", **arguments).collect()


def scope(**fields):
    return lambda drive: drive.scopes.add("1", "100", [NewScope(**fields)])


REFUSED = {
    **{f"records, page size {size!r}": records(page_size=size) for size in (0, -1, 101, True, "7")},
    **{f"files, page size {size!r}": files(page_size=size) for size in (0, 101, 1.5, None)},
    "records, cursor too long": records(cursor="c" * 1001),
    "files, cursor too long": files(cursor="c" * 1001),
    "records, cursor not Unicode": records(cursor=LOST),
    **{
        f"module {module!r} of {name}": call
        for module in ("", "99", "103", "folder", None, 1.0)
        for name, call in {
            "locks": lambda drive, m=module: drive.locks.create(m),
            "records": lambda drive, m=module: drive.records.create("1", m, lock_id=LOCK),
            "listing": lambda drive, m=module: drive.records.list(m).collect(),
            "configs": lambda drive, m=module: drive.configs.list("1", m),
            "config": lambda drive, m=module: drive.configs.get("1", m, "n"),
            "scopes": lambda drive, m=module: drive.scopes.list("1", m),
            "new scopes": lambda drive, m=module: drive.scopes.add(
                "1", m, [NewScope(local_path="/")]
            ),
        }.items()
    },
    **{
        f"sha256 {digest!r}": create(sha256=digest)
        for digest in ("", DIGEST[1:], DIGEST + "0", DIGEST.upper(), "g" * 64, DIGEST + "\n", None)
    },
    "completing with a bad digest": lambda drive: drive.files.complete("1", "00"),
    "negative length": create(length=-1),
    "description not Unicode": create(description=LOST),
    "no scopes": lambda drive: drive.scopes.add("1", "100", []),
    "101 scopes": lambda drive: drive.scopes.add("1", "100", [NewScope(local_path="/a")] * 101),
    "no scope ids": lambda drive: drive.scopes.delete("1", []),
    "101 scope ids": lambda drive: drive.scopes.delete("1", ["1"] * 101),
    "no file ids": lambda drive: drive.files.download_urls("c", []),
    "101 file ids": lambda drive: drive.files.download_urls("c", ["1"] * 101),
    "no parts": lambda drive: drive.files.part_urls("1", []),
    "scope without a path": scope(),
    "scope with empty paths": scope(local_path="", target_folder_path=""),
    "scope path relative": scope(local_path="a/b"),
    "scope path of Windows": scope(local_path="C:\\a"),
    "scope path with a backslash": scope(target_folder_path="/a\\b"),
    "scope path too long": scope(local_path="/" + "a" * 10_000),
    "scope path not Unicode": scope(local_path="/" + LOST),
    **{
        f"machine code {code!r}": bind(code)
        for code in ("", "a" * 65, "a-b", "a b", "ä", "٣", "a\n", "123e4567-e89b-12d3", None, 17)
    },
    **{f"name {name!r}": bind("m", name=name) for name in ("", "a" * 33, "a.b", "ä", "a\u00a0b")},
    **{f"os {os!r}": bind("m", os=os) for os in ("", "a" * 33, "a.b", "a-b", "Ä", "a\u2003b")},
    **{
        f"config {argument} {value!r}": (
            lambda drive, given={"current": "a", "new": "b", argument: value}: drive.configs.update(
                "1", "100", given.pop("name", "n"), **given
            )
        )
        for argument in ("name", "current", "new")
        for value in ("", "a" * 33, "a-b", "a b", "é")
    },
    "config name": lambda drive: drive.configs.get("1", "100", "a-b"),
    **{
        f"properties {properties!r}": (
            lambda drive, p=properties: drive.records.create("1", "100", lock_id=LOCK, properties=p)
        )
        for properties in ("", "{", "{'a': 1}", "NaN", {"a": float("nan")}, {"a": 1j}, LOST)
    },
    "properties nested too deeply": lambda drive: drive.records.complete(
        "1", lock_id=LOCK, properties="[" * 100_000
    ),
    "properties not Unicode": lambda drive: drive.records.complete(
        "1", lock_id=LOCK, properties={"path": LOST}
    ),
}


def with_id(name, call):
    return {f"{name} {bad!r}": (call, bad) for bad in ("", ".", "..", None, 17, ["1"])}


BAD_IDS = {
    **with_id("unbind", lambda drive, bad: drive.devices.unbind(bad)),
    **with_id("configs", lambda drive, bad: drive.configs.list(bad, "100")),
    **with_id("config", lambda drive, bad: drive.configs.get(bad, "100", "n")),
    **with_id(
        "update", lambda drive, bad: drive.configs.update(bad, "100", "n", current="a", new="b")
    ),
    **with_id("scopes", lambda drive, bad: drive.scopes.list(bad, "100")),
    **with_id(
        "add scope", lambda drive, bad: drive.scopes.add(bad, "100", [NewScope(local_path="/")])
    ),
    **with_id("delete scope of", lambda drive, bad: drive.scopes.delete(bad, ["1"])),
    **with_id("delete scope", lambda drive, bad: drive.scopes.delete("1", ["2", bad])),
    **with_id("get record", lambda drive, bad: drive.records.get(bad)),
    **with_id("new record", lambda drive, bad: drive.records.create(bad, "100", lock_id=LOCK)),
    **with_id("complete record", lambda drive, bad: drive.records.complete(bad, lock_id=LOCK)),
    **with_id("delete record", lambda drive, bad: drive.records.delete(bad, lock_id=LOCK)),
    **with_id("files", lambda drive, bad: drive.files.list(bad).collect()),
    **with_id("new file", lambda drive, bad: drive.files.create(bad, FILE, lock_id=LOCK)),
    **with_id("part urls", lambda drive, bad: drive.files.part_urls(bad, [PART])),
    **with_id("complete file", lambda drive, bad: drive.files.complete(bad)),
    **with_id("details in", lambda drive, bad: drive.files.details(bad, "1")),
    **with_id("details of", lambda drive, bad: drive.files.details("c", bad)),
    "space of ''": (lambda drive, bad: drive.spaces.get(bad), ""),
    "spaces of '..'": (lambda drive, bad: drive.spaces.list(bad), ".."),
    "space ''": (lambda drive, bad: drive.spaces.get("1", bad), ""),
    "kind of spaces": (lambda drive, bad: drive.spaces.list(kind=bad), 3),
    **with_id("download from", lambda drive, bad: drive.files.download_urls(bad, ["1"])),
    **with_id("download", lambda drive, bad: drive.files.download_urls("c", ["1", bad])),
}


async def refused(client, scripted, call, kind=InvalidArgument):
    with pytest.raises(kind) as caught:
        await call(client)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, KooDriveError)
    assert scripted.requests == []
    assert scripted.connections == 0
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_argument_is_refused_before_anything_is_sent(client, scripted, name):
    await refused(client, scripted, REFUSED[name])


@pytest.mark.parametrize("name", BAD_IDS)
async def test_what_is_no_id_is_refused_before_anything_is_sent(client, scripted, name):
    call, bad = BAD_IDS[name]
    await refused(client, scripted, lambda drive: call(drive, bad))


@pytest.mark.parametrize("lock", ["", " ", "a\r\nX-Evil: 1", "a\x00", "ä", "a "])
async def test_what_cannot_stand_in_a_header_is_refused(client, scripted, lock):
    await refused(client, scripted, lambda drive: drive.locks.renew(lock))
    await refused(client, scripted, lambda drive: drive.records.delete("1", lock_id=lock))
    await refused(
        client, scripted, lambda drive: drive.tokens.login("me", agent_name=lock, password="p")
    )


@pytest.mark.parametrize("user_id", ["", " ", "a\r\nX-Evil: 1", "ä"])
async def test_a_user_id_that_cannot_stand_in_a_header_is_refused(scripted, user_id):
    with pytest.raises(ConfigurationError):
        client_of(scripted, user_id=user_id)


# --- file names --------------------------------------------------------------------------------


@pytest.mark.parametrize("character", list('<>|:"*?/'))
async def test_a_forbidden_character_is_named(client, scripted, character):
    call = create(file_name=f"a{character}b.txt")
    error = await refused(client, scripted, call, InvalidFileName)
    assert repr(character) in str(error)


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_a_name_that_is_none_is_refused(client, scripted, name):
    error = await refused(client, scripted, create(file_name=name), InvalidFileName)
    assert repr(name) in str(error)


async def test_a_name_of_251_characters_is_refused(client, scripted):
    error = await refused(client, scripted, create(file_name="名" * 251), InvalidFileName)
    assert "250" in str(error)
    assert "251" in str(error)


async def test_a_name_that_is_not_unicode_is_refused(client, scripted):
    await refused(client, scripted, create(file_name=LOST), InvalidFileName)


@pytest.mark.parametrize(
    "name", ["名" * 250, "...", ".hidden", " a ", "a\\b", "a.", "a\nb", "😀", "a" * 250]
)
async def test_a_name_that_is_allowed_is_sent(client, scripted, name):
    scripted.replies({"code": 0})
    await create(file_name=name)(client)
    assert scripted.request.json["fileName"] == name


# --- up to the limit ---------------------------------------------------------------------------


async def test_over_200_gb_is_too_large(client, scripted):
    call = create(length=200 * 10**9 + 1)
    error = await refused(client, scripted, call, FileTooLarge)
    assert "200 GB" in str(error)


ALLOWED = {
    "200 GB": create(length=200 * 10**9),
    "an empty file": create(length=0),
    "page size 1": records(page_size=1),
    "page size 100": files(page_size=100),
    "a cursor of 1,000 characters": records(cursor="c" * 1000),
    "100 scopes": lambda drive: drive.scopes.add("1", "100", [NewScope(local_path="/a")] * 100),
    "100 scope ids": lambda drive: drive.scopes.delete("1", ["1"] * 100),
    "100 file ids": lambda drive: drive.files.download_urls("c", ["1"] * 100),
    "a scope path of 10,000 characters": scope(local_path="/" + "a" * 9999),
    "one path of a scope empty": scope(local_path="", target_folder_path="/"),
    "a name with spaces": lambda drive: drive.configs.list("a b", Module.FOLDER),
    "three dots as an id": lambda drive: drive.configs.list("...", Module.FOLDER),
}


@pytest.mark.parametrize("name", ALLOWED)
async def test_what_is_allowed_is_sent(client, scripted, name):
    scripted.replies({"code": 0})
    await ALLOWED[name](client)
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("code", ["a", "a" * 64, "A_9"])
async def test_a_machine_code_that_is_allowed_is_sent(client, scripted, code):
    scripted.replies({"code": 0, "data": {"deviceId": "1"}})
    await client.devices.bind(code, name="Magic-v 5_" + "x" * 22, os="a" * 32)
    assert scripted.request.json["machineCode"] == code


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (bind("my notebook"), "{1,64}$ (letters, digits and _), which 'my notebook' does not"),
        (bind("a", name="é"), "{1,32}$ (letters, digits, white space, - and _), which"),
        (bind("a", os="é"), "{1,32}$ (letters, digits, white space and _), which"),
    ],
)
async def test_a_refused_name_is_told_in_words_what_is_allowed(client, scripted, call, said):
    with pytest.raises(InvalidArgument) as refused:
        await call(client)
    assert said in str(refused.value)
    assert not scripted.requests


@pytest.mark.parametrize("rename", AutoRename)
async def test_the_policy_for_taken_names_is_sent_as_its_number(client, scripted, rename):
    scripted.replies({"code": 0})
    await create(auto_rename=rename)(client)
    assert scripted.request.json["autoRename"] == {"RENAME": 2, "REJECT": 3, "SKIP": 4}[rename.name]


@pytest.mark.parametrize("bad", [0, -1, float("nan")])
@pytest.mark.parametrize(
    "settings",
    [
        lambda bad: Limits(connections=bad),
        lambda bad: Limits(memory=bad),
        lambda bad: Limits(hash_workers=bad),
        lambda bad: Limits(files_in_flight=bad),
        lambda bad: Timeouts(connect=bad),
        lambda bad: Timeouts(answer=bad),
        lambda bad: Timeouts(complete=bad),
        lambda bad: Timeouts(stall=bad),
        lambda bad: Timeouts(lease=bad),
        lambda bad: RetryPolicy(attempts=bad),
        lambda bad: RetryPolicy(base_delay=bad or -1),
    ],
)
def test_settings_that_make_no_sense_are_value_errors(settings, bad):
    with pytest.raises(ValueError, match=r"."):
        settings(bad)


@pytest.mark.parametrize("limit", ["bandwidth", "requests_per_second"])
@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
def test_a_rate_is_a_finite_number_above_zero(limit, bad):
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: bad})
